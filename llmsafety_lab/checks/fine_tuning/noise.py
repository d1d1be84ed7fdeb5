"""Exercise 6: which labels to look at again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import either, expect, expect_equal
from llmsafety_lab.checks.fine_tuning.parts import MEASURES

REACHED = "(reached.max(1) >= 0) & "


def _suspects(probabilities: Tensor, labels: Tensor, how: str = "") -> list[int]:
    classes = probabilities.shape[1]
    best, top = probabilities.max(1)
    of = {"predicted": top, "correct": torch.where(top == labels, labels, -1)}.get(how, labels)
    columns = best[:, None].expand_as(probabilities) if how == "best" else probabilities
    averages: dict[str, Callable[[Any], Any]] = {"median": np.median, "max": np.max}
    average = averages.get(how, np.mean)
    held = [columns[(of == c) if how != "all" else of >= 0, c].numpy() for c in range(classes)]
    thresholds = torch.tensor([float(average(one)) if one.size else 1.0 for one in held], dtype=torch.float64)
    if how == "half":
        thresholds[:] = 0.5
    over = probabilities > thresholds if how == "above" else probabilities >= thresholds
    if how == "first":
        over &= probabilities == best[:, None]
    reached = torch.where(over, probabilities - thresholds if how == "gap" else probabilities, -1.0)
    if how == "none":
        reached = probabilities
    if how == "ratio":
        reached = torch.where(over, probabilities / thresholds, -1.0)
    guess = {"first seen": over.int().argmax(1), "top": top}.get(how, reached.argmax(1))
    own = probabilities.gather(1, labels[:, None])[:, 0]
    margin = own - (best if how == "overall" else probabilities.gather(1, guess[:, None])[:, 0])
    kept = guess != labels
    if how != "unreached":
        kept &= reached.max(1).values >= 0
    if how == "missed":
        kept &= own < thresholds[labels]
    if how == "below":
        kept = own < thresholds[labels]
    sign = -1 if how == "last" else 1
    orders = {"own": own, "unsorted": torch.arange(len(own)), "guess": margin - own, "least": own - thresholds[labels]}
    key = orders.get(how, margin)
    if how == "quotient":
        key = own / (own - margin)
    return sorted(kept.nonzero()[:, 0].tolist(), key=lambda i: sign * float(key[i]))


MISTAKES = {
    "above": "A probability equal to the threshold reaches it: at least the threshold, not above it.",
    "none": "You take the most probable class as it is, or your thresholds are next to 0. Each class has a threshold: "
    "a text counts only for a class whose threshold it reaches.",
    "all": "Your thresholds are means over all texts. A class's threshold is the mean over the texts labelled with it.",
    "unreached": "A text that reaches no threshold counts for no class, so it is not suspect: the model is undecided.",
    "last": "The order is turned round: the most suspicious comes first.",
    "own": "Order by the label's probability minus that of the class it counts for, not by the label's alone.",
    "gap": "You take the class that exceeds its threshold by most; of those reached, the most probable counts.",
    "missed": "A text may reach the threshold of its label and count for another class all the same.",
    "overall": "Subtract the probability of the class that the text counts for, not the largest of all.",
    "first": "You take the most probable class and ask whether it reaches its threshold. Turn it round: of the classes "
    "that reach theirs, take the most probable.",
}
MORE = {
    "median": "Your thresholds are medians: a class's threshold is the mean.",
    "max": "Your thresholds are the largest probabilities: a class's threshold is the mean.",
    "half": "Your threshold is one half for all: each class has its own, the mean probability of the texts labelled "
    "with it.",
    "best": "Take the mean of the class's own probability over the texts labelled with it, not of the largest one.",
    "predicted": "A class's threshold is the mean over the texts labelled with it, not over those predicted as it.",
    "correct": "A class's threshold is the mean over all texts labelled with it, also those predicted wrongly.",
    "top": "A text counts for the most probable of the classes whose threshold it reaches, not of all classes.",
    "below": "A text is suspect where it counts for another class than its label. Yours are those below the threshold "
    "of their label.",
    "first seen": "A text may reach several thresholds: it counts for the most probable of those classes.",
    "ratio": "You take the class that exceeds its threshold by most, as a quotient; the most probable counts.",
    "unsorted": "These are the right texts, not sorted: the most suspicious first.",
    "guess": "You order by the other class's probability alone: order by the label's minus that one.",
    "quotient": "You order by a quotient of the two probabilities: take their difference.",
    "least": "You order by the distance to the label's threshold: take the distance to the other class's probability.",
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
        Mutant("above the threshold", "rows >= thresholds", "rows > thresholds", "not above it"),
        Mutant(
            "largest gap",
            "reached.argmax(1)",
            "np.where(rows >= thresholds, rows - thresholds, -1).argmax(1)",
            "the most probable counts",
        ),
        Mutant(
            "own threshold missed",
            "(guess != given)",
            "(guess != given) & (rows[place, given] < thresholds[given])",
            "threshold of its label",
        ),
        Mutant("largest of all", "- rows[place, guess]", "- rows.max(1)", "not the largest of all"),
        Mutant(
            "most probable first",
            "np.where(rows >= thresholds, rows, -1)",
            "np.where((rows >= thresholds) & (rows == rows.max(1, keepdims=True)), rows, -1)",
            "Turn it round",
        ),
    ),
)
def check_noise(answer: Answer, dice: Dice) -> None:
    for _ in range(200):
        texts, classes = dice.integer(60, 80), 4
        truth = dice.integers(0, classes - 1, texts)
        skew = torch.tensor([1.2, 0.0, 0.4, 0.8], dtype=torch.float64)
        logits = 1.2 * torch.nn.functional.one_hot(truth, classes) + skew + 1.3 * dice.normal(texts, classes)
        probabilities = logits.softmax(-1)
        labels = torch.where(dice.uniform(texts) < 0.25, dice.integers(0, classes - 1, texts), truth)
        exact = _suspects(probabilities, labels)
        answers = [exact, *(_suspects(probabilities, labels, how) for how in MISTAKES if how != "above")]
        if len(set(labels.tolist())) == classes and len({tuple(a) for a in answers}) == len(answers):
            break
    tied = torch.tensor(
        [[0.25, 0.5, 0.25], [0.25, 0.625, 0.125], [0.125, 0.625, 0.25], [0.25, 0.125, 0.625], [0.25, 0.25, 0.5]],
        dtype=torch.float64,
    )
    for given, asked in ((labels, probabilities), (torch.tensor([0, 1, 1, 2, 2]), tied)):
        exact = _suspects(asked, given)
        got = answer(asked.numpy(), given.tolist())
        got = got.tolist() if isinstance(got, np.ndarray | torch.Tensor) else got
        expect(
            isinstance(got, list | tuple) and all(type(i) is int for i in got),
            "The answer is not a list of positions.",
            expected="a list of integers",
            got=got,
            hint="Return where the suspects are, by np.flatnonzero, and not a mask.",
        )
        hints = (says for how, says in (MISTAKES | MORE).items() if list(got) == _suspects(asked, given, how))
        other = "Work through one text by hand: which thresholds does it reach, and which of those classes is the most "
        other += "probable?"
        if sorted(got) == sorted(exact):
            other = "These are the right texts in another order: the lowest margin comes first."
        elif len(got) == len(exact):
            other += " (Return positions in the list of all texts, not in that of the suspects, and not labels.)"
        elif len(got) == len(given):
            other = "You return every text: only those that count for another class than their label are suspect."
        expect_equal(list(got), exact, "The list of suspects", hint=either(hints, other))
