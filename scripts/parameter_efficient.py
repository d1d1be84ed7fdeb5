"""Eight ways to tune MiniLM on reviews, over seeds, with learning rates chosen on held-out reviews; and the baselines.

Run it as `python scripts/parameter_efficient.py`; it takes about 25 minutes of one core and writes
`results/parameter_efficient.json`. With names of parts behind it (`tune`, `quality`, `baselines`, `slice`)
it makes those alone.
What stands there already is not computed again: remove the file to start anew.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch.optim.optimizer import register_optimizer_step_post_hook

from llmsafety_lab import data, files, fine_tuning, models, runtime
from llmsafety_lab.parameter_efficient.adalora import AdaLoRALinear, RankAllocator
from llmsafety_lab.parameter_efficient.layers import (
    AdapterLinear,
    IA3Linear,
    LoRALinear,
    inject,
    trainable_parameters,
)
from llmsafety_lab.parameter_efficient.prefixes import PrefixTuning, PromptTuning

RESULT = Path(__file__).parents[1] / "results" / "parameter_efficient.json"
SEEDS, TRAIN, TEST, HELD_OUT, BATCH, MAX_TOKENS = (0, 1, 2), 480, 500, 500, 16, 32

SLICE = {"method": "LoRA, rank 8", "seed": 0, "train": 96, "test": 60}
"""A row in small, which is made in seconds; it is kept to be compared, and shown nowhere."""

Layer = Callable[[torch.Tensor, torch.Tensor | None], torch.nn.Module]


def linears(names: list[str], make: Layer) -> Callable[[Any], Any]:
    """Return a function that puts new layers into an encoder and returns the encoder."""

    def change(encoder: Any) -> Any:
        inject(encoder, names, make)
        return encoder

    return change


RATES = [float(f"{digit}e{power}") for power in range(-5, 0) for digit in (1, 3)]
METHODS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "full": (lambda encoder: encoder, 1e-4),
    "LoRA, rank 1": (linears(["query", "value"], partial(LoRALinear, rank=1, alpha=1)), 1e-2),
    "LoRA, rank 8": (linears(["query", "value"], partial(LoRALinear, rank=8, alpha=8)), 1e-2),
    "LoRA, rank 64": (linears(["query", "value"], partial(LoRALinear, rank=64, alpha=64)), 3e-3),
    "AdaLoRA, 12 to 8": (linears(["query", "value"], partial(AdaLoRALinear, rank=12, alpha=12)), 1e-2),
    "adapters, 16 wide": (linears(["output.dense"], partial(AdapterLinear, bottleneck=16)), 1e-2),
    "IA3": (linears(["key", "value", "intermediate.dense"], IA3Linear), 3e-2),
    "prefix, 16": (partial(PrefixTuning, length=16), 3e-2),
    "prompt, 16": (partial(PromptTuning, length=16), 3e-2),
}


def reviews() -> dict[str, tuple[list[str], list[int]]]:
    rows = data.load("reviews")
    by = {split: rows.filter(lambda row, split=split: row["split"] == split) for split in ("train", "test")}
    return {
        "train": (by["train"]["text"][:TRAIN], by["train"]["label"][:TRAIN]),
        "all": (by["train"]["text"][:-HELD_OUT], by["train"]["label"][:-HELD_OUT]),
        "held out": (by["train"]["text"][-HELD_OUT:], by["train"]["label"][-HELD_OUT:]),
        "test": (by["test"]["text"][:TEST], by["test"]["label"][:TEST]),
    }


def tuned(base: Any, tokenizer: Any, name: str, rate: float, seed: int, train: tuple) -> tuple[Any, float, list]:
    """Return MiniLM tuned by a method on some reviews, the processor's seconds for a step, and the steps' losses."""
    torch.manual_seed(seed)
    model = fine_tuning.Classifier(copy.deepcopy(base), 2)
    model.encoder = METHODS[name][0](model.encoder)
    layers = [module for module in model.modules() if isinstance(module, AdaLoRALinear)]
    hook = None
    if layers:
        kept = 8 * len(layers)
        total = len(train[0]) // BATCH
        allocator = RankAllocator(layers, kept, total=total, warmup=total // 6, cooldown=total // 3, every=5)
        steps = count(1)
        hook = register_optimizer_step_post_hook(lambda *_: allocator.step(next(steps)) and None)
    since = time.process_time()
    options = {"learning_rate": rate, "max_tokens": MAX_TOKENS, "batch_size": BATCH, "seed": seed}
    losses = fine_tuning.fit(model, tokenizer, *train, **options)
    if hook:
        hook.remove()
    return model, (time.process_time() - since) / len(losses), losses


def right(model: Any, tokenizer: Any, rows: tuple) -> np.ndarray:
    """Return which reviews the model judges rightly."""
    return fine_tuning.evaluate(model, tokenizer, *rows, max_tokens=MAX_TOKENS).probabilities.argmax(1) == rows[1]


def bits(hits: np.ndarray) -> str:
    return "".join("01"[int(hit)] for hit in hits)


def tune(kept: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return each method's accuracy on held-out reviews by rate, climbed until the best lies between others."""
    base, tokenizer = models.load("minilm")
    rows = reviews()
    found = kept.setdefault("tune", {})
    for name, (_, first) in METHODS.items():
        tried, place = found.setdefault(name, {}), RATES.index(first)
        while missing := [r for r in RATES[place - 1 : place + 2] if str(r) not in tried]:
            model, *_ = tuned(base, tokenizer, name, missing[0], 0, rows["train"])
            tried[str(missing[0])] = float(right(model, tokenizer, rows["held out"]).mean())
            write(kept)
            if len(missing) == 1:
                place = RATES.index(best_rate(found, name))
        print(name, tried, flush=True)
    return found


