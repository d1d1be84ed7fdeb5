"""Answer only when sure: how often a model is wrong among the questions that it answers, and how many these are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats


class Curve(NamedTuple):
    """For each threshold, falling: the share of questions that are answered, and the share of those that are wrong.

    Parameters
    ----------
    threshold, coverage, risk : array, shape (distinct confidences,)
    """

    threshold: Float[np.ndarray, " points"]
    coverage: Float[np.ndarray, " points"]
    risk: Float[np.ndarray, " points"]

    @property
    def area(self) -> float:
        """The mean risk over all coverages: a question counts the risk of the point at which it is first answered."""
        return float(np.diff(self.coverage, prepend=0) @ self.risk)


def _answered(confidence: ArrayLike, right: ArrayLike) -> tuple[Float[np.ndarray, " questions"], np.ndarray]:
    sure, good = np.asarray(confidence, dtype=float), np.asarray(right)
    if sure.ndim != 1 or sure.shape != good.shape or not len(sure):
        raise ValueError(f"a confidence and a mark are needed for each question; got {sure.shape} and {good.shape}")
    if np.isnan(sure).any() or not np.isin(good, (0, 1)).all():
        raise ValueError("confidences are numbers, and marks are 1 for right and 0 for wrong")
    return sure, good.astype(float)


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> Curve:
    """Return the curve of selective risk against coverage, a point for each distinct confidence.

    At a threshold all questions with at least this confidence are answered; those of equal confidence come together.
    An answer that is withheld is neither right nor wrong: it lowers the coverage and is no part of the risk.

    Parameters
    ----------
    confidence : array, shape (questions,)
        Any number that is higher for answers that are thought surer.
    right : array, shape (questions,)
        1 where the answer is right, else 0.

    Raises
    ------
    ValueError
        If there is no question, not as many of both, a confidence is no number, or a mark is neither 0 nor 1.

    References
    ----------
    El-Yaniv and Wiener 2010, On the Foundations of Noise-free Selective Classification, section 2.
    """
    sure, good = _answered(confidence, right)
    order = np.argsort(-sure, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(sure[order])), len(sure) - 1]
    answered = last + 1
    return Curve(sure[order][last], answered / len(sure), np.cumsum(1 - good[order])[last] / answered)


def promised_threshold(confidence: ArrayLike, right: ArrayLike, risk: float, level: float = 0.95) -> float:
    """Return the lowest threshold at which the risk is below a promise, with this confidence; infinity if none is.

    The thresholds are tested from the strictest on, each by the exact upper bound of a binomial share, and the first
    that fails ends the search. So no correction for many tests is needed.

    Raises
    ------
    ValueError
        As `risk_coverage`, and if risk or level is not between 0 and 1.

    References
    ----------
    Angelopoulos et al. 2021, Learn then Test, section 3 (fixed sequence testing); Clopper and Pearson 1934.
    """
    if not (0 < risk < 1 and 0 < level < 1):
        raise ValueError(f"a risk and a level are between 0 and 1; got {risk} and {level}")
    curve = risk_coverage(confidence, right)
    answered = np.round(curve.coverage * len(np.asarray(confidence))).astype(int)
    wrong = np.round(curve.risk * answered).astype(int)
    enough = answered >= np.log(1 - level) / np.log(1 - risk)  # fewer cannot pass, even without a mistake
    best = np.inf
    for threshold, bad, of in zip(curve.threshold[enough], wrong[enough], answered[enough], strict=True):
        if bad == of or stats.beta.ppf(level, bad + 1, of - bad) > risk:
            break
        best = float(threshold)
    return best


def calibration_error(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over bins of equal width.

    Parameters
    ----------
    probability : array, shape (questions,)
        From 0 to 1: how probable the model says its answer is.
    bins : int
        A bin holds its upper end.

    Raises
    ------
    ValueError
        As `risk_coverage`, and if a probability is outside of 0 to 1 or there is no bin.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    sure, good = _answered(probability, right)
    if bins < 1 or sure.min() < 0 or sure.max() > 1:
        raise ValueError(f"probabilities are from 0 to 1, and at least one bin is needed; got {bins} bins")
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs((sure - good)[place == one].sum()) for one in range(bins)]
    return float(sum(gaps) / len(sure))
