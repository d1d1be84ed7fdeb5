"""Exercise 6: the width of a model from its logits."""

from __future__ import annotations

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number
from llmsafety_lab.checks.extraction.bits import PACKAGE, refuses


def _logits(dice: Dice, queries: int, vocabulary: int, width: int, noise: float) -> np.ndarray:
    """Draw logits of a model of that width, whose directions are of very different size, with a rounding error."""
    scales = np.geomspace(1, 0.02, width)
    hidden = dice.normal(queries, width).numpy() * scales + 0.5
    found = hidden @ dice.normal(width, vocabulary).numpy()
    return found + noise * np.abs(found).max() * dice.normal(queries, vocabulary).numpy()


@exercise(
    "extraction.width",
    "The width behind the wall",
    points=2,
    difficulty=2,
    importance=3,
    minutes=9,
    answer="hidden_width",
    forbid=(f"{PACKAGE}.stealing.hidden_width", "numpy.linalg.matrix_rank"),
    mutants=(
        Mutant("counted from zero", "int(ratios.argmax()) + 1", "int(ratios.argmax())", "counts from 0"),
        Mutant(
            "the largest difference",
            "ratios = values[:-1] / values[1:]",
            "ratios = np.where(np.arange(len(values) - 1) == (values[:-1] - values[1:]).argmax(), 1e9, 1)",
            "difference",
        ),
        Mutant("all that is above 0", "return int(ratios.argmax()) + 1", "return int((values > 0).sum())", "rounding"),
        Mutant("the size of the vocabulary", "return int(ratios.argmax()) + 1", "return rows.shape[1]", "vocabulary"),
        Mutant("the number of queries", "return int(ratios.argmax()) + 1", "return len(rows)", "queries"),
        Mutant(
            "log-probabilities",
            "    values = np.linalg.svd(rows,",
            "    rows = rows - np.log(np.exp(rows - rows.max()).sum(1, keepdims=True))\n    values = "
            "np.linalg.svd(rows,",
            "one dimension more",
        ),
        Mutant("no refusal", "    if ratios.max() < 100:", "    if False:", "more queries"),
        Mutant(
            "a fixed threshold",
            "return int(ratios.argmax()) + 1",
            "return int((values > 0.2 * values[0]).sum())",
            "wrong",
        ),
    ),
)
def check_width(answer: Answer, dice: Dice) -> None:
    for noise in (1e-9, 1e-7, 0.0):
        width = dice.integer(9, 20)
        queries, vocabulary = width + dice.integer(5, 15), dice.integer(60, 80)
        logits = _logits(dice, queries, vocabulary, width, noise)
        got = expect_number(answer(logits), "The width")
        hints = {
            width - 1: "Your index counts from 0: one value is before the place 1.",
            width + 1: "You take a number from each row, as a softmax does: that is one dimension more.",
            vocabulary: "This is the size of the vocabulary. The logits lie in a smaller space.",
            queries: "This is the number of queries: small values are rounding errors, and do not count.",
            1: "Is this the largest difference? Take the largest ratio of a singular value to the next.",
        }
        expect(
            got == width,
            f"{queries} rows of {vocabulary} logits, made by a last layer of width {width}: the answer is wrong.",
            expected=width,
            got=got,
            hint=hints.get(
                int(got),
                "Where is the largest ratio of one singular value to the next? A difference or a "
                "threshold does not do.",
            ),
        )
    few = _logits(dice, width - 4, vocabulary, width, 1e-9)
    refuses(
        answer,
        few,
        because="There are no more queries than the width, so no singular value drops: ask for more queries.",
    )
    lone = few.copy()
    lone[0, 0] = np.inf
    refuses(answer, lone, because="A logit that is not finite is taken.")
