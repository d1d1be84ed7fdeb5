"""Exercise 5: which rows of a release may be whose."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_list
from llmsafety_lab.checks.anonymization.pseudonyms import _refused

TOWNS = ("Adorf", "Bedorf", "Cedorf", "Dedorf", "Edorf")
QUASI = ["age", "town", "sex"]


def _covers(cell: Any, value: Any, slip: str) -> bool:
    if isinstance(cell, str) and cell == "*":
        return slip != "star"
    if isinstance(cell, tuple):
        if isinstance(value, str):
            return (min(cell) <= value <= max(cell)) if slip == "between" else value in cell
        if slip == "ends":
            return value in cell
        low, high = min(cell), max(cell)
        return low < value < high if slip == "open" else low <= value < high if slip == "half" else low <= value <= high
    return cell == value and slip != "ranges only"


def _matches(known: dict[str, list[Any]], release: dict[str, list[Any]], slip: str = "") -> list[list[int]]:
    quasi = QUASI[:1] if slip == "first" else QUASI[:-1] if slip == "all but last" else QUASI
    every = any if slip == "any" else all
    return [
        [
            row
            for row in range(len(release["age"]))
            if every(_covers(release[name][row], known[name][person], slip) for name in quasi)
        ]
        for person in range(len(known["age"]))
    ]


SLIPS = {
    "star": "A suppressed cell '*' may be anybody's: it covers every value.",
    "between": "A tuple of words is a list, not a range: a word between two of them in the alphabet is not in it.",
    "ends": "A pair of numbers is a range: it covers all that lies between, not its two ends alone.",
    "open": "Both ends of a range belong to it.",
    "half": "The upper end of a range belongs to it, too.",
    "any": "One fitting column is not enough: every cell must cover the person's value.",
    "first": "You compare the first column alone.",
    "all but last": "The last quasi-identifier is not compared.",
    "ranges only": "A cell that is no tuple is the value itself: it covers what equals it.",
}


@exercise(
    "anonymization.candidates",
    "Whose row may it be?",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="candidates",
    mutants=(
        Mutant(
            "stars cover nothing",
            "if isinstance(cell, str) and cell == SUPPRESSED:\n        return True",
            "if isinstance(cell, str) and cell == SUPPRESSED:\n        return False",
            "anybody's",
        ),
        Mutant(
            "words as a range",
            "return value in cell if isinstance(value, str) else cell[0] <= value <= cell[1]",
            "return min(cell) <= value <= max(cell)",
            "not a range",
        ),
        Mutant(
            "ends only",
            "return value in cell if isinstance(value, str) else cell[0] <= value <= cell[1]",
            "return value in cell",
            "two ends alone",
        ),
        Mutant(
            "part of a word",
            "return value in cell if isinstance(value, str) else",
            "return any(value in word for word in cell) if isinstance(value, str) else",
            "part of",
        ),
        Mutant(
            "the list lacks it",
            "people = rows_of(known, quasi)",
            "quasi = [name for name in quasi if name in known]\n    people = rows_of(known, quasi)",
            "the list lacks",
        ),
        Mutant("ends left out", "cell[0] <= value <= cell[1]", "cell[0] < value < cell[1]", "both ends"),
        Mutant("upper end left out", "cell[0] <= value <= cell[1]", "cell[0] <= value < cell[1]", "upper end"),
        Mutant("any column", "set.intersection(*sets)", "set.union(*sets)", "not enough"),
        Mutant(
            "last column left out",
            "zip(fits, quasi, strict=True)",
            "list(zip(fits, quasi, strict=True))[:-1]",
            "not compared",
        ),
        Mutant(
            "classes for rows",
            "sorted(row for number in numbers for row in groups[number][1])",
            "sorted(numbers)",
            "row numbers",
        ),
        Mutant(
            "counts for rows", "sorted(row for number in numbers for row in groups[number][1])", "len(numbers)", "list"
        ),
        Mutant(
            "only the sure ones",
            "found.append(sorted(row for number in numbers for row in groups[number][1]))",
            "rows = sorted(row for number in numbers for row in groups[number][1])\n"
            "        found.append(rows if len(rows) == 1 else [])",
            "several",
        ),
    ),
)
def check_candidates(answer: Answer, dice: Dice) -> None:
    known: dict[str, list[Any]] = {}
    release: dict[str, list[Any]] = {}
    exact: list[list[int]] = []
    wrong: dict[str, list[list[int]]] = {}
    for _ in range(200):
        release = {"age": [], "town": [], "sex": [], "income": []}
        for _row in range(14):
            low = dice.integer(20, 40)
            age = [low, (low, low + dice.integer(1, 12)), (low, low + 6), "*"][dice.integer(0, 3)]
            first, gap = dice.integer(0, 2), dice.integer(1, 2)
            town = [TOWNS[first], (TOWNS[first], TOWNS[first + gap]), (TOWNS[first], TOWNS[4]), "*"][dice.integer(0, 3)]
            sex = ["f", "m", ("f", "m"), "*"][dice.integer(0, 3)]
            for _ in range(dice.integer(1, 2)):
                for name, cell in zip(release, (age, town, sex, dice.integer(0, 1)), strict=True):
                    release[name].append(cell)
        ages = [cell for cell in release["age"] if cell != "*"]
        people = 12
        known = {
            "name": [f"person {number}" for number in range(people)],
            "age": [_inside(dice, ages[dice.integer(0, len(ages) - 1)]) for _ in range(people)],
            "town": [TOWNS[dice.integer(0, 4)] for _ in range(people)],
            "sex": ["fm"[dice.integer(0, 1)] for _ in range(people)],
        }
        exact = _matches(known, release)
        wrong = {words: _matches(known, release, slip) for slip, words in SLIPS.items()}
        if exact not in wrong.values() and len({str(one) for one in wrong.values()}) == len(wrong):
            break
    got = answer(known, release, QUASI)
    lists = _lists(got, len(exact))
    hint = next((words for words, value in wrong.items() if value == lists), "")
    if not hint and all(set(mine) <= set(right) for mine, right in zip(lists, exact, strict=True)):
        hint = "Rows are missing: somebody can have several candidates, and rows that look alike are all candidates."
    if not hint and max((max(row) for row in lists if row), default=0) < max(max(row) for row in exact if row):
        hint = "Return row numbers of the release, counted from 0."
    if lists == [[row + 1 for row in right] for right in exact]:
        hint = "Your row numbers are one too large: rows are counted from 0."
    for person, (mine, right) in enumerate(zip(lists, exact, strict=True)):
        who = {name: known[name][person] for name in QUASI}
        cells = {row: [release[name][row] for name in QUASI] for row in {*mine} ^ {*right} if row in range(99)}
        expect(
            mine == right,
            f"The candidates of {who} are wrong. The rows in question: {dict(list(cells.items())[:3])}.",
            expected=right,
            got=mine,
            hint=hint,
        )
    alone = {"age": [30], "town": ["Adorf"], "sex": ["f"]}
    none = {"age": [(40, 50)], "town": ["Adorf"], "sex": ["f"], "income": [1]}
    got = _lists(answer(alone, none, QUASI), 1)
    expect(got == [[]], "No row fits: the list of candidates is empty.", expected=[[]], got=got)
    part = {"age": [30], "town": [("Bad Adorf", "Cedorf")], "sex": ["f"], "income": [1]}
    got = _lists(answer(alone, part, QUASI), 1)
    expect(
        got == [[]],
        "The town Adorf is only a part of the word 'Bad Adorf': the tuple ('Bad Adorf', 'Cedorf') does not hold it.",
        expected=[[]],
        got=got,
    )
    _refused(lambda: answer({"age": [30]}, none, QUASI), "A column that the list lacks was not refused.")
    _refused(lambda: answer(alone, {"age": [30]}, QUASI), "A column that the release lacks was not refused.")


def _lists(got: Any, people: int) -> list[list[int]]:
    """Return each person's candidates as a sorted list, or fail."""
    found = []
    for mine in expect_list(got, "The candidates", length=people, expected="a list of row numbers for each person"):
        plain = mine.tolist() if isinstance(mine, torch.Tensor | np.ndarray) else mine
        found.append(sorted(expect_list(plain, "One person's candidates", expected="a list of row numbers")))
    return found


def _inside(dice: Dice, cell: Any) -> int:
    if not isinstance(cell, tuple):
        return int(cell)
    return [cell[0], cell[1], dice.integer(cell[0], cell[1])][dice.integer(0, 2)]
