"""Make results/fine_tuning.json, the kept results of the chapter on fine-tuning: `python scripts/fine_tuning.py`.

MiniLM is fine-tuned on the first 250 and 1,000 reviews of the train split, with three seeds, beside tf-idf and a frozen
encoder; and with three learning rates, where what it still knows of news topics is measured, too. Each run is a row;
rows that are there already are not made again. About six CPU minutes on one thread.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from llmsafety_lab import data, files, fine_tuning, models, runtime
from llmsafety_lab.fine_tuning import measures
from llmsafety_lab.fine_tuning.measures import score

TARGET = Path(__file__).parents[1] / "results" / "fine_tuning.json"
TESTED, MAX_TOKENS = 1_000, 48
ALL = 10_752


def tuned(texts: int, seed: int, frozen: int = 3, learning_rate: float = 2e-4) -> dict:
    """Return one run of fine-tuning."""
    return {
        "method": "fine-tuned",
        "texts": texts,
        "seed": seed,
        "pooling": "mean",
        "frozen": frozen,
        "learning_rate": learning_rate,
    }


SLICE = {**tuned(96, 0), "tested": 60}
"""A row in small, which is made in seconds; it is kept to be compared, and shown nowhere."""

RUNS = [
    *({"method": "tf-idf", "texts": n, "seed": 0} for n in (250, 1_000, 4_000, ALL)),
    *({"method": "frozen", "texts": n, "seed": 0} for n in (250, 1_000)),
    *(tuned(n, seed) for n in (250, 1_000) for seed in range(3)),
    *(tuned(1_000, 0, frozen=0, learning_rate=rate) for rate in (2e-5, 2e-4, 1e-3)),
]


def reviews() -> tuple[list[str], list[int], list[str], list[int]]:
    """Return the training texts and labels, and the first test texts and labels."""
    rows = data.load("reviews")
    train = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"][:TESTED]
    return *([row[name] for row in train] for name in ("text", "label")), *(
        [r[name] for r in test] for name in ("text", "label")
    )


def news(each: int = 40) -> tuple[list[str], list[int]]:
    """Return the first texts of each topic, as many of each."""
    rows = data.load("news")
    kept = [r for topic in range(8) for r in [r for r in rows if r["label"] == topic][:each]]
    return [row["text"] for row in kept], [row["label"] for row in kept]


def embedded(model: fine_tuning.Classifier, tokenizer, texts: list[str]) -> np.ndarray:
    """Return the mean vector of each text's tokens in the encoder's last layer."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                texts[start : start + 32], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
            )
            hidden = model.encoder(**batch).last_hidden_state
            vectors.append(fine_tuning.mean_pool(hidden, batch["attention_mask"]))
    return torch.cat(vectors).numpy()


def neighbours_agree(model: fine_tuning.Classifier, tokenizer, texts: list[str], topics: list[int]) -> float:
    """Return the share of texts whose nearest other text, by cosine, has the same topic."""
    vectors = embedded(model, tokenizer, texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -1)
    return float((np.array(topics)[near.argmax(1)] == topics).mean())


def small_row(train: list[str], labels: list[int], test: list[str], test_labels: list[int]) -> dict:
    """Return the row in small: its losses step by step, and the test texts' probabilities of the label 1."""
    model, tokenizer, losses = fine_tuned(SLICE, train, labels)
    n = SLICE["tested"]
    found = fine_tuning.evaluate(model, tokenizer, test[:n], test_labels[:n], max_tokens=MAX_TOKENS).probabilities
    return {
        "losses": [round(loss, 4) for loss in losses],
        "probabilities": [round(float(one), 4) for one in found[:, 1]],
    }


def fine_tuned(run: dict, train: list[str], labels: list[int]) -> tuple:
    """Return the model of a run, its tokenizer, and the losses of its steps."""
    encoder, tokenizer = models.load("minilm")
    torch.manual_seed(run["seed"])
    model = fine_tuning.Classifier(encoder, 2, run["pooling"]).eval()
    fine_tuning.freeze(model, run["frozen"])
    n, rate, seed = run["texts"], run["learning_rate"], run["seed"]
    losses = fine_tuning.fit(
        model, tokenizer, train[:n], labels[:n], learning_rate=rate, max_tokens=MAX_TOKENS, seed=seed
    )
    return model, tokenizer, losses


def probabilities_of(run: dict, train, labels, test, test_labels, known) -> tuple[np.ndarray, dict]:
    """Carry out one run; return the probabilities of the test texts and what else was measured."""
    n = run["texts"]
    if run["method"] == "tf-idf":
        return measures.baseline(train[:n], labels[:n], test), {}
    if run["method"] == "frozen":
        encoder, tokenizer = models.load("minilm")
        torch.manual_seed(run["seed"])
        model = fine_tuning.Classifier(encoder, 2, "mean").eval()
        head = LogisticRegression(C=1, max_iter=2000).fit(embedded(model, tokenizer, train[:n]), labels[:n])
        more = {"news": neighbours_agree(model, tokenizer, *known)} if n == 250 else {}
        return head.predict_proba(embedded(model, tokenizer, test)), more
    model, tokenizer, losses = fine_tuned(run, train, labels)
    found = fine_tuning.evaluate(model, tokenizer, test, test_labels, max_tokens=MAX_TOKENS).probabilities
    more = {"news": neighbours_agree(model, tokenizer, *known)} if run["frozen"] == 0 else {}
    return found, more | {"loss": float(np.mean(losses[-10:]))}


def main() -> None:
    runtime.begin("ci")
    kept = json.loads(TARGET.read_text()) if TARGET.exists() else {"rows": []}
    sets, known = reviews(), news()
    truth = np.array(sets[3])
    if kept.get("slice", {}).get("of") != SLICE:
        kept["slice"] = {"of": SLICE} | small_row(*sets) | {"made": runtime.made_by("fine_tuning", [SLICE["seed"]])}
        files.replace(TARGET, json.dumps(kept, indent=1) + "\n")
    for run in RUNS:
        if any(run.items() <= row.items() for row in kept["rows"]):
            continue
        found, more = probabilities_of(run, *sets, known)
        measured = score(found, truth)
        row = run | {name: round(getattr(measured, name), 4) for name in ("accuracy", "macro_f1", "ece")}
        row["right"] = np.packbits(found.argmax(1) == truth).tobytes().hex()
        kept["rows"].append(row | {name: round(value, 4) for name, value in more.items()})
        kept |= runtime.made_by("fine_tuning", range(3)) | {"tested": TESTED, "max_tokens": MAX_TOKENS}
        files.replace(TARGET, json.dumps(kept, indent=1) + "\n")
        print({name: value for name, value in kept["rows"][-1].items() if name != "right"}, flush=True)


if __name__ == "__main__":
    main()
