"""Watermarks and detectors on SmolLM2's texts: what a notebook has no time to write.

Run it as `python scripts/provenance.py`, or with the names of parts to make only those anew; all of it takes about ten
minutes of a core and writes `results/provenance.json`. Tokens are kept as base64 of 16-bit numbers.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.provenance.attacks import WORD, neighbours, substitute
from llmsafety_lab.provenance.detectors import curvature, surprise
from llmsafety_lab.provenance.green_lists import count_green, z_score
from llmsafety_lab.provenance.gumbel import gumbel_test
from llmsafety_lab.provenance.writing import (
    Choose,
    by_green_lists,
    by_gumbel,
    by_tournaments,
    gumbel_numbers,
    tournament_marks,
    unmarked,
    write,
)

RESULT = Path(__file__).parents[1] / "results" / "provenance.json"
SEED, START, TOKENS, MARKED, UNMARKED, WORDS, TOP = 0, 24, 100, 40, 120, 60, 100
KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585]
VOCABULARY = 49_152
SHARES = (0.1, 0.2, 0.4, 0.7)
SCHEMES: dict[str, Choose] = {
    "unmarked": unmarked,
    "green lists, 1": by_green_lists(delta=1.0),
    "green lists, 2": by_green_lists(delta=2.0),
    "green lists, 4": by_green_lists(delta=4.0),
    "Gumbel": by_gumbel(),
    "tournaments": by_tournaments(KEYS),
}
READ = {"green lists, 2": "green lists", "Gumbel": "Gumbel", "tournaments": "tournaments"}


def packed(rows: Sequence[Sequence[int]]) -> str:
    """Return rows of as many tokens each as text."""
    return base64.b64encode(np.array(rows, dtype="<u2").tobytes()).decode()


def unpacked(text: str, width: int = TOKENS) -> list[list[int]]:
    """Return the rows of tokens."""
    return np.frombuffer(base64.b64decode(text), dtype="<u2").reshape(-1, width).astype(int).tolist()


def score(ids: Sequence[int], how: str) -> float:
    """Return how many standard deviations of a normal distribution a text is away from one without that watermark."""
    if how == "green lists":
        return z_score(*count_green(ids, VOCABULARY))
    if how == "Gumbel":
        _, p = gumbel_test(gumbel_numbers(ids, VOCABULARY))
        return float(stats.norm.isf(max(p, 1e-300)))
    marks = tournament_marks(ids, KEYS)
    return float((marks.sum() - marks.numel() / 2) / (marks.numel() / 4) ** 0.5)


class Writer:
    """SmolLM2 as a source of probabilities, the hundred likeliest tokens of each place; it reads no token twice."""

    def __init__(self, model: Any) -> None:
        self.model, self.past = model, None

    def __call__(self, texts: list[list[int]]) -> torch.Tensor:
        new = torch.tensor(texts if self.past is None else [text[-1:] for text in texts])
        with torch.inference_mode():
            out = self.model(new, past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values
        logits = out.logits[:, -1].float()
        least = logits.topk(TOP).values[:, -1:]
        return logits.masked_fill(logits < least, -torch.inf).softmax(-1)


def loaded() -> tuple[Any, Any]:
    model, tokenizer = models.load("smollm2")
    return model.to(torch.bfloat16).eval(), tokenizer


def articles(tokenizer: Any) -> list[list[int]]:
    """Return long articles as tokens, in an order that the seed draws, no two with the same beginning."""
    rows = data.load("news")
    long = sorted({row[:200]: row for row in rows["text"] if len(row.split()) >= START + TOKENS}.values())
    order = np.random.default_rng(SEED).permutation(len(long))
    made = (tokenizer(long[int(place)])["input_ids"] for place in order)
    return [ids for ids in made if len(ids) >= START + TOKENS][:400]


def logs_of(model: Any, rows: Sequence[Sequence[int]], skip: int) -> list[tuple[torch.Tensor, ...]]:
    """Return of each text what `surprise` says of its tokens after the first ones."""
    found = []
    for row in rows:
        ids = torch.tensor(row)
        with torch.inference_mode():
            logits = model(ids[None], use_cache=False).logits[0]
        found.append(surprise(logits[skip - 1 : -1], ids[skip:]))
    return found


def texts() -> dict[str, Any]:
    """Return continuations of the same articles by each scheme, the articles' own, and how probable each is."""
    model, tokenizer = loaded()
    found = articles(tokenizer)[:UNMARKED]
    starts, human = [ids[:START] for ids in found], [ids[START : START + TOKENS] for ids in found]
    rows, seconds, probable = {"human": human}, {}, {}
    for name, choose in SCHEMES.items():
        began = time.process_time()
        many = UNMARKED if choose is unmarked else MARKED
        rows[name] = write(Writer(model), starts[:many], TOKENS, choose, SEED)
        seconds[name] = round(time.process_time() - began, 1)
        print(name, seconds[name], repr(tokenizer.decode(rows[name][0])[:200]), flush=True)
    for name, each in rows.items():
        whole = [start + row for start, row in zip(starts[:MARKED], each[:MARKED], strict=True)]
        probable[name] = [round(float(logs.mean()), 3) for logs, _, _ in logs_of(model, whole, START)]
    return {
        "starts": packed(starts),
        "ids": {name: packed(each) for name, each in rows.items()},
        "log-probability": probable,
        "core seconds": seconds,
    }


