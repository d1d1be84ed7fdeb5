"""Exercise 6: which labels to look at again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_equal
from llmsafety_lab.checks.fine_tuning.parts import MEASURES

REACHED = "(reached.max(1) >= 0) & "


def _suspects(probabilities: Tensor, labels: Tensor, how: str = "") -> list[int]:
    classes = probabilities.shape[1]
    thresholds = torch.stack(
        [probabilities[labels == c, c].mean() if how != "all" else probabilities[:, c].mean() for c in range(classes)]
    )
    over = probabilities > thresholds if how == "above" else probabilities >= thresholds
    best = probabilities.max(1).values
    if how == "first":
        over &= probabilities == best[:, None]
    reached = torch.where(over, probabilities - thresholds if how == "gap" else probabilities, -1.0)
    if how == "none":
        reached = probabilities
    guess = reached.argmax(1)
    own = probabilities.gather(1, labels[:, None])[:, 0]
    margin = own - (best if how == "overall" else probabilities.gather(1, guess[:, None])[:, 0])
    kept = guess != labels
    if how != "unreached":
        kept &= reached.max(1).values >= 0
    if how == "missed":
        kept &= own < thresholds[labels]
    sign = -1 if how == "last" else 1
    key = own if how == "own" else margin
    return sorted(kept.nonzero()[:, 0].tolist(), key=lambda i: sign * float(key[i]))


MISTAKES = {
    "above": "A probability equal to the threshold reaches it: at least the threshold, not above it.",
    "none": "You take the most probable class as it is. Each class has a threshold: a text counts only for a class "
    "whose threshold it reaches.",
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
        )
        hints = [says for how, says in MISTAKES.items() if list(got) == _suspects(asked, given, how)]
        if not hints and sorted(got) == sorted(exact):
            hints = ["These are the right texts in another order: the lowest margin comes first."]
        expect_equal(list(got), exact, "The list of suspects", hint=(*hints, "Work through one text by hand.")[0])
