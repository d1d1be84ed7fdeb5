"""Membership inference measured where a notebook has no time for it: more shadow models, more records, language models.

Run it as `python scripts/membership_inference.py`, or with the names of parts to make only those anew; all of it takes
about half an hour on one core and writes `results/membership_inference.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn.functional import cross_entropy

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.membership_inference import (
    Recipe,
    auc,
    best_accuracy,
    blind_scores,
    census_features,
    draw_members,
    lira_attack,
    logit_scaled,
    losses,
    masked,
    min_k,
    rmia_attack,
    shokri_attack,
    steadiness,
    tpr_at_fpr,
    train_networks,
    yeom_attack,
    zlib_ratio,
)
from llmsafety_lab.pretraining import loop, small_lm

RESULT = Path(__file__).parents[1] / "results" / "membership_inference.json"
SEED, TARGETS = 0, 16
SLOPE = 0.3  # of offline RMIA, fixed beforehand
LENGTH = 129
GRID = np.geomspace(1e-4, 1, 60)
BASE = Recipe(width=64, epochs=60)
SMALL = small_lm.Recipe(layers=2, heads=4, width=64, context=128, batch=16)


def census(records: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return features, labels and some columns of that many people of the census, no two alike."""
    rows = data.load("adult")
    x, y = census_features(rows), np.array(rows["label"])
    _, first = np.unique(np.c_[x, y], axis=0, return_index=True)
    chosen = np.random.default_rng(seed).permutation(first)[:records]
    kept = {name: np.array([str(v) for v in rows[name]])[chosen] for name in ("race", "sex", "native_country")}
    return x[chosen], y[chosen], kept


def against_others(
    attack: Callable[..., np.ndarray], scores: np.ndarray, members: np.ndarray, targets: int
) -> np.ndarray:
    """Attack the first models, each with all others as its shadow models."""
    found = []
    for i in range(targets):
        rest = np.arange(len(scores)) != i
        found.append(attack(scores[i], scores[rest], members[rest]))
    return np.stack(found)


def measured(found: np.ndarray, members: np.ndarray, lowest: float = 0.001) -> dict[str, list[float]]:
    """Return an attack's measures for each target."""
    pairs = list(zip(found, members, strict=False))
    rates = (0.01, 0.001) if lowest <= 0.001 else (0.01,)
    return {
        "auc": [round(auc(s, m)[0], 4) for s, m in pairs],
        "accuracy": [round(best_accuracy(s, m), 4) for s, m in pairs],
        **{f"tpr {rate:g}": [round(tpr_at_fpr(s, m, rate)[0], 5) for s, m in pairs] for rate in rates},
    }


def curve(found: np.ndarray, members: np.ndarray) -> list[float]:
    """Return the true positive rate at each rate of `GRID`, over all targets together."""
    inside, outside = np.sort(found[members]), np.sort(found[~members])[::-1]
    allowed = np.minimum((GRID * len(outside)).astype(int), len(outside) - 1)
    return [round(float((inside > outside[k]).mean()), 5) for k in allowed]


def attacks(logits: np.ndarray, labels: np.ndarray, members: np.ndarray, targets: int) -> dict[str, np.ndarray]:
    """Return the scores of all attacks on the first models."""
    scores = logit_scaled(logits, labels)
    chance = np.clip(1 / (1 + np.exp(-scores)), 1e-12, 1)
    everyone = np.ones(len(labels), dtype=bool)
    logs = np.stack([-losses(logits, np.full(len(labels), c)) for c in range(logits.shape[-1])], axis=-1)
    shadow = slice(targets, targets + 8)
    return {
        "loss": np.stack([yeom_attack(row) for row in losses(logits[:targets], labels)]),
        "shadow classifier": np.stack(
            [shokri_attack(logs[i], logs[shadow], members[shadow], labels) for i in range(targets)]
        ),
        "LiRA offline": against_others(lambda *a: lira_attack(*a, online=False), scores, members, targets),
        "LiRA online": against_others(lira_attack, scores, members, targets),
        "LiRA online, fixed variance": against_others(
            lambda *a: lira_attack(*a, variance="fixed"), scores, members, targets
        ),
        "LiRA on probabilities": against_others(lira_attack, chance, members, targets),
        "RMIA offline": against_others(lambda *a: rmia_attack(*a, everyone, offline=SLOPE), chance, members, targets),
        "RMIA online": against_others(lambda *a: rmia_attack(*a, everyone), chance, members, targets),
    }