def meaning(rows: Sequence[str]) -> torch.Tensor:
    """Return a unit vector of MiniLM for each text."""
    from torch.nn.functional import normalize

    encoder, tokenizer = models.load("minilm")
    batch = tokenizer(list(rows), padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def paraphrased(model: Any, tokenizer: Any, rows: Sequence[str]) -> list[str]:
    """Return what SmolLM2 makes of texts that it is asked to rewrite."""
    ask = "Rewrite the following text in your own words. Keep its meaning and its length.\n\n"
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": ask + row}], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    tokenizer.padding_side = "left"
    batch = tokenizer(chats, padding=True, return_tensors="pt")
    torch.manual_seed(SEED)
    with torch.inference_mode():
        out = model.generate(
            **batch, do_sample=True, top_k=TOP, max_new_tokens=TOKENS, pad_token_id=tokenizer.eos_token_id
        )
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def attacks() -> dict[str, Any]:
    """Return, by scheme and attack, each text's score, how probable it is to the model, and how near in meaning."""
    model, tokenizer = loaded()
    kept = json.loads(RESULT.read_text(encoding="utf-8"))["texts"]
    starts = unpacked(kept["starts"], START)[:MARKED]
    vectors, place = models.load("glove")
    common = list(place)[:20_000]
    common = [word for word in common if word.isalpha() and len(word) > 2]
    rows_of = {word: place[word] for word in common}
    matrix = np.array(vectors[list(rows_of.values())], dtype=float)
    found: dict[str, Any] = {}
    for name, how in READ.items():
        plain = tokenizer.batch_decode(unpacked(kept["ids"][name]))
        other = neighbours(common, matrix, [word.lower() for row in plain for word in WORD.findall(row)])
        versions: dict[str, list[str]] = {"none": list(plain)}
        exchanged = {}
        for share in SHARES:
            pairs = [substitute(row, other, share, number) for number, row in enumerate(plain)]
            versions[f"words, {share:.0%}"] = [text for text, _ in pairs]
            exchanged[f"words, {share:.0%}"] = round(float(np.mean([part for _, part in pairs])), 3)
        versions["rewritten"] = paraphrased(model, tokenizer, plain)
        before = meaning(plain)
        found[name] = {"exchanged": exchanged}
        for version, each in versions.items():
            ids = [tokenizer(row, add_special_tokens=False)["input_ids"] for row in each]
            good = [len(row) > 20 for row in ids]
            logs = logs_of(model, [s + row for s, row, g in zip(starts, ids, good, strict=True) if g], START)
            near = (before * meaning(each)).sum(-1)
            found[name][version] = {
                "score": [round(score(row, how), 3) for row, g in zip(ids, good, strict=True) if g],
                "tokens": [len(row) for row, g in zip(ids, good, strict=True) if g],
                "log-probability": [round(float(values.mean()), 3) for values, _, _ in logs],
                "meaning": [round(float(value), 3) for value, g in zip(near, good, strict=True) if g],
                "place": [number for number, g in enumerate(good) if g],
            }
            print(name, version, np.mean(found[name][version]["score"]), flush=True)
    return found


def normalised(text: str, words: int = WORDS) -> str:
    """Return the first words of a text in lower case, without anything else: nobody is found by a comma."""
    return " ".join(WORD.findall(text.lower())[:words])


def detectors() -> dict[str, Any]:
    """Return what detectors without a key say of texts by people, of several kinds, and by SmolLM2."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    model, tokenizer = loaded()
    kept = json.loads(RESULT.read_text(encoding="utf-8"))["texts"]
    found = articles(tokenizer)
    pairs = {
        name: [normalised(t) for t in tokenizer.batch_decode(unpacked(kept["ids"][name]))]
        for name in ("human", "unmarked")
    }
    vectors, place = models.load("glove")
    common = [word for word in list(place)[:2_000] if word.isalpha()]
    groups = {
        "news, the same articles": pairs["human"],
        "SmolLM2": pairs["unmarked"],
        "news, others": [normalised(tokenizer.decode(ids[START:])) for ids in found[UNMARKED : UNMARKED + 160]],
        "film reviews": reviews(160),
        "Shakespeare": shakespeare(160),
    }
    rare = {w for row in groups["news, others"] for w in row.split() if place.get(w, 10**9) >= 2_000}
    joint = common + sorted(rare & set(place))
    matrix = np.array(vectors[[place[word] for word in joint]], dtype=float)
    simple = simpler(matrix, len(common), joint)
    groups["news, others, simplified"] = [
        " ".join(simple.get(w, w) for w in row.split()) for row in groups["news, others"]
    ]
    rows: dict[str, Any] = {}
    for name, each in groups.items():
        ids = [tokenizer(row, add_special_tokens=False)["input_ids"] for row in each]
        logs = logs_of(model, ids, 1)
        rows[name] = {
            "log-probability": [round(float(a.mean()), 3) for a, _, _ in logs],
            "curvature": [round(curvature(*three), 3) for three in logs],
            "rare": [round(float(np.mean([place.get(w, 10**9) >= 2_000 for w in row.split()])), 3) for row in each],
            "words": [len(row.split()) for row in each],
        }
        print(name, len(each), np.mean(rows[name]["curvature"]), np.mean(rows[name]["log-probability"]), flush=True)
    both = pairs["human"] + pairs["unmarked"]
    truth, pair = np.repeat([0, 1], UNMARKED), np.tile(np.arange(UNMARKED), 2)
    learner = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    scores = cross_val_predict(learner, both, truth, groups=pair, cv=GroupKFold(5), method="predict_proba")[:, 1]
    learner.fit(both, truth)
    for name, each in groups.items():
        given = {"news, the same articles": scores[:UNMARKED], "SmolLM2": scores[UNMARKED:]}.get(name)
        values = learner.predict_proba(each)[:, 1] if given is None else given
        rows[name]["tf-idf"] = [round(float(value), 4) for value in values]
    return rows


def simpler(matrix: np.ndarray, common: int, words: Sequence[str]) -> dict[str, str]:
    """Return for each rare word the nearest of the common ones, which come first."""
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    best = (unit[common:] @ unit[:common].T).argmax(1)
    return {word: words[int(place)] for word, place in zip(words[common:], best, strict=True)}


def reviews(many: int) -> list[str]:
    """Return the longest judgements on films: most are shorter than the other texts."""
    rows = sorted({normalised(row) for row in data.load("reviews")["text"]}, key=lambda row: (-len(row.split()), row))
    return rows[:many]


def shakespeare(many: int) -> list[str]:
    """Return passages from the plays, as many words each, from places that the seed draws."""
    works = [" ".join(WORD.findall(text.lower())).split() for text in data.load("shakespeare")["text"]]
    dice = np.random.default_rng(SEED)
    found = []
    for _ in range(many):
        work = works[dice.integers(len(works))]
        place = int(dice.integers(500, len(work) - WORDS))
        found.append(" ".join(work[place : place + WORDS]))
    return found


def main() -> None:
    torch.set_num_threads(1)
    parts = {"texts": texts, "attacks": attacks, "detectors": detectors}
    wanted = sys.argv[1:] or list(parts)
    for part in wanted:
        made = parts[part]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("provenance", [SEED])
        kept |= {"start": START, "tokens": TOKENS, "keys": KEYS, "vocabulary": VOCABULARY, part: made}
        files.replace(RESULT, json.dumps(kept, separators=(",", ":")) + "\n")
        print(part, "done", time.process_time(), flush=True)


if __name__ == "__main__":
    main()
