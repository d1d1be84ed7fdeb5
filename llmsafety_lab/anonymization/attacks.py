"""Attacks on releases: linkage, the intersection of two releases, and hashes that can be enumerated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llmsafety_lab.anonymization.groups import SUPPRESSED, Table, classes, rows_of


def covers(cell: Any, value: Any) -> bool:
    """Say whether a released cell may be the cell of somebody with this value.

    A pair of numbers covers what lies between them, both included; a tuple of words its words; `SUPPRESSED` all.
    """
    if isinstance(cell, str) and cell == SUPPRESSED:
        return True
    if isinstance(cell, tuple | list):
        return value in cell if isinstance(value, str) else cell[0] <= value <= cell[1]
    return bool(cell == value)


def candidates(known: Table, release: Table, quasi: Sequence[str]) -> list[list[int]]:
    """Return, for each person of a list, the rows of the release that may be theirs.

    Parameters
    ----------
    known : mapping
        A list with names, or whatever else somebody knows: the exact values of the quasi-identifiers.
    release : mapping
        The table without names, as it is or as `generalised` and `suppress` made it.
    quasi : sequence of str
        The columns that both have.

    Returns
    -------
    list of lists of int
        For each row of `known` the sorted row numbers of `release` in which every cell covers the person's value.

    Raises
    ------
    ValueError
        If a column is missing in one of the two, or one has no rows.
    """
    people = rows_of(known, quasi)
    groups = list(classes(release, quasi).items())
    fits: list[dict[Any, set[int]]] = []
    for place, name in enumerate(quasi):
        cells: dict[Any, list[int]] = {}
        for number, (key, _) in enumerate(groups):
            cells.setdefault(key[place], []).append(number)
        wide = [cell for cell in cells if isinstance(cell, tuple | list) or cell == SUPPRESSED]
        by_value: dict[Any, set[int]] = {}
        for value in set(known[name]):
            covering = [cell for cell in wide if cell != value and covers(cell, value)]
            by_value[value] = {number for cell in [value, *covering] for number in cells.get(cell, ())}
        fits.append(by_value)
    found = []
    for person in range(people):
        sets = sorted((by[known[name][person]] for by, name in zip(fits, quasi, strict=True)), key=len)
        numbers = set.intersection(*sets)
        found.append(sorted(row for number in numbers for row in groups[number][1]))
    return found


def answers_left(matches: Sequence[Sequence[int]], sensitive: Sequence[Any]) -> list[set[Any]]:
    """Return, for each person, the sensitive values that their candidate rows leave possible.

    Parameters
    ----------
    matches : sequence of sequences of row numbers
        As from `candidates`.
    sensitive : sequence of length rows
        The sensitive column of the release.
    """
    return [{sensitive[row] for row in rows} for rows in matches]


def shared_answers(*releases: Sequence[set[Any]]) -> list[set[Any]]:
    """Return what several releases leave possible together: for each person the intersection of their answers.

    Parameters
    ----------
    *releases : sequences of sets
        For each release what `answers_left` found, the same people in the same order.

    Raises
    ------
    ValueError
        If there is no release, or they are about different numbers of people.

    References
    ----------
    Ganta, Kasiviswanathan and Smith 2008, Composition Attacks and Auxiliary Information in Data Privacy.
    """
    if not releases or len({len(answers) for answers in releases}) > 1:
        raise ValueError(f"the releases are about {[len(answers) for answers in releases]} people, not the same ones")
    return [set.intersection(*map(set, answers)) for answers in zip(*releases, strict=True)]


def enumerate_hashes(
    stolen: Iterable[str], guesses: Iterable[str], digest: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Return those of some stolen digests that can be undone by trying guesses, each with its original.

    Parameters
    ----------
    stolen : iterable of str
        Digests in hexadecimal.
    guesses : iterable of str
        All that the original can be, such as every phone number of an area.
    digest : callable, optional
        From a guess to its digest; SHA-256 by default. An attacker without the key cannot write it for a keyed one.
    """
    wanted = set(stolen)
    hashed = digest or (lambda guess: hashlib.sha256(guess.encode()).hexdigest())
    found: dict[str, str] = {}
    for guess in guesses:
        value = hashed(guess)
        if value in wanted:
            found[value] = guess
    return found