def published_fixed(target: np.ndarray, shadow: np.ndarray, members: np.ndarray) -> np.ndarray:
    """LiRA as in the code published with the article for a fixed variance: medians, and one deviation for both sides.

    It is that of all scores with the record, which also holds how records differ. That changes no order: with one
    deviation for both, the log-likelihood ratio is a product of two terms without it, divided by its square.
    """
    from scipy.stats import norm

    inside, outside = np.where(members, shadow, np.nan), np.where(members, np.nan, shadow)
    spread = np.nanstd(inside)
    middle = np.nanmedian(inside, 0), np.nanmedian(outside, 0)
    return norm.logpdf(target, middle[0], spread) - norm.logpdf(target, middle[1], spread)


def table(records: int = 4000, count: int = 64, targets: int = TARGETS) -> dict[str, Any]:
    """All attacks on networks for the census; how few shadow models do; whose records leak."""
    x, y, people = census(records)
    members = draw_members(count, records, SEED)
    networks, _ = train_networks(x, y, members, BASE, SEED)
    logits = networks.logits(x)
    right = logits.argmax(-1) == y
    scores = logit_scaled(logits, y)
    found = attacks(logits, y, members, targets)
    found["LiRA, one deviation for both sides"] = against_others(published_fixed, scores, members, targets)
    few: dict[str, dict[str, list[float]]] = {}
    chance = np.clip(1 / (1 + np.exp(-scores)), 1e-12, 1)
    everyone = np.ones(records, dtype=bool)
    if (~members[targets:]).sum(0).min() < 8:
        raise ValueError("a record has fewer than eight shadow models without it")
    for number in (2, 4, 8):
        each: dict[str, list[np.ndarray]] = {"LiRA offline, fixed variance": [], "RMIA offline": []}
        for i in range(targets):
            # for each record the first models that were trained without it
            order = np.argsort(members[targets:], axis=0, kind="stable")[:number]
            without = np.take_along_axis(scores[targets:], order, 0)
            none = np.zeros_like(without, dtype=bool)
            each["LiRA offline, fixed variance"].append(
                lira_attack(scores[i], without, none, online=False, variance="fixed")
            )
            p = np.take_along_axis(chance[targets:], order, 0)
            each["RMIA offline"].append(rmia_attack(chance[i], p, none, everyone, offline=SLOPE))
        for name, rows in each.items():
            few.setdefault(name, {})[str(number)] = measured(np.stack(rows), members)["auc"]
    every = against_others(lira_attack, scores, members, count)
    bar = float(np.quantile(every[~members], 0.99))
    hit = every > bar
    caught = np.where(members, hit, 0).sum(0) / members.sum(0) - np.where(members, 0, hit).sum(0) / (~members).sum(0)
    distance = cKDTree(x).query(x, k=6)[0][:, 5]
    groups = {
        "income above 50,000": y == 1,
        "women": people["sex"] == "Female",
        "race other than white": people["race"] != "White",
        "born outside the United States": people["native_country"] != "United-States",
        "far from others": distance >= np.quantile(distance, 0.9),
        "wrong without it": np.where(members, 0, right).sum(0) / (~members).sum(0) < 0.5,
    }
    return {
        "records": records,
        "models": count,
        "targets": targets,
        "train accuracy": float(right[members].mean()),
        "test accuracy": float(right[~members].mean()),
        "rows": {name: measured(rows, members) for name, rows in found.items()},
        "curves": {name: curve(rows, members[:targets]) for name, rows in found.items()},
        "grid": GRID.round(6).tolist(),
        "few": few,
        "caught": caught.round(4).tolist(),
        "groups": {name: np.flatnonzero(of).tolist() for name, of in groups.items()},
    }


