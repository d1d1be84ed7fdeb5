"""How sure a gap is: the bootstrap within groups, and the interval of a ratio of two rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.group_fairness.rates import OF_TABLES, Labels, four_counts, group_codes
from llmsafety_lab.statistics import Estimate

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
_UNDEFINED = 0.05


def group_bootstrap(
    metric: Metric,
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    groups: Labels,
    draws: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return a measure and its percentile interval, each group's rows drawn anew with replacement from that group.

    Drawing within groups keeps each group's size: no draw loses a small group. For the measures of this package a
    draw of rows is a draw of four counts a group, a multinomial, so that thousands of draws take milliseconds. Any
    other callable gets rows.

    A gap is never negative. So its interval seldom holds 0 even where the groups are alike, and the interval of a
    signed difference between two named groups is the one to test with.

    Parameters
    ----------
    metric : callable
        Takes (y_true, y_pred, groups), returns a number: `equalized_odds_difference`, or one of your own.
    y_true, y_pred, groups
        As for `four_counts`; for a metric of your own, anything that it takes, a row each.
    draws, seed : int
    level : float

    Returns
    -------
    tuple of three floats
        The measure on all rows, the lower and the upper end.

    Raises
    ------
    ValueError
        If the measure is undefined on the rows themselves or on more than one draw in twenty, as when a group has very
        few rows of an outcome; if there are fewer than a hundred draws, or the level is not between 0 and 1.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 8.3 and 13.3.
    """
    if draws < 100 or not 0 < level < 1:
        raise ValueError(f"at least 100 draws and a level between 0 and 1 are needed: got {draws}, {level}")
    generator = np.random.default_rng(seed)
    truth = np.asarray(y_pred) if y_true is None else np.asarray(y_true)
    estimate = float(metric(truth, np.asarray(y_pred), _rows(groups)))
    name = getattr(metric, "__name__", "")
    if metric.__module__ == "llmsafety_lab.group_fairness.rates" and name in OF_TABLES:
        _, table = four_counts(truth, y_pred, groups)
        cells = table.reshape(len(table), 4)
        drawn = np.stack([generator.multinomial(row.sum(), row / row.sum(), size=draws) for row in cells], axis=1)
        values = OF_TABLES[name](drawn.reshape(draws, -1, 2, 2))
    else:
        values = _by_rows(metric, truth, np.asarray(y_pred), groups, draws, generator)
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - _UNDEFINED) * draws:
        raise ValueError(
            f"the measure is undefined in {draws - len(defined)} of {draws} draws: a group has too few rows for it"
        )
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return estimate, float(low), float(high)


def _rows(groups: Labels) -> np.ndarray:
    names, code = group_codes(groups)
    held = np.empty(len(names), dtype=object)
    held[:] = names
    return held[code]


def _by_rows(
    metric: Metric, y_true: np.ndarray, y_pred: np.ndarray, groups: Labels, draws: int, generator: np.random.Generator
) -> np.ndarray:
    _, code = group_codes(groups)
    labels = _rows(groups)
    members = [np.flatnonzero(code == group) for group in range(code.max() + 1)]
    values = np.full(draws, np.nan)
    for draw in range(draws):
        rows = np.concatenate([generator.choice(of, len(of)) for of in members])
        try:
            values[draw] = metric(y_true[rows], y_pred[rows], labels[rows])
        except ValueError:
            continue
    return values


def ratio_interval(selected: tuple[int, int], of: tuple[int, int], level: float = 0.95) -> Estimate:
    """Return the ratio of two groups' selection rates, the first over the second, and its interval on the log scale.

    The logarithm of a rate has a variance of about (1 - rate) / selected, and those of two groups add up.

    Parameters
    ----------
    selected, of : pair of int
        How many of the first and of the second group were selected, and how many there were.
    level : float

    Raises
    ------
    ValueError
        If a group is empty, more are selected than there are, or nobody is: the logarithm of 0 has no variance.

    References
    ----------
    Katz, Baptista, Azen and Pike 1978, Obtaining Confidence Intervals for the Risk Ratio in Cohort Studies.
    """
    (a, b), (n, m) = selected, of
    if min(n, m) < 1 or not (0 <= a <= n and 0 <= b <= m) or not 0 < level < 1:
        raise ValueError(f"two groups and counts among them are needed: got {selected} of {of}, level {level}")
    if not a or not b:
        raise ValueError(f"nobody of a group was selected ({a} and {b}): a ratio's logarithm needs one of each")
    ratio = (a / n) / (b / m)
    half = float(stats.norm.ppf((1 + level) / 2)) * (1 / a - 1 / n + 1 / b - 1 / m) ** 0.5
    return ratio, ratio * float(np.exp(-half)), ratio * float(np.exp(half))


def chance_below(rate: float, n: int, m: int, limit: float = 0.8) -> float:
    """Return how often two groups with the same true rate show a ratio below `limit`, by chance alone; exact.

    The ratio is that of the smaller rate over the larger, as the four-fifths rule takes it. No ratio (nobody selected
    in both) counts as not below.

    Raises
    ------
    ValueError
        If a group is empty, or the rate or the limit is not a share.
    """
    if min(n, m) < 1 or not 0 <= rate <= 1 or not 0 < limit <= 1:
        raise ValueError(f"two groups, a rate and a limit from 0 to 1 are needed: got {n}, {m}, {rate}, {limit}")
    first, second = np.arange(n + 1) / n, np.arange(m + 1) / m
    weight = np.outer(stats.binom.pmf(np.arange(n + 1), n, rate), stats.binom.pmf(np.arange(m + 1), m, rate))
    low, high = np.minimum.outer(first, second), np.maximum.outer(first, second)
    return float(weight[low < limit * high - 1e-12].sum())
