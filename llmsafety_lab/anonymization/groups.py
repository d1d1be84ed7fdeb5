"""What a table gives away: groups of rows that look alike, and how much the sensitive column varies in them.

A table is a mapping from a column's name to its values, all columns of one length. A *class* is the set of rows that
agree in all quasi-identifiers. A suppressed row has `SUPPRESSED` in each of them and is a row like any other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

Table = Mapping[str, Sequence[Any]]

SUPPRESSED = "*"
"""What is written in a cell that is withheld."""


def rows_of(table: Table, columns: Sequence[str]) -> int:
    """Return the number of rows, after the columns have been looked at.

    Raises
    ------
    ValueError
        If there is no row or no column, a column is missing, columns differ in length, or one of `columns` holds NaN.
    """
    if isinstance(columns, str):
        raise ValueError(f"columns are a list of names, not one name: write [{columns!r}]")
    if not columns:
        raise ValueError("there are no columns to compare rows by")
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {', '.join(map(str, table))}")
    lengths = {len(values) for values in table.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"a table has rows, as many in each column; these columns have {sorted(lengths)}")
    for name in columns:
        if any(isinstance(value, float) and math.isnan(value) for value in table[name]):
            raise ValueError(f"the column {name!r} holds NaN, which equals nothing, not even itself")
    return len(table[columns[0]])


def classes(table: Table, quasi: Sequence[str]) -> dict[tuple[Hashable, ...], list[int]]:
    """Return the classes: from the values of the quasi-identifiers to the numbers of the rows that have them.

    Parameters
    ----------
    table : mapping from str to a sequence of length rows
    quasi : sequence of str
        The columns that somebody else may know.

    Raises
    ------
    ValueError
        As for `rows_of`.
    """
    found: dict[tuple[Hashable, ...], list[int]] = {}
    for row in range(rows_of(table, quasi)):
        found.setdefault(tuple(table[name][row] for name in quasi), []).append(row)
    return found


def k_of(table: Table, quasi: Sequence[str]) -> int:
    """Return the largest k for which the table is k-anonymous: the number of rows in its smallest class.

    Raises
    ------
    ValueError
        As for `classes`.

    References
    ----------
    Sweeney 2002, k-Anonymity: A Model for Protecting Privacy.
    """
    return min(len(rows) for rows in classes(table, quasi).values())


def uniqueness(table: Table, columns: Sequence[str]) -> float:
    """Return the share of rows that no other row equals in these columns, from 0 to 1.

    Raises
    ------
    ValueError
        As for `classes`.

    References
    ----------
    Sweeney 2000, Simple Demographics Often Identify People Uniquely.
    """
    sizes = [len(rows) for rows in classes(table, columns).values()]
    return sizes.count(1) / sum(sizes)


def suppress(table: Table, quasi: Sequence[str], k: int) -> dict[str, list[Any]]:
    """Return the table with the quasi-identifiers withheld in as few classes as it takes to be k-anonymous.

    The smallest classes go first. Withheld rows are a class, too: as long as there are some, but fewer than `k`, the
    next smallest class is withheld as well.

    Raises
    ------
    ValueError
        As for `classes`, and if `k` is below 1 or above the number of rows.
    """
    rows = rows_of(table, quasi)
    if not 1 <= k <= rows:
        raise ValueError(f"k is from 1 to the number of rows, {rows}; got {k}")
    withheld: list[int] = []
    for members in sorted(classes(table, quasi).values(), key=len):
        if len(members) >= k and (not withheld or len(withheld) >= k):
            break
        withheld += members
    lost = set(withheld)
    return {
        name: [SUPPRESSED if name in quasi and row in lost else value for row, value in enumerate(values)]
        for name, values in table.items()
    }


def l_diversity(table: Table, quasi: Sequence[str], sensitive: str, entropy: bool = False) -> float:
    """Return the largest l for which the table is l-diverse: how many sensitive values its poorest class holds.

    Parameters
    ----------
    entropy : bool
        False: different values are counted (distinct l-diversity). True: the exponential of the entropy of their
        shares, which is that number where all are equally frequent, and less where one prevails.

    Raises
    ------
    ValueError
        As for `classes`, and if the sensitive column is missing or is a quasi-identifier.

    References
    ----------
    Machanavajjhala et al. 2007, l-Diversity: Privacy Beyond k-Anonymity.
    """
    rows_of(table, [sensitive])
    if sensitive in quasi:
        raise ValueError(f"{sensitive!r} is a quasi-identifier here, so each class holds one value of it")
    least = math.inf
    for rows in classes(table, quasi).values():
        counts = Counter(table[sensitive][row] for row in rows).values()
        shares = [count / len(rows) for count in counts]
        found = math.exp(-sum(share * math.log(share) for share in shares)) if entropy else len(counts)
        least = min(least, found)
    return float(least)


def t_closeness(table: Table, quasi: Sequence[str], sensitive: str, ordered: bool = False) -> float:
    """Return the smallest t for which the table is t-close: how far a class's sensitive values are from all rows'.

    Parameters
    ----------
    ordered : bool
        False: any two values are at distance 1, so that the earth mover's distance is half the sum of the absolute
        differences of the shares. True: the values are sorted, and the distance of two is the number of steps between
        them divided by the number of different values minus 1.

    Returns
    -------
    float
        The largest distance over the classes, from 0 to 1.

    Raises
    ------
    ValueError
        As for `l_diversity`.

    References
    ----------
    Li, Li and Venkatasubramanian 2007, t-Closeness: Privacy Beyond k-Anonymity and l-Diversity.
    """
    rows = rows_of(table, [sensitive])
    if sensitive in quasi:
        raise ValueError(f"{sensitive!r} is a quasi-identifier here, so each class holds one value of it")
    overall = Counter(table[sensitive])
    values = sorted(overall) if ordered else list(overall)
    worst = 0.0
    for members in classes(table, quasi).values():
        counts = Counter(table[sensitive][row] for row in members)
        gaps = [counts[value] / len(members) - overall[value] / rows for value in values]
        if ordered:
            carried = [sum(gaps[: place + 1]) for place in range(len(gaps))]
            distance = sum(map(abs, carried)) / max(len(values) - 1, 1)
        else:
            distance = sum(map(abs, gaps)) / 2
        worst = max(worst, distance)
    return worst
