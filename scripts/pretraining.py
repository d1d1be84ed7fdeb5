"""Make `results/pretraining.json`: what each idea of the fast recipe bought.

    python scripts/pretraining.py

One thread; about 15 CPU minutes. Each run is written as soon as it is done, and a second call goes on where the first
one was stopped. `--seeds N` limits how many seeds each row gets.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from llmsafety_lab import data, files, runtime
from llmsafety_lab.pretraining.objectives import character_ids, token_losses
from llmsafety_lab.pretraining.small_lm import FAST, USUAL, Recipe, SmallLM, train

FILE = Path(__file__).parents[1] / "results" / "pretraining.json"
WINDOWS = 2000
"""How many windows of 64 characters the validation loss is measured on, spread evenly over the validation text."""

ABLATION = {
    "all of them": FAST,
    "AdamW at 0.01 instead of Muon": replace(FAST, muon=False),
    "AdamW at 0.003 instead of Muon": replace(FAST, muon=False, rate=0.003),
    "AdamW at 0.03 instead of Muon": replace(FAST, muon=False, rate=0.03),
    "without the token before": replace(FAST, previous=False),
    "without the zero start": replace(FAST, zero_start=False),
    "without rotary positions": replace(FAST, rotary=False),
    "without norms on queries and keys": replace(FAST, qk_norm=False),
    "GELU instead of squared ReLU": replace(FAST, squared_relu=False),
    "cosine instead of a line": replace(FAST, linear=False),
}
SLICE = {"all of them, 40 steps": replace(FAST, steps=40)}
SMALL = replace(FAST, steps=20)
"""A row in small, which is made in seconds; it is kept to be compared, and shown nowhere."""
WHOLE = {"the usual recipe": USUAL}


def texts() -> tuple[torch.Tensor, torch.Tensor, str]:
    """Return the characters to train on, those to validate on (the last tenth), and the alphabet."""
    ids, alphabet = character_ids("\n".join(data.load("shakespeare")["text"]))
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], alphabet


def run(
    recipe: Recipe,
    seed: int,
    training: torch.Tensor,
    validation: torch.Tensor,
    vocabulary: int,
    windows: int = WINDOWS,
) -> dict:
    """Train one model and return what came out."""
    torch.manual_seed(seed)
    started = time.process_time()
    model = SmallLM(vocabulary, recipe)
    losses = train(model, training, seed)
    seconds = time.process_time() - started
    return {
        "seed": seed,
        "loss": float(token_losses(model, validation, recipe.context, windows).mean()),
        "seconds": round(seconds, 2),
        "weights": sum(weight.numel() for weight in model.parameters()),
        "characters": recipe.steps * recipe.batch * recipe.context,
        "curve": [round(sum(losses[i : i + 20]) / 20, 4) for i in range(0, len(losses) - 19, 20)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    training, validation, alphabet = texts()
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"runs": {}}
    if "slice" not in kept:
        row = run(SMALL, 0, training, validation, len(alphabet), windows=200)
        kept["slice"] = row | {"made": runtime.made_by("pretraining", [0])}
        files.replace(FILE, json.dumps(kept, indent=1) + "\n")
    plan = [(part, seed) for seed in range(seeds) for part in (SLICE, ABLATION, WHOLE)]
    for part, seed in plan:
        if part is WHOLE and seed > 0:
            continue
        for name, recipe in part.items():
            rows = kept["runs"].setdefault(name, [])
            if any(row["seed"] == seed for row in rows):
                continue
            rows.append(run(recipe, seed, training, validation, len(alphabet)))
            print(f"{name}, seed {seed}: {rows[-1]['loss']:.4f} in {rows[-1]['seconds']:.1f} s", flush=True)
            kept |= runtime.made_by("pretraining", range(seeds)) | {"windows": WINDOWS}
            files.replace(FILE, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
