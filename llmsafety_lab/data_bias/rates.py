"""How often something happens in each group, with intervals; who is there, against who should be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.data_bias.columns import binary, column
from llmsafety_lab.statistics import Estimate, proportion_interval


class Rate(NamedTuple):
    """How many rows a group has, how many of them are positive, the share, and the ends of its interval."""

    rows: int
    positive: int
    rate: float
    low: float
    high: float


def group_rates(
    labels: ArrayLike | Sequence[int], groups: ArrayLike | Sequence[Any], level: float = 0.95
) -> dict[Any, Rate]:
    """Return for each group the share of rows with label 1, and its Wilson interval.

    Parameters
    ----------
    labels : array of 0 and 1, shape (rows,)
    groups : array of names or numbers, shape (rows,)
    level : float

    Returns
    -------
    dict
        By group, in sorted order. A group is there if a row has it, so none is empty.

    Raises
    ------
    ValueError
        If there is no row, the lengths differ, a value is missing, or a label is not 0 or 1.

    References
    ----------
    Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    group = column(groups, "the groups")
    label = binary(labels, "the labels", len(group))
    found = {}
    for name in np.unique(group).tolist():
        inside = label[group == name]
        rows, positive = len(inside), int(inside.sum())
        found[name] = Rate(rows, positive, *proportion_interval(positive, rows, level))
    return found


def rate_difference(first: Rate, second: Rate) -> Estimate:
    """Return by how much the first group's rate is higher, and Newcombe's interval.

    The end of the difference is not the difference of the ends. Each side's error enters squared, as errors of
    independent rows do: with interval [l, u] of rate p, the lower end is d - sqrt((p1 - l1)^2 + (u2 - p2)^2).

    Parameters
    ----------
    first, second : Rate
        Of two groups without a common row, both with intervals of the same level, as `group_rates` returns them.

    References
    ----------
    Newcombe 1998, Interval Estimation for the Difference Between Independent Proportions, method 10.
    """
    gap = first.rate - second.rate
    down = math.hypot(first.rate - first.low, second.high - second.rate)
    up = math.hypot(first.high - first.rate, second.rate - second.low)
    return gap, gap - down, gap + up


def representation_ratio(
    groups: ArrayLike | Sequence[Any], reference: Mapping[Any, float], level: float = 0.95
) -> dict[Any, Estimate]:
    """Return for each group its share of the rows over its share of a reference population, with Wilson's interval.

    A ratio of 1 says that the group is as frequent as in the reference; 0.5, half as frequent.

    Parameters
    ----------
    groups : array of names or numbers, shape (rows,)
    reference : dict of float
        By group, the share that it has in the population that you compare with. The shares sum to 1. They are taken
        as known without error: from a census, not from another sample.

    Raises
    ------
    ValueError
        If there is no row, a row's group is not in the reference, a share is not above 0, or the shares do not sum
        to 1.
    """
    group = column(groups, "the groups")
    strangers = sorted({str(name) for name in group.tolist() if name not in reference})
    if strangers:
        raise ValueError(f"the reference has no share for {strangers[:5]}: name every group that the rows have")
    if not reference or min(reference.values()) <= 0 or not math.isclose(sum(reference.values()), 1, abs_tol=1e-3):
        raise ValueError(f"shares of the reference are above 0 and sum to 1; got {dict(reference)}")
    found = {}
    for name, share in reference.items():
        estimate, low, high = proportion_interval(int((group == name).sum()), len(group), level)
        found[name] = (estimate / share, low / share, high / share)
    return found


def intersections(*columns: ArrayLike | Sequence[Any], least: int = 1) -> Shaped[np.ndarray, " rows"]:
    """Return one column with the groups of several: "Black, Female". Groups of fewer than `least` rows are "(small)".

    Parameters
    ----------
    *columns : arrays of names, each of shape (rows,)
    least : int
        The smallest number of rows that a group may have to keep its name.

    Raises
    ------
    ValueError
        If there is no column, they differ in length, or a value is missing.
    """
    if not columns:
        raise ValueError("there is no column to intersect")
    rows = len(column(columns[0], "the first column"))
    read = [column(one, f"column {place}", rows).tolist() for place, one in enumerate(columns, 1)]
    names = np.array([", ".join(map(str, row)) for row in zip(*read, strict=True)], dtype=object)
    kinds, place, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    return np.where(counts[place] >= least, kinds[place], "(small)")


def rows_needed(rate: float, half_width: float, level: float = 0.95) -> int:
    """Return the smallest group whose Wilson interval at this rate reaches no farther than `half_width` to a side.

    Half the length of Wilson's interval is z sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n), which falls with n.

    Raises
    ------
    ValueError
        If the rate is not from 0 to 1, the half width not between 0 and 0.5, or the level not between 0 and 1.
    """
    if not 0 <= rate <= 1 or not 0 < half_width < 0.5 or not 0 < level < 1:
        raise ValueError(
            f"needs a rate from 0 to 1, a half width below 0.5, a level; got {rate}, {half_width}, {level}"
        )
    z = float(stats.norm.ppf((1 + level) / 2))

    def half(n: int) -> float:
        return z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)

    low, high = 0, 1
    while half(high) > half_width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half(middle) <= half_width else (middle, high)
    return high
