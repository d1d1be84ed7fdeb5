"""One threshold a group: what each choice gives, from counts alone, and which choice is best under a limit on a gap."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from llmsafety_lab.group_fairness.rates import OF_TABLES, Labels, Table, binary, group_codes, rates_of


class ScoreCounts(NamedTuple):
    """How often each score came with each outcome in each group: enough for every threshold, and no person's row."""

    groups: list[Hashable]
    scores: list[float]
    counts: Int[np.ndarray, "groups scores outcomes"]


def score_counts(y_true: ArrayLike, scores: ArrayLike, groups: Labels) -> ScoreCounts:
    """Count the rows of each group by score and outcome.

    Raises
    ------
    ValueError
        If lengths differ, a score is not finite, or an outcome is neither 0 nor 1.
    """
    names, code = group_codes(groups)
    truth, score = binary(y_true, "y_true"), np.asarray(scores, dtype=float)
    if score.ndim != 1 or not len(truth) == len(score) == len(code):
        raise ValueError(f"rows differ: {len(truth)} outcomes, scores {score.shape}, {len(code)} groups")
    if not np.isfinite(score).all():
        raise ValueError(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite")
    values, place = np.unique(score, return_inverse=True)
    counts = np.zeros((len(names), len(values), 2), dtype=int)
    np.add.at(counts, (code, place, truth), 1)
    return ScoreCounts(names, values.tolist(), counts)


def four_counts_at(of: ScoreCounts, thresholds: Sequence[float]) -> Table:
    """Return the four counts of each group when those with a score of at least its threshold get the decision 1.

    Parameters
    ----------
    of : ScoreCounts
    thresholds : sequence of float
        One a group, in the order of `of.groups`. Above the largest score: nobody gets the decision 1.

    Raises
    ------
    ValueError
        If there is not one threshold a group.
    """
    if len(thresholds) != len(of.groups):
        raise ValueError(f"there are {len(of.groups)} groups and {len(thresholds)} thresholds")
    decided = np.asarray(of.scores)[None] >= np.asarray(thresholds, dtype=float)[:, None]
    ones = (of.counts * decided[..., None]).sum(1)
    return np.stack([of.counts.sum(1) - ones, ones], axis=-1)


def best_thresholds(of: ScoreCounts, gap: str, limit: float, cost: float = 1.0) -> tuple[float, ...] | None:
    """Return the thresholds, one a group, with the least cost of errors among those whose gap is at most `limit`.

    Every combination is tried: with few groups and a score of few values there are few.

    Parameters
    ----------
    of : ScoreCounts
    gap : str
        The name of a measure of this package, such as "equalized_odds_difference".
    limit : float
    cost : float
        What a false positive costs when a false negative costs 1; at 1 the cost is the number of errors.

    Returns
    -------
    tuple of float or None
        None where no combination has so small a gap.

    Raises
    ------
    ValueError
        If there is no such measure, or a cost or a limit is negative, or there would be more than a million choices.
    """
    if gap not in OF_TABLES or cost < 0 or limit < 0:
        raise ValueError(f"a measure of {list(OF_TABLES)}, a cost and a limit from 0 on: got {gap!r}, {cost}, {limit}")
    choices = [*of.scores, of.scores[-1] + 1]
    if len(choices) ** len(of.groups) > 1_000_000:
        raise ValueError(f"{len(choices)} thresholds for {len(of.groups)} groups are too many to try: bin the score")
    every = list(product(choices, repeat=len(of.groups)))
    one_each = np.stack([four_counts_at(of, [cut] * len(of.groups)) for cut in choices])
    places = np.array(list(product(range(len(choices)), repeat=len(of.groups))))
    tables = one_each[places, np.arange(len(of.groups))]
    gaps = OF_TABLES[gap](tables)
    costs = cost * tables[..., 0, 1].sum(-1) + tables[..., 1, 0].sum(-1)
    allowed = np.flatnonzero(np.nan_to_num(gaps, nan=np.inf) <= limit + 1e-12)
    return every[allowed[costs[allowed].argmin()]] if len(allowed) else None


def accuracy_of(table: Table) -> float:
    """Return the share of all rows whose decision equals the outcome."""
    rates = rates_of(table)
    return float((rates.accuracy * rates.n).sum(-1) / rates.n.sum(-1))
