"""Mechanisms for one number: Laplace and Gaussian noise, Laplace noise without floating point, and an attack."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import optimize, stats


def private_mean(
    values: Float[np.ndarray, " records"], low: float, high: float, epsilon: float, rng: np.random.Generator
) -> float:
    """Return the mean of values that are clamped to a range, with Laplace noise for one exchanged record.

    The range is chosen without looking at the values. One record moves the mean by at most (high - low) / records.

    Raises
    ------
    ValueError
        If there is no value, the range is empty, or epsilon is not above 0.

    References
    ----------
    Dwork et al. 2006, Calibrating Noise to Sensitivity in Private Data Analysis.
    """
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or not len(found) or not low < high or not epsilon > 0:
        raise ValueError(f"values, low < high and epsilon > 0 are needed; got {found.shape}, {low}, {high}, {epsilon}")
    return float(np.clip(found, low, high).mean() + rng.laplace(scale=(high - low) / len(found) / epsilon))


def gaussian_delta(epsilon: float, sigma: float) -> float:
    """Return the smallest delta of the Gaussian mechanism with sensitivity 1 at this epsilon.

    References
    ----------
    Balle and Wang 2018, Improving the Gaussian Mechanism for Differential Privacy, theorem 8.
    """
    if epsilon < 0 or not sigma > 0:
        raise ValueError(f"epsilon is at least 0 and sigma above 0, got {epsilon} and {sigma}")
    half, shift = 1 / (2 * sigma), epsilon * sigma
    return float(stats.norm.cdf(half - shift) - math.exp(epsilon + stats.norm.logcdf(-half - shift)))


def gaussian_sigma(epsilon: float, delta: float) -> float:
    """Return the smallest standard deviation, in units of the sensitivity, that is (epsilon, delta)-private.

    The textbook's sqrt(2 log(1.25 / delta)) / epsilon is larger, and proved only for an epsilon below 1.

    Raises
    ------
    ValueError
        If epsilon is not above 0, or delta not between 0 and 1.

    References
    ----------
    Balle and Wang 2018, algorithm 1.
    """
    if not epsilon > 0 or not 0 < delta < 1:
        raise ValueError(f"epsilon is above 0, delta between 0 and 1; got {epsilon} and {delta}")
    return math.exp(optimize.brentq(lambda log: gaussian_delta(epsilon, math.exp(log)) - delta, -8, 20))


def _bernoulli_exp(gamma: Fraction, rng: random.Random) -> bool:
    """Return True with the probability exp(-gamma), exactly: only whole numbers are drawn."""
    while gamma > 1:
        if not _bernoulli_exp(Fraction(1), rng):
            return False
        gamma -= 1
    k = 1
    while rng.randrange(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1


def discrete_laplace(scale: Fraction | int, rng: random.Random | None = None) -> int:
    """Draw a whole number z with probability proportional to exp(-|z| / scale), without any floating-point number.

    Parameters
    ----------
    scale : Fraction or int
        Sensitivity over epsilon, for a query whose answers are whole numbers.
    rng : random.Random, optional
        By default the operating system's source, which nobody can predict. A seeded one is for tests and pages.

    Raises
    ------
    ValueError
        If the scale is not above 0.

    References
    ----------
    Canonne, Kamath and Steinke 2020, algorithm 2.
    """
    ratio, rng = Fraction(scale), rng or random.SystemRandom()
    if ratio <= 0:
        raise ValueError(f"the scale is above 0, got {scale}")
    top, bottom = ratio.numerator, ratio.denominator
    while True:
        small = rng.randrange(top)
        if not _bernoulli_exp(Fraction(small, top), rng):
            continue
        large = 0
        while _bernoulli_exp(Fraction(1), rng):
            large += 1
        size, negative = (small + top * large) // bottom, rng.randrange(2) == 1
        if size or not negative:  # otherwise 0 would be drawn twice as often
            return -size if negative else size


def possible(outputs: ArrayLike, answer: float, scale: float, reach: int = 8) -> Bool[np.ndarray, " outputs"]:
    """Say which outputs numpy's `Generator.laplace(answer, scale)` can give at all.

    Numpy draws one of 2^53 equally spaced numbers u, gives answer + scale * log(2u), or answer - scale * log(2 - 2u)
    for a u from 1/2 on, rounded at every step. Between two such outputs there are floating-point numbers that never
    come out; which ones, depends on the answer. Each u near the one that would give the output is tried.

    Parameters
    ----------
    outputs : array-like of float
    answer, scale : float
    reach : int
        How many u on each side are tried.

    References
    ----------
    Mironov 2012, On Significance of the Least Significant Bits for Differential Privacy, section 4.
    """
    found = np.asarray(outputs, dtype=float)
    step = 2.0**-53
    log = np.vectorize(math.log, otypes=[float])  # the C library's, as the generator's: numpy's own rounds otherwise
    low = np.rint(np.exp((found - answer) / scale) / 2 / step)
    high = np.rint((1 - np.exp((answer - found) / scale) / 2) / step)
    hit = np.zeros(found.shape, dtype=bool)
    for near in range(-reach, reach + 1):
        u = np.clip((low + near) * step, step, 0.5 - step)
        hit |= answer + scale * log(u + u) == found
        u = np.clip((high + near) * step, 0.5, 1 - step)
        hit |= answer - scale * log(2.0 - u - u) == found
    return hit
