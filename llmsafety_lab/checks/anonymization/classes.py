"""Exercise 3: the k of a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number
from llmsafety_lab.checks.anonymization.pseudonyms import _refused

Rows = list[list[Any]]


def _wrong(table: dict[str, list[Any]], quasi: list[str]) -> dict[str, float]:
    rows = [tuple(row) for row in zip(*(table[name] for name in quasi), strict=True)]
    counts = Counter(rows)
    shown = Counter(row for row in rows if any(value != "*" for value in row))
    texts = Counter("".join(map(str, row)) for row in rows)
    bags = Counter(tuple(sorted(map(str, row))) for row in rows)
    return {
        "You compare by all columns. Only the quasi-identifiers are what somebody else may know.": min(
            Counter(zip(*table.values(), strict=True)).values()
        ),
        "The suppressed rows are not counted. They are a class like any other: a row of stars that is alone belongs to "
        "the only person who fits nowhere else.": min(shown.values()),
        "That is the largest class. The weakest class decides.": max(counts.values()),
        "That is the mean size. The weakest class decides, not the average one.": len(rows) / len(counts),
        "That is the number of classes. Asked is the size of the smallest.": len(counts),
        "You look at one column at a time. What is frequent in each column can be unique in all together.": min(
            min(Counter(table[name]).values()) for name in quasi
        ),
        "Glued together, ('1', '23') and ('12', '3') are the same text: compare tuples.": min(texts.values()),
        "('a', 'b') and ('b', 'a') are different people: keep the order of the columns.": min(bags.values()),
        "You count the others in the smallest class. The row itself counts, too.": min(counts.values()) - 1,
        "You compare by the first quasi-identifier alone.": min(Counter(table[quasi[0]]).values()),
    }


def _drawn(dice: Dice) -> dict[str, list[Any]]:
    """Return a table in which each mistake gives another number: columns a, b, c and what is sensitive."""
    kinds: Rows = [["1", "23", "x"], ["12", "3", "x"], ["3", "12", "y"], ["23", "1", "x"], ["12", "3", "y"]]
    table: dict[str, list[Any]] = {}
    for _ in range(400):
        sizes = [dice.integer(3, 9) for _ in kinds]
        rows = [[*kind] for kind, size in zip(kinds, sizes, strict=True) for _ in range(size)]
        rows += [["*", "*", "*"]] * dice.integer(2, 2)
        order = sorted(range(len(rows)), key=lambda _: float(dice.uniform(1)))
        rows = [rows[place] for place in order]
        table = {name: [row[place] for row in rows] for place, name in enumerate("abc")}
        table["illness"] = [dice.integer(0, 3) for _ in rows]
        values = [*_wrong(table, ["a", "b", "c"]).values()]
        if values.count(min(Counter(map(tuple, rows)).values())) == 0:
            break
    return table


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
        Mutant("no columns", "    if not columns:\n", "    if columns is None:\n", "no quasi-identifier"),
    ),
)
def check_k(answer: Answer, dice: Dice) -> None:
    table = _drawn(dice)
    for quasi in (["a", "b", "c"], ["c", "a", "b"]):
        rows = [*zip(*(table[name] for name in quasi), strict=True)]
        exact = min(Counter(rows).values())
        got = expect_number(answer(table, quasi), "The k of the table")
        hint = next((words for words, value in _wrong(table, quasi).items() if value == got), "")
        expect(
            got == exact,
            f"The k of {len(rows)} rows by {quasi} is wrong. The classes have {sorted(Counter(rows).values())} rows.",
            expected=exact,
            got=got,
            hint=hint,
        )
    one = {"age": [20, 20, 21, 21, 21], "sex": ["f", "f", "f", "f", "f"], "income": [1, 0, 1, 1, 0]}
    expect(answer(one, ["age"]) == 2, "Two people are 20 and three are 21.", expected=2)
    expect(answer(one, ["sex"]) == 5, "All five agree in the column sex: k is 5.", expected=5)
    _refused(lambda: answer(one, []), "With no quasi-identifier there is nothing to compare by.")
    _refused(lambda: answer({"age": []}, ["age"]), "A table without rows has no k.")
