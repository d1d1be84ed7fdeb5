"""Exercise 6: a gap over all rows, the gap with the strata mixed equally, and Simpson's paradox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_list
from llmsafety_lab.checks.data_bias.cases import NAMES

Cells = dict[tuple[str, int], tuple[int, int]]
"""By stratum and group: rows with label 1, and all rows."""


def _rows(dice: Dice, cells: Cells) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rows = [
        (int(i < positive), group, stratum)
        for (stratum, group), (positive, count) in cells.items()
        for i in range(count)
    ]
    order = torch.randperm(len(rows), generator=dice.generator).tolist()
    labels, groups, strata = zip(*(rows[i] for i in order), strict=True)
    return np.array(labels), np.array(groups), list(strata)


def _paradox(dice: Dice) -> Cells:
    """Group 1 is better in every stratum, and mostly in the one where few succeed."""
    k = dice.integer(1, 3)
    return {
        ("oak", 1): (36 * k, 40 * k),
        ("oak", 0): (120 * k + dice.integer(0, 3), 150 * k),
        ("elm", 1): (45 * k + dice.integer(0, 3), 150 * k),
        ("elm", 0): (6 * k, 40 * k),
    }


def _mixed(dice: Dice) -> Cells:
    """The standardised gap has the other sign than the crude one, and one small stratum agrees with the crude one."""
    return _paradox(dice) | {("fir", 1): (3, 12), ("fir", 0): (9 + dice.integer(0, 1), 14)}


def _lonely(dice: Dice) -> Cells:
    """One stratum has no row of group 1, another none of group 0; the rest agree with the crude gap."""
    return {
        ("oak", 1): (20 + dice.integer(0, 3), 30),
        ("oak", 0): (12, 40),
        ("elm", 1): (9, 18),
        ("elm", 0): (20 + dice.integer(0, 3), 55),
        ("ash", 0): (28, 30),
        ("fir", 1): (1, 25),
    }


def _gaps(cells: Cells) -> dict[str, float]:
    found = {}
    for name in NAMES:
        if (name, 0) in cells and (name, 1) in cells:
            (yes, rows), (no, other) = cells[name, 1], cells[name, 0]
            found[name] = yes / rows - no / other
    return found


def _crude(cells: Cells, kept: Any) -> float:
    sums = {g: [sum(v[i] for (s, a), v in cells.items() if a == g and s in kept) for i in (0, 1)] for g in (0, 1)}
    return sums[1][0] / sums[1][1] - sums[0][0] / sums[0][1]


def _mean(cells: Cells, weigh: Callable[[int, int], float]) -> float:
    gaps = _gaps(cells)
    weights = {name: weigh(cells[name, 0][1], cells[name, 1][1]) for name in gaps}
    return sum(weights[name] * gap for name, gap in gaps.items()) / sum(weights.values())


@exercise(
    "data_bias.standardised",
    "Where the whole contradicts its parts",
    points=4,
    difficulty=4,
    importance=5,
    minutes=15,
    answer="standardised",
    mutants=(
        Mutant("strata count alike", "weight = here.sum()", "weight = 1", "equally"),
        Mutant("group 1's mix", "weight = here.sum()", "weight = (here & one).sum()", "group 1 alone"),
        Mutant("group 0's mix", "weight = here.sum()", "weight = (here & ~one).sum()", "group 0 alone"),
        Mutant(
            "sign of the mean decides",
            "all(gap * crude < 0 for gap in gaps)",
            "(np.average(gaps, weights=sizes) * crude < 0)",
            "every stratum",
        ),
        Mutant("any stratum", "all(gap * crude < 0", "any(gap * crude < 0", "every stratum"),
        Mutant(
            "left-out rows in the crude gap",
            "kept = np.isin(strata, comparable)",
            "kept = np.ones(len(labels), bool)",
            "left out",
        ),
        Mutant(
            "group 0 minus group 1",
            "return rate(one & where) - rate(~one & where)",
            "return rate(~one & where) - rate(one & where)",
            "group 1 minus",
        ),
        Mutant(
            "difference of the two",
            "float(np.average(gaps, weights=sizes))",
            "float(crude - np.average(gaps, weights=sizes))",
            "crude gap minus",
        ),
    ),
)
def check_standardised(answer: Answer, dice: Dice) -> None:
    for make in (_lonely, _paradox, _mixed):
        cells = make(dice)
        gaps = _gaps(cells)
        every = {name for name, _ in cells}
        crude, mean = _crude(cells, gaps), _mean(cells, lambda a, b: a + b)
        flipped = all(gap * crude < 0 for gap in gaps.values())
        labels, groups, strata = _rows(dice, cells)
        hint = "Return (crude gap, standardised gap, whether the sign turns round in every stratum)."
        got = expect_list(answer(labels, groups, strata), "The answer", length=3, expected=hint)
        try:
            numbers = torch.tensor([float(got[0]), float(got[1])], dtype=torch.float64)
        except (TypeError, ValueError):
            raise Failed("The gaps are not numbers.", expected="two numbers and True or False", hint=hint) from None
        wrong = {
            "The strata count equally in your mean. Weight each by its rows, of both groups together.": (
                crude,
                _mean(cells, lambda a, b: 1),
            ),
            "You weight the strata by the rows of group 1 alone. Take the rows of both groups.": (
                crude,
                _mean(cells, lambda a, b: b),
            ),
            "You weight the strata by the rows of group 0 alone. Take the rows of both groups.": (
                crude,
                _mean(cells, lambda a, b: a),
            ),
            "Rows of a stratum in which only one group occurs are left out, of the crude gap, too.": (
                _crude(cells, every),
                mean,
            ),
            "The gap is that of group 1 minus that of group 0.": (-crude, -mean),
            "This is the crude gap minus the standardised one. Return both.": (crude, crude - mean),
            "The standardised gap is not the crude one: compare within each stratum first.": (crude, crude),
        }
        expect_close(
            numbers,
            torch.tensor([crude, mean], dtype=torch.float64),
            "The pair of gaps",
            tolerance=1e-5,
            mistakes={words: torch.tensor(value, dtype=torch.float64) for words, value in wrong.items()},
            hint="The standardised gap is the mean of the strata's gaps, each weighted by its rows.",
        )
        turned = got[2].item() if isinstance(got[2], np.ndarray | torch.Tensor) and got[2].size == 1 else got[2]
        expect(
            isinstance(turned, bool | int) and bool(turned) == flipped,
            "Whether the sign turns round is wrong.",
            expected=flipped,
            got=turned,
            hint="It is Simpson's paradox if every stratum's gap has the other sign than the crude gap, not just most "
            f"of them or their mean. Here the gaps are {', '.join(f'{gap:+.2f}' for gap in gaps.values())}, "
            f"and {crude:+.2f} over all rows.",
        )
