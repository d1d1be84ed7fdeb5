"""Make results/robust_training.json: the reviews classifier trained by seven losses with three seeds, under six attacks.

Each finished cell is written at once, and a second run goes on where the first one stopped. On one core it takes about
25 minutes: OMP_NUM_THREADS=1 python scripts/robust_training.py
"""

import datetime
import json
import math
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from llmsafety_lab.robust_training_table import ADAPTIVE, METHODS, SEEDS, SETTINGS, Table

KEPT = Path(__file__).parents[1] / "results" / "robust_training.json"


def write(kept: dict) -> None:
    new = KEPT.with_suffix(".new")
    new.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    new.replace(KEPT)


def main() -> None:
    torch.set_num_threads(1)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"settings": SETTINGS, "cells": {}}
    if kept["settings"] != SETTINGS:
        raise SystemExit(f"{KEPT} was made with other settings; delete it to begin anew.")
    table = Table()
    kept |= {
        "seeds": list(SEEDS),
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__},
        "tf-idf": table.baseline(),
    }
    KEPT.parent.mkdir(exist_ok=True)
    names = [("start", 0), *((method, seed) for seed in SEEDS for method in METHODS)]
    for method, seed in names:
        name = f"{method} {seed}"
        if name in kept["cells"]:
            continue
        began = time.process_time()
        model, history, seconds = table.trained(method, seed)
        cell = {"history": history, "training seconds": round(seconds, 1), "held": table.measured(model, seed)}
        if (method, seed) in ADAPTIVE:
            cell["adaptive"] = table.attacked_again(model)
        cell["seconds"] = round(time.process_time() - began, 1)
        kept["cells"][name] = cell
        write(kept)
        print(name, {attack: f"{held.count('1') / len(held):.2f}" for attack, held in cell["held"].items()}, flush=True)


if __name__ == "__main__":
    main()
