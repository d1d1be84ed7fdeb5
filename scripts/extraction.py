"""What the chapter on extraction has no time for: exposure over seeds, copies and their removal, unlearning, stealing.

Run it as `python scripts/extraction.py`, or with the names of parts to make only those anew; all of it takes about
ten minutes on one core and writes `results/extraction.json`.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.extraction import (
    copied,
    deduplicate,
    discovered,
    exposure,
    exposure_fit,
    generate,
    gradient_ascent,
    gradient_difference,
    hidden_width,
    judge,
    log_probabilities,
    npo_retain,
    rank_candidates,
    setting,
    suffix_log_probability,
    surrogate_labels,
    unlearn,
)
from llmsafety_lab.extraction.unlearning import Loss
from llmsafety_lab.membership_inference import area, auc, tpr_at_fpr

RESULT = Path(__file__).parents[1] / "results" / "extraction.json"
SEEDS = (0, 1, 2)
SUFFIX, PREFIXES = 16, (4, 8, 16, 32)
DUPLICATED = (1, 2, 4, 8, 16)
EACH = 40
EPOCHS = 8
SAMPLES = 500
PROMPTS = {"small letter": "the code of {} is ", "reworded": "{} has the code "}
METHODS: dict[str, tuple[Loss, int]] = {
    "gradient ascent": (gradient_ascent, 20),
    "gradient difference": (gradient_difference, 60),
    "NPO": (npo_retain, 60),
}
RATES = (1e-4, 3e-4, 1e-3)


def rounded(values: Any, digits: int = 3) -> list[float]:
    """Return numbers that are short enough to keep."""
    return [round(float(value), digits) for value in values]


def canaries(each: int = 4, members: int = 1000, seeds: Sequence[int] = SEEDS, epochs: int = 20) -> dict[str, Any]:
    """Exposure of canaries by their copies: exact, fitted, and when the prompt is not the one trained on."""
    made: dict[str, Any] = {"each": each, "members": members, "epochs": epochs}
    for seed in seeds:
        records = setting.draw(seed, members, each)
        start = time.process_time()
        model = setting.train(records.training, seed, epochs)
        seconds = time.process_time() - start
        inside, outside = setting.record_losses(model, records.members), setting.record_losses(model, records.outsiders)
        scores, who = -np.r_[inside, outside], np.arange(2 * members) < members
        random = np.random.default_rng(seed)
        exact, fits, greedy = [], [], []
        for canary in records.canaries:
            losses = setting.canary_losses(model, canary)
            exact.append(exposure(losses[int(canary.code)], losses))
            fits.append(exposure_fit(losses[int(canary.code)], losses[random.integers(0, 10_000, 500)]))
            greedy.append(int(losses.argmin()) == int(canary.code))
        made[str(seed)] = {
            "seconds": round(seconds, 1),
            "loss": float(outside.mean()),
            "member loss": float(inside.mean()),
            "accuracy": setting.accuracy(model, records.outsiders),
            "auc": auc(scores, who),
            "tpr 0.01": tpr_at_fpr(scores, who, 0.01),
            "copies": [canary.copies for canary in records.canaries],
            "exact": rounded(exact),
            "fit": rounded(fits),
            "first guess": greedy,
            "prompts": {name: rounded(prompted(model, records.canaries, form)) for name, form in PROMPTS.items()},
        }
        print(seed, json.dumps(made[str(seed)]), flush=True)
    return made


def prompted(model: torch.nn.Module, some: Sequence[setting.Canary], form: str) -> list[float]:
    """Return the exposure of the canaries with eight and sixteen copies under a prompt."""
    digits = setting.encode(["0123456789"])[0, 1:11]
    found = []
    for canary in some:
        if canary.copies >= 8:
            text = form.format(canary.name)
            losses = setting.code_losses(model, setting.encode([text])[0, : len(text) + 1], digits, setting.CODE)
            found.append(exposure(losses[int(canary.code)], losses))
    return found


def repeated(records: setting.Records, edits: int = 0, seed: int = 0) -> list[str]:
    """Return the members, the first of them in several copies, each copy with that many letters changed."""
    random = np.random.default_rng(seed)
    texts = list(records.members)
    for block, times in enumerate(DUPLICATED):
        for text in records.members[block * EACH : (block + 1) * EACH]:
            texts += [edited(text, edits, random) for _ in range(times - 1)]
    return texts


def edited(text: str, edits: int, random: np.random.Generator) -> str:
    """Return a text in which some letters are others."""
    letters = list(text)
    for place in random.choice(len(text), edits, replace=False):
        letters[place] = chr(int(random.integers(97, 123)))
    return "".join(letters)


def by_copies(values: np.ndarray) -> dict[str, float]:
    """Return the mean of the first members for each number of copies."""
    return {
        str(times): round(float(values[block * EACH : (block + 1) * EACH].mean()), 4)
        for block, times in enumerate(DUPLICATED)
    }


def duplicates(seeds: Sequence[int] = SEEDS[:2]) -> dict[str, Any]:
    """Discoverable memorisation by copies and prefix; what deduplication changes; sampling and ranking."""
    made: dict[str, Any] = {"each": EACH, "epochs": EPOCHS, "suffix": SUFFIX, "samples": SAMPLES}
    for seed in seeds:
        records = setting.draw(seed)
        with_copies, near = repeated(records, seed=seed), repeated(records, 2, seed)
        exact = deduplicate(with_copies)
        part: dict[str, Any] = {
            "texts": {
                "copies": len(with_copies),
                "copies, exact": len(exact),
                "near copies, exact": len(deduplicate(near)),
                "near copies, near": len(deduplicate(near, 0.5)),
            }
        }
        longer = EPOCHS * len(with_copies) // len(exact)
        runs = {
            "copies": (with_copies, EPOCHS),
            "deduplicated": (exact, longer),
            "near copies, exact": (deduplicate(near), EPOCHS),
        }
        reference = setting.train(records.public, seed + 100, longer)
        for name, (texts, epochs) in runs.items():
            model = setting.train(texts, seed, epochs)
            part[name] = memorised(model, records)
            if name in ("copies", "deduplicated"):
                part[name]["sampling"] = sampled(model, reference, records, seed, name == "copies")
            print(seed, name, json.dumps(part[name]), flush=True)
        made[str(seed)] = part
    return made


def memorised(model: torch.nn.Module, records: setting.Records) -> dict[str, Any]:
    """Measure what a model knows of the members by their copies."""
    inside, outside = setting.record_losses(model, records.members), setting.record_losses(model, records.outsiders)
    rest = np.arange(len(inside)) >= len(DUPLICATED) * EACH
    few = {f"{times}": np.arange(len(inside)) // EACH == block for block, times in enumerate(DUPLICATED)}
    few["1"] = few["1"] | rest
    found: dict[str, Any] = {
        "accuracy": setting.accuracy(model, records.outsiders),
        "auc": {
            times: auc(-np.r_[inside[some], outside], np.arange(some.sum() + len(outside)) < some.sum())
            for times, some in few.items()
        },
        "tpr 0.01": tpr_at_fpr(-np.r_[inside, outside], np.arange(2 * len(inside)) < len(inside), 0.01),
    }
    first = setting.encode(records.members[: len(DUPLICATED) * EACH])
    others = setting.encode(records.outsiders[: len(DUPLICATED) * EACH])
    for prefix in PREFIXES:
        found[f"prefix {prefix}"] = by_copies(discovered(model, piece(first, prefix), SUFFIX))
        found[f"prefix {prefix}"]["0"] = float(discovered(model, piece(others, prefix), SUFFIX).mean())
    logs = suffix_log_probability(model, piece(first, PREFIXES[-1]), SUFFIX)
    found["log10 probability"] = {
        str(times): rounded(logs[block * EACH : (block + 1) * EACH] / np.log(10), 2)
        for block, times in enumerate(DUPLICATED)
    }
    return found


def piece(ids: torch.Tensor, prefix: int) -> torch.Tensor:
    """Return a beginning mark, the last characters of each record, and that many before them."""
    end = setting.LENGTH + 1
    return torch.cat([ids[:, :1], ids[:, end - SUFFIX - prefix : end]], 1)


def sampled(
    model: torch.nn.Module, reference: torch.nn.Module, records: setting.Records, seed: int, prompts: bool
) -> dict[str, Any]:
    """Let a model write from nothing, or from three kinds of prompts, and rank what it wrote from nothing."""
    others = [*records.outsiders, *records.public]
    starts = {
        "nothing": torch.zeros(SAMPLES, 1, dtype=torch.long),
        "a word again and again": setting.encode(["film " * 4] * SAMPLES)[:, :21],
        "beginnings of public records": setting.encode([text[:8] for text in records.public[:SAMPLES]])[:, :9],
    }
    made: dict[str, Any] = {}
    for name, start in list(starts.items())[: 3 if prompts else 1]:
        ids = generate(model, start, setting.LENGTH + 1 - start.shape[1], top=40, seed=seed)
        texts = [setting.decode(row) for row in ids]
        made[name] = float(copied(texts, records.members, others).mean())
        if name == "nothing":
            written = [text for text in texts if len(text) >= 24]
    true = copied(written, records.members, others)
    own, lower = setting.record_losses(model, written), setting.record_losses(model, [t.lower() for t in written])
    orders = {
        "perplexity": rank_candidates(written, own, "perplexity"),
        "zlib": rank_candidates(written, own, "zlib"),
        "lower case": rank_candidates(written, own, "ratio", lower),
        "reference": rank_candidates(written, own, "ratio", setting.record_losses(reference, written)),
    }
    made["distinct"], made["base rate"] = len(orders["zlib"]), float(true[orders["zlib"]].mean())
    made["ranked"] = {name: [bool(true[i]) for i in order[:100]] for name, order in orders.items()}
    made["areas"] = {
        name: area(-np.arange(len(order), dtype=float), true[order]) if 0 < true[order].sum() < len(order) else 0.5
        for name, order in orders.items()
    }
    return made


def unlearning(members: int = 1000, forget: int = 100, each: int = 3, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Three ways to forget: rates chosen on the first seed, judged on the others by retraining and relearning."""
    made: dict[str, Any] = {"forget": forget, "steps": {name: steps for name, (_, steps) in METHODS.items()}}
    chosen: dict[str, float] = {}
    for seed in seeds:
        records = setting.draw(seed, members, each)
        hidden = [canary for canary in records.canaries if canary.copies >= 4]
        rest = [canary.text for canary in records.canaries if canary.copies < 4 for _ in range(canary.copies)]
        gone, stays = records.members[:forget], [*records.members[forget:], *rest]
        batches = (
            setting.batch_of(setting.encode([*gone, *(c.text for c in hidden)])),
            setting.batch_of(setting.encode(stays)),
        )
        before = setting.train(records.training, seed)
        if not chosen:
            made["choice"] = {}
            for name, (loss, steps) in METHODS.items():
                tried = {}
                for rate in RATES:
                    model = copy.deepcopy(before)
                    unlearn(model, *batches, loss, steps, rate, seed=seed)
                    tried[rate] = {
                        "accuracy": setting.accuracy(model, records.outsiders),
                        "exposure": float(setting.exposures(model, hidden).mean()),
                    }
                usable = [r for r in RATES if tried[r]["accuracy"] > setting.accuracy(before, records.outsiders) - 0.03]
                chosen[name] = min(usable or RATES[:1], key=lambda rate: tried[rate]["exposure"])
                made["choice"][name] = {f"{rate:g}": values for rate, values in tried.items()}
            made["chosen"] = chosen
            print(json.dumps(made), flush=True)
            continue
        strangers = [canary.text for canary in setting.draw(seed + 500, 1, 6).canaries]
        again = partial(relearned, texts=[*strangers, *records.public[:32]], seed=seed)
        retrained = setting.train(stays, seed)
        bits = partial(setting.exposures, canaries=hidden)
        rows = {"before": bits(before), "retrained": bits(retrained), "retrained, again": bits(again(retrained))}
        part: dict[str, Any] = {
            "before": look(before, records, gone) | {"exposure": rounded(rows["before"])},
            "retrained": look(retrained, records, gone)
            | {"exposure": rounded(rows["retrained"]), "again": rounded(rows["retrained, again"])},
        }
        for name, (loss, steps) in METHODS.items():
            model = copy.deepcopy(before)
            unlearn(model, *batches, loss, steps, chosen[name], seed=seed)
            after, back = bits(model), bits(again(model))
            verdict = judge(
                rows["before"],
                after,
                back,
                rows["retrained"],
                rows["retrained, again"],
                setting.record_losses(model, gone),
                setting.record_losses(model, records.outsiders),
            )
            part[name] = look(model, records, gone) | {"exposure": rounded(after), "again": rounded(back)}
            part[name] |= {"verdict": rounded(verdict)}
        made[str(seed)] = part
        print(seed, json.dumps(part), flush=True)
    return made


