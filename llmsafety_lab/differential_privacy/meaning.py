"""What epsilon and delta mean to a person: how sure somebody can become, and how often an attack can succeed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def posterior_bound(prior: ArrayLike, epsilon: float) -> Float[np.ndarray, " priors"]:
    """Return the most that somebody can believe after seeing the release, who believed `prior` before (delta = 0).

    The odds, p / (1 - p), grow at most by the factor exp(epsilon).

    Raises
    ------
    ValueError
        If a prior is no probability, or epsilon is negative.

    References
    ----------
    Wood et al. 2018, Differential Privacy: A Primer for a Non-Technical Audience; Kasiviswanathan and Smith 2014.
    """
    before = np.asarray(prior, dtype=float)
    if not ((before >= 0) & (before <= 1)).all() or epsilon < 0:
        raise ValueError(f"priors are from 0 to 1 and epsilon is at least 0; got {before} and {epsilon}")
    return before / (before + (1 - before) * np.exp(-epsilon))


def largest_tpr(fpr: ArrayLike, epsilon: float, delta: float = 0.0) -> Float[np.ndarray, " rates"]:
    """Return the largest share of members that any attack can find at these rates of false accusations.

    Raises
    ------
    ValueError
        If a rate is not from 0 to 1, epsilon negative, or delta not from 0 to 1.

    References
    ----------
    Kairouz, Oh and Viswanath 2015, The Composition Theorem for Differential Privacy, theorem 2.1.
    """
    rate = np.asarray(fpr, dtype=float)
    if not ((rate >= 0) & (rate <= 1)).all() or epsilon < 0 or not 0 <= delta <= 1:
        raise ValueError(f"rates and delta are from 0 to 1, epsilon at least 0; got {rate}, {epsilon} and {delta}")
    upper = np.exp(min(epsilon, 700.0)) * rate + delta
    return np.clip(np.minimum(upper, 1 - np.exp(-epsilon) * (1 - delta - rate)), 0, 1)


def largest_area(epsilon: float, delta: float = 0.0) -> float:
    """Return the largest area under the curve that any attack can have: that below `largest_tpr`."""
    grid = np.concatenate([[0.0], np.geomspace(1e-9, 1, 20_001)])
    return float(np.trapezoid(largest_tpr(grid, epsilon, delta), grid))
