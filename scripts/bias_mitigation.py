"""Make results/bias_mitigation.json: repairs of two tables and of a scorer of texts, each with several seeds.

Each finished run is kept under `_build`, and a second call goes on where the first one stopped. On one core it takes
about eight minutes: OMP_NUM_THREADS=1 python scripts/bias_mitigation.py
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmsafety_lab import files, runtime
from llmsafety_lab.bias_mitigation import experiment as table
from llmsafety_lab.bias_mitigation import text_experiment
from llmsafety_lab.statistics import interval, mean_interval

KEPT = Path(__file__).parents[1] / "results" / "bias_mitigation.json"
RUNS = Path(__file__).parents[1] / "_build" / "bias_mitigation"
NEAR = 0.02


def write(kept: dict) -> None:
    files.replace(KEPT, json.dumps(kept, indent=1) + "\n")


def once(name: str, make: Callable[[], Any]) -> Any:
    """Return what is kept of a run, or make it and keep it."""
    path = RUNS / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        since = time.process_time()
        made = make()
        files.replace(path, json.dumps({"made": made, "seconds": time.process_time() - since}))
        print(name, flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def people(kept: dict, name: str) -> None:
    """Run every method at every strength; then compare those whose gap on their training rows is small."""
    where = table.bench(name)
    rows: dict[str, Any] = {}
    kept[name], made = rows, {}
    asked = table.ADULT if name == "adult" else table.STRENGTHS
    for method, strengths in asked.items():
        for strength in strengths:
            key = f"{method} {strength:g}"

            def run(seed: int, method: str = method, strength: float = strength) -> list[Any]:
                chances, gap = table.run(where, method, strength, seed)
                return [chances.round(6).tolist(), gap]

            kept_runs = [once(f"{name} {key} {seed}", functools.partial(run, seed)) for seed in table.SEEDS[name]]
            runs = [one["made"] for one in kept_runs]
            made[key] = np.array([chances for chances, _ in runs])
            rows[key] = table.measured(where, made[key]) | {
                "method": method,
                "strength": strength,
                "training gap": round(float(np.mean([gap for _, gap in runs])), 5),
                "seconds": round(float(np.mean([one["seconds"] for one in kept_runs])), 2),
            }
    chosen = {}
    for method, strengths in asked.items():
        keys = [f"{method} {strength:g}" for strength in strengths]
        small = [key for key in keys if abs(rows[key]["training gap"]) <= NEAR]
        chosen[method] = small[0] if small else min(keys, key=lambda key: abs(rows[key]["training gap"]))
    y, g = where.test.labels, where.test.groups
    level = 1 - 0.05 / (len(chosen) - 1)
    compared = {}
    for method, key in chosen.items():
        for base in ("untouched", "thresholds"):
            if method != base:
                apart = [
                    table.accuracy_items(a, y) - table.accuracy_items(b, y)
                    for a, b in zip(made[key], made[chosen[base]], strict=True)
                ]
                gaps = [
                    table.target_items(where.notion, a, y, g) - table.target_items(where.notion, b, y, g)
                    for a, b in zip(made[key], made[chosen[base]], strict=True)
                ]
                compared[f"{method} - {base}"] = {
                    "accuracy": [round(value, 5) for value in interval(np.array(apart), level)],
                    "gap": [round(value, 5) for value in interval(np.array(gaps), level)],
                }
    kept[f"{name} compared"] = {"level": level, "chosen": chosen, "differences": compared}
    write(kept)


def texts(kept: dict) -> None:
    """Measure the scorer, and the ones that learnt its verdicts, by sentence and seed; then compare them, paired."""
    rows: dict[str, Any] = {}
    kept["texts"] = rows
    names = [f"{group}{what}" for group in ("listed", "unlisted") for what in ("", " rise")]
    items = text_experiment.text_items(text_experiment.texts().scorer)
    rows["the scorer itself"] = {
        name: [round(value, 5) for value in mean_interval(items[name][~np.isnan(items[name])])] for name in names
    } | {"by": items["by"], "auc": [items["auc"]]}
    by_seed: dict[str, dict[str, np.ndarray]] = {}

    def over(values: np.ndarray, level: float = 0.95) -> list[float]:
        """Return mean and interval over seeds and those sentences that no seed flags as they are."""
        return [round(value, 5) for value in interval(values[:, ~np.isnan(values).any(0)], level)]

    for method in text_experiment.TEXT_METHODS:

        def run(seed: int, method: str = method) -> dict[str, Any]:
            found = text_experiment.text_items(text_experiment.repaired_scorer(method, seed).scores)
            return found | {name: found[name].tolist() for name in names}

        made = [once(f"texts {method} {seed}", functools.partial(run, seed))["made"] for seed in text_experiment.SEEDS]
        by_seed[method] = {name: np.array([one[name] for one in made], dtype=float) for name in names}
        rows[method] = {name: over(values) for name, values in by_seed[method].items()}
        rows[method]["sentences"] = int((~np.isnan(by_seed[method]["listed"]).any(0)).sum())
        rows[method]["auc"] = [round(one["auc"], 5) for one in made]
        rows[method]["by"] = {
            one: round(float(np.mean([found["by"][one] for found in made])), 4) for one in made[0]["by"]
        }
    first, *others = text_experiment.TEXT_METHODS
    level = 1 - 0.05 / (len(others) * len(names))
    kept["texts compared"] = {"level": level} | {
        method: {name: over(by_seed[method][name] - by_seed[first][name], level) for name in names} for method in others
    }
    write(kept)


def main() -> None:
    torch.set_num_threads(1)
    kept = {**runtime.made_by("bias_mitigation", table.SEEDS["compas"])}
    if KEPT.exists():
        kept = json.loads(KEPT.read_text(encoding="utf-8")) | kept
    texts(kept)
    for name in ("compas", "adult"):
        people(kept, name)
    write(kept)


if __name__ == "__main__":
    main()