def best_rate(tuning: dict[str, dict[str, float]], name: str) -> float:
    return float(max(tuning[name], key=tuning[name].get))


def row(tuning: dict, base: Any, tokenizer: Any, rows: dict, name: str, seed: int) -> dict[str, Any]:
    """Return one method's run under one seed."""
    model, seconds, _ = tuned(base, tokenizer, name, best_rate(tuning, name), seed, rows["train"])
    encoder = trainable_parameters(model.encoder)
    return {
        "right": bits(right(model, tokenizer, rows["test"])),
        "parameters": sum(p.numel() for p in encoder.values()),
        "seconds a step": seconds,
    }


def quality(kept: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return each method's runs, a seed after the other; write down each as it comes, and go on where a run stopped."""
    base, tokenizer = models.load("minilm")
    rows = reviews()
    found = kept.setdefault("quality", {name: [] for name in METHODS})
    for number, seed in enumerate(SEEDS):
        for name in METHODS:
            if len(found[name]) > number:
                continue
            found[name].append(row(kept["tune"], base, tokenizer, rows, name, seed))
            print(seed, name, found[name][-1]["right"].count("1") / TEST, flush=True)
            write(kept)
    return found


def small_row(tuning: dict, base: Any, tokenizer: Any, rows: dict) -> dict[str, Any]:
    """Return the row in small: its losses step by step, and where it is right."""
    name, train, test = SLICE["method"], *(tuple(c[: SLICE[part]] for c in rows[part]) for part in ("train", "test"))
    model, _, losses = tuned(base, tokenizer, name, best_rate(tuning, name), SLICE["seed"], train)
    return {"losses": [round(loss, 4) for loss in losses], "right": bits(right(model, tokenizer, test))}


def write(kept: dict[str, Any]) -> None:
    files.replace(RESULT, json.dumps(kept, indent=1) + "\n")


def words(rows: dict, size: str) -> str:
    """Return where logistic regression on words is right after training on a part."""
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(features.fit_transform(rows[size][0]), rows[size][1])
    return bits(model.predict(features.transform(rows["test"][0])) == rows["test"][1])


def baselines() -> dict[str, str]:
    """Return where logistic regression is right, on words and on what the untouched MiniLM says."""
    base, tokenizer = models.load("minilm")
    rows = reviews()
    found = {f"words, {len(rows[size][0]):,} reviews": words(rows, size) for size in ("train", "all")}
    frozen = [features(base, tokenizer, rows[part][0]) for part in ("train", "test")]
    model = LogisticRegression(max_iter=1000).fit(frozen[0], rows["train"][1])
    found["frozen MiniLM"] = bits(model.predict(frozen[1]) == rows["test"][1])
    return found


@torch.no_grad()
def features(base: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Return MiniLM's vector of each text: the mean over its tokens, of length 1."""
    vectors = []
    for start in range(0, len(texts), 64):
        inputs = tokenizer(
            texts[start : start + 64], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        hidden = base(**inputs).last_hidden_state
        vectors.append(torch.nn.functional.normalize(fine_tuning.mean_pool(hidden, inputs["attention_mask"])))
    return torch.cat(vectors).numpy()


def main(parts: list[str]) -> None:
    runtime.seed_everything(0)
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    made = {
        "tune": lambda: tune(kept),
        "quality": lambda: quality(kept),
        "baselines": baselines,
        "slice": lambda: {"of": SLICE} | small_row(kept["tune"], *models.load("minilm"), reviews()),
    }
    for part in parts or list(made):
        kept.setdefault("made", {})[part] = runtime.made_by("parameter_efficient", SEEDS)
        kept["sizes"] = {"train": TRAIN, "test": TEST, "steps": TRAIN // BATCH}
        kept[part] = made[part]()
        write(kept)


if __name__ == "__main__":
    main(sys.argv[1:])