def defences(records: int = 2000, count: int = 32, targets: int = TARGETS) -> dict[str, Any]:
    """The same attack on the same people and the same training sets, after each defence; and what masks hide."""
    from dataclasses import replace

    x, y, _ = census(records)
    members = draw_members(count, records, SEED)
    base = replace(BASE, epochs=60)
    recipes = {
        "none": base,
        "early stop, 5 epochs": replace(base, epochs=5),
        "early stop, 20 epochs": replace(base, epochs=20),
        "weight decay 1": replace(base, decay=1.0),
        "weight decay 4": replace(base, decay=4.0),
        "dropout 0.5": replace(base, dropout=0.5),
        "dropout 0.8": replace(base, dropout=0.8),
        "8 hidden units": replace(base, width=8),
        "linear model": replace(base, width=0),
    }
    rows, masks = {}, {}
    for name, recipe in recipes.items():
        networks, _ = train_networks(x, y, members, recipe, SEED)
        logits = networks.logits(x)
        right, scores = logits.argmax(-1) == y, logit_scaled(logits, y)
        found = against_others(lira_attack, scores, members, targets)
        rows[name] = measured(found, members, 0.01) | {
            "test": [round(float(r[~m].mean()), 4) for r, m in zip(right[:targets], members, strict=False)],
            "train": [round(float(r[m].mean()), 4) for r, m in zip(right[:targets], members, strict=False)],
            "loss auc": measured(-losses(logits, y)[:targets], members, 0.01)["auc"],
        }
        if name != "none":
            continue
        full = -losses(logits, y)
        views = {"probabilities": full} | {how: masked(logits, y, how) for how in ("one decimal", "top class", "label")}
        for how, view in views.items():
            # what an attacker with shadow models makes of the view: how unusual it is for this record
            usual = against_others(lambda t, s, m: t - np.where(m, 0, s).sum(0) / (~m).sum(0), view, members, targets)
            masks[how] = {
                "threshold": measured(view[:targets], members, 0.01),
                "shadow": measured(usual, members, 0.01),
            }
        masks["probabilities"]["LiRA"] = measured(found, members, 0.01)
        rounded = np.clip(masked(logits, y, "one decimal"), 0.02, 0.98)
        generator = np.random.default_rng(SEED)
        jitter = np.log(rounded / (1 - rounded)) + 0.05 * generator.standard_normal(rounded.shape)
        masks["one decimal"]["LiRA"] = measured(against_others(lira_fixed, jitter, members, targets), members, 0.01)
        for scale in (0.1, 0.2, 0.4):
            steady = steadiness(networks, x, y, scale, 50, SEED)
            odds = np.log((50 * steady + 0.5) / (50 - 50 * steady + 0.5))
            masks[f"label, noise {scale:g}"] = {
                "threshold": measured(steady[:targets], members, 0.01),
                "LiRA": measured(against_others(lira_fixed, odds, members, targets), members, 0.01),
            }
    return {"records": records, "models": count, "targets": targets, "rows": rows, "masks": masks}


def lira_fixed(target: np.ndarray, shadow: np.ndarray, members: np.ndarray) -> np.ndarray:
    return lira_attack(target, shadow, members, variance="fixed")


def copies(records: int = 2000, count: int = 32, targets: int = TARGETS) -> dict[str, Any]:
    """Some people are in the table more than once; then each is in it once."""
    x, y, _ = census(records)
    group = np.arange(records) % 4
    members = np.zeros((count, records), dtype=bool)
    for g in range(4):
        members[:, group == g] = draw_members(count, int((group == g).sum()), SEED + g)
    often = np.repeat(np.arange(records), 2**group)
    rows: dict[str, Any] = {}
    for name, places in (("with copies", often), ("deduplicated", np.arange(records))):
        networks, _ = train_networks(x[places], y[places], members[:, places], BASE, SEED)
        logits = networks.logits(x)
        found = against_others(lira_attack, logit_scaled(logits, y), members, targets)
        right = logits.argmax(-1) == y
        rows[name] = {
            "test": [round(float(r[~m].mean()), 4) for r, m in zip(right[:targets], members, strict=False)],
            **{str(2**g): measured(found[:, group == g], members[:, group == g], 0.01)["auc"] for g in range(4)},
        }
    return {"records": records, "rows": rows}


