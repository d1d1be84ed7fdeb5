"""Exercise 4: Mondrian, strict and relaxed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, kind_of
from llmsafety_lab.checks.anonymization.pseudonyms import _refused

Groups = set[frozenset[int]]


def _groups(points: np.ndarray, k: int, strict: bool, slip: str = "", rows: Any = None, whole: Any = None) -> Groups:
    """Cut recursively, one group a call."""
    rows = list(range(len(points))) if rows is None else rows
    mine = points[rows]
    widths = mine.max(0) - mine.min(0)
    if whole is None:
        whole = np.where(widths > 0, widths, 1.0)
    relative = widths if slip == "raw" else widths / whole
    order = sorted(range(points.shape[1]), key=lambda column: (-relative[column], column))
    if slip == "first column":
        order = list(range(points.shape[1]))
    if slip == "narrowest":
        order = sorted(order, key=lambda column: (relative[column], column))
    if slip == "no second":
        order = order[:1]
    for column in order:
        if not widths[column]:
            continue
        values = sorted((points[row, column], row) for row in rows)
        middle = (len(rows) + 1) // 2 - 1
        if slip == "upper":
            middle = len(rows) // 2 - 1
        if slip == "index":
            middle = min(len(rows) // 2, len(rows) - 1)
        at = values[middle][0]
        if slip == "mean":
            at = float(mine[:, column].mean())
        if slip == "half range":
            at = float(mine[:, column].max() + mine[:, column].min()) / 2
        if strict:
            left = [row for value, row in values if (value < at if slip == "below" else value <= at)]
        else:
            left = [row for _, row in values[: middle + 1]]
        right = sorted(set(rows) - set(left))
        least = {"one": 1, "more": k + 1, "less": k - 1}.get(slip, k)
        if min(len(left), len(right)) >= max(least, 1):
            return _groups(points, k, strict, slip, left, whole) | _groups(points, k, strict, slip, right, whole)
    return {frozenset(rows)}


SLIPS = {
    "first column": "You cut the first column that can be cut, as if all were equally wide. Cut the widest, its width "
    "divided by the range over all rows, not by that of the group.",
    "raw": "Widths are compared as they are, so that the column with the largest numbers is cut for ever. "
    "Divide each by its range over all rows.",
    "narrowest": "You cut the narrowest column. Cut the widest.",
    "no second": "You give up when the widest column cannot be cut. Try the next widest before the group is done.",
    "upper": "With an odd number of rows the middle one goes left: the median is the ((n + 1) // 2)-th smallest.",
    "index": "With an even number of rows, half of them go left: the median is the ((n + 1) // 2)-th smallest.",
    "mean": "You cut at the mean. Cut at the median: half of the rows go to each side.",
    "half range": "You cut in the middle of the range. Cut at the median: half of the rows go to each side.",
    "more": "A part of exactly k rows is large enough.",
    "less": "A part of fewer than k rows is too small.",
    "one": "A part of fewer than k rows is too small.",
    "below": "Rows at the median go left, with those below it.",
}
GENERAL = "Cut the widest column at its median as long as both parts hold at least k rows."


def _plain(got: Any, rows: int, k: int) -> list[list[int]]:
    """Return the groups as lists of row numbers, or fail."""
    asked = "a list of groups, each a list of row numbers"
    if isinstance(got, torch.Tensor | np.ndarray):
        got = got.tolist()
    groups = []
    for group in expect_list(got, "The answer", expected=asked):
        group = group.tolist() if isinstance(group, torch.Tensor | np.ndarray) else group
        if not isinstance(group, list | tuple):
            raise Failed("A group is not a list.", expected=asked, got=kind_of(group))
        if not all(isinstance(row, int | float) and row == int(row) for row in group):
            raise Failed("A group holds something else than row numbers.", expected=asked, got=group)
        groups.append([int(row) for row in group])
    every = sorted(row for group in groups for row in group)
    lost = sorted(set(range(rows)) - set(every))
    expect(
        not lost, f"{len(lost)} of {rows} rows are in no group.", expected="each row in one group", got=f"lost: {lost}"
    )
    twice = len(every) - rows
    expect(twice == 0, f"{twice} rows too many: some are in two groups, or are no rows of the table.", got=every[:20])
    small = min(map(len, groups))
    expect(small >= k, f"A group has {small} rows, fewer than k = {k}.", hint=SLIPS["less"])
    return groups


def _parted(points: np.ndarray, groups: list[list[int]]) -> bool:
    at: dict[tuple[float, ...], set[int]] = {}
    for number, group in enumerate(groups):
        for row in group:
            at.setdefault(tuple(points[row].tolist()), set()).add(number)
    return any(len(numbers) > 1 for numbers in at.values())


def _compared(points: np.ndarray, k: int, strict: bool, groups: list[list[int]], what: str) -> None:
    mine: Groups = {frozenset(group) for group in groups}
    exact = _groups(points, k, strict)
    if mine == exact:
        return
    slips = {words: _groups(points, k, strict, slip) for slip, words in SLIPS.items()}
    hint = next((words for words, value in slips.items() if value == mine), GENERAL)
    raise Failed(
        f"The groups are wrong, with k = {k}, {what}.",
        expected=f"{len(exact)} groups, of sizes {sorted(map(len, exact))}",
        got=f"{len(mine)} groups, of sizes {sorted(map(len, mine))}",
        hint=hint,
    )


@exercise(
    "anonymization.mondrian",
    "Cut, and keep k together",
    points=4,
    difficulty=4,
    importance=4,
    minutes=18,
    answer="mondrian",
    mutants=(
        Mutant("always strict", "        if strict:", "        if True:", "relaxed"),
        Mutant("always relaxed", "        if strict:", "        if False:", "strict"),
        Mutant("strict and relaxed confused", "        if strict:", "        if not strict:", "strict"),
        Mutant("first column", 'np.argsort(-widths, kind="stable")', "np.arange(len(widths))[widths > 0]", "widest"),
        Mutant(
            "raw widths",
            "widths = np.ptp(points[rows], axis=0) / whole",
            "widths = np.ptp(points[rows], axis=0)",
            "largest numbers",
        ),
        Mutant(
            "ranges anew",
            "widths = np.ptp(points[rows], axis=0) / whole",
            "widths = np.sign(np.ptp(points[rows], axis=0))",
            "not by that of the group",
        ),
        Mutant("narrowest", "np.argsort(-widths", "np.argsort(np.where(widths > 0, widths, np.inf)", "narrowest"),
        Mutant(
            "gives up",
            "        if min(map(len, parts)) >= k:\n            return parts\n    return None",
            "        return parts if min(map(len, parts)) >= k else None\n    return None",
            "next widest",
        ),
        Mutant("the mean", "values <= np.sort(values)[half - 1]", "values <= values.mean()", "at the mean"),
        Mutant("one is enough", ">= k:\n            return parts", ">= 1:\n            return parts", "fewer than k"),
        Mutant("more than k", ">= k:\n            return parts", "> k:\n            return parts", "exactly k"),
        Mutant("upper middle", "half = (len(rows) + 1) // 2", "half = len(rows) // 2", "odd"),
        Mutant(
            "below the median", "values <= np.sort(values)[half - 1]", "values < np.sort(values)[half - 1]", "go left"
        ),
        Mutant(
            "rows of the group",
            "parts = [rows[left], rows[~left]]",
            "parts = [left.nonzero()[0], (~left).nonzero()[0]]",
            "rows",
        ),
        Mutant(
            "relaxed where strict fails",
            "            parts = [order[:half], order[half:]]",
            "            left = values <= np.sort(values)[half - 1]\n"
            "            parts = [rows[left], rows[~left]]\n"
            "            if min(map(len, parts)) < k:\n"
            "                parts = [order[:half], order[half:]]",
            "halves exactly",
        ),
        Mutant("k of 0", "    if not 1 <= k <= len(points):", "    if k > len(points):", "k = 0"),
        Mutant("too few rows", "    if not 1 <= k <= len(points):", "    if k > 10**9:", "fewer than k"),
    ),
)
def check_mondrian(answer: Answer, dice: Dice) -> None:
    scale = np.array([1.0, 30.0, 0.1])
    points, k = np.zeros((1, 3)), 0
    for turn in range(60):
        rows, k = 2 * dice.integer(20, 26) + 1, dice.integer(3, 4)
        points = (dice.normal(rows, 3).numpy() ** 3) * scale
        exact = _groups(points, k, True)
        slips = ("first column", "raw", "narrowest", "upper", "index", "mean", "half range", "more")
        if all(_groups(points, k, True, slip) != exact for slip in slips) or turn == 59:
            break
    for strict in (True, False):
        groups = _plain(answer(points, k, strict), len(points), k)
        _compared(points, k, strict, groups, "on rows without equal values, where strict and relaxed cuts are the same")
    tied, k = _tied(dice)
    groups = _plain(answer(tied, k, True), len(tied), k)
    expect(
        not _parted(tied, groups),
        "A strict cut has parted rows that are equal: strict and relaxed are confused.",
        expected="rows of equal value on the same side",
        hint="Strict: all rows at or below the median go left, however many they are.",
    )
    _compared(tied, k, True, groups, "by strict cuts, on rows with many equal values")
    groups = _plain(answer(tied, k, False), len(tied), k)
    large = [group for group in groups if len(group) >= 2 * k and len({tuple(tied[row].tolist()) for row in group}) > 1]
    expect(
        not large,
        f"After relaxed cuts with k = {k} a group of {len(large[0]) if large else 0} different rows is left.",
        expected=f"groups of fewer than {2 * k} rows, or of rows that are all equal",
        hint="Relaxed: the first half of the sorted rows goes left, even where equal rows are parted. Strict and "
        "relaxed are confused.",
    )
    rows = dice.integer(70, 90)
    mixed = np.stack([dice.integers(0, 3, rows).numpy() ** 2, dice.uniform(rows).numpy()], axis=1).astype(float)
    sizes = sorted(map(len, _plain(answer(mixed, k, False), rows, k)))
    expect(
        sizes == _halved(rows, k),
        f"Relaxed cuts of {rows} rows, no two of which are equal, with k = {k} give groups of wrong sizes.",
        expected=_halved(rows, k),
        got=sizes,
        hint="A relaxed cut halves exactly, also where rows of equal value are parted by it.",
    )
    one = np.array([[1.0, 0.0], [2, 0], [2, 0], [2, 0], [3, 0], [9, 0]])
    sizes = sorted(map(len, _plain(answer(one, 3, False), 6, 3)))
    expect(
        sizes == [3, 3], "Six rows with relaxed cuts and k = 3 make two groups of three.", expected=[3, 3], got=sizes
    )
    same = np.ones((7, 2))
    sizes = [len(group) for group in _plain(answer(same, 2, True), 7, 2)]
    expect(sizes == [7], "Seven equal rows cannot be cut strictly.", expected=[7], got=sizes)
    called: Callable[[], Any] = lambda: answer(same[:3], 4, True)  # noqa: E731
    _refused(called, "Three rows can make no group of k = 4: fewer than k. Expected a ValueError.")
    none: Callable[[], Any] = lambda: answer(same[:3], 0, True)  # noqa: E731
    _refused(none, "A group of k = 0 rows hides nobody. Expected a ValueError.")


def _halved(rows: int, k: int) -> list[int]:
    """Return the sizes of the groups if each cut halves exactly."""
    if rows // 2 < k:
        return [rows]
    return sorted(_halved((rows + 1) // 2, k) + _halved(rows // 2, k))


def _tied(dice: Dice) -> tuple[np.ndarray, int]:
    """Return rows with many equal values, on which each mistake of strict cuts gives other groups."""
    points, k = np.zeros((1, 2)), 0
    for turn in range(200):
        rows, k = dice.integer(60, 80), dice.integer(3, 5)
        points = np.stack(
            [dice.integers(0, 7, rows).numpy() ** 2, 10 * dice.integers(0, 3, rows).numpy()], axis=1
        ).astype(float)
        exact = _groups(points, k, True)
        differ = all(_groups(points, k, True, slip) != exact for slip in ("no second", "below", "mean", "upper"))
        relaxed = [sorted(group) for group in _groups(points, k, False)]
        if (differ and _parted(points, relaxed) and max(map(len, exact)) >= 2 * k) or turn == 199:
            break
    return points, k
