"""Tables of people as numbers: who is in which group, what is known of each, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from llmsafety_lab import data

Numbers = Float[np.ndarray, "people features"]
Labels = Int[np.ndarray, " people"]
Groups = Int[np.ndarray, " people"]
Scores = Float[np.ndarray, " people"]


@dataclass(frozen=True)
class People:
    """Rows of a table, without the column that says the group.

    Parameters
    ----------
    x : Float[np.ndarray, "people features"]
        What a model may see: categories as zeros and ones, numbers with mean 0 and standard deviation 1.
    labels, groups : Int[np.ndarray, " people"]
        1 for the outcome that is predicted; the place of the group in `names`.
    names : tuple of str
    rows : list of dict
        The rows as they were read.
    """

    x: Numbers
    labels: Labels
    groups: Groups
    names: tuple[str, ...]
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Sequence[int] | np.ndarray) -> People:
        """Return the rows at these places, or those where a mask is True."""
        at = np.asarray(places)
        at = at.nonzero()[0] if at.dtype == bool else at.astype(int)
        return People(self.x[at], self.labels[at], self.groups[at], self.names, [self.rows[i] for i in at.tolist()])


def two_groups(labels: Any, groups: Any) -> tuple[Labels, Groups]:
    """Return labels and groups as arrays of whole numbers.

    Raises
    ------
    ValueError
        If they are empty or differ in length, a label is not 0 or 1, or there is one group only.
    """
    y, g = np.asarray(labels), np.asarray(groups)
    if y.ndim != 1 or y.shape != g.shape or not len(y):
        raise ValueError(f"as many labels as groups are needed, and at least one: got {y.shape} and {g.shape}")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"a label is 0 or 1; got {sorted(set(y.tolist()) - {0, 1}, key=str)[:3]}")
    if len(np.unique(g)) < 2:
        raise ValueError("a gap is between groups: there is one group only")
    return y.astype(int), g


def numbers_of(rows: Sequence[dict[str, Any]], columns: Sequence[str], like: Sequence[dict[str, Any]]) -> Numbers:
    """Return columns as numbers: scaled, or one of zeros and ones for each category that `like` has.

    Scale and categories are taken from `like`, the rows to train on, so that nothing is learnt from other rows.
    """
    parts = []
    for name in columns:
        known = [row[name] for row in like]
        if all(isinstance(value, int | float) for value in known):
            values = np.array([row[name] for row in rows], dtype=float)
            parts.append(((values - np.mean(known)) / (np.std(known) or 1))[:, None])
        else:
            kinds = sorted({str(value) for value in known})
            values = np.array([str(row[name]) for row in rows])
            parts.append((values[:, None] == np.array(kinds)[None]).astype(float))
    return np.hstack(parts)


def _rows(name: str) -> list[dict[str, Any]]:
    columns = data.load(name).to_dict()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def adult() -> tuple[People, People]:
    """Return the people of Adult to train on and to test with: is the income above 50,000 dollars, by sex.

    Neither the sex nor the sampling weight is among the features. Gains and losses of capital are logarithms.
    """
    rows = _rows("adult")
    for row in rows:
        for name in ("capital_gain", "capital_loss"):
            row[name] = float(np.log1p(row[name]))
    columns = [name for name in rows[0] if name not in ("sex", "fnlwgt", "label", "split", "education")]
    names = ("women", "men")
    made = []
    train = [row for row in rows if row["split"] == "train"]
    for part in (train, [row for row in rows if row["split"] == "test"]):
        groups = np.array([int(row["sex"] == "Male") for row in part])
        labels = np.array([row["label"] for row in part])
        made.append(People(numbers_of(part, columns, train), labels, groups, names, part))
    return made[0], made[1]


def compas() -> People:
    """Return the people of COMPAS, black or white, whom ProPublica kept: arrested again within two years, by race.

    The features are age, sex, the degree of the charge, and counts of earlier offences; race is not among them, and
    neither is the COMPAS score.
    """
    kept = [
        row
        for row in _rows("compas")
        if row["race"] in ("African-American", "Caucasian")
        and row["days_b_screening_arrest"] is not None
        and abs(row["days_b_screening_arrest"]) <= 30
        and row["is_recid"] != -1
        and row["c_charge_degree"] != "O"
        and row["score_text"] != "N/A"
    ]
    columns = ("age", "sex", "c_charge_degree", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count")
    groups = np.array([int(row["race"] == "African-American") for row in kept])
    labels = np.array([row["two_year_recid"] for row in kept])
    return People(numbers_of(kept, columns, kept), labels, groups, ("white", "black"), kept)
