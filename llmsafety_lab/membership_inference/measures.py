"""How good an attack is: the whole curve on a logarithmic axis, a point of it with its interval, and the area."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.statistics import Estimate, proportion_interval


class Roc(NamedTuple):
    """A curve: the rates at each threshold, from the strictest on."""

    fpr: Float[np.ndarray, " thresholds"]
    tpr: Float[np.ndarray, " thresholds"]
    thresholds: Float[np.ndarray, " thresholds"]


def _both(
    scores: ArrayLike, members: ArrayLike
) -> tuple[Float[np.ndarray, " members"], Float[np.ndarray, " outsiders"]]:
    found, inside = np.asarray(scores, dtype=float), np.asarray(members)
    if found.ndim != 1 or found.shape != inside.shape:
        raise ValueError(f"a score and a True or False for each record: got shapes {found.shape} and {inside.shape}")
    if np.isnan(found).any():
        raise ValueError(f"{int(np.isnan(found).sum())} of {len(found)} scores are NaN")
    if inside.dtype.kind not in "biu" or not np.isin(inside, (0, 1)).all():
        raise ValueError("members holds True or False, or 1 or 0")
    inside = inside.astype(bool)
    if inside.all() or not inside.any():
        raise ValueError("there must be members and non-members: without both there is nothing to tell apart")
    return found[inside], found[~inside]


def roc_curve_log(scores: Float[np.ndarray, " records"], members: Bool[np.ndarray, " records"]) -> Roc:
    """Return the curve of true over false positive rate, fit for a logarithmic axis.

    A record is called a member where its score is at least the threshold. Rates are those of every distinct score.
    A false positive rate of 0 has no place on such an axis: it is put at half of the smallest rate that so many
    non-members can show, 1 / (2 non-members).

    Parameters
    ----------
    scores : Float[np.ndarray, " records"]
        High for "member".
    members : Bool[np.ndarray, " records"]

    Raises
    ------
    ValueError
        If there is no member or no non-member, lengths differ, or a score is NaN.
    """
    inside, outside = _both(scores, members)
    thresholds = np.unique(np.concatenate([inside, outside]))[::-1]
    tpr = 1 - np.searchsorted(np.sort(inside), thresholds) / len(inside)
    fpr = 1 - np.searchsorted(np.sort(outside), thresholds) / len(outside)
    return Roc(np.maximum(fpr, 1 / (2 * len(outside))), tpr, thresholds)


def tpr_at_fpr(
    scores: Float[np.ndarray, " records"],
    members: Bool[np.ndarray, " records"],
    fpr: float = 0.001,
    level: float = 0.95,
) -> Estimate:
    """Return the share of members that are found while at most a share `fpr` of the non-members is accused.

    The threshold is the lowest score at which no more non-members than that score at least as high. The interval is
    Clopper and Pearson's, over members drawn anew at that threshold; that the threshold was chosen on the same
    non-members, it does not know.

    Returns
    -------
    (float, float, float)
        The rate and the ends of its interval.

    Raises
    ------
    ValueError
        If the rate is not between 0 and 1, or so small that not even one of these non-members may be accused; or as
        `roc_curve_log`.

    References
    ----------
    Carlini et al. 2022, section IV; Clopper and Pearson 1934.
    """
    inside, outside = _both(scores, members)
    if not 0 < fpr < 1:
        raise ValueError(f"the false positive rate is between 0 and 1, such as 0.001; got {fpr}")
    allowed = int(fpr * len(outside) + 1e-9)
    if not allowed:
        raise ValueError(
            f"{len(outside)} non-members cannot show a false positive rate of {fpr:g}: it takes at least "
            f"{int(np.ceil(1 / fpr - 1e-9))}, and ten times as many to know it within a factor of two"
        )
    first_refused = np.sort(outside)[-allowed - 1] if allowed < len(outside) else -np.inf
    return proportion_interval(int((inside > first_refused).sum()), len(inside), level, exact=True)


def area(scores: Float[np.ndarray, " records"], members: Bool[np.ndarray, " records"]) -> float:
    """Return the area under the curve: how often a member scores higher than a non-member, ties counted half.

    Raises
    ------
    ValueError
        As for `roc_curve_log`.

    References
    ----------
    Hanley and McNeil 1982, The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve.
    """
    inside, outside = _both(scores, members)
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def auc(scores: Float[np.ndarray, " records"], members: Bool[np.ndarray, " records"], level: float = 0.95) -> Estimate:
    """Return the area under the curve, as `area` does, and DeLong's interval.

    Raises
    ------
    ValueError
        If there are fewer than two members or non-members, or as `roc_curve_log`.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014.
    """
    inside, outside = _both(scores, members)
    if min(len(inside), len(outside)) < 2:
        raise ValueError("an interval needs at least two members and two non-members")
    if not 0 < level < 1:
        raise ValueError(f"the level is between 0 and 1, such as 0.95; got {level}")
    among = stats.rankdata(np.concatenate([inside, outside]))
    above = (among[: len(inside)] - stats.rankdata(inside)) / len(outside)
    below = 1 - (among[len(inside) :] - stats.rankdata(outside)) / len(inside)
    found = area(scores, members)
    error = np.sqrt(above.var(ddof=1) / len(inside) + below.var(ddof=1) / len(outside))
    half = float(stats.norm.ppf((1 + level) / 2) * error)
    return found, max(found - half, 0.0), min(found + half, 1.0)


def best_accuracy(scores: Float[np.ndarray, " records"], members: Bool[np.ndarray, " records"]) -> float:
    """Return the accuracy of the best threshold where half of all records are members: (1 + TPR - FPR) / 2.

    It was chosen on the records it is measured on, so it is not below 1/2 even for scores that know nothing.
    """
    inside, outside = _both(scores, members)
    thresholds = np.concatenate([inside, outside])
    tpr = 1 - np.searchsorted(np.sort(inside), thresholds) / len(inside)
    fpr = 1 - np.searchsorted(np.sort(outside), thresholds) / len(outside)
    return float(max(0.5, ((1 + tpr - fpr) / 2).max()))
