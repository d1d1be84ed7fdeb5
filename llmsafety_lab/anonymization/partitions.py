"""Mondrian: cut the rows of a table into groups of at least k, and write in each what its rows have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from llmsafety_lab.anonymization.groups import Table, rows_of


def codes(table: Table, quasi: Sequence[str]) -> Float[np.ndarray, "rows columns"]:
    """Return the quasi-identifiers as numbers: a number is itself, a word its place in the alphabet of its column.

    Raises
    ------
    ValueError
        If a column is missing, there are no rows, or a column mixes numbers and words.
    """
    rows_of(table, quasi)
    columns = []
    for name in quasi:
        words = {isinstance(value, str) for value in table[name]}
        if len(words) > 1 or any(value is None for value in table[name]):
            raise ValueError(f"the column {name!r} mixes words with numbers or None: write a word for what is missing")
        place = {value: rank for rank, value in enumerate(sorted(set(table[name])))}
        columns.append([place[value] if True in words else float(value) for value in table[name]])
    return np.array(columns, dtype=float).T


def mondrian(points: Float[np.ndarray, "rows columns"], k: int, strict: bool = True) -> list[Int[np.ndarray, " group"]]:
    """Cut rows into groups of at least k, each time in the widest column and at the median.

    A group's widths are compared after each column's range over all rows is made 1. In a *strict* cut the rows at or
    below the median go left, the others right, so that rows of equal value stay together. In a *relaxed* cut the
    first half of the sorted rows goes left, so that rows at the median may be parted. A cut must leave at least k rows
    on both sides; if it does not, the next widest column is tried, and where none is left the group is done.

    Parameters
    ----------
    points : Float[np.ndarray, "rows columns"]
        The quasi-identifiers as numbers, as from `codes`.
    k : int
    strict : bool

    Returns
    -------
    list of Int[np.ndarray, "group"]
        The row numbers of each group. Each row is in one of them.

    Raises
    ------
    ValueError
        If the points are no matrix of finite numbers, or `k` is below 1 or above the number of rows.

    References
    ----------
    LeFevre, DeWitt and Ramakrishnan 2006, Mondrian Multidimensional K-Anonymity.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"points are a matrix of finite numbers, a row for each person; got shape {points.shape}")
    if not 1 <= k <= len(points):
        raise ValueError(f"k is from 1 to the number of rows, {len(points)}; got {k}")
    whole = np.ptp(points, axis=0)
    whole[whole == 0] = 1
    done, waiting = [], [np.arange(len(points))]
    while waiting:
        rows = waiting.pop()
        parts = cut(points, rows, whole, k, strict)
        if parts is None:
            done.append(np.sort(rows))
        else:
            waiting += parts
    return done


def cut(points: np.ndarray, rows: np.ndarray, whole: np.ndarray, k: int, strict: bool) -> list[np.ndarray] | None:
    """Return the two parts of a group, or None where no column can be cut."""
    widths = np.ptp(points[rows], axis=0) / whole
    half = (len(rows) + 1) // 2
    for column in np.argsort(-widths, kind="stable"):
        if not widths[column]:
            return None
        values = points[rows, column]
        if strict:
            left = values <= np.sort(values)[half - 1]
            parts = [rows[left], rows[~left]]
        else:
            order = rows[np.argsort(values, kind="stable")]
            parts = [order[:half], order[half:]]
        if min(map(len, parts)) >= k:
            return parts
    return None


def generalised(table: Table, quasi: Sequence[str], groups: Sequence[Sequence[int]]) -> dict[str, list[Any]]:
    """Return the table as it is released: in each group, a quasi-identifier is what its rows have between them.

    A number becomes a pair, the smallest and the largest; a word becomes the sorted tuple of the words that occur. What
    is the same in all rows of the group stays as it is. All other columns stay, too.

    Raises
    ------
    ValueError
        If the groups do not hold each row once.
    """
    rows = rows_of(table, quasi)
    every = sorted(int(row) for group in groups for row in group)
    if every != list(range(rows)):
        raise ValueError(f"the groups hold {len(every)} rows of {rows}, or one of them twice: each row is in one group")
    released = {name: list(values) for name, values in table.items()}
    for group in groups:
        for name in quasi:
            values = sorted({table[name][row] for row in group})
            if len(values) == 1:
                continue
            cell = tuple(values) if isinstance(values[0], str) else (values[0], values[-1])
            for row in group:
                released[name][row] = cell
    return released
