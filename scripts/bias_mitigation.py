"""Make results/bias_mitigation.json: repairs of two tables and of a scorer of texts, with five seeds.

Each finished row is written at once, and a second run goes on where the first one stopped. On one core it takes about
a quarter of an hour: OMP_NUM_THREADS=1 python scripts/bias_mitigation.py
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from llmsafety_lab import files, runtime
from llmsafety_lab.bias_mitigation import experiment as table
from llmsafety_lab.statistics import interval, mean_interval

KEPT = Path(__file__).parents[1] / "results" / "bias_mitigation.json"
NEAR = 0.02


def write(kept: dict) -> None:
    files.replace(KEPT, json.dumps(kept, indent=1) + "\n")


def people(kept: dict, name: str) -> None:
    """Run every method at every strength; then compare those whose gap on their training rows is small."""
    where = table.bench(name)
    rows = kept.setdefault(name, {})
    made = {}
    for method, strengths in table.STRENGTHS.items():
        for strength in strengths:
            key, since = f"{method} {strength:g}", time.process_time()
            runs = [table.run(where, method, strength, seed) for seed in table.SEEDS]
            made[key] = np.array([chances for chances, _ in runs])
            rows[key] = table.measured(where, made[key]) | {
                "method": method,
                "strength": strength,
                "training gap": round(float(np.mean([gap for _, gap in runs])), 5),
                "seconds": round((time.process_time() - since) / len(runs), 2),
            }
            write(kept)
            print(name, key, rows[key]["accuracy"], rows[key]["gap"], rows[key]["seconds"], flush=True)
    chosen = {}
    for method, strengths in table.STRENGTHS.items():
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
    """Measure the scorer, and the ones that learnt its verdicts, by sentence and seed."""
    rows = kept.setdefault("texts", {})
    t = table.texts()
    items = table.text_items(t.scorer)
    rows["the scorer itself"] = {
        name: [round(value, 5) for value in mean_interval(items[name][~np.isnan(items[name])])]
        for name in ("listed", "unlisted")
    } | {"by": items["by"], "auc": [items["auc"]] * 3}
    for method in table.TEXT_METHODS:
        made = []
        for seed in table.SEEDS:
            made.append(table.text_items(table.repaired_scorer(method, seed).scores))
        rows[method] = {"auc": [round(value, 5) for value in mean_interval([one["auc"] for one in made])]}
        for name in ("listed", "unlisted"):
            both = np.array([one[name] for one in made])
            whole = both[:, ~np.isnan(both).any(0)]  # the sentences that no seed flags as they are
            rows[method][name] = [round(value, 5) for value in interval(whole)]
            rows[method][f"{name} sentences"] = whole.shape[1]
        rows[method]["by"] = {
            one: round(float(np.mean([found["by"][one] for found in made])), 4) for one in made[0]["by"]
        }
        write(kept)
        print(method, rows[method]["listed"], rows[method]["unlisted"], rows[method]["auc"], flush=True)


def main() -> None:
    torch.set_num_threads(1)
    kept = {**runtime.made_by("bias_mitigation", table.SEEDS)}
    if KEPT.exists():
        kept = json.loads(KEPT.read_text(encoding="utf-8")) | kept
    if "texts" not in kept:
        texts(kept)
    for name in ("compas", "adult"):
        if f"{name} compared" not in kept:
            people(kept, name)
    write(kept)


if __name__ == "__main__":
    main()