def look(model: torch.nn.Module, records: setting.Records, gone: Sequence[str]) -> dict[str, Any]:
    """Return the accuracy of a model on outsiders, and how well records that should be forgotten are told from them."""
    scores = -np.r_[setting.record_losses(model, gone), setting.record_losses(model, records.outsiders)]
    return {
        "accuracy": setting.accuracy(model, records.outsiders),
        "auc": auc(scores, np.arange(len(scores)) < len(gone)),
    }


def relearned(
    model: torch.nn.Module, texts: Sequence[str], seed: int, steps: int = 5, rate: float = 1e-3
) -> torch.nn.Module:
    """Return a copy of a model after a short training on texts."""
    new, batch = copy.deepcopy(model), setting.batch_of(setting.encode(texts))
    optimiser = torch.optim.AdamW(new.parameters(), lr=rate, weight_decay=0.0)
    for _ in range(steps):
        optimiser.zero_grad()
        (-log_probabilities(new, batch).mean()).backward()
        torch.nn.utils.clip_grad_norm_(new.parameters(), 1.0)
        optimiser.step()
    return new


def stealing(queries: int = 1600, tested: int = 500, counts: Sequence[int] = (100, 200, 400, 800, 1600)) -> Any:
    """A copy of the classifier of reviews by the number of queries, and the width of SmolLM2 from its logits."""
    rows = data.load("reviews")
    train = [row for row in rows if row["split"] == "train"]
    asked = train[-queries:]  # the classifier was trained on the first ones
    test = [row for row in rows if row["split"] == "test"][:tested]
    texts = [row["text"] for row in [*asked, *test]]
    answers = classified(texts)
    truth = np.array([row["label"] for row in [*asked, *test]])
    own, right = answers[queries:], truth[queries:]
    made: dict[str, Any] = {
        "queries": list(counts),
        "tested": tested,
        "accuracy": float((own == right).mean()),
        "majority": float(max((own == 1).mean(), (own == 0).mean())),
    }
    for name, labels in (("answers", answers[:queries]), ("true labels", truth[:queries])):
        made[name] = {}
        for count in counts:
            copy_ = surrogate_labels(texts[:count], labels[:count], texts[queries:])
            made[name][str(count)] = {
                "agrees": [int(value) for value in copy_ == own],
                "accuracy": float((copy_ == right).mean()),
            }
    print({k: v for k, v in made.items() if not isinstance(v, dict)}, flush=True)
    made["width"] = width_of_smollm2(texts)
    return made


