"""Exercise 1: LoRA's update."""

from __future__ import annotations

import math

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_unchanged


@exercise(
    "parameter_efficient.merge",
    "A change in two thin matrices",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    answer="merge",
    mutants=(
        Mutant("scale forgotten", "alpha / len(A) * (B @ A)", "B @ A", "forgot the scale"),
        Mutant("alpha alone", "alpha / len(A)", "alpha", "divided by the rank"),
        Mutant("rank is the width", "len(A)", "A.shape[1]", "number of A's rows"),
        Mutant("weight left out", "weight + ", "", "the update alone"),
        Mutant("turned round", "(B @ A)", "(B @ A).T", "turned round"),
        Mutant("minus for plus", "return weight + ", "return weight - ", "subtracted"),
        Mutant("root of the rank", "alpha / len(A)", "alpha / len(A) ** 0.5", "square root"),
        Mutant("upside down", "alpha / len(A)", "len(A) / alpha", "upside down"),
        Mutant("whole numbers", "alpha / len(A)", "alpha // len(A)", "`//`"),
        Mutant(
            "in place", "return weight + ", "weight += alpha / len(A) * (B @ A)\n    return weight + 0 * ", "in place"
        ),
    ),
)
def check_merge(answer: Answer, dice: Dice) -> None:
    wide, rank = dice.integer(5, 7), dice.integer(2, 3)
    for outputs, inputs in ((wide, wide), (wide, wide + dice.integer(1, 3))):
        weight, A, B = dice.normal(outputs, inputs), dice.normal(rank, inputs), dice.normal(outputs, rank)
        alpha = rank * dice.integer(2, 4) + 0.5
        update = B @ A
        mistakes = {
            "You forgot the scale alpha / rank: merged, the model would not be the one that was trained.": weight
            + update,
            "Alpha has to be divided by the rank.": weight + alpha * update,
            "The rank is the number of A's rows, not their length.": weight + alpha / inputs * update,
            "This is the update alone. Add it to the weight.": alpha / rank * update,
            "The update was subtracted: add it.": weight - alpha / rank * update,
            "The scale is alpha / rank, not alpha divided by the square root of the rank.": (
                weight + alpha / math.sqrt(rank) * update
            ),
            "The scale stands upside down: it is alpha / rank.": weight + rank / alpha * update,
            "The scale is a whole number: divide with `/`, not with `//`.": weight + alpha // rank * update,
            "The update is turned round: it has the weight's shape, (out, in), so B stands on the left.": (
                weight + alpha / rank * update.T if outputs == inputs else update
            ),
        }
        hint = "W + alpha / rank * B A, where A has `rank` rows."
        called = answer.trace(weight, A, B, alpha)
        expect_close(called.value, weight + alpha / rank * update, "The weight", mistakes=mistakes, hint=hint)
        lost = "You changed an argument in place, and the frozen weight is lost: make a new tensor."
        expect_unchanged(called, message=lost)
