"""Groups compared within strata: the gap in all rows, the gap in each stratum, and where the two disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.data_bias.columns import binary, column
from llmsafety_lab.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd


class Stratified(NamedTuple):
    """Two groups' rates compared: over all rows, by stratum, and with the strata mixed equally in both groups.

    Parameters
    ----------
    crude : tuple of float
        The rate of group 1 minus that of group 0 over all rows that were compared, and the ends of its interval.
    standardised : tuple of float
        The same, had both groups the strata in the proportion of all these rows.
    by_stratum : dict of float
        The gap in each stratum.
    shares : dict of float
        How much of the compared rows each stratum holds.
    left_out : int
        Rows of strata in which one of the groups has fewer than `least` rows.
    """

    crude: Estimate
    standardised: Estimate
    by_stratum: dict[Any, float]
    shares: dict[Any, float]
    left_out: int

    @property
    def reversed(self) -> bool:
        """Say whether every stratum's gap has the other sign than the gap over all rows: Simpson's paradox."""
        return bool(self.crude[0]) and all(gap * self.crude[0] < 0 for gap in self.by_stratum.values())


def stratify(
    labels: ArrayLike | Sequence[int],
    groups: ArrayLike | Sequence[int],
    strata: ArrayLike | Sequence[Any],
    least: int = 20,
    level: float = 0.95,
) -> Stratified:
    """Compare two groups' rates over all rows and within strata.

    With rates p(a, s) of group a in stratum s, which holds a share q(s) of the rows, the standardised gap is the sum
    over s of q(s) (p(1, s) - p(0, s)). Its variance sums those of independent shares; each is estimated with half a
    row of both labels added, so that a stratum without a positive has one.

    Parameters
    ----------
    labels : array of 0 and 1, shape (rows,)
    groups : array of 0 and 1, shape (rows,)
    strata : array of names or numbers, shape (rows,)
    least : int
        A stratum is compared if both groups have at least as many rows in it.
    level : float

    Raises
    ------
    ValueError
        If lengths differ, a value is missing, labels or groups are not 0 and 1, or no stratum can be compared.

    References
    ----------
    Simpson 1951; Bickel, Hammel and O'Connell 1975, Sex Bias in Graduate Admissions.
    """
    group = binary(groups, "the groups")
    label = binary(labels, "the labels", len(group))
    stratum = column(strata, "the strata", len(group))
    names, place = np.unique(stratum, return_inverse=True)
    rows, positive = np.zeros((2, len(names))), np.zeros((2, len(names)))
    np.add.at(rows, (group.astype(int), place), 1)
    np.add.at(positive, (group.astype(int), place), label)
    kept = (rows >= max(least, 1)).all(0)
    if not kept.any():
        raise ValueError(f"in no stratum have both groups at least {least} rows: there is nothing to compare")
    rows, positive, names = rows[:, kept], positive[:, kept], names[kept]
    gaps = positive[1] / rows[1] - positive[0] / rows[0]
    share = rows.sum(0) / rows.sum()
    careful = (positive + 0.5) / (rows + 1)
    total, hits = rows.sum(1), positive.sum(1)
    whole = (hits + 0.5) / (total + 1)
    z = float(stats.norm.ppf((1 + level) / 2))
    return Stratified(
        _around(float(hits[1] / total[1] - hits[0] / total[0]), float((whole * (1 - whole) / total).sum()), z),
        _around(float(share @ gaps), float((share**2 * careful * (1 - careful) / rows).sum()), z),
        dict(zip(names.tolist(), gaps.tolist(), strict=True)),
        dict(zip(names.tolist(), share.tolist(), strict=True)),
        int(len(group) - rows.sum()),
    )


def _around(estimate: float, variance: float, z: float) -> Estimate:
    half = z * variance**0.5
    return estimate, estimate - half, estimate + half


def reversals(
    table: pd.DataFrame, label: str, comparisons: dict[str, ArrayLike], strata: Iterable[str], least: int = 20
) -> list[tuple[str, str, Stratified]]:
    """Search for Simpson's paradox: every comparison within the values of every column.

    Parameters
    ----------
    table : pandas.DataFrame
    label : str
        The column of 0 and 1.
    comparisons : dict of arrays of 0, 1 and -1, each of shape (rows,)
        By name, who is in group 1 and who in group 0; rows of -1 are not compared.
    strata : iterable of str
        Columns without missing values.
    least : int

    Returns
    -------
    list of tuple
        (comparison, column, result) of each pair where at least two strata can be compared, with the sign over all
        rows and the standardised sign apart; the largest distance between the two gaps first.

    Raises
    ------
    ValueError
        If a label or a value of a column is missing, or a comparison has another length or other values.
    """
    found = []
    columns = list(strata)
    for column_name in columns:
        column(table[column_name], f"the column {column_name}")
    binary(table[label], "the labels")
    for name, chosen in comparisons.items():
        member = column(chosen, f"the comparison {name}", len(table))
        if not set(member.tolist()) <= {-1, 0, 1}:
            raise ValueError(f"the comparison {name} must be 0, 1 and -1, where -1 is in neither group")
        here = member >= 0
        for column_name in columns:
            try:
                result = stratify(table[label][here], member[here], table[column_name][here], least)
            except ValueError:
                continue
            if len(result.by_stratum) > 1 and result.crude[0] * result.standardised[0] < 0:
                found.append((name, column_name, result))
    return sorted(found, key=lambda item: -abs(item[2].crude[0] - item[2].standardised[0]))
