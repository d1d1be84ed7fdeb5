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
    plan.append((("y", "v"), 1, least + 4, least))
    plan.append((("z", "u"), 2, 2, 0))
    plan.append((("z", "v"), 2, 3 * least, 2))
    rows = []
    for name, wrong, zeros, ones in plan:
        rows += [(0, int(i < wrong), name) for i in range(zeros)]
        rows += [(1, int(float(dice.uniform(1)) < 0.5), name) for _ in range(ones)]
    order = sorted(range(len(rows)), key=lambda _: float(dice.uniform(1)))
    truth, decided, names = zip(*(rows[i] for i in order), strict=True)
    return list(truth), list(decided), [list(column) for column in zip(*names, strict=True)]


@exercise(
    "group_fairness.intersections",
    "The worst group that is large enough",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="worst_intersection",
    forbid=("fairlearn.metrics.MetricFrame",),
    mutants=(
        Mutant("size of the group", "zeros[group] += y == 0", "zeros[group] += 1", "outcome 0"),
        Mutant("more than least", "if count >= least", "if count > least", "at least"),
        Mutant("best group", "max(rates", "min(rates", "lowest"),
        Mutant("no least", "if count >= least", "if count", "at least"),
        Mutant("first attribute only", "zip(*columns, strict=True)", "zip(columns[0], strict=True)", "all columns"),
        Mutant("over predicted positives", "zeros[group] += y == 0", "zeros[group] += d == 1", "outcome 0"),
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
        name, rate = expect_pair(answer(truth, decided, columns, least), "The answer", expected=asked)
        name = (name,) if isinstance(name, str) else name
        if not isinstance(name, list | tuple) or len(name) != len(columns):
            hint = "A group is a combination of the values of all columns."
            raise Failed("The group has the wrong form.", expected=asked, got=name, hint=hint)
        name = tuple(name)
        if name != right:
            words = {
                lowest: "This is the lowest rate. A false positive is the harm here: the worst is the highest.",
                (
                    "y",
                    "u",
                ): f"Only {len(zeros['y', 'u'])} of its rows have the outcome 0. The rate is a share "
                f"of those: at least {least} of them are asked for, whatever the size of the group.",
                ("z", "u"): f"It has 2 rows; at least {least} must have the outcome 0.",
                (
                    "x",
                    "u",
                ): f"{right} has a higher rate, of {len(zeros[right])} rows with the outcome 0: at least "
                f"{least} means that {least} are enough. And compare rates: a count grows with the group.",
            }
            raise Failed(
                f"The group is wrong, with least = {least}.",
                expected=f"{right} with {rates[right]:.3f}",
                got=f"{name} with {rates.get(name, float('nan')):.3f}",
                hint=words.get(
                    name, "Count, for each group, the rows with the outcome 0 and those of them with the decision 1."
                ),
            )
        value = expect_number(rate, "The rate")
        if abs(value - rates[right]) > CLOSE:
            count = sum(zeros[right])
            hint = "The false positive rate: of the rows with the outcome 0, the share with the decision 1."
            hint = "This is a count: divide it by the rows with the outcome 0." if value == count else hint
            raise Failed(f"The rate of {right} is wrong.", expected=rates[right], got=value, hint=hint)
    three = [*columns, ["w"] * len(truth)]
    name, _ = expect_pair(answer(truth, decided, three, least), "The answer for three columns")
    if not isinstance(name, list | tuple) or tuple(name) != (*right, "w"):
        raise Failed("The group of three columns is wrong.", expected=(*right, "w"), got=name)
    refuses(answer, truth, decided, columns, 10_000, why="No group has so many rows: there is no worst one.")
