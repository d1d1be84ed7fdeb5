"""How sure a score is: items that hang together, and how many items a difference takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.statistics import Estimate


def _scores(
    values: ArrayLike, clusters: Sequence[object] | np.ndarray
) -> tuple[Float[np.ndarray, " items"], Int[np.ndarray, " items"]]:
    found, names = np.asarray(values, dtype=float), np.asarray(clusters)
    if found.ndim != 1 or found.shape != names.shape:
        raise ValueError(f"each item has one value and one cluster; got shapes {found.shape} and {names.shape}")
    if not np.isfinite(found).all():
        raise ValueError("a value is not finite; give every item a number")
    codes = np.unique(names, return_inverse=True)[1].reshape(-1)
    if not len(codes) or codes.max() < 1:
        raise ValueError("items of one cluster say nothing of other clusters; at least two are needed")
    return found, codes


def clustered_interval(
    values: Float[np.ndarray, " items"] | Sequence[float],
    clusters: Sequence[object] | np.ndarray,
    level: float = 0.95,
) -> Estimate:
    """Return the mean over items and its interval, where whole clusters are drawn anew.

    Parameters
    ----------
    values : Float[np.ndarray, " items"]
        A score for each item, or the difference of two models' scores on it.
    clusters : sequence of length items
        What each item belongs to: a passage, a template, a document.
    level : float

    Returns
    -------
    Estimate
        Mean, lower end, upper end. The quantile is that of t with as many degrees of freedom as clusters minus one.

    Raises
    ------
    ValueError
        If there are not as many clusters' names as values, a value is not finite, or there is only one cluster.

    References
    ----------
    Liang and Zeger 1986; Miller 2024, Adding Error Bars to Evals (without the factor for few clusters).
    """
    found, codes = _scores(values, clusters)
    mean, count = found.mean(), codes.max() + 1
    sums = np.bincount(codes, found - mean)
    error = math.sqrt(count / (count - 1) * (sums**2).sum()) / len(found)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return float(mean), float(mean - half), float(mean + half)


def design_effect(values: ArrayLike, clusters: Sequence[object] | np.ndarray) -> float:
    """Return by which factor the variance of the mean is larger than if the items were independent.

    The number of items divided by this is the number of independent items that would say as much.

    Raises
    ------
    ValueError
        As `clustered_interval`, and if all values are the same.

    References
    ----------
    Kish 1965, Survey Sampling.
    """
    found, codes = _scores(values, clusters)
    apart, count = found - found.mean(), codes.max() + 1
    if not apart.any():
        raise ValueError("all values are the same: there is no variance to compare")
    together = count / (count - 1) * (np.bincount(codes, apart) ** 2).sum()
    return float(together / (apart**2).sum() * (len(found) - 1) / len(found))


def items_needed(difference: float, deviation: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return how many items a test takes to find a mean difference with that probability.

    Parameters
    ----------
    difference : float
        The mean difference that is to be found, in the score's unit.
    deviation : float
        The standard deviation over items of what is averaged: of paired differences, where two models answer the same
        items.
    power, level : float

    Raises
    ------
    ValueError
        If the difference is 0, the deviation is not positive, or power or level are not between 0 and 1.

    References
    ----------
    Miller 2024, Adding Error Bars to Evals, on power.
    """
    if not difference or deviation <= 0 or not 0 < power < 1 or not 0 < level < 1:
        raise ValueError(
            "a difference other than 0, a positive deviation, and power and level between 0 and 1 are needed"
        )
    quantiles = stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power)
    return math.ceil((quantiles * deviation / difference) ** 2)
