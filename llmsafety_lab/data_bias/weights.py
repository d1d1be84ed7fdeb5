"""Weights for rows: what makes label and group independent, what they cost, and drawing rows by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from llmsafety_lab.data_bias.columns import column, weights_of
from llmsafety_lab.statistics import Estimate, proportion_interval


def kamiran_calders_weights(
    labels: ArrayLike | Sequence[Any], groups: ArrayLike | Sequence[Any]
) -> Float[np.ndarray, " rows"]:
    """Return the weights under which label and group are independent.

    A row with label y in group a weighs P(y) P(a) / P(y, a), each the share of the rows: how many such rows there
    would be if label and group were independent, over how many there are. The weights have mean 1. Group sizes and
    the overall share of each label stay as they are; each group's share becomes the overall one.

    Parameters
    ----------
    labels : array of any two or more values, shape (rows,)
    groups : array of names or numbers, shape (rows,)

    Raises
    ------
    ValueError
        If there is no row, the lengths differ, a value is missing, or a group has no row with one of the labels: then
        no weights of the rows that are there can give it that label's share.

    References
    ----------
    Kamiran and Calders 2012, Data Preprocessing Techniques for Classification without Discrimination, section 4.2.
    """
    group = column(groups, "the groups")
    label = column(labels, "the labels", len(group))
    names, a = np.unique(group, return_inverse=True)
    kinds, y = np.unique(label, return_inverse=True)
    counts = np.zeros((len(names), len(kinds)))
    np.add.at(counts, (a, y), 1)
    if not counts.all():
        row, place = np.argwhere(counts == 0)[0]
        raise ValueError(
            f"no row of group {names[row]} has label {kinds[place]}: weights cannot make rows that are not there"
        )
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / len(group)
    return (expected / counts)[a, y]


def reference_weights(groups: ArrayLike | Sequence[Any], reference: Mapping[Any, float]) -> Float[np.ndarray, " rows"]:
    """Return the weights, of mean 1, under which each group has its share of a reference population.

    Raises
    ------
    ValueError
        If the rows and the reference have other groups, a share is below 0, or the shares do not sum to 1.
    """
    group = column(groups, "the groups")
    names, a, counts = np.unique(group, return_inverse=True, return_counts=True)
    if set(names.tolist()) != set(reference) or not np.isclose(sum(reference.values()), 1, atol=1e-3):
        raise ValueError(f"the reference needs a share for each of {names.tolist()}, and their sum is 1")
    if min(reference.values()) < 0:
        raise ValueError(f"shares of the reference are at least 0; got {dict(reference)}")
    share = np.array([reference[name] for name in names.tolist()])
    return (share * len(group) / counts)[a]


def effective_size(weights: ArrayLike) -> float:
    """Return how many rows of equal weight would give a mean as exact as these: (sum w)^2 / sum w^2.

    It equals the number of rows where all weights are equal. The formula takes the weights to have nothing to do with
    the values that are averaged.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are 0.

    References
    ----------
    Kish 1965, Survey Sampling, section 11.7.
    """
    found = weights_of(weights, len(np.atleast_1d(np.asarray(weights))))
    scaled = found / found.max()
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def weighted_rate(labels: ArrayLike | Sequence[int], weights: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the weighted share of label 1, and Wilson's interval for as many rows as the weights are worth.

    Raises
    ------
    ValueError
        If the lengths differ, a label is missing, or the weights are not weights.
    """
    label = column(labels, "the labels").astype(float)
    weight = weights_of(weights, len(label))
    size = effective_size(weight)
    rate = float(weight @ label / weight.sum())
    _, low, high = _wilson(rate, size, level)
    return rate, low, high


def _wilson(rate: float, size: float, level: float) -> Estimate:
    """Return Wilson's interval where the number of rows is no whole number."""
    from scipy import stats

    if size < 1 or not 0 < level < 1:
        return proportion_interval(round(rate), 1, level)
    z = float(stats.norm.ppf((1 + level) / 2))
    middle = (rate + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(rate * (1 - rate) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return rate, max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def resample(weights: ArrayLike, rows: int | None = None, seed: int = 0) -> Int[np.ndarray, " rows"]:
    """Return places of rows drawn with replacement by weight: reweighing for learners that take no weights.

    Parameters
    ----------
    weights : array of float, shape (rows,)
    rows : int, optional
        How many to draw; by default as many as there are.
    seed : int

    Raises
    ------
    ValueError
        If the weights are not weights, or no row is to be drawn.
    """
    found = weights_of(weights, len(np.atleast_1d(np.asarray(weights))))
    drawn = len(found) if rows is None else rows
    if drawn < 1:
        raise ValueError(f"at least one row has to be drawn; got {rows}")
    return np.random.default_rng(seed).choice(len(found), drawn, p=found / found.sum())