def reviews(records: int = 6000, count: int = 32, targets: int = TARGETS) -> dict[str, Any]:
    """Heads on word counts and on frozen MiniLM embeddings, and the classifier that was fine-tuned once."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    every = data.load("reviews")
    texts, labels = list(every["text"]), np.array(every["label"])
    chosen = np.random.default_rng(SEED).permutation(len(texts))[:records]
    y = labels[chosen]
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform([texts[i] for i in chosen])
    members = draw_members(count, records, SEED)
    made: dict[str, Any] = {}
    for name, strength in (("tf-idf, C = 0.3", 0.3), ("tf-idf, C = 30", 30.0)):
        scores = np.stack(
            [LogisticRegression(C=strength).fit(counts[m], y[m]).decision_function(counts) for m in members]
        )
        made[name] = _heads(np.stack([-scores / 2, scores / 2], -1), y, members, targets)
    small = 2400
    model, tokenizer = models.load("minilm")
    vectors = embedded(model, tokenizer, [texts[i] for i in chosen[:small]])
    part = draw_members(count, small, SEED)
    for name, recipe in (
        ("MiniLM frozen, linear head", Recipe(width=0, epochs=60, rate=1e-2)),
        ("MiniLM frozen, 64 hidden units", Recipe(width=64, epochs=60)),
    ):
        networks, _ = train_networks(vectors, y[:small], part, recipe, SEED)
        made[name] = _heads(networks.logits(vectors), y[:small], part, targets)
    return {"records": records, "embedded": small, "models": count, "targets": targets, "rows": made, "tuned": tuned()}


def _heads(logits: np.ndarray, y: np.ndarray, members: np.ndarray, targets: int) -> dict[str, Any]:
    right = logits.argmax(-1) == y
    found = {
        "loss": -losses(logits, y)[:targets],
        "LiRA": against_others(lira_fixed, logit_scaled(logits, y), members, targets),
    }
    return {name: measured(rows, members) for name, rows in found.items()} | {
        "test": float(right[~members].mean()),
        "train": float(right[members].mean()),
    }


@torch.no_grad()
def embedded(model: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Return the mean of each text's token vectors, scaled to length 1 and then to deviation 1."""
    from llmsafety_lab.fine_tuning import mean_pool

    rows = []
    for start in runtime.progress(range(0, len(texts), 32), "embedding"):
        batch = tokenizer(texts[start : start + 32], padding=True, truncation=True, max_length=64, return_tensors="pt")
        rows.append(mean_pool(model(**batch).last_hidden_state, batch["attention_mask"]))
    found = torch.nn.functional.normalize(torch.cat(rows), dim=-1).double().numpy()
    return (found - found.mean(0)) / found.std(0)


def tuned(each: int = 2000) -> dict[str, Any]:
    """The loss of the fine-tuned classifier on reviews it was trained on, and on others of the same shuffled file."""
    every = data.load("reviews")
    texts, labels = list(every["text"]), np.array(every["label"])
    model, tokenizer = models.load("reviews-classifier")
    trained = 4500  # the recipe's: the first of the train split, which is shuffled
    places = np.r_[np.arange(each), np.arange(trained, trained + each)]
    logits = logits_of(model, tokenizer, [texts[i] for i in places])
    inside = np.arange(2 * each) < each
    loss = losses(logits, labels[places])
    right = logits.argmax(-1) == labels[places]
    return {
        "each": each,
        "train": float(right[inside].mean()),
        "test": float(right[~inside].mean()),
        "auc": auc(-loss, inside),
        "tpr 0.01": tpr_at_fpr(-loss, inside, 0.01),
        "tpr 0.001": tpr_at_fpr(-loss, inside, 0.001),
        "losses": loss.round(4).tolist(),
    }


@torch.no_grad()
def logits_of(model: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    rows = []
    for start in runtime.progress(range(0, len(texts), 32), "reviews"):
        batch = tokenizer(texts[start : start + 32], padding=True, truncation=True, max_length=48, return_tensors="pt")
        rows.append(model(batch["input_ids"], batch["attention_mask"]))
    return torch.cat(rows).double().numpy()


def windows(texts: list[str], length: int, count: int, generator: np.random.Generator) -> list[str]:
    """Return that many pieces of some texts, none of which overlap."""
    pieces = [text[i : i + length] for text in texts for i in range(1500, len(text) - length, length)]
    return [pieces[i] for i in generator.permutation(len(pieces))[:count]]


def train_lm(
    rows: torch.Tensor, vocabulary: int, epochs: int, stops: tuple[int, ...], seed: int
) -> list[small_lm.SmallLM]:
    """Train a model on some windows, and return copies of it after some of the epochs."""
    import copy
    from dataclasses import replace

    per = len(rows) // SMALL.batch
    torch.manual_seed(seed)
    model = small_lm.SmallLM(vocabulary, replace(SMALL, steps=per * epochs))
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(len(rows))[: per * SMALL.batch] for _ in range(epochs)])
    kept: list[small_lm.SmallLM] = []

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step in {stop * per for stop in stops}:
            kept.append(copy.deepcopy(model))
        batch = rows[order[step * SMALL.batch : (step + 1) * SMALL.batch]]
        return batch[:, :-1], batch[:, 1:]

    share = lambda step: loop.warm_linear(step, per * epochs, 10)  # noqa: E731
    loop.train_lm(model, draw, small_lm.optimisers(model), share, per * epochs, clip=0.0)
    return [*kept, model]


@torch.no_grad()
def token_logs(model: torch.nn.Module, rows: torch.Tensor) -> np.ndarray:
    """Return the log-probability of each token but the first: shape (windows, tokens)."""
    parts = [-cross_entropy(model(part[:, :-1]).mT.float(), part[:, 1:], reduction="none") for part in rows.split(256)]
    return torch.cat(parts).double().numpy()