@torch.no_grad()
def classified(texts: Sequence[str]) -> np.ndarray:
    """Return the labels that the classifier of reviews gives."""
    model, tokenizer = models.load("reviews-classifier")
    found = []
    for i in range(0, len(texts), 50):
        batch = tokenizer(list(texts[i : i + 50]), padding=True, truncation=True, max_length=64, return_tensors="pt")
        found.append(model(**batch).logits.argmax(-1).numpy())
    return np.concatenate(found)


@torch.no_grad()
def width_of_smollm2(texts: Sequence[str], queries: int = 700, columns: int = 1000) -> dict[str, Any]:
    """Return the singular values of SmolLM2's logits at many places of texts, and what comes of too few."""
    model, tokenizer = models.load("smollm2")
    ids = tokenizer(" ".join(texts[:60]), return_tensors="pt").input_ids[:, : 5 * (queries // 5)].view(5, -1)
    logits = torch.cat([model(row[None]).logits[0] for row in ids]).double().numpy()
    chosen = np.random.default_rng(0).permutation(logits.shape[1])[:columns]
    values = np.linalg.svd(logits[:, chosen], compute_uv=False)
    return {
        "queries": len(logits),
        "columns": columns,
        "found": hidden_width(logits[:, chosen]),
        "true": int(model.config.hidden_size),
        "values": [float(f"{value:.4g}") for value in values],
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "canaries": canaries,
    "duplicates": duplicates,
    "unlearning": unlearning,
    "stealing": stealing,
}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        start = time.process_time()
        made = PARTS[name]()
        made["core seconds"] = round(time.process_time() - start)
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("extraction", SEEDS) | {name: made}
        files.replace(RESULT, json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        print(name, "done", made["core seconds"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
