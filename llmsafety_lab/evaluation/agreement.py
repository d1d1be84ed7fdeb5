"""A judge against people: agreement beyond chance, and shares that are corrected for the judge's errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.statistics import Estimate


def kappa(first: Sequence[object] | np.ndarray, second: Sequence[object] | np.ndarray) -> float:
    """Return Cohen's kappa: the agreement of two raters beyond what their shares of labels give by chance.

    Parameters
    ----------
    first, second : sequences of the same length
        Each rater's label for each item.

    Returns
    -------
    float
        1 where they always agree, 0 where they agree as often as chance, below 0 where less often.

    Raises
    ------
    ValueError
        If lengths differ, there is no item, or both gave the same label to all: then chance explains everything.

    References
    ----------
    Cohen 1960, A Coefficient of Agreement for Nominal Scales.
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise ValueError(f"both raters label the same items; got shapes {one.shape} and {other.shape}")
    chance = sum(float((one == label).mean() * (other == label).mean()) for label in np.union1d(one, other))
    if chance > 1 - 1e-12:
        raise ValueError("both raters gave one and the same label to every item: kappa is 0 / 0")
    return float(((one == other).mean() - chance) / (1 - chance))


def rogan_gladen(
    flagged: tuple[int, int], found: tuple[int, int], spared: tuple[int, int], level: float = 0.95
) -> Estimate:
    """Return the true share of positives, from a judge's share and the judge's error rates, and its interval.

    Parameters
    ----------
    flagged : (int, int)
        How many items the judge flags, of how many.
    found : (int, int)
        How many of the positives by people the judge flags, of how many: its sensitivity.
    spared : (int, int)
        How many of the negatives by people the judge does not flag, of how many: its specificity.
    level : float

    Returns
    -------
    Estimate
        The share and its ends, cut to [0, 1]. The three counts are taken as independent (delta method).

    Raises
    ------
    ValueError
        If a count is not among its items, or the judge is no better than a coin: sensitivity + specificity <= 1.

    References
    ----------
    Rogan and Gladen 1978, Estimating Prevalence from the Results of a Screening Test.
    """
    if not all(0 <= count <= of and of > 0 for count, of in (flagged, found, spared)):
        raise ValueError(f"each pair is a count and of how many; got {flagged}, {found}, {spared}")
    share, sensitivity, specificity = (count / of for count, of in (flagged, found, spared))
    gain = sensitivity + specificity - 1
    if gain <= 0:
        raise ValueError(
            f"a judge with sensitivity {sensitivity:.2f} and specificity {specificity:.2f} is no better than a coin"
        )
    true = (share + specificity - 1) / gain
    variance = (
        share * (1 - share) / flagged[1]
        + true**2 * sensitivity * (1 - sensitivity) / found[1]
        + (1 - true) ** 2 * specificity * (1 - specificity) / spared[1]
    ) / gain**2
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    low, middle, high = (float(np.clip(end, 0, 1)) for end in (true - half, true, true + half))
    return middle, low, high


def _judged(people: ArrayLike, judged: ArrayLike, rest: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    human, same, more = (np.asarray(values, dtype=float) for values in (people, judged, rest))
    if human.ndim != 1 or human.shape != same.shape or more.ndim != 1 or min(len(human), len(more)) < 2:
        raise ValueError(
            f"people and judge score the same items, at least two, and the judge two more; got shapes {human.shape}, "
            f"{same.shape} and {more.shape}"
        )
    if not np.isfinite(np.concatenate([human, same, more])).all():
        raise ValueError("a score is not finite")
    return human, same, more


def prediction_powered(
    people: Float[np.ndarray, " labelled"] | Sequence[float],
    judged: Float[np.ndarray, " labelled"] | Sequence[float],
    rest: Float[np.ndarray, " unlabelled"] | Sequence[float],
    weight: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of people's scores and its interval, from few items that people scored and many that a judge did.

    Parameters
    ----------
    people, judged : Float[np.ndarray, " labelled"]
        Scores of the same items, by people and by the judge.
    rest : Float[np.ndarray, " unlabelled"]
        The judge's scores of items that no person scored.
    weight : float
        How much the judge counts: 1 is the plain method, 0 leaves the judge out. See `best_weight`.
    level : float

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or there are fewer than two items of a kind.

    References
    ----------
    Angelopoulos et al. 2023, Prediction-Powered Inference; Angelopoulos, Duchi and Zrnic 2023, PPI++ (the weight).
    """
    human, same, more = _judged(people, judged, rest)
    corrected = human - weight * same
    mean = float(weight * more.mean() + corrected.mean())
    error = math.sqrt(weight**2 * more.var(ddof=1) / len(more) + corrected.var(ddof=1) / len(human))
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return mean, mean - half, mean + half


def best_weight(
    people: Float[np.ndarray, " labelled"] | Sequence[float],
    judged: Float[np.ndarray, " labelled"] | Sequence[float],
    rest: Float[np.ndarray, " unlabelled"] | Sequence[float],
) -> float:
    """Return the weight of the judge with which `prediction_powered` has the narrowest interval.

    Raises
    ------
    ValueError
        As `prediction_powered`, and if the judge gave the same score to all.

    References
    ----------
    Angelopoulos, Duchi and Zrnic 2023, PPI++.
    """
    human, same, more = _judged(people, judged, rest)
    spread = more.var(ddof=1) / len(more) + same.var(ddof=1) / len(same)
    if not spread:
        raise ValueError("the judge gave the same score to all items: it says nothing")
    return float(np.cov(human, same)[0, 1] / len(human) / spread)
