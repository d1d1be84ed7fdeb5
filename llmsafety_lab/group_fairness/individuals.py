"""Fairness below the level of groups: similar people, the same person with another attribute, small intersections."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from llmsafety_lab.group_fairness.rates import Labels, Rates, error_rates


class Pair(NamedTuple):
    """Two rows, how far apart they are, and how differently they are treated."""

    first: int
    second: int
    distance: float
    difference: float


def lipschitz_pairs(
    inputs: Float[np.ndarray, "rows columns"], outputs: ArrayLike, constant: float
) -> tuple[float, list[Pair]]:
    """Return the share of pairs that are treated more differently than they differ, and those pairs, the worst first.

    Fair to individuals means |f(x) - f(x')| <= L d(x, x') for all pairs. Here d is the Euclidean distance of inputs, so
    what counts as similar lies in the scale of the columns that you choose: that is the ethics of the definition.

    Parameters
    ----------
    inputs : Float[np.ndarray, "rows columns"]
        The columns in which people may differ for the decision, scaled to what a step in each shall count.
    outputs : sequence of float, one a row
        The probability of the decision.
    constant : float
        L.

    Raises
    ------
    ValueError
        If there are fewer than two rows, shapes do not fit, a number is not finite, or L is not positive.

    References
    ----------
    Dwork, Hardt, Pitassi, Reingold and Zemel 2012, definition 2.1.
    """
    x, y = np.asarray(inputs, dtype=float), np.asarray(outputs, dtype=float)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) < 2:
        raise ValueError(f"a row of columns and an output a person are needed: got shapes {x.shape}, {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or constant <= 0:
        raise ValueError(f"inputs and outputs must be finite and L positive; got L = {constant}")
    first, second = np.triu_indices(len(x), 1)
    distance, difference = np.linalg.norm(x[first] - x[second], axis=1), np.abs(y[first] - y[second])
    excess = difference - constant * distance
    worst = np.flatnonzero(excess > 1e-9)
    worst = worst[np.argsort(-excess[worst], kind="stable")]
    pairs = [Pair(int(first[i]), int(second[i]), float(distance[i]), float(difference[i])) for i in worst]
    return len(pairs) / len(first), pairs


def counterfactual_gaps(scores: Mapping[Hashable, Sequence[float]]) -> dict[tuple[Hashable, Hashable], np.ndarray]:
    """Return, for each two values of an attribute, the signed difference of scores on the same items.

    Parameters
    ----------
    scores : mapping from a value of the attribute to a score an item
        Item i is the same text or person in each, but for the attribute.

    Raises
    ------
    ValueError
        If there are fewer than two values, or not as many items of each.

    References
    ----------
    Garg et al. 2019, Counterfactual Fairness in Text Classification through Robustness.
    """
    found = {name: np.asarray(values, dtype=float) for name, values in scores.items()}
    if len(found) < 2 or len({values.shape for values in found.values()}) != 1:
        raise ValueError(f"the same items for two values or more: got {[values.shape for values in found.values()]}")
    return {(a, b): found[a] - found[b] for a, b in combinations(found, 2)}


def intersections(*columns: Labels) -> list[tuple[Hashable, ...]]:
    """Return for each row the tuple of its values in all columns.

    Raises
    ------
    ValueError
        If there is no column, or they differ in length.
    """
    if not columns or len({len(column) for column in columns}) != 1:
        raise ValueError(f"columns of one length are needed: got {[len(column) for column in columns]}")
    return list(zip(*(column.tolist() if hasattr(column, "tolist") else column for column in columns), strict=True))


def worst_group(
    y_true: ArrayLike, y_pred: ArrayLike, groups: Labels, rate: str = "accuracy", least: int = 30, lowest: bool = True
) -> tuple[Hashable, Rates]:
    """Return the group with the lowest (or highest) value of a rate among those in which enough rows stand behind it.

    What counts is the rate's own denominator: a false positive rate needs `least` rows with the outcome 0, whatever the
    size of the group.

    Parameters
    ----------
    y_true, y_pred, groups
        As for `four_counts`; `groups` is often made by `intersections`.
    rate : str
        A field of `Rates`.
    least : int
    lowest : bool

    Raises
    ------
    ValueError
        If there is no such rate, or no group is large enough.
    """
    if rate not in Rates._fields[1:] or least < 1:
        raise ValueError(f"a rate of {Rates._fields[1:]} and a least size from 1 on: got {rate!r}, {least}")
    found = {
        name: rates for name, rates in error_rates(y_true, y_pred, groups).items() if _behind(rates, rate) >= least
    }
    if not found:
        raise ValueError(f"no group has {least} rows behind its {rate}")
    return (min if lowest else max)(found.items(), key=lambda item: getattr(item[1], rate))


def _behind(rates: Rates, rate: str) -> float:
    share = {
        "tpr": rates.base_rate,
        "fnr": rates.base_rate,
        "fpr": 1 - rates.base_rate,
        "ppv": rates.selection_rate,
        "fdr": rates.selection_rate,
    }.get(rate, 1.0)
    return round(rates.n * share)
