"""Exercises 1 and 2: rates of groups with Wilson's interval, and the interval of a difference."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close
from llmsafety_lab.checks.data_bias.cases import by_group, column, names, shuffled

Z = 1.959964


def wilson(positive: int, rows: int) -> tuple[float, float, float]:
    """Return a share with Wilson's interval, by solving its quadratic equation."""
    rate = positive / rows
    a, b, c = rows + Z**2, -(2 * positive + Z**2), positive**2 / rows
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return rate, (-b - root) / (2 * a), (-b + root) / (2 * a)


def _wald(positive: int, rows: int) -> tuple[float, float, float]:
    rate = positive / rows
    half = Z * math.sqrt(rate * (1 - rate) / rows)
    return rate, rate - half, rate + half


def _centre(positive: int, rows: int) -> tuple[float, float, float]:
    _, low, high = wilson(positive, rows)
    return (low + high) / 2, low, high


def _around_rate(positive: int, rows: int) -> tuple[float, float, float]:
    rate, low, high = wilson(positive, rows)
    return rate, rate - (high - low) / 2, rate + (high - low) / 2


def _agresti(positive: int, rows: int) -> tuple[float, float, float]:
    middle = (positive + Z**2 / 2) / (rows + Z**2)
    half = Z * math.sqrt(middle * (1 - middle) / (rows + Z**2))
    return positive / rows, middle - half, middle + half


