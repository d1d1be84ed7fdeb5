"""Rates of each group, and the largest gap between any two: parity, opportunity, odds, predictive value.

Everything follows from four counts a group: how many have the outcome and are predicted to have it, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

Labels = Sequence[Hashable] | np.ndarray
Table = Int[np.ndarray, "*draws groups outcomes decisions"]
Values = Float[np.ndarray, "*draws groups"]


class Rates(NamedTuple):
    """The rates of one group. A rate whose denominator is 0 is NaN: nobody is there of whom it could be a share."""

    n: Any
    base_rate: Any
    selection_rate: Any
    tpr: Any
    fpr: Any
    fnr: Any
    ppv: Any
    fdr: Any
    accuracy: Any


def group_codes(groups: Labels) -> tuple[list[Hashable], Int[np.ndarray, " rows"]]:
    """Return the groups that occur, sorted where they can be, and each row's place among them.

    Raises
    ------
    ValueError
        If there is no row, or a row's group is None or NaN.
    """
    rows = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if not rows:
        raise ValueError("there are no rows: a rate needs somebody")
    missing = sum(row is None or row != row for row in rows)
    if missing:
        raise ValueError(f"{missing} of {len(rows)} rows have no group: give the missing a name, or leave them out")
    found: list[Hashable] = list(dict.fromkeys(rows))
    with suppress(TypeError):  # groups of several types keep the order in which they come
        found = sorted(found)  # type: ignore[type-var]
    place = {group: i for i, group in enumerate(found)}
    return found, np.array([place[row] for row in rows])


def binary(values: ArrayLike, what: str) -> Int[np.ndarray, " rows"]:
    """Return a row of zeros and ones.

    Raises
    ------
    ValueError
        If it is empty, has more than one dimension, or holds anything but 0 and 1.
    """
    found = np.asarray(values)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"{what} must be one row of 0 and 1; got shape {found.shape}")
    if found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        other = [value for value in found.tolist() if value not in (0, 1)][:3]
        raise ValueError(f"{what} must hold only 0 and 1; got {other}. Cut a score at a threshold first.")
    return found.astype(int)


def four_counts(y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> tuple[list[Hashable], Table]:
    """Return the groups, and for each how often outcome and decision fall together.

    Parameters
    ----------
    y_true, y_pred : sequence of 0 and 1, one a row
        The outcome and the decision (or prediction).
    groups : sequence of hashable, one a row
        Any number of groups; a tuple for a row names an intersection.

    Returns
    -------
    groups : list
    table : Int[np.ndarray, "groups 2 2"]
        `table[g, y, d]` rows of group g have outcome y and decision d.

    Raises
    ------
    ValueError
        If lengths differ, a row has no group, or a value is neither 0 nor 1.
    """
    names, code = group_codes(groups)
    truth, decided = binary(y_true, "y_true"), binary(y_pred, "y_pred")
    if not len(truth) == len(decided) == len(code):
        raise ValueError(f"rows differ: {len(truth)} outcomes, {len(decided)} decisions, {len(code)} groups")
    flat = np.bincount(4 * code + 2 * truth + decided, minlength=4 * len(names))
    return names, flat.reshape(len(names), 2, 2)


def rates_of(table: Table) -> Rates:
    """Return all rates of tables of four counts, each an array over draws and groups."""
    cells = np.asarray(table, dtype=float)
    (tn, fp), (fn, tp) = np.moveaxis(cells, (-2, -1), (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        n = tn + fp + fn + tp
        return Rates(
            n=n,
            base_rate=(fn + tp) / n,
            selection_rate=(fp + tp) / n,
            tpr=tp / (tp + fn),
            fpr=fp / (fp + tn),
            fnr=fn / (tp + fn),
            ppv=tp / (tp + fp),
            fdr=fp / (tp + fp),
            accuracy=(tp + tn) / n,
        )


def selection_rates(y_true: ArrayLike | None, y_pred: ArrayLike, groups: Labels) -> dict[Hashable, float]:
    """Return the share of each group for which the decision is 1.

    The outcome is not looked at and may be None: who was hired is known, who would have worked well is not.

    Raises
    ------
    ValueError
        As `four_counts`.
    """
    names, table = four_counts(np.asarray(y_pred) if y_true is None else y_true, y_pred, groups)
    return dict(zip(names, rates_of(table).selection_rate.tolist(), strict=True))


def error_rates(y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> dict[Hashable, Rates]:
    """Return the rates of each group: size, base rate, TPR, FPR, FNR, PPV, FDR, accuracy.

    The error rates FPR and FNR are shares of those with an outcome, FDR and PPV are shares of those with a decision.
    A rate of nobody is NaN here; fairlearn calls it 0, and so can show a gap that nobody has, or hide one.

    Raises
    ------
    ValueError
        As `four_counts`.
    """
    names, table = four_counts(y_true, y_pred, groups)
    every = rates_of(table)
    return {name: Rates(int(every.n[i]), *(float(values[i]) for values in every[1:])) for i, name in enumerate(names)}


def _spread(values: Values) -> Float[np.ndarray, "*draws"]:
    return values.max(-1) - values.min(-1)


def _ratio(values: Values) -> Float[np.ndarray, "*draws"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return values.min(-1) / values.max(-1)


OF_TABLES: dict[str, Callable[[Table], Float[np.ndarray, "*draws"]]] = {
    "demographic_parity_difference": lambda table: _spread(rates_of(table).selection_rate),
    "demographic_parity_ratio": lambda table: _ratio(rates_of(table).selection_rate),
    "equal_opportunity_difference": lambda table: _spread(rates_of(table).tpr),
    "equalized_odds_difference": lambda table: np.maximum(_spread(rates_of(table).tpr), _spread(rates_of(table).fpr)),
    "predictive_parity_difference": lambda table: _spread(rates_of(table).ppv),
}
"""Each measure as a function of tables of four counts, for many draws at once."""

_NEEDS = {
    "demographic_parity_difference": "selection_rate",
    "demographic_parity_ratio": "selection_rate",
    "equal_opportunity_difference": "tpr",
    "equalized_odds_difference": "tpr fpr",
    "predictive_parity_difference": "ppv",
}
_OF_WHOM = {"tpr": "nobody with the outcome 1", "fpr": "nobody with the outcome 0", "ppv": "nobody with the decision 1"}


def _measure(name: str, y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> float:
    names, table = four_counts(y_true, y_pred, groups)
    if len(names) < 2:
        raise ValueError(f"a gap needs two groups; all rows are of {names[0]!r}")
    value = float(OF_TABLES[name](table))
    if np.isfinite(value):
        return value
    for rate in _NEEDS[name].split():
        empty = [name for name, one in zip(names, getattr(rates_of(table), rate), strict=True) if np.isnan(one)]
        if empty:
            raise ValueError(f"there is {_OF_WHOM[rate]} in {empty}, so the group has no {rate.upper()} to compare")
    raise ValueError("no group is ever selected: the ratio of the rates would be 0 / 0")


def demographic_parity_difference(y_true: ArrayLike | None, y_pred: ArrayLike, groups: Labels) -> float:
    """Return the largest selection rate of a group minus the smallest; `y_true` is not used and may be None.

    Raises
    ------
    ValueError
        As `four_counts`, and if there is only one group.

    References
    ----------
    Calders, Kamiran and Pechenizkiy 2009; `fairlearn.metrics.demographic_parity_difference`.
    """
    return _measure("demographic_parity_difference", np.asarray(y_pred) if y_true is None else y_true, y_pred, groups)


def demographic_parity_ratio(y_true: ArrayLike | None, y_pred: ArrayLike, groups: Labels) -> float:
    """Return the smallest selection rate of a group over the largest: the figure of the four-fifths rule.

    Raises
    ------
    ValueError
        As `demographic_parity_difference`, and if no row at all is selected.

    References
    ----------
    29 CFR 1607.4(D); `fairlearn.metrics.demographic_parity_ratio`.
    """
    return _measure("demographic_parity_ratio", np.asarray(y_pred) if y_true is None else y_true, y_pred, groups)


def equal_opportunity_difference(y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> float:
    """Return the largest true positive rate of a group minus the smallest.

    Raises
    ------
    ValueError
        As `four_counts`, and if there is only one group, or one without anybody whose outcome is 1 (fairlearn: 0).

    References
    ----------
    Hardt, Price and Srebro 2016, definition 2.2; `fairlearn.metrics.equal_opportunity_difference`.
    """
    return _measure("equal_opportunity_difference", y_true, y_pred, groups)


def equalized_odds_difference(y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> float:
    """Return the larger of two gaps: that of the true positive rates and that of the false positive rates.

    Raises
    ------
    ValueError
        As `four_counts`, and if there is only one group, or one without anybody of an outcome (fairlearn: 0).

    References
    ----------
    Hardt, Price and Srebro 2016, definition 2.1; `fairlearn.metrics.equalized_odds_difference` with its default
    `agg="worst_case"`.
    """
    return _measure("equalized_odds_difference", y_true, y_pred, groups)


def predictive_parity_difference(y_true: ArrayLike, y_pred: ArrayLike, groups: Labels) -> float:
    """Return the largest positive predictive value of a group minus the smallest.

    fairlearn has no function of this name; its `MetricFrame` of scikit-learn's precision gives the same.

    Raises
    ------
    ValueError
        As `four_counts`, and if there is only one group, or one in which nobody has the decision 1.

    References
    ----------
    Chouldechova 2017, definition 2.
    """
    return _measure("predictive_parity_difference", y_true, y_pred, groups)
