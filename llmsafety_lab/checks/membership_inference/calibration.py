"""Exercise 5: each model is judged by the others."""

from __future__ import annotations

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_unchanged
from llmsafety_lab.checks.membership_inference.likelihood import drawn, tensor
from llmsafety_lab.checks.membership_inference.measures import PACKAGE, numbers, refuses


def _calibrated(scores: np.ndarray, members: np.ndarray, slip: str = "") -> np.ndarray:
    found = np.zeros_like(scores)
    for i in range(len(scores)):
        for r in range(scores.shape[1]):
            rest = [
                scores[j, r]
                for j in range(len(scores))
                if (j != i or slip == "itself") and (slip == "all" or bool(members[j, r]) == (slip == "in"))
            ]
            middle = np.median(rest) if slip == "median" else np.mean(rest) if rest else 0.0
            if slip == "count":
                middle = np.sum(rest) / (len(scores) - 1)
            if slip == "counted":
                middle = np.sum(rest) / (len(rest) + (not members[i, r]))
            found[i, r] = scores[i, r] - middle
    if slip == "row":
        return scores - scores.mean(1, keepdims=True)
    if slip == "column":
        return scores - scores.mean(0)
    return -found if slip == "sign" else found


CALIBRATIONS = {
    "itself": "The model is among its own shadow models: where it was not trained on the record, its own score is in "
    "the mean. Take the other models only.",
    "all": "Models that were trained on the record are in your mean. Only those without it say how hard it is.",
    "in": "You take the models that were trained on the record. Take those that were not.",
    "count": "You divide by the number of other models. Divide by how many of them were not trained on the record.",
    "counted": "The model is left out of the sum, and still counted in what you divide by. Leave it out of both.",
    "row": "You subtract the model's mean over the records. How hard a record is, the other models say.",
    "column": "You subtract the mean of all models. Leave the model itself out, and those trained on the record.",
    "median": "This is the median of the other models; the mean is asked for.",
    "sign": "The sign is turned round: high where the model fits better than models that never saw the record.",
}


@exercise(
    "membership_inference.calibrated",
    "Each model by the others",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="calibrated",
    forbid=(f"{PACKAGE}.attacks.calibrated",),
    mutants=(
        Mutant(
            "its own shadow model", "1 - np.eye(len(rows))", "np.ones((len(rows), len(rows)))", "its own shadow models"
        ),
        Mutant(
            "members in the mean",
            "np.where(inside, 0, rows) / count",
            "rows / (len(rows) - 1)",
            "trained on the record",
        ),
        Mutant(
            "itself counted",
            "count = others @ ~inside",
            "count = (~inside).sum(0) + 0 * others @ ~inside",
            "out of both",
        ),
        Mutant("members only", "np.where(inside, 0, rows)", "np.where(inside, rows, 0)", "wrong"),
        Mutant("divided by all", " / count", " / (len(rows) - 1)", "how many of them"),
        Mutant(
            "its own mean",
            "others @ np.where(inside, 0, rows) / count",
            "rows.mean(1, keepdims=True)",
            "mean over the records",
        ),
        Mutant("turned round", "return rows - others", "return -rows + others", "turned round"),
        Mutant("counted in the target's row", "np.where(inside, 0, rows)", "np.where(inside[:1], 0, rows)", "wrong"),
        Mutant("no refusal", "count.min() < 1", "count.min() < 0", "without the record"),
    ),
)
def check_calibrated(answer: Answer, dice: Dice) -> None:
    _, scores, members = drawn(dice, dice.integer(9, 12), dice.integer(6, 9))
    exact = tensor(_calibrated(scores, members))
    mistakes = {words: tensor(_calibrated(scores, members, slip)) for slip, words in CALIBRATIONS.items()}
    called = answer.trace(scores, members)
    got = numbers(called.value, scores.shape, "The calibrated scores")
    hint = "For model i and record r: the mean of scores[j, r] over all j other than i with members[j, r] False."
    expect_close(got, exact, "The calibrated scores", mistakes=mistakes, tolerance=1e-5, hint=hint)
    expect_unchanged(called)
    whole = members.copy()
    whole[:, 0] = True
    whole[0, 0] = False
    refuses(answer, scores, whole, because="Model 0 is the only one without the record: no other can calibrate it.")
