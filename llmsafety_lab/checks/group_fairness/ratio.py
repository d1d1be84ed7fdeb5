"""Exercise 3: the four-fifths rule with an interval."""

from __future__ import annotations

import math
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, expect_number
from llmsafety_lab.checks.group_fairness.shared import CLOSE, by_group

Z = 1.959963984540054


def _katz(a: int, n: int, b: int, m: int, z: float = Z) -> tuple[float, float, float]:
    ratio, half = (a / n) / (b / m), z * (1 / a - 1 / n + 1 / b - 1 / m) ** 0.5
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def _slips(a: int, n: int, b: int, m: int) -> dict[str, tuple[float, float, float]]:
    ratio, low, high = _katz(a, n, b, m)
    error = (1 / a - 1 / n + 1 / b - 1 / m) ** 0.5
    wide = Z * (1 / a + 1 / b) ** 0.5
    p, q = a / n, b / m
    pooled = Z * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return {
        "The interval is that of the logarithm: take exp of both ends.": (
            ratio,
            math.log(ratio) - Z * error,
            math.log(ratio) + Z * error,
        ),
        "You add and subtract the error of the logarithm on the ratio itself: multiply by exp of it.": (
            ratio,
            ratio - Z * error,
            ratio + Z * error,
        ),
        "The variance of a log rate is 1/selected minus 1/n: you left the minus 1/n out.": (
            ratio,
            ratio * math.exp(-wide),
            ratio * math.exp(wide),
        ),
        "You took the variance for the error: take its square root.": (
            ratio,
            ratio * math.exp(-Z * error**2),
            ratio * math.exp(Z * error**2),
        ),
        "This is a 90% interval: a two-sided 95% one takes 1.96.": _katz(a, n, b, m, 1.6448536269514722),
        "This is one standard error to either side: a 95% interval takes 1.96 of them.": _katz(a, n, b, m, 1.0),
        "This is the difference's error, not the ratio's.": (ratio, ratio - pooled, ratio + pooled),
        "The ends are in the wrong order.": (ratio, high, low),
    }


@exercise(
    "group_fairness.four_fifths",
    "Four fifths, and how sure",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="impact_ratios",
    forbid=("scipy.stats.contingency.relative_risk", "fairlearn.metrics.demographic_parity_ratio"),
    mutants=(
        Mutant(
            "highest count",
            "key=lambda name: selected[name] / of[name]",
            "key=lambda name: selected[name]",
            "highest rate",
        ),
        Mutant(
            "largest group", "key=lambda name: selected[name] / of[name]", "key=lambda name: of[name]", "highest rate"
        ),
        Mutant(
            "first group",
            "top = max(of, key=lambda name: selected[name] / of[name])",
            "top = next(iter(of))",
            "highest rate",
        ),
        Mutant("ratio of counts", "ratio = (a / n) / (b / m)", "ratio = a / b", "counts"),
        Mutant("upside down", "ratio = (a / n) / (b / m)", "ratio = (b / m) / (a / n)", "upside down"),
        Mutant("variance too large", "1 / a - 1 / n + 1 / b - 1 / m", "1 / a + 1 / b", "minus 1/n"),
        Mutant("one group's error", "1 / a - 1 / n + 1 / b - 1 / m", "1 / a - 1 / n", "both groups"),
        Mutant(
            "not a logarithm", "ratio * math.exp(-half), ratio * math.exp(half)", "ratio - half, ratio + half", "exp"
        ),
        Mutant("no square root", ") ** 0.5", ")", "square root"),
        Mutant("90 percent", "1.959963984540054", "1.6448536269514722", "90%"),
        Mutant("nobody selected", "if not a:", "if a < 0:", "stopped with"),
        Mutant("few selected", "if not a:", "if a < 0.05 * n:", "entry of"),
        Mutant("nobody selected is skipped", "            found[name] = (0.0, None, None)\n", "", "lacks"),
    ),
)
def check_ratio(answer: Answer, dice: Dice) -> None:
    of = {
        "north": dice.integer(150, 220),
        "south": dice.integer(60, 90),
        "east": dice.integer(24, 40),
        "west": dice.integer(8, 14),
        "isle": dice.integer(150, 220),
    }
    selected = {
        "north": of["north"] * 2 // 5,
        "south": of["south"] * 3 // 4,
        "east": of["east"] * dice.integer(40, 65) // 100,
        "west": 0,
        "isle": dice.integer(2, 5),
    }
    top, m, b = "south", of["south"], selected["south"]
    sure = f"selected {selected} of {of}"
    others = [name for name in of if name != top]
    reply = answer(dict(selected), dict(of))
    if isinstance(reply, dict) and top in reply and "north" not in reply:
        reference = (
            "Compare with the group that has the highest rate, not with the first, the largest, or most selected one."
        )
        raise Failed(
            f"The group with the highest rate is {top!r}, {sure}.", expected=others, got=list(reply), hint=reference
        )
    if isinstance(reply, dict) and top in reply:
        words = "Leave out the group with the highest rate: it is what the others are compared with."
        raise Failed(f"There are too many groups, {sure}.", expected=others, got=list(reply), hint=words)
    got = by_group(reply, others, "The answer")
    for name in others:
        three = expect_list(got[name], f"The entry of {name!r}", length=3, expected="(ratio, low, high)")
        a, n = selected[name], of[name]
        if not a:
            right: Any = [0, None, None]
            ok = (
                three[0] is not None and abs(expect_number(three[0], "The ratio")) < CLOSE and three[1:] == [None, None]
            )
            words = "Where nobody is selected the ratio is 0, and its logarithm has no interval: (0.0, None, None)."
            expect(ok, f"The entry of {name!r} is wrong.", expected=right, got=three, hint=words)
            continue
        if None in three:
            raise Failed(
                f"The entry of {name!r} has None, and {a} of {n} were selected.", expected="numbers", got=three
            )
        values = [expect_number(value, f"A number of {name!r}") for value in three]
        exact = _katz(a, n, b, m)
        ratios = {
            "This is the ratio of two counts: divide each by the size of its group first.": a / b,
            "The ratio is upside down: the group's rate over the highest rate.": (b / m) / (a / n),
            "This is a rate, not a ratio of two.": a / n,
        }
        hint = next((words for words, wrong in ratios.items() if abs(wrong - values[0]) < CLOSE), "")
        what = f"The ratio of {name!r} to {top!r} is wrong, {sure}."
        expect(abs(values[0] - exact[0]) < CLOSE, what, expected=exact[0], got=values[0], hint=hint)
        slips = _slips(a, n, b, m)
        one = Z * (1 / a - 1 / n) ** 0.5
        slips["The error of both groups counts: add the variances."] = (
            exact[0],
            exact[0] * math.exp(-one),
            exact[0] * math.exp(one),
        )
        fits = [w for w, wrong in slips.items() if max(abs(x - y) for x, y in zip(values, wrong, strict=True)) < 1e-5]
        close = max(abs(x - y) for x, y in zip(values, exact, strict=True)) < 2e-4 * exact[2]
        what = f"The interval of {name!r} is wrong, {sure}."
        hint = fits[0] if fits else "log(ratio) plus and minus 1.96 errors, then exp."
        expect(close, what, expected=list(exact), got=values, hint=hint)
