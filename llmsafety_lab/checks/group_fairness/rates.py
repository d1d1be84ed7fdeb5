"""Exercise 1: the rates of each group, from four counts."""

from __future__ import annotations

from collections import Counter

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_equal, expect_number, expect_unchanged
from llmsafety_lab.checks.group_fairness.shared import by_group, expect_share, people

NAMES = ("n", "selection", "tpr", "fpr", "fnr", "ppv")


def _over(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@exercise(
    "group_fairness.rates",
    "The rates of each group",
    points=3,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="rates_by_group",
    forbid=(
        "fairlearn.metrics.MetricFrame",
        "sklearn.metrics.confusion_matrix",
        "sklearn.metrics.precision_score",
        "sklearn.metrics.recall_score",
    ),
    mutants=(
        Mutant("FPR over predicted positives", "share(fp, fp + tn)", "share(fp, fp + tp)", "false discovery rate"),
        Mutant("FNR over predicted negatives", "share(fn, fn + tp)", "share(fn, fn + tn)", "false omission rate"),
        Mutant("PPV and TPR swapped", "share(tp, tp + fp)", "share(tp, tp + fn)", "true positive rate"),
        Mutant("over all rows of the group", "share(fp, fp + tn)", "share(fp, n)", "everybody in the group"),
        Mutant("over the rows of all groups", "share(fp + tp, n)", "share(fp + tp, len(rows))", "rows of all groups"),
        Mutant("group without rows left out", "for name in names:", "for name in set(names) & set(groups):", "lacks"),
        Mutant("nobody is zero", "part / whole if whole else None", "part / whole if whole else 0.0", "None, not 0"),
        Mutant("zero is nobody", "share(tp, tp + fn)", "share(tp, tp + fn) or None", "None where there is a value"),
        Mutant("divides by zero", "part / whole if whole else None", "part / whole", "stopped with"),
        Mutant("outcome and decision swapped", "zip(y_true, y_pred, groups", "zip(y_pred, y_true, groups", "wrong"),
        Mutant("accuracy for selection", "share(fp + tp, n)", "share(tn + tp, n)", "accuracy"),
        Mutant("base rate for selection", "share(fp + tp, n)", "share(fn + tp, n)", "base rate"),
    ),
)
def check_rates(answer: Answer, dice: Dice) -> None:
    sizes = {"north": dice.integer(40, 60), "south": dice.integer(20, 30), "east": dice.integer(9, 14)}
    truth, decided, group = people(dice, sizes)
    truth, decided = [*truth, 0, 0, 0, 1, 1, 0], [*decided, 0, 0, 1, 0, 0, 0]
    group = [*group, "west", "west", "west", "isle", "isle", "isle"]
    names = ["east", "north", "nobody", "west", "south", "isle"]
    called = answer.trace(truth, decided, group, names)
    expect_unchanged(called)
    got = by_group(called.value, names, "The answer")
    every = len(truth)
    for name in names:
        cell = Counter((y, d) for y, d, g in zip(truth, decided, group, strict=True) if g == name)
        tn, fp, fn, tp = (cell[key] for key in ((0, 0), (0, 1), (1, 0), (1, 1)))
        n = tn + fp + fn + tp
        found = by_group(got[name], NAMES, f"The entry of {name!r}")
        expect_equal(expect_number(found["n"], f"n of {name!r}"), n, f"n of {name!r}")
        wrong = {
            "fpr": {
                "You divide by the predicted positives. That is the false discovery rate; FPR is a share of those with "
                "the outcome 0.": _over(fp, fp + tp),
                "You divide by everybody in the group. FPR is a share of those with the outcome 0.": _over(fp, n),
                "This is 1 minus the rate: the true negative rate.": _over(tn, fp + tn),
            },
            "fnr": {
                "You divide by the predicted negatives. That is the false omission rate; FNR is a share of those with "
                "the outcome 1.": _over(fn, fn + tn),
                "You divide by everybody in the group. FNR is a share of those with the outcome 1.": _over(fn, n),
            },
            "ppv": {
                "This is the true positive rate. PPV is a share of those with the decision 1.": _over(tp, tp + fn),
                "This is 1 minus PPV: the false discovery rate.": _over(fp, tp + fp),
            },
            "tpr": {"This is PPV. TPR is a share of those with the outcome 1.": _over(tp, tp + fp)},
            "selection": {
                "You divide by the rows of all groups: a rate is a share of the group's own rows.": _over(
                    fp + tp, every
                ),
                "This is the accuracy, the share of right decisions.": _over(tn + tp, n),
                "This is the base rate. Selection looks at the decision, not at the outcome.": _over(fn + tp, n),
            },
        }
        right = {
            "selection": _over(fp + tp, n),
            "tpr": _over(tp, tp + fn),
            "fpr": _over(fp, fp + tn),
            "fnr": _over(fn, fn + tp),
            "ppv": _over(tp, tp + fp),
        }
        for rate, value in right.items():
            cells = f" (outcome 0: {tn} + {fp}, outcome 1: {fn} + {tp}, the second of each with the decision 1)"
            expect_share(found[rate], value, f"{rate} of {name!r}{cells}", wrong[rate], "Count the four cells first.")
