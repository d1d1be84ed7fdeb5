"""Exercise 1: the share of a label."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect


@exercise(
    "evaluation.share",
    "The share of a label",
    points=2,
    difficulty=1,
    importance=3,
    minutes=5,
    answer="share",
    mutants=[
        Mutant("counts", ") / len(labels)", ")", "the count"),
        Mutant("divides by the kinds", "/ len(labels)", "/ len(set(labels))", "how many kinds"),
        Mutant("the others' share", "label == wanted", "label != wanted", "all other labels"),
        Mutant("takes no labels for zero", 'raise ValueError("there are no labels")', "return 0.0", "ValueError"),
    ],
)
def check_share(answer: Answer, dice: Dice) -> None:
    for _ in range(5):
        labels = [0, 1, 1, *(dice.integer(0, 2) for _ in range(dice.integer(7, 12)))]
        wanted = dice.integer(0, 1)
        count = labels.count(wanted)
        got = answer(labels, wanted)
        if isinstance(got, bool) or not isinstance(got, int | float):
            raise Failed("share does not return a number.", expected="a number from 0 to 1", got=got)
        mistakes = {
            "This is the count. Divide it by the number of labels.": count,
            "You divide by how many kinds of labels there are. Divide by the number of labels.": count / len({*labels}),
            "This is the share of all other labels.": 1 - count / len(labels),
        }
        hint = next((text for text, value in mistakes.items() if abs(got - value) < 1e-9), "")
        right = abs(got - count / len(labels)) < 1e-9
        expect(right, f"The share of {wanted} in {labels} is wrong.", expected=count / len(labels), got=got, hint=hint)
    try:
        answer([], 1)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed("Without labels there is no share.", expected="a ValueError", got="a number")