def encoded(texts: list[str]) -> tuple[torch.Tensor, int]:
    letters = {letter: i for i, letter in enumerate(sorted(set("".join(texts))))}
    return torch.tensor([[letters[letter] for letter in text] for text in texts]), len(letters)


def sources(generator: np.random.Generator, each: int) -> dict[str, tuple[list[str], list[str], str, tuple[int, int]]]:
    """Return for each corpus pieces of one source, and pieces of another that a benchmark might call non-members."""
    works = list(data.load("shakespeare")["text"])
    order = generator.permutation(len(works))
    first, second = ([works[i] for i in order[a : a + 12]] for a in (0, 12))
    lines = ["".join(tokens) for tokens in data.load("people-daily")["tokens"]]
    third = len(lines) // 3
    early, late = ["".join(lines[:third])], ["".join(lines[-third:])]
    return {
        "Shakespeare, by work": (
            windows(first, LENGTH, 4000 + each, generator),
            windows(second, LENGTH, each, generator),
            "word",
            (1, 1),
        ),
        "People's Daily, by day": (
            windows(early, LENGTH, 2500 + each, generator),
            windows(late, LENGTH, each, generator),
            "char",
            (1, 2),
        ),
    }


def language(each: int = 1000, shadows: int = 4, epochs: tuple[int, ...] = (1, 3)) -> dict[str, Any]:
    """Attack a small language model: other sources as non-members, what it never saw as members, a random split."""
    made: dict[str, Any] = {"each": each, "epochs": list(epochs), "shadows": shadows, "trained": {}}
    half = np.arange(2 * each) < each
    for name, (inner, outer, analyzer, ngrams) in sources(np.random.default_rng(SEED), each).items():
        texts, trained = inner + outer, len(inner) - each
        rows, vocabulary = encoded(texts)
        made["trained"][name] = trained
        where = {
            "members": np.arange(each),
            "held out": np.arange(trained, trained + each),
            "other source": np.arange(trained + each, trained + 2 * each),
        }
        compared = (("members", "other source"), ("held out", "other source"), ("members", "held out"))
        part: dict[str, Any] = {}
        for epoch, model in zip((1,), train_lm(rows[:trained], vocabulary, 1, (), SEED), strict=True):
            logs = {place: token_logs(model, rows[i]) for place, i in where.items()}
            views = {
                place: {
                    "loss": log.mean(1),
                    "Min-K% 20": min_k(log),
                    "zlib": zlib_ratio(log, [texts[k] for k in where[place]]),
                }
                for place, log in logs.items()
            }
            part[f"{epoch} epochs"] = {
                "loss in nats": {place: float(-log.mean()) for place, log in logs.items()},
                **{
                    f"{one} | {other}": {
                        view: auc(np.r_[s, views[other][view]], half) for view, s in views[one].items()
                    }
                    for one, other in compared
                },
            }
        part["blind"] = {
            f"{one} | {other}": auc(
                blind_scores(
                    [texts[k] for k in np.r_[where[one], where[other]]], half, analyzer=analyzer, ngrams=ngrams
                ),
                half,
            )
            for one, other in compared
        }
        made[name] = part
        print(name, json.dumps(part), flush=True)
        if name.startswith("Shakespeare"):
            made["shadowed"] = shadowed(rows[:2000], vocabulary, shadows, epochs)
            print(made["shadowed"], flush=True)
    return made


def shadowed(
    rows: torch.Tensor, vocabulary: int, count: int, epochs: tuple[int, ...], targets: int = 4
) -> dict[str, Any]:
    """The random split with shadow models: after one pass over the data, and after several."""
    members = np.concatenate(
        [draw_members(targets, len(rows), SEED), draw_members(count, len(rows), SEED + 1, balanced=True)]
    )
    scores: dict[int, list[np.ndarray]] = {epoch: [] for epoch in epochs}
    for i, inside in enumerate(members):
        trained = train_lm(rows[torch.as_tensor(inside)], vocabulary, epochs[-1], epochs[:-1], SEED + 100 + i)
        for epoch, model in zip(epochs, trained, strict=True):
            scores[epoch].append(token_logs(model, rows).mean(1))
    return {
        f"{epoch} epochs": {
            "loss": measured(np.stack(found)[:targets], members),
            "LiRA": measured(against_others(lira_fixed, np.stack(found), members, targets), members),
        }
        for epoch, found in scores.items()
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "table": table,
    "defences": defences,
    "copies": copies,
    "reviews": reviews,
    "language": language,
}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        made = PARTS[name]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("membership_inference", [SEED]) | {name: made}
        files.replace(RESULT, json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
