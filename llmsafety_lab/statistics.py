"""Intervals and tests: of a share, a mean, a ratio of sums, runs with several seeds, two methods on the same items.

An interval is a triple: estimate, lower end, upper end. Each function says what is drawn anew: items, seeds, or both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import stats

Estimate = tuple[float, float, float]


def _numbers(values: ArrayLike, what: str, dimensions: int = 1) -> Float[np.ndarray, "..."]:
    found = np.asarray(values, dtype=float)
    if found.ndim != dimensions or min(found.shape, default=0) < 2:
        least = "rows and columns, at least two of both" if dimensions == 2 else "a row of at least two numbers"
        raise ValueError(f"{what} must be {least}; got shape {found.shape}. One of a kind says nothing of the spread.")
    if not np.isfinite(found).all():
        raise ValueError(f"{what} must be finite; {int((~np.isfinite(found)).sum())} of {found.size} numbers are not")
    return found


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"the level is between 0 and 1, such as 0.95; got {level}")
    return level


def proportion_interval(count: int, of: int, level: float = 0.95, exact: bool = False) -> Estimate:
    """Return a share and its interval, over items that are drawn anew.

    Parameters
    ----------
    count, of : int
        How many items have the property, and how many there are.
    level : float
    exact : bool
        False: Wilson's interval, which covers as often as it says in the mean over all shares. True: Clopper and
        Pearson's, which never covers less often than it says, and is wider.

    Raises
    ------
    ValueError
        If there is no item, or the count is not from 0 to `of`.

    References
    ----------
    Wilson 1927; Clopper and Pearson 1934; Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion.
    """
    if of < 1 or not 0 <= count <= of:
        raise ValueError(f"a share needs items, and a count among them: got {count} of {of}")
    found = stats.binomtest(int(count), int(of)).proportion_ci(_level(level), "exact" if exact else "wilson")
    return count / of, float(found.low), float(found.high)


def mean_interval(values: Float[np.ndarray, " items"] | Sequence[float], level: float = 0.95) -> Estimate:
    """Return a mean and its t interval: of one result a seed over seeds, or of one value an item over items.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.
    """
    found = _numbers(values, "the values")
    return _around(float(found.mean()), float(found.std(ddof=1)) / len(found) ** 0.5, len(found) - 1, level)


def slope_interval(
    x: Float[np.ndarray, " points"] | Sequence[float],
    y: Float[np.ndarray, " points"] | Sequence[float],
    level: float = 0.95,
) -> Estimate:
    """Return the slope of the line of least squares through points, and its t interval: y is drawn anew, x stays.

    Raises
    ------
    ValueError
        If there are fewer than three points or not as many of both, one is not finite, or all x are the same.
    """
    across, up = _numbers(x, "x"), _numbers(y, "y")
    if across.shape != up.shape or len(across) < 3 or np.ptp(across) == 0:
        raise ValueError(f"a slope needs at least three points, and two different x: {len(across)} x, {len(up)} y")
    line = stats.linregress(across, up)
    return _around(float(line.slope), float(line.stderr), len(across) - 2, level)


def _around(estimate: float, error: float, freedom: float, level: float) -> Estimate:
    half = float(stats.t.ppf((1 + _level(level)) / 2, freedom)) * error
    return estimate, estimate - half, estimate + half


def ratio_interval(
    above: Float[np.ndarray, " items"] | Sequence[float],
    below: Float[np.ndarray, " items"] | Sequence[float],
    level: float = 0.95,
) -> Estimate:
    """Return the ratio of two sums over items, and its interval over items drawn anew, which holds for ten items, too.

    F1 is such a ratio: twice the correct spans of each sentence above, its predicted and expected ones below. The
    ratio's error is that of the mean of above - ratio * below, divided by the mean of below; the quantile is t's.

    Raises
    ------
    ValueError
        If there are fewer than two items or not as many of both, one is not finite, or what is below sums to 0.

    References
    ----------
    Cochran 1977, Sampling Techniques, section 6.4.
    """
    top, bottom = _numbers(above, "what is above"), _numbers(below, "what is below")
    if top.shape != bottom.shape or not bottom.sum():
        raise ValueError(
            f"a ratio needs as many items above as below, and a sum below: {len(top)}, {len(bottom)} items"
        )
    ratio = float(top.sum() / bottom.sum())
    error = float((top - ratio * bottom).std(ddof=1) / abs(bottom.mean())) / len(top) ** 0.5
    return _around(ratio, error, len(top) - 1, level)


def interval(
    right: Bool[np.ndarray, "seeds items"] | Float[np.ndarray, "seeds items"], level: float = 0.95
) -> Estimate:
    """Return the mean over runs with several seeds, and its interval: seeds and items are both drawn anew.

    The mean's variance has a part of the seeds and a part of the items, told apart as in a two-way analysis of
    variance; that of the seeds is at least what chance alone would give. Few seeds say little of how seeds differ, so
    the quantile is that of t, with the fewer degrees of freedom the more of the variance is the seeds'. The interval
    holds the truth at least as often as it says; to draw three rows with replacement would do so four times in five.

    Parameters
    ----------
    right : Bool or Float[np.ndarray, "seeds items"]
        Whether the run with that seed was right on that item, or by how much it was so more than another method's run.
    level : float

    Raises
    ------
    ValueError
        If there is only one seed or one item, or a value is not finite. For a single run take `proportion_interval`,
        or `mean_interval` over its items: neither says anything of another seed.

    References
    ----------
    Hillis 2007, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis.
    """
    found = _numbers(right, "the results, a row for each seed,", 2)
    seeds, items = found.shape
    mean, by_seed, by_item = found.mean(), found.mean(1, keepdims=True), found.mean(0, keepdims=True)
    rest = found - by_seed - by_item + mean
    within = (rest**2).sum() / ((seeds - 1) * (items - 1))
    between_seeds = max(items * by_seed.var(ddof=1), within)
    between_items = seeds * by_item.var(ddof=1)
    both = between_seeds + max(between_items - within, 0.0)
    freedom = both**2 / between_seeds**2 * (seeds - 1) if between_seeds else np.inf
    return _around(float(mean), float(np.sqrt(both / found.size)), float(freedom), level)


def bootstrap(
    columns: Sequence[Float[np.ndarray, " items"]],
    statistic: Callable[..., float],
    draws: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return a statistic and its interval over items drawn with replacement, corrected for bias and skew (BCa).

    For a mean or a ratio of sums of fewer than about fifty items `mean_interval` and `ratio_interval` are better.

    Parameters
    ----------
    columns : sequence of arrays, each of shape (items,)
        Values of the same items, such as two methods' results: an item is drawn with all of its values.
    statistic : callable
        Takes the columns, returns a number, such as `lambda ours, theirs: np.median(ours - theirs)`.
    draws, seed : int

    Raises
    ------
    ValueError
        If columns differ in length or have fewer than two items, a value is not finite, there is no draw, or the
        statistic is the same in all draws.
    """
    found = tuple(_numbers(column, "a column") for column in columns)
    if not found or len({len(column) for column in found}) > 1 or draws < 1:
        raise ValueError(
            f"columns of the same items and a draw are needed: got {[len(c) for c in found]}, {draws} draws"
        )
    if all(np.ptp(column) == 0 for column in found):
        raise ValueError("every item has the same values: they say nothing of the spread")
    made = stats.bootstrap(
        found,
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=draws,
        confidence_level=_level(level),
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    if not np.isfinite([made.low, made.high]).all():
        raise ValueError("the statistic is the same in all draws: these items say nothing of its spread")
    return float(statistic(*found)), float(made.low), float(made.high)


def permutation_test(
    ours: Float[np.ndarray, " items"] | Sequence[float],
    theirs: Float[np.ndarray, " items"] | Sequence[float],
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """Return the p-value of no difference between two methods on the same items, against a difference of either sign.

    Were there none, each item's two values could as well be swapped. The p-value is the share of such swaps that give a
    mean difference at least as large: of all swaps where there are no more than `draws`, else of as many drawn ones,
    the one observed among them.

    Raises
    ------
    ValueError
        If there are fewer than two items or not as many of both, one is not finite, or there is no draw.

    References
    ----------
    Fisher 1935, The Design of Experiments, section 21; Phipson and Smyth 2010, Permutation P-values Should Never Be
    Zero.
    """
    mine, other = _numbers(ours, "the values"), _numbers(theirs, "the other values")
    if mine.shape != other.shape or draws < 1:
        raise ValueError(f"as many values of both and a draw are needed: got {len(mine)}, {len(other)}, {draws} draws")
    made = stats.permutation_test(
        (mine - other,),
        lambda difference, axis: difference.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=draws,
        batch=1_000,
        random_state=np.random.default_rng(seed),
    )
    return float(made.pvalue)


def holm(p_values: Float[np.ndarray, " tests"] | Sequence[float]) -> Float[np.ndarray, " tests"]:
    """Return p-values corrected for being several, in their order: of those below 0.05 none is false, 19 times in 20.

    Raises
    ------
    ValueError
        If there is none, or one is not from 0 to 1.

    References
    ----------
    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    found = np.asarray(p_values, dtype=float)
    if found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"p-values are a row of numbers from 0 to 1; got {found.tolist()}")
    order = found.argsort()
    corrected = np.empty_like(found)
    corrected[order] = np.minimum(np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1)), 1)
    return corrected
