"""The best of several looks better than it is: choose on some items, report on others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from llmsafety_lab.statistics import Estimate, mean_interval


def best_on_fresh(
    scores: Float[np.ndarray, "candidates items"], choosing: Bool[np.ndarray, " items"], level: float = 0.95
) -> tuple[int, float, Estimate]:
    """Choose the candidate with the best mean on some items, and score it on the others.

    Parameters
    ----------
    scores : Float[np.ndarray, "candidates items"]
        Each candidate's score on each item.
    choosing : Bool[np.ndarray, " items"]
        True for the items by which is chosen.
    level : float

    Returns
    -------
    winner : int
        Of several with the best mean, the first.
    shown : float
        Its mean on the items by which it was chosen.
    fresh : Estimate
        Its mean on the others, with an interval.

    Raises
    ------
    ValueError
        If shapes do not fit, no item is there to choose by, or fewer than two are left.
    """
    found, mask = np.asarray(scores, dtype=float), np.asarray(choosing)
    if found.ndim != 2 or not found.size or mask.shape != found.shape[1:] or mask.dtype != bool:
        raise ValueError(
            f"scores are (candidates, items) and choosing holds True or False for each item; got {found.shape}, "
            f"{mask.shape}"
        )
    if not mask.any() or (~mask).sum() < 2:
        raise ValueError("there must be items to choose by, and at least two others to report on")
    means = found[:, mask].mean(1)
    winner = int(means.argmax())
    return winner, float(means[winner]), mean_interval(found[winner, ~mask], level)
