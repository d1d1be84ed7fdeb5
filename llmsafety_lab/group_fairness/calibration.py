"""What a score means in each group, and the identity that ties the error rates to the predictive value."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from llmsafety_lab.group_fairness.rates import Labels, binary, group_codes


class Bin(NamedTuple):
    """Rows of one group with scores in one interval: its ends, how many, their mean score, how many had the outcome."""

    low: float
    high: float
    n: int
    score: float
    positives: int

    @property
    def rate(self) -> float:
        """The share with the outcome; NaN in an empty bin."""
        return self.positives / self.n if self.n else float("nan")


def calibration_by_group(
    y_true: ArrayLike, scores: ArrayLike, groups: Labels, edges: Sequence[float] | int | None = None
) -> dict[Hashable, list[Bin]]:
    """Return for each group the rate of the outcome in each bin of the score; the bins are the same for all groups.

    A score is calibrated within groups when the same score means the same rate in each.

    Parameters
    ----------
    y_true : sequence of 0 and 1, one a row
    scores : sequence of float, one a row
    groups : sequence of hashable, one a row
    edges : sequence of float, int or None
        The ends of the bins, rising; a bin holds its lower end, and the last one both. An int is as many bins of equal
        width from 0 to 1. None: each distinct score is a bin, as for deciles.

    Returns
    -------
    dict
        For each group a list of `Bin`, in the order of the scores; a bin without rows has n = 0 and a rate of NaN.

    Raises
    ------
    ValueError
        If lengths differ, a score is not finite or lies outside of the edges, or the edges do not rise.

    References
    ----------
    Kleinberg, Mullainathan and Raghavan 2017, condition (A); Pleiss et al. 2017.
    """
    names, code = group_codes(groups)
    truth, score = binary(y_true, "y_true"), np.asarray(scores, dtype=float)
    if score.ndim != 1 or not len(truth) == len(score) == len(code):
        raise ValueError(f"rows differ: {len(truth)} outcomes, scores {score.shape}, {len(code)} groups")
    if not np.isfinite(score).all():
        raise ValueError(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite")
    ends, place = _bins(score, edges)
    made: dict[Hashable, list[Bin]] = {}
    for number, name in enumerate(names):
        mine = [(place == b) & (code == number) for b in range(len(ends))]
        made[name] = [
            Bin(low, high, int(of.sum()), float(score[of].mean()) if of.any() else float("nan"), int(truth[of].sum()))
            for (low, high), of in zip(ends, mine, strict=True)
        ]
    return made


def _bins(
    score: Float[np.ndarray, " rows"], edges: Sequence[float] | int | None
) -> tuple[list[tuple[float, float]], np.ndarray]:
    if edges is None:
        values, place = np.unique(score, return_inverse=True)
        return [(float(value), float(value)) for value in values], place
    if isinstance(edges, int) and edges < 1:
        raise ValueError(f"there must be at least one bin; got {edges}")
    cuts = np.linspace(0, 1, edges + 1) if isinstance(edges, int) else np.asarray(edges, dtype=float)
    if cuts.ndim != 1 or len(cuts) < 2 or not (np.diff(cuts) > 0).all():
        raise ValueError(f"the edges of the bins must rise; got {cuts.tolist()}")
    if score.min() < cuts[0] or score.max() > cuts[-1]:
        raise ValueError(
            f"scores from {score.min():g} to {score.max():g} do not lie in the bins from {cuts[0]:g} to {cuts[-1]:g}"
        )
    place = np.minimum(np.searchsorted(cuts, score, side="right") - 1, len(cuts) - 2)
    return [(float(low), float(high)) for low, high in pairwise(cuts)], place


def implied_fpr(base_rate: float, ppv: float, fnr: float) -> float:
    """Return the false positive rate that base rate, positive predictive value and false negative rate leave possible.

    FPR = p / (1 - p) * (1 - PPV) / PPV * (1 - FNR). Above 1, no classifier has these three values.

    Raises
    ------
    ValueError
        If the base rate is not strictly between 0 and 1, PPV is not in (0, 1], or FNR is not in [0, 1].

    References
    ----------
    Chouldechova 2017, equation 2.6.
    """
    if not (0 < base_rate < 1 and 0 < ppv <= 1 and 0 <= fnr <= 1):
        raise ValueError(f"shares are needed, and 0 < p < 1, PPV > 0: got p {base_rate}, PPV {ppv}, FNR {fnr}")
    return base_rate / (1 - base_rate) * (1 - ppv) / ppv * (1 - fnr)
