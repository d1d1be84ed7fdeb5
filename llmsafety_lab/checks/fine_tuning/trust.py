"""Exercises 4 to 6: how far a model's confidence can be believed, how to mend it, and which labels to look at again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checks.fine_tuning.parts import MEASURES
from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect, expect_equal

REACHED = "(reached.max(1) >= 0) & "


def number(got: Any, what: str) -> float:
    """Return an answer that has to be one finite number."""
    if isinstance(got, torch.Tensor | np.ndarray) and np.asarray(got).size == 1:
        got = np.asarray(got).item()
    if type(got) not in (int, float) or not math.isfinite(got):
        kind = got if type(got) in (int, float) else f"a {type(got).__name__}"
        raise Failed(f"{what} is not a finite number.", expected="a float", got=kind)
    return float(got)


def _probabilities(dice: Dice, texts: int, classes: int, sharpness: float) -> Tensor:
    return (sharpness * dice.normal(texts, classes)).softmax(-1)


def _by_bins(confidence: Tensor, right: Tensor, bins: int) -> list[tuple[int, float]]:
    """Return for each bin that holds texts how many, and the mean of right minus confidence."""
    of = torch.clamp(torch.ceil(confidence * bins), 1, bins)
    inside = [of == b for b in range(1, bins + 1)]
    return [(int(i.sum()), float((right[i] - confidence[i]).mean())) for i in inside if i.any()]


def _errors(probabilities: Tensor, labels: Tensor, bins: int) -> tuple[float, dict[str, float]]:
    right = (probabilities.argmax(1) == labels).double()
    confidence = probabilities.max(1).values
    rows = _by_bins(confidence, right, bins)
    texts = len(labels)
    exact = sum(count * abs(gap) for count, gap in rows) / texts
    others = {"label": probabilities.gather(1, labels[:, None])[:, 0], "one": probabilities[:, 1]}
    found = {name: sum(n * abs(g) for n, g in _by_bins(c, right, bins)) / texts for name, c in others.items()}
    wrong = {
        "Every bin counts the same in your mean: weight each bin by how many texts it holds.": sum(
            abs(gap) for _, gap in rows
        )
        / len(rows),
        "Every bin counts the same, the empty ones included: weight each bin by how many texts it holds.": sum(
            abs(gap) for _, gap in rows
        )
        / bins,
        "Gaps of opposite sign cancel: take the absolute value in each bin.": sum(count * gap for count, gap in rows)
        / texts,
        "Gaps of opposite sign cancel: take the absolute value in each bin, not at the end.": abs(
            sum(count * gap for count, gap in rows)
        )
        / texts,
        "Confidence is the largest probability of a text, not the probability of its label: that one the model cannot "
        "know.": found["label"],
        "Confidence is the largest probability of a text, not that of class 1.": found["one"],
        "This is the largest gap. Expected calibration error is the mean gap.": max(abs(gap) for _, gap in rows),
        "This is the squared gap. Take the absolute value.": sum(count * gap**2 for count, gap in rows) / texts,
    }
    return exact, wrong


@exercise(
    "fine_tuning.ece",
    "Expected calibration error",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="expected_calibration_error",
    forbid=(f"{MEASURES}.expected_calibration_error", f"{MEASURES}.reliability"),
    mutants=(
        Mutant(
            "unweighted",
            "(int(inside.sum()), ",
            "(len(truth) / len(np.unique(bin_of)), ",
            "weight each bin",
        ),
        Mutant("signs cancel", "count * abs(right - confidence)", "count * (right - confidence)", "cancel"),
        Mutant("class 1", "confidence, right = rows.max(1)", "confidence, right = rows[:, 1]", "that of class 1"),
        Mutant(
            "the label's probability",
            "confidence, right = rows.max(1)",
            "confidence, right = rows[np.arange(len(rows)), truth]",
            "cannot know",
        ),
        Mutant("squared", "abs(right - confidence)", "(right - confidence) ** 2", "squared"),
    ),
)
def check_ece(answer: Answer, dice: Dice) -> None:
    for _ in range(60):
        texts, bins, classes = dice.integer(40, 60), dice.integer(6, 12), dice.integer(3, 4)
        probabilities = _probabilities(dice, texts, classes, 2.0)
        labels = torch.where(dice.uniform(texts) < 0.55, probabilities.argmax(1), dice.integers(0, classes - 1, texts))
        exact, wrong = _errors(probabilities, labels, bins)
        values = [exact, *(value for says, value in wrong.items() if "at the end" not in says)]
        if min(abs(a - b) for i, a in enumerate(values) for b in values[:i]) > 1e-3:
            break
    got = number(answer(probabilities.numpy(), labels.tolist(), bins), "The error")
    hint = next((says for says, value in wrong.items() if abs(got - value) < 1e-6), "")
    expect(
        abs(got - exact) < 1e-6,
        f"The error of {texts} texts in {bins} bins is wrong.",
        expected=exact,
        got=got,
        hint=hint
        or "In each bin: how many texts, their mean confidence, the share that is right. Bins are (0, 1/n], ...",
    )
    sure = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for labels_of, expected in (([1, 0], 0.0), ([0, 1], 1.0), ([1, 1], 0.5)):
        got = number(answer(sure, labels_of, bins), "The error")
        expect(
            abs(got - expected) < 1e-9,
            f"Two texts, both with a confidence of 1, of which {labels_of} are the labels: the error is wrong.",
            expected=expected,
            got=got,
            hint="A confidence of exactly 1 belongs into the last bin.",
        )


def _loss(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return float(torch.nn.functional.cross_entropy(logits / temperature, labels))


def _best_temperature(logits: Tensor, labels: Tensor) -> float:
    low, high = math.log(0.02), math.log(50)
    for _ in range(100):
        third = (high - low) / 3
        left, right = low + third, high - third
        if _loss(logits, labels, math.exp(left)) < _loss(logits, labels, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


@exercise(
    "fine_tuning.temperature",
    "Cool an overconfident model",
    points=3,
    difficulty=4,
    importance=4,
    minutes=10,
    answer="fit_temperature",
    forbid=(f"{MEASURES}.fit_temperature",),
    mutants=(
        Mutant("multiplies", "return 1 / (low * high) ** 0.5", "return (low * high) ** 0.5", "divides the logits"),
        Mutant("climbs", "if slope < 0 else", "if slope > 0 else", "end of the range"),
        Mutant(
            "trusts itself", "own = scores[np.arange(len(scores)), np.asarray(labels)]", "own = scores.max(1)", "labels"
        ),
        Mutant("stops early", "range(60)", "range(6)", "further"),
    ),
)
def check_temperature(answer: Answer, dice: Dice) -> None:
    for scale in (0.3 + 0.3 * float(dice.uniform(1)), 1.5 + 2 * float(dice.uniform(1))):
        texts = 500
        logits = 2 * dice.normal(texts, 3)
        labels = torch.multinomial(logits.softmax(-1), 1, generator=dice.generator)[:, 0]
        logits = logits * scale + 3 * dice.normal(texts, 1)
        best = _best_temperature(logits, labels)
        got = number(answer(logits.numpy(), labels.tolist()), "The temperature")
        if abs(got / best - 1) < 0.01:
            continue
        if got <= 0:
            hint = "A temperature is above 0."
        elif abs(got * best - 1) < 0.01:
            hint = "This is 1/τ. The temperature divides the logits: softmax(logits / τ)."
        elif got < 0.01:
            hint = "Such a τ makes the model ever surer of its own choice. The likelihood is that of the labels."
        elif got > 90:
            hint = "You ended at an end of the range. Follow the slope of the loss downwards, not upwards."
        else:
            hint = "The loss still falls towards another τ: search further, until τ moves by less than one per cent."
        raise Failed(
            "The temperature does not give the labels the highest likelihood.",
            expected=f"τ = {best:.4g}, a loss of {_loss(logits, labels, best):.4g}",
            got=f"τ = {got:.4g}" + (f", a loss of {_loss(logits, labels, got):.4g}" if got > 0 else ""),
            hint=hint,
        )


def _suspects(probabilities: Tensor, labels: Tensor, how: str = "") -> list[int]:
    classes = probabilities.shape[1]
    thresholds = torch.stack(
        [probabilities[labels == c, c].mean() if how != "all" else probabilities[:, c].mean() for c in range(classes)]
    )
    reached = torch.where(probabilities >= thresholds, probabilities, -1.0)
    if how == "none":
        reached = probabilities
    guess = reached.argmax(1)
    own = probabilities.gather(1, labels[:, None])[:, 0]
    margin = own - probabilities.gather(1, guess[:, None])[:, 0]
    kept = guess != labels
    if how != "unreached":
        kept &= reached.max(1).values >= 0
    sign = -1 if how == "last" else 1
    key = own if how == "own" else margin
    return sorted(kept.nonzero()[:, 0].tolist(), key=lambda i: sign * float(key[i]))


MISTAKES = {
    "none": "You take the most probable class as it is. Each class has a threshold: a text counts only for a class "
    "whose threshold it reaches.",
    "all": "Your thresholds are means over all texts. A class's threshold is the mean over the texts labelled with it.",
    "unreached": "A text that reaches no threshold counts for no class, so it is not suspect: the model is undecided.",
    "last": "The order is turned round: the most suspicious comes first.",
    "own": "Order by the label's probability minus that of the class it counts for, not by the label's alone.",
}


@exercise(
    "fine_tuning.noise",
    "Find labels that are wrong",
    points=4,
    difficulty=4,
    importance=4,
    minutes=13,
    answer="suspects",
    forbid=(f"{MEASURES}.suspects",),
    mutants=(
        Mutant("no thresholds", "np.where(rows >= thresholds, rows, -1)", "rows", "Each class has a threshold"),
        Mutant("thresholds of all", "rows[given == c, c].mean()", "rows[:, c].mean()", "labelled with it"),
        Mutant("no opinion is suspect", REACHED, "", "reaches no threshold"),
        Mutant("turned round", "np.argsort(margin[found]", "np.argsort(-margin[found]", "turned round"),
        Mutant(
            "the label's alone",
            "margin = rows[place, given] - rows[place, guess]",
            "margin = rows[place, given]",
            "not by the label's alone",
        ),
    ),
)
def check_noise(answer: Answer, dice: Dice) -> None:
    for _ in range(200):
        texts, classes = dice.integer(30, 40), 3
        truth = dice.integers(0, classes - 1, texts)
        skew = torch.tensor([1.2, 0.0, 0.4], dtype=torch.float64)
        logits = 1.3 * torch.nn.functional.one_hot(truth, classes) + skew + 0.9 * dice.normal(texts, classes)
        probabilities = logits.softmax(-1)
        labels = torch.where(dice.uniform(texts) < 0.25, dice.integers(0, classes - 1, texts), truth)
        exact = _suspects(probabilities, labels)
        answers = [exact, *(_suspects(probabilities, labels, how) for how in MISTAKES)]
        if len(set(labels.tolist())) == classes and len({tuple(a) for a in answers}) == len(answers):
            break
    got = answer(probabilities.numpy(), labels.tolist())
    if isinstance(got, np.ndarray | torch.Tensor):
        got = got.tolist()
    expect(
        isinstance(got, list) and all(type(i) is int for i in got),
        "The answer is not a list of positions.",
        expected="a list of integers",
        got=got,
    )
    hint = next((says for how, says in MISTAKES.items() if got == _suspects(probabilities, labels, how)), "")
    if not hint and sorted(got) == sorted(exact):
        hint = "These are the right texts in another order: the lowest margin comes first."
    expect_equal(got, exact, "The list of suspects", hint=hint or "Work through one text of the list by hand.")
