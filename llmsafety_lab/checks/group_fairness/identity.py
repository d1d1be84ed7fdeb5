"""Exercise 2: the identity, solved for the false negative rate."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number
from llmsafety_lab.checks.group_fairness.shared import CLOSE


@exercise(
    "group_fairness.identity",
    "What the base rate leaves possible",
    points=2,
    difficulty=2,
    importance=4,
    minutes=6,
    answer="remaining_fnr",
    mutants=(
        Mutant("base rate upside down", "(1 - base_rate) / base_rate", "base_rate / (1 - base_rate)", "p / (1 - p)"),
        Mutant("predictive value upside down", "ppv / (1 - ppv)", "(1 - ppv) / ppv", "PPV / (1 - PPV)"),
        Mutant("the true positive rate", "fnr = 1 - fpr *", "fnr = fpr *", "true positive rate"),
        Mutant("clipped", "if -1e-12 <= fnr <= 1 else None", "if -1e-12 <= fnr <= 1 else 0.0", "None"),
        Mutant("a little below zero", "-1e-12 <= fnr <= 1", "-0.2 <= fnr <= 1", "None"),
        Mutant("below zero", "return fnr if -1e-12 <= fnr <= 1 else None", "return fnr", "None"),
        Mutant("base rate left out", "fpr * (1 - base_rate) / base_rate *", "fpr *", "base rate"),
        Mutant("shares for odds", "(1 - base_rate) / base_rate", "1 / base_rate", "wrong"),
    ),
)
def check_identity(answer: Answer, dice: Dice) -> None:
    asked = 0
    while asked < 12:
        tn, fp, fn, tp = (dice.integer(3, 60) for _ in range(4))
        n = tn + fp + fn + tp
        p, ppv, fpr, fnr = (fn + tp) / n, tp / (tp + fp), fp / (fp + tn), fn / (fn + tp)
        upside_down = (
            1 - fpr * p / (1 - p) * ppv / (1 - ppv),
            1 - fpr * (1 - p) / p * (1 - ppv) / ppv,
            1 - fpr * ppv / (1 - ppv),
        )
        if min(upside_down) < 0 or min(abs(value - fnr) for value in upside_down) < 0.01:
            continue  # the usual mistakes are to have values of their own
        asked += 1
        got = answer(p, ppv, fpr)
        counts = f"with {tp} true and {fp} false positives, {tn} true and {fn} false negatives"
        hint = "Write TP, FP, FN and TN as shares of everybody. Then tp = p (1 - FNR), and fp / tp = (1 - PPV) / PPV."
        if got is None:
            raise Failed(f"There is such a classifier, {counts}.", expected=fnr, got="None", hint=hint)
        value = expect_number(got, "The false negative rate")
        slips = {
            "The odds of the base rate are upside down: FPR has p / (1 - p), solved for FNR it is (1 - p) / p.": (
                upside_down[0]
            ),
            "The odds of the predictive value are upside down: it is PPV / (1 - PPV).": (upside_down[1]),
            "This is the true positive rate. The false negative rate is 1 minus it.": 1 - fnr,
            "The base rate does not enter: that is where the whole conflict comes from.": upside_down[2],
        }
        slip = next((words for words, wrong in slips.items() if abs(wrong - value) < CLOSE), hint)
        expect(abs(value - fnr) < CLOSE, f"FNR is wrong, {counts}.", expected=fnr, got=value, hint=slip)
    for below in (0.01, 0.1, 0.4, 3.0):
        _impossible(answer, dice, below * (1 + 0.5 * float(dice.uniform(1))))
    edge = answer(0.5, 0.75, 1 / 3)
    if edge is None or abs(expect_number(edge, "The false negative rate")) > CLOSE:
        raise Failed("With p = 0.5, PPV = 0.75 and FPR = 1/3 nobody is missed.", expected=0.0, got=edge)


def _impossible(answer: Answer, dice: Dice, below: float) -> None:
    """Ask for three values that leave a false negative rate of minus `below`."""
    low, ppv = 0.05 + 0.1 * float(dice.uniform(1)), 0.8
    fpr = (1 + below) * low / (1 - low) * (1 - ppv) / ppv
    got = answer(low, ppv, fpr)
    hint = "FNR would be below 0: nobody can have these three values. Say so by None; a value cut off at 0 hides it."
    if got is not None:
        raise Failed(
            f"No classifier has a base rate of {low:.3f}, a PPV of {ppv} and an FPR of {fpr:.3f}.",
            expected="None",
            got=got,
            hint=hint,
        )
