"""What a repair bought and what it cost: paired by person, who pays for a smaller gap, and which models are best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from llmsafety_lab.bias_mitigation.people import Scores


def gap_items(
    values: Float[np.ndarray, " people"],
    groups: np.ndarray,
    among: Bool[np.ndarray, " people"] | None = None,
) -> Float[np.ndarray, " people"]:
    """Return one number a person whose mean is the second group's mean value minus the first's.

    They spread as the gap's own error does, so that an interval of their mean is one of the gap, and of two models on
    the same people the differences give the interval of the change. (They are the gap's influence values.)

    Parameters
    ----------
    values : Float[np.ndarray, " people"]
        Decisions, or probabilities of them.
    groups : np.ndarray
        Two groups.
    among : Bool[np.ndarray, " people"], optional
        Whom the gap is about, such as `labels == 1`; the others count 0 plus the gap.

    Raises
    ------
    ValueError
        If there are not two groups among them.
    """
    v = np.asarray(values, dtype=float)
    g = np.asarray(groups)
    kept = np.ones(len(g), bool) if among is None else np.asarray(among, dtype=bool)
    names = np.unique(g)
    if len(v) != len(g) or len(kept) != len(g) or len(names) != 2 or len(np.unique(g[kept])) != 2:
        raise ValueError("a value a person and two groups are needed, with somebody in each among whom to compare")
    found, gap = np.zeros(len(g)), 0.0
    for sign, name in zip((-1, 1), names, strict=True):
        members = kept & (g == name)
        mean = v[members].mean()
        gap += sign * mean
        found[members] += sign * len(g) / members.sum() * (v[members] - mean)
    return found + gap


def accuracy_items(chances: Scores, labels: np.ndarray) -> Float[np.ndarray, " people"]:
    """Return for each person the probability that a randomised decision is right."""
    y = np.asarray(labels)
    return np.where(y == 1, chances, 1 - np.asarray(chances, dtype=float))


@dataclass(frozen=True)
class Paid:
    """How a gap was closed.

    Parameters
    ----------
    closed
        By how much the gap fell. Negative if it grew.
    raised, lowered
        How much of that came from the lower group's rate going up, and from the higher group's going down. The sum is
        `closed` unless the order of the groups turned.
    """

    closed: float
    raised: float
    lowered: float


def who_pays(
    before: Scores, after: Scores, groups: np.ndarray, among: Bool[np.ndarray, " people"] | None = None
) -> Paid:
    """Return how much of a smaller gap is from raising the lower of two groups, and how much from lowering the higher.

    Raises
    ------
    ValueError
        If there are not two groups with somebody among whom to compare.

    References
    ----------
    Mittelstadt, Wachter and Russell 2023, The Unfairness of Fair Machine Learning.
    """
    g = np.asarray(groups)
    gap = float(gap_items(before, g, among).mean()), float(gap_items(after, g, among).mean())
    kept = np.ones(len(g), bool) if among is None else np.asarray(among, dtype=bool)
    low, high = np.unique(g) if gap[0] >= 0 else np.unique(g)[::-1]
    change = {name: float((np.asarray(after) - np.asarray(before))[kept & (g == name)].mean()) for name in (low, high)}
    return Paid(abs(gap[0]) - abs(gap[1]), change[low], -change[high])


def frontier(accuracies: Sequence[float], gaps: Sequence[float]) -> list[int]:
    """Return the places of the models that no other beats: none is as accurate with a smaller gap, or the reverse.

    Raises
    ------
    ValueError
        If there are no models, lengths differ, or a number is not finite.
    """
    a, b = np.asarray(accuracies, dtype=float), np.abs(np.asarray(gaps, dtype=float))
    if a.shape != b.shape or a.ndim != 1 or not len(a) or not np.isfinite(a).all() or not np.isfinite(b).all():
        raise ValueError("an accuracy and a gap of each model are needed, finite, and at least one model")
    better = (a[None] >= a[:, None]) & (b[None] <= b[:, None]) & ((a[None] > a[:, None]) | (b[None] < b[:, None]))
    kept = (~better.any(1)).nonzero()[0]
    return [int(i) for i in kept[np.argsort(b[kept], kind="stable")]]
