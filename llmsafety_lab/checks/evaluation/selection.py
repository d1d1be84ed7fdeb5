"""Exercise 2: choose on some items, report on others."""

from __future__ import annotations

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_list, expect_number, expect_unchanged
from llmsafety_lab.checks.evaluation.uncertainty import PACKAGE, refuses, tensor, three
from llmsafety_lab.statistics import mean_interval


def _drawn(dice: Dice) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores for which each wrong way to choose gives a winner of its own."""
    while True:
        scores = (dice.uniform(7, 36).numpy() < 0.6).astype(float)
        choosing = dice.uniform(36).numpy() < 0.4
        means = scores[:, choosing].mean(1)
        top = np.flatnonzero(means == means.max())
        wrong = [scores.mean(1).argmax(), scores[:, ~choosing].mean(1).argmax(), means.argmin(), top[-1]]
        if 5 < choosing.sum() < 25 and len({int(i) for i in (top[0], *wrong)}) == 5:
            return scores, choosing


@exercise(
    "evaluation.best",
    "The best of several",
    points=3,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="best_on_fresh",
    forbid=(f"{PACKAGE}.selection.best_on_fresh",),
    mutants=(
        Mutant("best prompt reported", "found[winner, ~mask]", "found[winner, mask]", "by which it was chosen"),
        Mutant("chosen by all items", "found[:, mask].mean(1)", "found.mean(1)", "by all items"),
        Mutant("chosen by the fresh items", "found[:, mask].mean(1)", "found[:, ~mask].mean(1)", "by the fresh items"),
        Mutant("reported on all items", "found[winner, ~mask]", "found[winner]", "all items"),
        Mutant("the worst", "means.argmax()", "means.argmin()", "worst"),
        Mutant("the last of equals", "int(means.argmax())", "len(means) - 1 - int(means[::-1].argmax())", "the first"),
        Mutant("level ignored", "found[winner, ~mask], level)", "found[winner, ~mask])", "level"),
        Mutant("shown on fresh items", "float(means[winner])", "float(found[winner, ~mask].mean())", "shown"),
        Mutant("refuses two items", "(~mask).sum() < 2", "(~mask).sum() < 3", "Two are left"),
        Mutant("no items to choose by", "not mask.any() or (~mask).sum() < 2", "False", "ValueError"),
    ),
)
def check_best(answer: Answer, dice: Dice) -> None:
    scores, choosing = _drawn(dice)
    means = scores[:, choosing].mean(1)
    right = int(means.argmax())
    called = answer.trace(scores, choosing)
    got = expect_list(called.value, "What best_on_fresh returns", length=3, expected="(winner, shown, fresh)")
    winner = expect_number(got[0], "The winner")
    wrong = {
        float(scores.mean(1).argmax()): "You chose by all items. Then none is left on which nothing was chosen.",
        float(scores[:, ~choosing].mean(1).argmax()): "You chose by the fresh items: choose where choosing is True.",
        float(means.argmin()): "This is the worst candidate.",
        float(np.flatnonzero(means == means.max())[-1]): "Two have the best mean: take the first of them.",
    }
    hint = wrong.get(winner, "Take the mean of each candidate over the items where choosing is True.")
    expect(winner == right, "The winner is wrong.", expected=right, got=got[0], hint=hint)
    shown = expect_number(got[1], "The score shown")
    hint = "What is shown is the winner's mean on the items by which it was chosen."
    expect(
        abs(shown - means[right]) < 1e-6,
        "The score shown is wrong.",
        expected=float(means[right]),
        got=shown,
        hint=hint,
    )
    exact = tensor(mean_interval(scores[right, ~choosing]))
    mistakes = {
        "You report the items by which it was chosen. Of several candidates the luckiest was chosen there: report on "
        "the others.": tensor(mean_interval(scores[right, choosing])),
        "You report on all items. Those by which it was chosen are still among them.": tensor(
            mean_interval(scores[right])
        ),
    }
    expect_close(
        three(got[2], "the fresh score"), exact, "The fresh score", mistakes=mistakes, hint="Use mean_interval."
    )
    expect_unchanged(called)
    got = expect_list(answer(scores, choosing, level=0.8), "What best_on_fresh returns", length=3)
    exact = tensor(mean_interval(scores[right, ~choosing], 0.8))
    expect_close(three(got[2], "the fresh score"), exact, "The fresh score at the level 0.8", hint="Pass the level on.")
    nearly = np.ones(36, dtype=bool)
    nearly[3:5] = False
    scores[:, 3:5] = 0, 1
    try:
        got = expect_list(answer(scores, nearly), "What best_on_fresh returns", length=3)
    except Failed as failed:
        said = "Two are left to report on, and that is enough for an interval."
        raise Failed(said, expected="(winner, shown, fresh)", got=failed.got or failed.message) from None
    expect_close(three(got[2], "the fresh score"), tensor(mean_interval([0.0, 1.0])), "The fresh score of two items")
    nearly[4] = True
    for mask, because in (
        (nearly, "One item is left to report on: it has no spread."),
        (~np.ones(36, dtype=bool), "There is no item to choose by."),
    ):
        try:
            refuses(answer, scores, mask, because=because)
        except Failed as failed:
            raise Failed(f"{because} {failed.message}", expected="a ValueError", got=failed.got) from None
