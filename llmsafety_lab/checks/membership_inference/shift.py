"""Exercise 6: the classifier that never asks the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.membership_inference.measures import PACKAGE, _area, numbers

WORDS = (
    "river",
    "stone",
    "market",
    "letter",
    "window",
    "garden",
    "bridge",
    "winter",
    "candle",
    "harbour",
    "music",
    "mirror",
    "forest",
    "silver",
    "yellow",
    "narrow",
    "gentle",
    "distant",
    "quiet",
    "sudden",
    "wooden",
    "broken",
    "early",
    "later",
    "always",
    "never",
    "often",
    "seldom",
    "walks",
    "sings",
    "waits",
    "turns",
    "falls",
    "opens",
    "closes",
    "paints",
    "reads",
    "writes",
    "keeps",
    "finds",
)


def _pick(dice: Dice, count: int) -> list[str]:
    return [WORDS[i] for i in dice.integers(0, len(WORDS) - 1, count).tolist()]


def _sign(dice: Dice) -> str:
    """Return a word of six letters that is no word."""
    return "".join(chr(ord("a") + i) for i in dice.integers(0, 25, 6).tolist())


def _texts(dice: Dice, count: int, members: np.ndarray) -> list[str]:
    """Draw texts of random words; most members end in a word of theirs, most others in one of theirs, as long."""
    signs = _sign(dice), _sign(dice)
    marked = dice.uniform(count).numpy() < 0.8
    rest = [word for word in WORDS if len(word) == len(signs[0])]
    last = [
        signs[int(inside)] if mark else rest[dice.integer(0, len(rest) - 1)]
        for inside, mark in zip(members, marked, strict=True)
    ]
    return [" ".join([*_pick(dice, 12), word]) for word in last]


@exercise(
    "membership_inference.blind",
    "Without the model",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="blind_scores",
    forbid=(f"{PACKAGE}.blind.blind_scores",),
    mutants=(
        Mutant(
            "tested on what it was trained on",
            'cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")',
            "learner.fit(list(texts), inside).decision_function(list(texts))",
            "trained on",
        ),
        Mutant(
            "trained on every second text",
            'cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")',
            "learner.fit(list(texts)[::2], inside[::2]).decision_function(list(texts))",
            "trained on",
        ),
        Mutant(
            "a word that it knows by heart",
            'return cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")',
            "last = sorted({text.split()[-1] for text in texts}, key=lambda w: sum(w in text for text in texts))[-2:]\n"
            "    return np.array([len(text) / 1e6 + (min(last) in text) - (max(last) in text) for text in texts])",
            "finds nothing",
        ),
        Mutant("hard labels", 'method="decision_function"', 'method="predict"', "hard labels"),
        Mutant("turned round", "return cross_val_predict", "return -cross_val_predict", "turned round"),
        Mutant(
            "how long the text is",
            "return cross_val_predict",
            "return np.array([float(len(text)) for text in texts]) + 0 * cross_val_predict",
            "finds nothing",
        ),
        Mutant("coins", "list(texts), inside, cv", "list(texts), np.roll(np.sort(inside), 3), cv", "finds nothing"),
        Mutant(
            "length alone", "learner, list(texts)", 'learner, ["word " * len(text) for text in texts]', "finds nothing"
        ),
        Mutant(
            "half of the texts alike",
            'return cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")',
            'found = cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")\n'
            "    return np.where(np.arange(len(found)) % 2, found, 0.0)",
            "every text",
        ),
        Mutant(
            "folds in order",
            "StratifiedKFold(folds, shuffle=True, random_state=seed)",
            "[(np.arange(len(texts)) != -1, np.arange(len(texts)))]",
            "trained on",
        ),
    ),
)
def check_blind(answer: Answer, dice: Dice) -> None:
    count = 240
    shuffled = (torch.randperm(count, generator=dice.generator) < count // 2).numpy()
    ordered = np.arange(count) < count // 2
    coin = [" ".join([*_pick(dice, 12), _sign(dice)]) for _ in range(count)]
    got = _scores(answer, coin, shuffled)
    area = _area(got[shuffled], got[~shuffled])
    expect(
        0.3 < area < 0.66,
        "On texts whose membership is a coin, your scores tell members from non-members.",
        expected="an area near 1/2",
        got=area,
        hint="Is a text scored by a classifier that was trained on it? Then it has learnt the labels by heart: score "
        "each text by one that was trained on the other folds.",
    )
    mixed = _texts(dice, count, shuffled)
    first = _texts(dice, count, ordered)
    for texts, members, order in (
        (mixed, shuffled, "members and non-members mixed"),
        (first, ordered, "all members first"),
        (first, ~ordered, "all members last"),
    ):
        got = _scores(answer, texts, members)
        area = _area(got[members], got[~members])
        hint = (
            "A bag of words sees a word that members have and others have not: is every text scored with its own label?"
        )
        if area < 0.3:
            hint = "It is turned round: the score is high for members."
        if len(np.unique(got)) <= 2 and area > 0.7:
            hint = "These are hard labels, yes or no. Return a score: a decision function or a probability."
            expect(
                False, "There are no more than two different scores.", expected="a score", got=str(got[:3]), hint=hint
            )
        expect(
            area > 0.75,
            f"With {order}, a classifier that never sees the model finds nothing, though 80% of the members hold a "
            "word that no non-member holds.",
            expected="an area of about 0.9",
            got=area,
            hint=hint,
        )
        alike = float((got[:, None] == got).sum() - len(got)) / len(got) ** 2
        hint = "Each text gets the score of the fold that left it out."
        expect(alike < 0.1, "Many scores are the same number: does every text get one?", got=f"{alike:.0%}", hint=hint)
    _scores(answer, texts, members.tolist())


def _scores(answer: Answer, texts: list[str], members: Any) -> np.ndarray:
    got = numbers(answer(texts, members), (len(texts),), "The scores").numpy()
    expect(bool(np.isfinite(got).all()), "A score is not finite.", expected="a number for every text")
    return got
