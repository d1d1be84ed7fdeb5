"""Exercises 4 and 5: how far a model's confidence can be believed, and how to mend it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, either, expect, expect_close, expect_number, expect_unchanged
from llmsafety_lab.checks.fine_tuning.parts import MEASURES, matrix


def _probabilities(dice: Dice, texts: int, classes: int, sharpness: float) -> Tensor:
    return (sharpness * dice.normal(texts, classes)).softmax(-1)


def _by_bins(confidence: Tensor, right: Tensor, bins: int) -> list[tuple[int, float]]:
    """Return for each bin that holds texts how many, and the mean of right minus confidence."""
    of = torch.clamp(torch.ceil(confidence * bins), 1, bins)
    inside = [of == b for b in range(1, bins + 1)]
    return [(int(i.sum()), float((right[i] - confidence[i]).mean())) for i in inside if i.any()]


def _of(place: Tensor, confidence: Tensor, right: Tensor) -> float:
    """Return the error with other bins."""
    return sum(float((right - confidence)[place == one].sum().abs()) for one in place.unique()) / len(place)


def _errors(probabilities: Tensor, labels: Tensor, bins: int) -> tuple[float, dict[str, float], dict[str, float]]:
    """Return the error, and what mistakes give: those that every draw tells apart, and others."""
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
    every, top = probabilities, confidence.max() - confidence.min()
    more = {
        "You divide by nothing: the weight of a bin is its share of the texts.": exact * texts,
        "You divide by the number of bins: the weight of a bin is its share of the texts.": exact * texts / bins,
        "This is the root of the mean square. Take the absolute value, and no root.": (
            sum(count * gap**2 for count, gap in rows) / texts
        )
        ** 0.5,
        "You compare each text's confidence with 0 or 1. Compare a bin's mean with its share of right answers.": float(
            (right - confidence).abs().mean()
        ),
        "You compare confidence with the share of wrong answers: with the share that is right.": sum(
            n * abs(g) for n, g in _by_bins(confidence, 1 - right, bins)
        )
        / texts,
        "Your bins hold equally many texts: they have to be of equal width from 0 to 1.": _of(
            confidence.argsort().argsort() * bins // texts, confidence, right
        ),
        "Your bins begin at the smallest confidence: they cut 0 to 1 into equal widths.": _of(
            torch.ceil((confidence - confidence.min()) / top * bins).clamp(min=1), confidence, right
        ),
        "You round to the nearest end of a bin: a confidence in (0, 1/n] belongs to the first.": _of(
            (confidence * bins).round(), confidence, right
        ),
        "Your bins are one too few: n + 1 ends make n bins.": _of((confidence * (bins - 1)).ceil(), confidence, right),
        "You do not use `bins`.": _of((confidence * 15).ceil(), confidence, right),
        "You do not use `bins`: yours are ten.": _of((confidence * 10).ceil(), confidence, right),
        "Only the largest probability of a text counts, and not every class's.": float(
            (every - torch.nn.functional.one_hot(labels, every.shape[1])).abs().sum() / texts
        ),
    }
    return exact, wrong, more


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
        Mutant("bins ignored", "(probabilities, labels, bins)\n", "(probabilities, labels, 10)\n", "not use `bins`"),
        Mutant("signs cancel", "count * abs(right - confidence)", "count * (right - confidence)", "cancel"),
        Mutant("class 1", "confidence, right = rows.max(1)", "confidence, right = rows[:, 1]", "that of class 1"),
        Mutant(
            "the label's probability",
            "confidence, right = rows.max(1)",
            "confidence, right = rows[np.arange(len(rows)), truth]",
            "cannot know",
        ),
        Mutant("squared", "abs(right - confidence)", "(right - confidence) ** 2", "squared"),
        Mutant(
            "lower ends",
            "np.minimum(np.ceil(confidence * bins).astype(int), bins) - 1",
            "np.minimum((confidence * bins).astype(int), bins - 1)",
            "upper end",
        ),
        Mutant(
            "columns of reliability",
            "float(confidence[inside].mean()), float(right[inside].mean())",
            "float(right[inside].mean()), float(confidence[inside].mean())",
            "mean confidence, then",
        ),
    ),
)
def check_ece(answer: Answer, dice: Dice) -> None:
    for _ in range(60):
        texts, bins, classes = dice.integer(40, 60), dice.integer(6, 9), dice.integer(3, 4)
        probabilities = _probabilities(dice, texts, classes, 2.0)
        labels = torch.where(dice.uniform(texts) < 0.55, probabilities.argmax(1), dice.integers(0, classes - 1, texts))
        exact, wrong, more = _errors(probabilities, labels, bins)
        values = [exact, *(value for says, value in wrong.items() if "at the end" not in says)]
        if min(abs(a - b) for i, a in enumerate(values) for b in values[:i]) > 1e-3:
            break
    got = expect_number(answer(probabilities.numpy(), labels.tolist(), bins), "The error")
    hint = either(
        (says for says, value in (wrong | more).items() if abs(got - value) < 1e-6),
        "In each bin: how many texts, their mean confidence, the share that is right. Bins are (0, 1/n], ...",
    )
    expect(
        abs(got - exact) < 1e-6,
        f"The error of {texts} texts in {bins} bins is wrong.",
        expected=exact,
        got=got,
        hint=hint,
    )
    sure = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for labels_of, expected in (([1, 0], 0.0), ([0, 1], 1.0), ([1, 1], 0.5)):
        got = expect_number(answer(sure, labels_of, bins), "The error")
        expect(
            abs(got - expected) < 1e-9,
            f"Two texts, both with a confidence of 1, of which {labels_of} are the labels: the error is wrong.",
            expected=expected,
            got=got,
            hint="A confidence of exactly 1 belongs into the last bin.",
        )
    edges = np.array([[0.5, 0.25, 0.25], [0.625, 0.25, 0.125]])
    got = expect_number(answer(edges, [0, 1], 4), "The error")
    expect(
        abs(got - 0.5625) < 1e-9,
        "Two texts of confidence 0.5 (right) and 0.625 (wrong) in 4 bins: the error is wrong.",
        expected=0.5625,
        got=got,
        hint="Each bin holds its upper end: 0.5 belongs to the second of four.",
    )
    if answer.ask("has", name="reliability"):
        rows = answer.ask("call", name="reliability", args=[edges, [0, 1], 4], kwargs={})
        rows = matrix(rows, (2, 3), "What reliability returns")
        expect_close(
            rows,
            torch.tensor([[1, 0.5, 1], [1, 0.625, 0]], dtype=torch.float64),
            "What reliability returns for two texts of confidence 0.5 (right) and 0.625 (wrong) in 4 bins",
            hint="A row for each bin that holds texts: how many, their mean confidence, then the share that is right.",
        )


def _loss(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return float(torch.nn.functional.cross_entropy(logits / temperature, labels))


def _best_temperature(logits: Tensor, labels: Tensor) -> float:
    low, high = math.log(1e-3), math.log(1e3)
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
    forbid=(
        f"{MEASURES}.fit_temperature",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.calibration.CalibratedClassifierCV",
    ),
    mutants=(
        Mutant("multiplies", "return 1 / (low * high) ** 0.5", "return (low * high) ** 0.5", "divides the logits"),
        Mutant("climbs", "if slope < 0 else", "if slope > 0 else", "end of the range"),
        Mutant(
            "trusts itself", "own = scores[np.arange(len(scores)), np.asarray(labels)]", "own = scores.max(1)", "labels"
        ),
        Mutant("exp overflows", "scores = scores - scores.max(1, keepdims=True)", "", "exp is infinite"),
        Mutant("stops early", "range(60)", "range(6)", "further"),
        Mutant("narrow range", "low, high = 1e-3, 1e3", "low, high = 0.1, 10", "further"),
        Mutant("half of the range", "low, high = 1e-3, 1e3", "low, high = 1e-2, 1e2", "further"),
        Mutant(
            "logits changed in place",
            "scores = scores - scores.max(1, keepdims=True)",
            "scores -= scores.max(1, keepdims=True)",
            "in place",
        ),
    ),
)
def check_temperature(answer: Answer, dice: Dice) -> None:
    for low, high, shift in (
        (0.3, 0.6, 0.0),
        (1.5, 3.5, 0.0),
        (0.3, 3.5, 2000.0),
        (0.3, 3.5, -2000.0),
        (0.002, 0.004, 0.0),
        (300.0, 600.0, 0.0),
    ):
        scale = low + (high - low) * float(dice.uniform(1))
        texts = 500
        logits = 2 * dice.normal(texts, 3)
        labels = torch.multinomial(logits.softmax(-1), 1, generator=dice.generator)[:, 0]
        logits = logits * scale + 3 * dice.normal(texts, 1) + shift
        best = _best_temperature(logits, labels)
        large = "For logits in the thousands exp is infinite, or 0 in a whole row: subtract each row's largest first."
        called = answer.trace(logits.numpy(), labels.tolist())
        got = expect_number(called.value, "The temperature", hint=large if shift else "One τ for all texts.")
        expect_unchanged(called, hint="`logits -= ...` changes the caller's array; `logits = logits - ...` does not.")
        if abs(got / best - 1) < 0.01:
            continue
        if shift:
            hint = large
        elif got <= 0:
            hint = "A temperature is above 0."
        elif abs(got * best - 1) < 0.01:
            hint = "This is 1/τ. The temperature divides the logits: softmax(logits / τ)."
        elif got < 1.1e-3:
            hint = "Such a τ makes the model ever surer of its own choice. The likelihood is that of the labels."
        elif got > 900:
            hint = "You ended at an end of the range. Follow the slope of the loss downwards, not upwards; the softmax "
            "in it is over the classes, and the logit that counts is that of the text's own label."
        else:
            hint = "The loss still falls towards another τ: search further, until τ moves by less than one per cent."
        raise Failed(
            "The temperature does not give the labels the highest likelihood.",
            expected=f"τ = {best:.4g}, a loss of {_loss(logits, labels, best):.4g}",
            got=f"τ = {got:.4g}" + (f", a loss of {_loss(logits, labels, got):.4g}" if got > 0 else ""),
            hint=hint,
        )
