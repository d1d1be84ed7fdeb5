"""Where to cut a filter's score: what each mistake costs, and how rare the harm is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


class Tuned(NamedTuple):
    """A threshold, and what a text costs on average when it is used on texts that did not choose it."""

    threshold: float
    cost: float


def _scored(scores: ArrayLike, harmful: ArrayLike, what: str) -> tuple[Float[np.ndarray, " texts"], np.ndarray]:
    values, labels = np.asarray(scores, dtype=float), np.asarray(harmful)
    if values.ndim != 1 or values.shape != labels.shape or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{what}: a score and a label of 0 or 1 are needed for each text; got {len(values)} scores")
    if not (0 < labels.sum() < len(labels)):
        raise ValueError(f"{what}: harmful and harmless texts are needed; all labels are alike")
    if np.isnan(values).any():
        raise ValueError(f"{what}: a score is not a number")
    return values, labels.astype(bool)


def expected_cost(
    scores: ArrayLike, harmful: ArrayLike, threshold: float, miss: float, false_alarm: float, base_rate: float
) -> float:
    """Return what a text costs on average in traffic of a given base rate, if scores from a threshold on are blocked.

    Parameters
    ----------
    scores, harmful : array, shape (texts,)
        Of a sample in which the share of harm may be any: it is replaced by `base_rate`.
    threshold : float
        A text is blocked if its score is at least this.
    miss, false_alarm : float
        What it costs to let one harmful text through, and to block one harmless text.
    base_rate : float
        The share of harmful texts in the traffic, from 0 to 1.

    Raises
    ------
    ValueError
        If labels are not 0 and 1 or all alike, a cost is negative, or the base rate is no share.
    """
    values, bad = _scored(scores, harmful, "the scores")
    if min(miss, false_alarm) < 0 or not 0 <= base_rate <= 1:
        raise ValueError(f"costs are at least 0 and a base rate is from 0 to 1; got {miss}, {false_alarm}, {base_rate}")
    blocked = values >= threshold
    return float(base_rate * miss * (~blocked[bad]).mean() + (1 - base_rate) * false_alarm * blocked[~bad].mean())


def cheapest_threshold(
    scores: ArrayLike, harmful: ArrayLike, miss: float, false_alarm: float, base_rate: float
) -> float:
    """Return the threshold of the lowest `expected_cost`: one of the scores, or infinity, which blocks nothing.

    Of equally cheap ones it is the highest, which blocks the fewest texts.

    Raises
    ------
    ValueError
        As `expected_cost`.
    """
    values, _ = _scored(scores, harmful, "the scores")
    tried = [np.inf, *np.unique(values)[::-1]]
    costs = [expected_cost(scores, harmful, one, miss, false_alarm, base_rate) for one in tried]
    return float(tried[int(np.argmin(np.round(costs, 12)))])


def tune(
    tuning_scores: ArrayLike,
    tuning_harmful: ArrayLike,
    test_scores: ArrayLike,
    test_harmful: ArrayLike,
    miss: float,
    false_alarm: float,
    base_rate: float,
) -> Tuned:
    """Return the cheapest threshold of some texts, and what it costs on others.

    Parameters
    ----------
    tuning_scores, tuning_harmful : array, shape (texts,)
        These choose the threshold.
    test_scores, test_harmful : array, shape (others,)
        These say what it costs.
    miss, false_alarm, base_rate : float
        As for `expected_cost`.

    Raises
    ------
    ValueError
        As `expected_cost`.
    """
    threshold = cheapest_threshold(tuning_scores, tuning_harmful, miss, false_alarm, base_rate)
    return Tuned(threshold, expected_cost(test_scores, test_harmful, threshold, miss, false_alarm, base_rate))


def precision_in_traffic(found: float, false_alarms: float, base_rate: float) -> float:
    """Return the share of blocked texts that are harmful, by Bayes' rule; NaN if nothing is blocked.

    Parameters
    ----------
    found, false_alarms : float
        The shares of harmful and of harmless texts that are blocked.
    base_rate : float
        The share of harmful texts in the traffic.
    """
    right, wrong = base_rate * found, (1 - base_rate) * false_alarms
    return right / (right + wrong) if right + wrong else float("nan")
