"""Exercise 3: the k of a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number
from llmsafety_lab.checks.anonymization.pseudonyms import _refused

QUASI = ["a", "b"]
SLIPS = {
    "stars": "The suppressed rows are not counted. They are a class like any other: a row of stars that is alone "
    "belongs to the only person who fits nowhere else.",
    "others": "You count the others in the smallest class. The row itself counts, too.",
    "largest": "That is the largest class. The weakest class decides.",
    "mean": "That is the mean size. The weakest class decides, not the average one.",
    "number": "That is the number of classes. Asked is the size of the smallest.",
    "all": "You compare by all columns. Only the quasi-identifiers are what somebody else may know.",
    "single": "You look at one column at a time. What is frequent in each column can be unique in all together.",
    "glued": "Glued together, ('1', '23') and ('12', '3') are the same text: compare tuples.",
    "order": "('a', 'b') and ('b', 'a') are different people: keep the order of the columns.",
    "first": "You compare by the first quasi-identifier alone.",
}


def _wrong(table: dict[str, list[Any]], slip: str) -> float:
    rows = [*zip(*(table[name] for name in QUASI), strict=True)]
    counts = Counter(rows)
    if slip in ("largest", "mean", "number", "others"):
        sizes = counts.values()
        found = {"largest": max(sizes), "mean": len(rows) / len(sizes), "number": len(sizes), "others": min(sizes) - 1}
        return found[slip]
    if slip == "single":
        return min(min(Counter(table[name]).values()) for name in QUASI)
    every: dict[str, list[Any]] = {
        "stars": [row for row in rows if set(row) != {"*"}],
        "all": [*zip(*table.values(), strict=True)],
        "glued": ["".join(row) for row in rows],
        "order": [frozenset(row) for row in rows],
        "first": [row[0] for row in rows],
    }
    return min(Counter(every[slip]).values())


def _cases(dice: Dice) -> list[tuple[dict[tuple[str, str], int], tuple[str, ...]]]:
    """Return tables by the sizes of their classes, each with the mistakes that show in it."""
    small, other, more = dice.integer(3, 5), dice.integer(7, 9), dice.integer(12, 15)
    return [
        (
            {("x", "p"): small + 4, ("y", "q"): small + 8, ("z", "r"): small + 21},
            ("others", "largest", "mean", "number", "all"),
        ),
        ({("x", "p"): small, ("*", "*"): 2, ("y", "q"): other}, ("stars",)),
        ({("x", "p"): more, ("x", "q"): small, ("y", "p"): 2 * more, ("y", "q"): small + 1}, ("first", "single")),
        ({("1", "23"): small, ("12", "3"): more, ("4", "4"): other}, ("glued",)),
        ({("1", "2"): small, ("2", "1"): more, ("4", "4"): other}, ("order",)),
    ]


@exercise(
    "anonymization.k",
    "How many look like you",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="k_of",
    mutants=(
        Mutant("all columns", "classes(table, quasi)", "classes(table, list(table))", "by all columns"),
        Mutant(
            "suppressed rows not counted",
            "classes(table, quasi).values()",
            'classes(table, quasi).values() if any(table[name][rows[0]] != "*" for name in quasi)',
            "not counted",
        ),
        Mutant("largest class", "return min(", "return max(", "largest"),
        Mutant(
            "mean size",
            "return min(len(rows) for rows in classes(table, quasi).values())",
            "return rows_of(table, quasi) / len(classes(table, quasi))",
            "mean size",
        ),
        Mutant(
            "number of classes",
            "return min(len(rows) for rows in classes(table, quasi).values())",
            "return len(classes(table, quasi))",
            "number of classes",
        ),
        Mutant(
            "column by column",
            "return min(len(rows) for rows in classes(table, quasi).values())",
            "return min(len(rows) for name in quasi for rows in classes(table, [name]).values())",
            "one column",
        ),
        Mutant(
            "glued",
            "tuple(table[name][row] for name in quasi)",
            '"".join(str(table[name][row]) for name in quasi)',
            "glued",
        ),
        Mutant(
            "order lost",
            "tuple(table[name][row] for name in quasi)",
            "frozenset(table[name][row] for name in quasi)",
            "order",
        ),
        Mutant("others only", "min(len(rows) for", "min(len(rows) - 1 for", "the row itself"),
        Mutant(
            "first column",
            "tuple(table[name][row] for name in quasi)",
            "tuple(table[name][row] for name in quasi[:1])",
            "first quasi",
        ),
        Mutant(
            "never alone",
            "return min(len(rows) for rows in classes(table, quasi).values())",
            "return max(2, min(len(rows) for rows in classes(table, quasi).values()))",
            "k is 1",
        ),
        Mutant(
            "two columns",
            "tuple(table[name][row] for name in quasi)",
            "tuple(table[name][row] for name in quasi[:2])",
            "all three",
        ),
        Mutant("no columns", "    if not columns:\n", "    if columns is None:\n", "no quasi-identifier"),
    ),
)
def check_k(answer: Answer, dice: Dice) -> None:
    for kinds, slips in _cases(dice):
        rows = [kind for kind, size in kinds.items() for _ in range(size)]
        order = dice.uniform(len(rows)).argsort().tolist()
        table = {name: [rows[place][at] for place in order] for at, name in enumerate(QUASI)}
        table["illness"] = [["cold", "flu", "gout"][dice.integer(0, 2)] for _ in rows]
        exact, sizes = min(kinds.values()), sorted(kinds.values())
        got = expect_number(answer(table, QUASI), "The k of the table")
        hint = next((SLIPS[slip] for slip in slips if _wrong(table, slip) == got), "")
        expect(
            got == exact,
            f"The k of {len(rows)} rows by {QUASI} is wrong. The classes have {sizes} rows: {list(kinds)}.",
            expected=exact,
            got=got,
            hint=hint,
        )
    one = {"age": [20, 20, 21, 21, 21], "sex": ["f", "f", "f", "f", "f"], "income": [1, 0, 1, 1, 0]}
    for quasi, exact, words in (
        (["age"], 2, "Two people are 20 and three are 21."),
        (["sex"], 5, "All five agree in the column sex: k is 5."),
        (["age", "income"], 1, "One person is 20 and has income 0, and nobody else: k is 1."),
    ):
        got = answer(one, quasi)
        expect(got == exact, words, expected=exact, got=got)
    cells = [(a, b, c) for a in "xy" for b in "pq" for c in "mn"]
    for _ in range(6):
        least = dice.integer(2, 7)
        counts = [least + dice.integer(1, 6) for _ in cells]
        counts[dice.integer(0, 7)] = least
        every = [cell for cell, size in zip(cells, counts, strict=True) for _ in range(size)]
        three = {name: [row[place] for row in every] for place, name in enumerate(("a", "b", "c"))}
        got = answer(three, ["a", "b", "c"])
        expect(
            got == least,
            f"By three columns the classes have {counts} rows.",
            expected=least,
            got=got,
            hint="Rows are in one class if they agree in all three, not in two of them.",
        )
    _refused(lambda: answer(one, []), "There is no quasi-identifier: nothing to compare by.")
    _refused(lambda: answer({"age": []}, ["age"]), "A table without rows has no k.")