def _with_rate(rate: float, rows: int) -> tuple[float, float]:
    """Return the ends for a rate that need not be a whole number of rows."""
    middle = (rate + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z * math.sqrt(rate * (1 - rate) / rows + Z**2 / (4 * rows**2)) / (1 + Z**2 / rows)
    return middle - half, middle + half


@exercise(
    "data_bias.rates",
    "A rate for each group, with an interval",
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
    answer="rates",
    forbid=(
        "llmsafety_lab.statistics.proportion_interval",
        "scipy.stats.binomtest",
        "statsmodels.stats.proportion.proportion_confint",
    ),
    withhold=("statistics",),
    mutants=(
        Mutant(
            "Wald's interval",
            "middle, half = (rate + z**2 / (2 * n)) / (1 + z**2 / n), z * spread / (1 + z**2 / n)",
            "middle, half = rate, z * (rate * (1 - rate) / n) ** 0.5",
            "Wald",
        ),
        Mutant("all rows below", "n = len(inside)", "n = len(labels)", "of its own group"),
        Mutant(
            "the centre as the rate", "found[group] = (rate, ", "found[group] = (middle, ", "middle of the interval"
        ),
        Mutant("around the rate", "middle - half, middle + half", "rate - half, rate + half", "not symmetric"),
        Mutant("one standard error", "z = 1.96", "z = 1.0", "95%"),
        Mutant("one side", "z = 1.96", "z = 1.645", "90%"),
        Mutant("ends swapped", "middle - half, middle + half", "middle + half, middle - half", "lower end comes first"),
        Mutant("standard error", "rate * (1 - rate) / n + z**2", "rate * (1 - rate) + z**2", "divide"),
    ),
)
def check_rates(answer: Answer, dice: Dice) -> None:
    groups = names(dice, 4)
    sizes = [dice.integer(25, 40), dice.integer(8, 14), dice.integer(5, 7), 1]
    positive = [dice.integer(6, 11), dice.integer(2, 4), 0, 1]
    cells: dict[tuple[str, int], int] = {}
    for name, rows, yes in zip(groups, sizes, positive, strict=True):
        cells |= {(name, 1): yes, (name, 0): rows - yes}
    labels, column_of_groups = shuffled(dice, cells)
    pairs = list(zip(positive, sizes, strict=True))

    def table(make: Callable[[int, int], tuple[float, float, float]]) -> torch.Tensor:
        return torch.tensor([make(yes, rows) for yes, rows in pairs], dtype=torch.float64)

    def scaled(z: float) -> torch.Tensor:
        made = []
        for yes, rows in pairs:
            rate = yes / rows
            half = z * math.sqrt(rate * (1 - rate) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
            middle = (rate + z**2 / (2 * rows)) / (1 + z**2 / rows)
            made.append((rate, middle - half, middle + half))
        return torch.tensor(made, dtype=torch.float64)

    def undivided(yes: int, rows: int) -> tuple[float, float, float]:
        rate, z = yes / rows, 1.96
        half = z * math.sqrt(rate * (1 - rate) + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
        middle = (rate + z**2 / (2 * rows)) / (1 + z**2 / rows)
        return rate, middle - half, middle + half

    total = len(labels)
    mistakes = {
        "This is Wald's interval. It has length 0 where nobody, or everybody, is positive. Take Wilson's.": table(
            _wald
        ),
        "Divide by the number of rows of its own group, not by that of all rows.": table(
            lambda yes, rows: wilson(yes, total)
        ),
        "You return the middle of the interval as the rate. The rate is the plain share.": (table(_centre)),
        "Wilson's interval is not symmetric around the rate: its middle is (rate + z^2 / 2n) / (1 + z^2 / n).": table(
            _around_rate
        ),
        "This interval is one standard error wide to each side: for 95% take z = 1.96.": scaled(1.0),
        "With z = 1.645 this is a 90% interval: for 95% take z = 1.96, since both sides count.": scaled(1.645),
        "With z = 2.576 this is a 99% interval: for 95% take z = 1.96.": scaled(2.576),
        "These are percentages. Return shares between 0 and 1.": 100 * table(wilson),
        "This is Agresti and Coull's interval: it has Wilson's middle, and ends that are too far away.": table(
            _agresti
        ),
        "The share is that of its own group: divide by the group's rows, not by all rows.": table(
            lambda yes, rows: (yes / total, *_with_rate(yes / total, rows))
        ),
        "The lower end comes first.": table(wilson)[:, [0, 2, 1]],
        "Under the root, divide rate (1 - rate) by the number of rows.": table(undivided),
        "This is the share of label 0.": table(lambda yes, rows: wilson(rows - yes, rows)),
    }
    hint = "Each value is (rate, low, high), by Wilson's formula with the rows of that group alone."
    got = by_group(answer(labels, column_of_groups), groups, 3, "The answer", hint)
    expect_close(got, table(wilson), "The table of rates", tolerance=2e-4, mistakes=mistakes, hint=hint)


@exercise(
    "data_bias.difference",
    "The interval of a difference",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="difference",
    forbid=("statsmodels.stats.proportion.confint_proportions_2indep",),
    mutants=(
        Mutant(
            "difference of the ends",
            "math.hypot(p - low_p, high_q - q), gap + math.hypot(high_p - p, q - low_q)",
            "(p - low_p + high_q - q), gap + (high_p - p + q - low_q)",
            "too wide",
        ),
        Mutant(
            "ends with ends",
            "math.hypot(p - low_p, high_q - q), gap + math.hypot(high_p - p, q - low_q)",
            "(gap - low_p + low_q), gap + (high_p - high_q - gap)",
            "lower end from lower end",
        ),
        Mutant(
            "wrong sides",
            "math.hypot(p - low_p, high_q - q), gap + math.hypot(high_p - p, q - low_q)",
            "math.hypot(p - low_p, q - low_q), gap + math.hypot(high_p - p, high_q - q)",
            "upper end of the second",
        ),
        Mutant("the other way round", "gap = p - q", "gap = q - p", "first minus second"),
        Mutant(
            "first group's error alone",
            "math.hypot(p - low_p, high_q - q), gap + math.hypot(high_p - p, q - low_q)",
            "(p - low_p), gap + (high_p - p)",
            "both groups",
        ),
        Mutant("absolute", "gap = p - q", "gap = abs(p - q)", "sign"),
    ),
)
def check_difference(answer: Answer, dice: Dice) -> None:
    hint = "Below the difference lie the first group's lower and the second's upper error, squared, added, and rooted."
    for turn in range(3):
        small, large = (dice.integer(1, 3), dice.integer(12, 18)), (dice.integer(20, 28), dice.integer(40, 50))
        first, second = (wilson(*large), wilson(*small)) if turn == 1 else (wilson(*small), wilson(*large))
        (p, a, b), (q, c, d) = first, second
        gap = p - q
        right = (gap, gap - math.hypot(p - a, d - q), gap + math.hypot(b - p, q - c))
        turned = "It is first minus second, with its sign: negative where the first group's rate is lower."
        mistakes = {
            "The interval is too wide: both errors are hardly ever at their worst at once. Add their squares.": (
                gap,
                a - d,
                b - c,
            ),
            "You take the lower end from lower end. The lowest is low minus high.": (
                gap,
                a - c,
                b - d,
            ),
            "At the lower end of the difference the second group errs upwards: use the upper end of the second.": (
                gap,
                gap - math.hypot(p - a, q - c),
                gap + math.hypot(b - p, d - q),
            ),
            turned: (-gap, -gap - math.hypot(p - a, d - q), -gap + math.hypot(b - p, q - c)),
            f"You turned it round. {turned}": (-gap, -right[2], -right[1]),
            "The error of both groups counts.": (gap, a - q, b - q),
            "The order is difference, low, high: the difference comes first.": (right[1], gap, right[2]),
            "The order is difference, low, high: the lower end comes first.": (gap, right[2], right[1]),
            "A difference can be below 0: do not cut its interval off there.": (gap, max(right[1], 0.0), right[2]),
            "The interval is not symmetric around the difference: each side has its own errors.": (
                gap,
                gap - max(gap - right[1], right[2] - gap),
                gap + max(gap - right[1], right[2] - gap),
            ),
            "You take half the length of each interval. These are not symmetric: take each side's own error.": (
                gap,
                gap - math.hypot((b - a) / 2, (d - c) / 2),
                gap + math.hypot((b - a) / 2, (d - c) / 2),
            ),
        }
        got = column(answer(list(first), list(second)), 3, "The answer", "Return three numbers: difference, low, high.")
        tensors = {words: torch.tensor(value, dtype=torch.float64) for words, value in mistakes.items()}
        expected = torch.tensor(right, dtype=torch.float64)
        what = "The difference with its interval"
        expect_close(got, expected, what, tolerance=1e-6, mistakes=tensors, hint=hint)
