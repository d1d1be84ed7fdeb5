"""Make results/robust_training.json: the reviews classifier trained on by seven losses with three seeds, and attacked.

Each finished cell is written at once, and a second run goes on where the first one stopped. On one core it takes about
an hour: OMP_NUM_THREADS=1 python scripts/robust_training.py
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab import files, runtime
from llmsafety_lab.fine_tuning.measures import baseline
from llmsafety_lab.robust_training import experiment as table

KEPT = Path(__file__).parents[1] / "results" / "robust_training.json"
AGAIN = ("PGD",)
SLICE = {"method": "FGSM", "seed": 0, "among": 250, "trained on": 64, "tested on": 48}
"""A row in small, which is trained and attacked in seconds; it is kept to be compared, and shown nowhere."""
SETTINGS = {
    "eps": table.EPS,
    "eps under 2": table.EPS_2,
    "most tokens": table.MAX_TOKENS,
    "trained on": table.TRAINED,
    "tested on": table.TESTED,
    "learning rate": table.LEARNING_RATE,
}


def bits(held: Tensor) -> str:
    return "".join("01"[bool(one)] for one in held)


def write(kept: dict) -> None:
    files.replace(KEPT, json.dumps(kept, indent=1) + "\n")


def cell(begin: table.Bench, transferred: list[Tensor], method: str, seed: int) -> dict:
    """Train and attack one model; for the first seed the one trained by PGD is attacked again, harder."""
    since = time.process_time()
    model, loss, seconds = (begin.start, None, 0.0) if method == "start" else table.trained(begin, method, seed)
    held = table.measured(begin, model, seed, transferred=transferred)
    made = {"loss": loss, "training seconds": round(seconds, 1), "held": {name: bits(x) for name, x in held.items()}}
    if seed == 0 and method in AGAIN:
        made["attacked again"] = bits(table.attacked_again(begin, model, held["PGD"]))
    return made | {"seconds": round(time.process_time() - since, 1)}


def small_row(begin: table.Bench) -> dict:
    """Train a copy on few texts and attack it, as the rows do; `begin` is `table.bench(SLICE["among"])`."""
    method, seed = SLICE["method"], SLICE["seed"]
    begin = begin._replace(test=table.Texts(*(column[: SLICE["tested on"]] for column in begin.test)))
    model, loss, _ = table.trained(begin, method, seed, SLICE["trained on"])
    return {"loss": loss, "held": {name: bits(x) for name, x in table.measured(begin, model, seed, ["FGSM"]).items()}}


def main() -> None:
    torch.set_num_threads(1)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"settings": SETTINGS, "cells": {}}
    if kept["settings"] != SETTINGS:
        raise SystemExit(f"{KEPT} was made with other settings; delete it to begin anew.")
    if kept.get("slice", {}).get("of") != SLICE:
        made = runtime.made_by("robust_training", [SLICE["seed"]])
        kept["slice"] = {"of": SLICE} | small_row(table.bench(SLICE["among"])) | {"made": made}
        write(kept)
    plan = [("start", 0), *((method, seed) for seed in table.SEEDS for method in table.METHODS)]
    if "tf-idf" in kept and all(f"{method} {seed}" in kept["cells"] for method, seed in plan):
        return
    begin = table.bench()
    transferred = table.carried(begin)
    if "tf-idf" not in kept:
        right = baseline(*begin.known, begin.test.texts).argmax(1) == np.array(begin.test.labels)
        kept["tf-idf"] = bits(torch.from_numpy(right))
    fresh = float(np.mean(begin.test.labels))
    kept["constant"] = max(fresh, 1 - fresh)
    write(kept)
    for method, seed in plan:
        name = f"{method} {seed}"
        if name not in kept["cells"]:
            kept["cells"][name] = cell(begin, transferred, method, seed)
            kept["seeds"] = [s for s in table.SEEDS if all(f"{m} {s}" in kept["cells"] for m in table.METHODS)]
            kept |= runtime.made_by("robust_training", kept["seeds"])
            write(kept)
            shares = {attack: round(x.count("1") / len(x), 3) for attack, x in kept["cells"][name]["held"].items()}
            print(name, shares, kept["cells"][name]["seconds"], flush=True)


if __name__ == "__main__":
    main()
