"""The kept results of the chapter on adversarial attacks: accuracy of the reviews classifier under attacks.

    python scripts/adversarial_attacks.py

writes `results/adversarial_attacks.json`; about 7 minutes on one core. Each row says which attack, norm, budget, steps
and runs, on which model it was made, and holds one character for each text: 1 where the classifier stayed right.
"""

from __future__ import annotations

import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmsafety_lab import data, files, fine_tuning, models, runtime
from llmsafety_lab.adversarial_attacks.gradients import fgsm, nearest_tokens, pgd, random_noise
from llmsafety_lab.adversarial_attacks.texts import predictions

OUT = Path(__file__).parents[1] / "results" / "adversarial_attacks.json"
SEED, TEXTS, FEWER, MAX_TOKENS, OTHERS = 0, 100, 50, 48, 1_500
LINF, L2 = (0.0005, 0.001, 0.002, 0.004, 0.008), (0.04, 0.08, 0.16)
WIDER = (0.016, 0.032, 0.064, 0.128)


def noise(model: Any, embeddings: Tensor, labels: Tensor, mask: Tensor, eps: float, norm: float = math.inf) -> Tensor:
    return random_noise(embeddings, eps, norm, mask)


def chosen() -> list[dict[str, Any]]:
    """Return the texts of the test split that are attacked, sorted by length so that batches hold little padding."""
    rows = [row for row in data.load("reviews") if row["split"] == "test"][:TEXTS]
    return sorted(rows, key=lambda row: (len(row["text"]), row["text"]))


def other_classifier() -> nn.Module:
    """Train what an attacker might have: the same encoder, fewer and other reviews, another seed."""
    from llmsafety_lab.models.reviews_classifier import RECIPE as recipe

    rows = [row for row in data.load("reviews") if row["split"] == "train"][recipe.texts : recipe.texts + OTHERS]
    encoder, tokenizer = models.load("minilm")
    torch.manual_seed(SEED + 1)
    model = fine_tuning.Classifier(encoder, 2)
    fine_tuning.freeze(model, recipe.frozen)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    options = {"learning_rate": recipe.learning_rate, "max_tokens": recipe.max_tokens, "seed": SEED + 1}
    fine_tuning.fit(model, tokenizer, texts, labels, **options)
    return model.eval()


class Bag(nn.Module):
    """A small classifier of another kind: the mean of the word embeddings, one hidden layer."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.embed = table
        self.layers = nn.Sequential(nn.Linear(table.embedding_dim, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))

    def forward(self, attention_mask: Tensor, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None):
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        return self.layers(fine_tuning.mean_pool(x, attention_mask))


def bag_classifier(table: nn.Embedding, tokenizer: Any) -> nn.Module:
    """Train the small classifier on the reviews that the attacker has."""
    rows = [row for row in data.load("reviews") if row["split"] == "train"][4_500 : 4_500 + OTHERS]
    torch.manual_seed(SEED)
    model = Bag(table)
    model.embed.requires_grad_(False)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    fine_tuning.fit(
        model, tokenizer, texts, labels, epochs=10, batch_size=32, learning_rate=5e-3, max_tokens=MAX_TOKENS
    )
    return model.eval()


def main() -> None:
    runtime.begin("cpu", SEED)
    started = time.process_time()
    rows = chosen()
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    classifier, tokenizer = models.load("reviews-classifier")
    table = classifier.encoder.get_input_embeddings()
    sources = {
        "itself": None,
        "another fine-tune": other_classifier(),
        "bag of words": bag_classifier(table, tokenizer),
    }
    kept: list[dict[str, Any]] = []

    def run(
        attack: Any,
        name: str,
        eps: float = 0.0,
        source: str = "itself",
        texts_used: int = TEXTS,
        words: bool = False,
        **facts: Any,
    ) -> None:
        torch.manual_seed(SEED)
        every = TEXTS // texts_used
        some, right = texts[::every], labels[::every]
        rounds: list[tuple[int, int]] = []

        def recorded(model: Any, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
            delta = attack(model, x, y, mask=mask)
            if words:
                own = (nearest_tokens((x + delta)[mask], table.weight) == nearest_tokens(x[mask], table.weight)).sum()
                rounds.append((int(own), int(mask.sum())))
            return delta

        used = None if attack is None else recorded
        found = predictions(classifier, tokenizer, some, right, used, sources[source], max_tokens=MAX_TOKENS)
        held = "".join("1" if a == b else "0" for a, b in zip(found.tolist(), right, strict=True))
        row = {"attack": name, "eps": eps, "source": source, "of": len(some), "right": held.count("1"), **facts}
        if rounds:
            row |= {"words": sum(every for _, every in rounds), "words_kept": sum(own for own, _ in rounds)}
        kept.append(row | {"held": held})
        print(f"{time.process_time() - started:7.0f} s", {key: row[key] for key in row if key != "held"}, flush=True)

    run(None, "none")
    for name, source in sources.items():
        if source is not None:
            found = predictions(source, tokenizer, texts, labels, max_tokens=MAX_TOKENS)
            right = sum(a == b for a, b in zip(found.tolist(), labels, strict=True))
            kept.append({"attack": "none", "model": name, "eps": 0.0, "of": TEXTS, "right": right})
    for norm, budgets, word in ((math.inf, LINF + WIDER, "inf"), (2, L2, "2")):
        for eps in budgets:
            run(partial(noise, eps=eps, norm=norm), "noise", eps, words=eps in WIDER, norm=word)
            if eps not in WIDER:
                run(partial(fgsm, eps=eps, norm=norm), "FGSM", eps, norm=word)
                run(
                    partial(pgd, eps=eps, norm=norm, steps=10),
                    "PGD",
                    eps,
                    words=eps == 0.008,
                    norm=word,
                    steps=10,
                    restarts=1,
                )
    for steps, restarts in ((1, 1), (2, 1), (5, 1), (10, 1), (20, 1), (10, 4)):
        attack = partial(pgd, eps=0.001, steps=steps, restarts=restarts)
        run(attack, "PGD", 0.001, texts_used=FEWER, norm="inf", steps=steps, restarts=restarts, study="steps")
    for source in ("another fine-tune", "bag of words"):
        for eps in (0.004, 0.008):
            run(partial(pgd, eps=eps, steps=10), "PGD", eps, source, norm="inf", steps=10, restarts=1)

    facts = {
        **runtime.made_by("adversarial_attacks", [SEED]),
        "texts": TEXTS,
        "max_tokens": MAX_TOKENS,
        "others": OTHERS,
        "cpu_seconds": round(time.process_time() - started),
    }
    files.replace(OUT, json.dumps({**facts, "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
