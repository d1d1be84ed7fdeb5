"""Exercise 4: the worst intersection with enough people behind its rate."""

from __future__ import annotations

from collections import defaultdict

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number, expect_pair
from llmsafety_lab.checks.group_fairness.shared import CLOSE, refuses

Case = tuple[list[int], list[int], list[list[str]]]


def _drawn(dice: Dice, least: int) -> Case:
    """Draw people of two or three attributes.

    By single attribute all is well. The worst group of all has too few rows; the worst by size has enough rows, but too
    few with the outcome 0; the worst allowed has exactly as many as are asked for.
    """
    plan: list[tuple[tuple[str, str], int, int, int]] = []  # group, false positives, outcome 0, outcome 1
    plan.append((("x", "u"), least + 2, 4 * least, least))
    plan.append((("x", "v"), least - 1, least, 3))  # the answer: exactly `least`
    plan.append((("y", "u"), least - 1, least - 1, 2 * least))  # all are false positives, one too few of them
    plan.append((("y", "v"), 1, least, least))
    plan.append((("z", "u"), 2, 2, 0))
    plan.append((("z", "v"), 2, 3 * least, 2))
    rows = []
    for name, wrong, zeros, ones in plan:
        rows += [(0, int(i < wrong), name) for i in range(zeros)]
        rows += [(1, int(float(dice.uniform(1)) < 0.5), name) for _ in range(ones)]
    order = sorted(range(len(rows)), key=lambda _: float(dice.uniform(1)))
    order.sort(key=lambda i: rows[i][2] != ("y", "v"))  # a harmless group that is no larger comes first
    truth, decided, names = zip(*(rows[i] for i in order), strict=True)
    return list(truth), list(decided), [list(column) for column in zip(*names, strict=True)]


@exercise(
    "group_fairness.intersections",
    "The worst group that is large enough",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="worst_intersection",
    forbid=("fairlearn.metrics.MetricFrame",),
    mutants=(
        Mutant("size of the group", "zeros[group] += y == 0", "zeros[group] += 1", "outcome 0"),
        Mutant("more than least", "if count >= least", "if count > least", "at least"),
        Mutant("best group", "max(rates", "min(rates", "lowest"),
        Mutant("no least", "if count >= least", "if count", "at least"),
        Mutant("first attribute only", "zip(*columns, strict=True)", "zip(columns[0], strict=True)", "all columns"),
        Mutant("over predicted positives", "zeros[group] += y == 0", "zeros[group] += d == 1", "outcome 0"),
        Mutant("smallest group", "max(rates, key=rates.get)", "min(rates, key=zeros.get)", "share with"),
        Mutant("most false positives", "hits[group] / count", "hits[group]", "count"),
        Mutant(
            "none large enough",
            'raise ValueError(f"no group has {least} people with the outcome 0")',
            "return (), 0.0",
            "no worst",
        ),
        Mutant("selection rate", "hits[group] += y == 0 and d == 1", "hits[group] += d == 1", "wrong"),
    ),
)
def check_intersections(answer: Answer, dice: Dice) -> None:
    for _ in range(3):
        least = dice.integer(8, 14)
        truth, decided, columns = _drawn(dice, least)
        zeros: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for y, d, *name in zip(truth, decided, *columns, strict=True):
            if y == 0:
                zeros[tuple(name)].append(d)
        rates = {name: sum(values) / len(values) for name, values in zeros.items()}
        right = max((name for name in rates if len(zeros[name]) >= least), key=lambda name: rates[name])
        lowest = min((name for name in rates if len(zeros[name]) >= least), key=lambda name: rates[name])
        asked = "(group, rate), the group a tuple with one value of each column"
        got, rate = expect_pair(answer(truth, decided, columns, least), "The answer", expected=asked)
        if not isinstance(got, list | tuple) or len(got) != len(columns):
            hint = "A group is a combination of the values of all columns."
            raise Failed("The group has the wrong form.", expected=asked, got=got, hint=hint)
        named = (str(got[0]), str(got[1]))
        if named != right:
            small = len(zeros["y", "u"])
            words = {
                lowest: "This is the lowest rate. A false positive is the harm here: the worst is the highest.",
                (
                    "y",
                    "u",
                ): f"Only {small} of its rows have the outcome 0. The rate is a share of those: at least {least} "
                "of them are asked for, whatever the size of the group.",
                ("z", "u"): f"It has 2 rows; at least {least} must have the outcome 0.",
                (
                    "x",
                    "u",
                ): f"{right} has a higher rate, of {least} rows with the outcome 0: at least {least} means that "
                f"{least} are enough. And compare rates: a count grows with the group.",
            }
            usual = (
                "Of the rows of a group with the outcome 0, the share with the decision 1: the highest is asked for."
            )
            raise Failed(
                f"The group is wrong, with least = {least}.",
                expected=f"{right} with {rates[right]:.3f}",
                got=f"{named} with {rates.get(named, float('nan')):.3f}",
                hint=words.get(named, usual),
            )
        value = expect_number(rate, "The rate")
        if abs(value - rates[right]) > CLOSE:
            count = sum(zeros[right])
            hint = "The false positive rate: of the rows with the outcome 0, the share with the decision 1."
            hint = "This is a count: divide it by the rows with the outcome 0." if value == count else hint
            raise Failed(f"The rate of {right} is wrong.", expected=rates[right], got=value, hint=hint)
    three = [*columns, ["w"] * len(truth)]
    got, _ = expect_pair(answer(truth, decided, three, least), "The answer for three columns")
    if not isinstance(got, list | tuple) or tuple(got) != (*right, "w"):
        raise Failed("The group of three columns is wrong.", expected=(*right, "w"), got=got)
    refuses(answer, truth, decided, columns, 10_000, why="No group has so many rows: there is no worst one.")
