"""Watermarks and detectors on SmolLM2's texts: what a notebook has no time to write.

Run it as `python scripts/provenance.py`, or with the names of parts to make only those anew; all of it takes about ten
minutes of a core and writes `results/provenance.json`. Tokens are kept as base64 of 16-bit numbers.
"""

from __future__ import annotations

import base64
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.provenance.attacks import WORD, neighbours, substitute
from llmsafety_lab.provenance.detectors import curvature, surprise
from llmsafety_lab.provenance.green_lists import count_green, green_list, z_score
from llmsafety_lab.provenance.gumbel import gumbel_test
from llmsafety_lab.provenance.tournaments import g_values, tournament
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
SEED, START, TOKENS, TOP, WORDS = 0, 24, 80, 100, 50
MARKED, UNMARKED, REWRITTEN, OTHERS = 24, 48, 16, 48
KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585]
VOCABULARY = 49_152
PARAPHRASED = "green lists, 2"
SHARES = (0.1, 0.2, 0.4)
SCHEMES: dict[str, Choose] = {
    "unmarked": unmarked,
    "green lists, 1": by_green_lists(delta=1.0),
    "green lists, 2": by_green_lists(delta=2.0),
    "green lists, 4": by_green_lists(delta=4.0),
    "Gumbel": by_gumbel(),
    "tournaments": by_tournaments(KEYS),
}
COSTED = {"green lists, 1": 1.0, "green lists, 2": 2.0, "green lists, 4": 4.0, "tournaments": 0.0}
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
        self.model, self.past, self.logs = model, None, None
        self.probable: list[torch.Tensor] = []

    def __call__(self, texts: list[list[int]]) -> torch.Tensor:
        self.note(texts)
        new = torch.tensor(texts if self.past is None else [text[-1:] for text in texts])
        with torch.inference_mode():
            out = self.model(new, past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values
        logits = out.logits[:, -1].float()
        self.logs = logits.log_softmax(-1)
        least = logits.topk(TOP).values[:, -1:]
        return logits.masked_fill(logits < least, -torch.inf).softmax(-1)

    def note(self, texts: list[list[int]]) -> None:
        """Note how probable the tokens that were chosen last are to the model as it is."""
        if self.logs is not None:
            self.probable.append(self.logs.gather(1, torch.tensor([text[-1:] for text in texts]))[:, 0])


@functools.cache
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


def human() -> dict[str, Any]:
    """Return the beginnings of articles, how they go on, and how probable that is to SmolLM2."""
    model, tokenizer = loaded()
    rows = [ids[: START + TOKENS] for ids in articles(tokenizer)[:UNMARKED]]
    probable = [round(float(logs.mean()), 3) for logs, _, _ in logs_of(model, rows[:MARKED], START)]
    return {
        "starts": packed([row[:START] for row in rows]),
        "ids": packed([row[START:] for row in rows]),
        "log-probability": probable,
    }


def written(name: str) -> dict[str, Any]:
    """Return continuations of the same articles by a scheme, and how probable each is to SmolLM2 without it."""
    model, _ = loaded()
    choose = SCHEMES[name]
    starts = unpacked(kept_now()["texts"]["human"]["starts"], START)[: UNMARKED if choose is unmarked else MARKED]
    began, writer = time.process_time(), Writer(model)
    rows = write(writer, starts, TOKENS, choose, SEED)
    writer.note(rows)
    probable = torch.stack(writer.probable, 1).mean(1).tolist()
    seconds = round(time.process_time() - began, 1)
    return {"ids": packed(rows), "log-probability": [round(value, 3) for value in probable], "core seconds": seconds}


def costs_of(model: Any, start: Sequence[int], ids: Sequence[int]) -> dict[str, float]:
    """Return by how much each scheme changes the mean log-probability of a text's tokens.

    At each place of an unmarked text the scheme's distribution and the model's are both known. The difference of their
    means needs no drawn token, and so has none of its noise.
    """
    text = [*start, *ids]
    with torch.inference_mode():
        logits = model(torch.tensor([text]), use_cache=False).logits[0, len(start) - 1 : -1].float()
    changed: dict[str, list[float]] = {name: [] for name in COSTED}
    for place, row in enumerate(logits, len(start)):
        logs, likely = row.log_softmax(-1), row.topk(TOP).indices
        plain = row[likely].double().softmax(-1)
        green = torch.isin(likely, green_list(text[place - 1], VOCABULARY))
        made = {name: plain * torch.exp(delta * green) for name, delta in COSTED.items() if delta}
        made["tournaments"] = tournament(plain, g_values(text[place - 3 : place], likely, KEYS))
        for name, new in made.items():
            changed[name].append(float((new / new.sum() - plain) @ logs[likely].double()))
    return {name: round(float(np.mean(values)), 4) for name, values in changed.items()}


def costed() -> dict[str, list[float]]:
    """Return what each scheme costs on each unmarked text."""
    model, _ = loaded()
    texts = kept_now()["texts"]
    pairs = zip(unpacked(texts["human"]["starts"], START), unpacked(texts["unmarked"]["ids"]), strict=True)
    rows = [costs_of(model, start, ids) for start, ids in pairs]
    return {name: [row[name] for row in rows] for name in COSTED}


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


def plain_texts(tokenizer: Any, name: str) -> list[str]:
    return tokenizer.batch_decode(unpacked(kept_now()["texts"][name]["ids"]))


def attacked(name: str) -> dict[str, Any]:
    """Return, by attack, each text's score, its number of tokens, and how near it is in meaning to what it was.

    Texts of one scheme alone are rewritten too, and their probability to SmolLM2 is kept: both take long.
    """
    model, tokenizer = loaded()
    plain = plain_texts(tokenizer, name)
    vectors, place = models.load("glove")
    common = [word for word in list(place)[:20_000] if word.isalpha() and len(word) > 2]
    matrix = np.array(vectors[[place[word] for word in common]], dtype=float)
    other = neighbours(common, matrix, [word.lower() for row in plain for word in WORD.findall(row)])
    versions: dict[str, list[str]] = {"none": plain}
    found: dict[str, Any] = {"exchanged": {}}
    for share in SHARES:
        pairs = [substitute(row, other, share, number) for number, row in enumerate(plain)]
        versions[f"words, {share:.0%}"] = [text for text, _ in pairs]
        found["exchanged"][f"words, {share:.0%}"] = round(float(np.mean([part for _, part in pairs])), 3)
    if name == PARAPHRASED:
        versions["rewritten"] = paraphrased(model, tokenizer, plain[:REWRITTEN])
    before = meaning(plain)
    for version, each in versions.items():
        ids = [tokenizer(row, add_special_tokens=False)["input_ids"] for row in each]
        good = [number for number, row in enumerate(ids) if len(row) > 20]
        near = (before[: len(each)] * meaning(each)).sum(-1)
        found[version] = {
            "score": [round(score(ids[number], READ[name]), 3) for number in good],
            "tokens": [len(ids[number]) for number in good],
            "meaning": [round(float(near[number]), 3) for number in good],
            "place": good,
        }
        if name == PARAPHRASED and version != "none":
            starts = unpacked(kept_now()["texts"]["human"]["starts"], START)
            logs = logs_of(model, [starts[number] + ids[number] for number in good[: REWRITTEN // 2]], START)
            found[version]["log-probability"] = [round(float(values.mean()), 3) for values, _, _ in logs]
    return found


def normalised(text: str, words: int = WORDS) -> str:
    """Return the first words of a text in lower case, without anything else: nobody is found by a comma."""
    return " ".join(WORD.findall(text.lower())[:words])


def groups(tokenizer: Any) -> dict[str, list[str]]:
    """Return the texts that the detectors are asked about, by kind."""
    others = articles(tokenizer)[UNMARKED : UNMARKED + OTHERS]
    made = {
        "news, the same articles": [normalised(row) for row in plain_texts(tokenizer, "human")],
        "SmolLM2": [normalised(row) for row in plain_texts(tokenizer, "unmarked")],
        "news, others": [normalised(tokenizer.decode(ids[START:])) for ids in others],
        "film reviews": reviews(OTHERS),
        "Shakespeare": shakespeare(OTHERS),
    }
    vectors, place = models.load("glove")
    common = [word for word in list(place)[:2_000] if word.isalpha()]
    rare = {word for row in made["news, others"] for word in row.split() if place.get(word, 10**9) >= 2_000}
    joint = common + sorted(rare & set(place))
    simple = simpler(np.array(vectors[[place[word] for word in joint]], dtype=float), len(common), joint)
    plain = [" ".join(simple.get(word, word) for word in row.split()) for row in made["news, others"]]
    return made | {"news, others, simplified": plain}


def detected(name: str) -> dict[str, Any]:
    """Return what detectors with SmolLM2 say of each text of a kind, and how rare its words are."""
    model, tokenizer = loaded()
    each = groups(tokenizer)[name]
    _, place = models.load("glove")
    logs = logs_of(model, [tokenizer(row, add_special_tokens=False)["input_ids"] for row in each], 1)
    return {
        "log-probability": [round(float(a.mean()), 3) for a, _, _ in logs],
        "curvature": [round(curvature(*three), 3) for three in logs],
        "rare": [round(float(np.mean([place.get(word, 10**9) >= 2_000 for word in row.split()])), 3) for row in each],
        "words": [len(row.split()) for row in each],
    }


def learned() -> dict[str, Any]:
    """Return what tf-idf and logistic regression say, of the texts that they learn from by cross-validation."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    _, tokenizer = loaded()
    kinds = groups(tokenizer)
    both = kinds["news, the same articles"] + kinds["SmolLM2"]
    truth, pair = np.repeat([0, 1], UNMARKED), np.tile(np.arange(UNMARKED), 2)
    learner = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    scores = cross_val_predict(learner, both, truth, groups=pair, cv=GroupKFold(6), method="predict_proba")[:, 1]
    learner.fit(both, truth)
    crossed = {"news, the same articles": scores[:UNMARKED], "SmolLM2": scores[UNMARKED:]}
    return {
        name: [round(float(v), 4) for v in crossed.get(name, learner.predict_proba(each)[:, 1])]
        for name, each in kinds.items()
    }


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
    works = [WORD.findall(text.lower()) for text in data.load("shakespeare")["text"]]
    works = [work for work in works if len(work) > 2_000]
    dice = np.random.default_rng(SEED)
    found = []
    for _ in range(many):
        work = works[dice.integers(len(works))]
        place = int(dice.integers(500, len(work) - WORDS))
        found.append(" ".join(work[place : place + WORDS]))
    return found


KINDS = (
    "news, the same articles",
    "SmolLM2",
    "news, others",
    "news, others, simplified",
    "film reviews",
    "Shakespeare",
)
PARTS: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "human": ("texts", "human", human),
    **{name: ("texts", name, functools.partial(written, name)) for name in SCHEMES},
    **{f"attacks: {name}": ("attacks", name, functools.partial(attacked, name)) for name in READ},
    **{f"detectors: {name}": ("detectors", name, functools.partial(detected, name)) for name in KINDS},
    "tf-idf": ("detectors", "tf-idf", learned),
    "costs": ("quality", "costs", costed),
}


def kept_now() -> dict[str, Any]:
    return json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}


def main() -> None:
    torch.set_num_threads(1)
    for part in sys.argv[1:] or list(PARTS):
        began = time.process_time()
        room, name, make = PARTS[part]
        made, kept = make(), kept_now()
        kept |= runtime.made_by("provenance", [SEED])
        kept |= {"start": START, "tokens": TOKENS, "keys": KEYS, "vocabulary": VOCABULARY}
        kept[room] = kept.get(room, {}) | {name: made}
        files.replace(RESULT, json.dumps(kept, separators=(",", ":")) + "\n")
        print(part, "done", round(time.process_time() - began, 1), flush=True)


if __name__ == "__main__":
    main()
