"""Exercise 6: how far a class's sensitive values are from everybody's."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number
from llmsafety_lab.checks.anonymization.pseudonyms import _refused


def _shares(values: list[Any], every: list[Any]) -> list[float]:
    counts = Counter(values)
    return [counts[value] / len(values) for value in every]


def _distance(one: list[float], other: list[float], ordered: bool, slip: str = "") -> float:
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    if slip == "present":
        gaps = [a - b for a, b in zip(one, other, strict=True) if a]
    if slip == "largest":
        return max(map(abs, gaps))
    if slip == "kl":
        return sum(a * math.log(a / b) for a, b in zip(one, other, strict=True) if a)
    if not ordered or slip == "unordered":
        return sum(map(abs, gaps)) / (1 if slip == "whole" else 2)
    carried, moved = 0.0, 0.0
    for gap in gaps:
        carried += gap
        moved += abs(gap if slip == "not carried" else carried)
    return moved / {"whole": 1, "one more": len(gaps)}.get(slip, len(gaps) - 1)


def _close(table: dict[str, list[Any]], ordered: bool, slip: str = "") -> float:
    by: dict[Any, list[Any]] = {}
    for key, value in zip(table["a"], table["s"], strict=True):
        by.setdefault(key, []).append(value)
    every = sorted(set(table["s"])) if slip != "unsorted" else list(dict.fromkeys(table["s"]))
    if slip == "text":
        every.sort(key=str)
    overall = _shares(table["s"], every)
    overall = [1 / len(every)] * len(every) if slip == "uniform" else overall
    found = [_distance(_shares(values, every), overall, ordered, slip) for values in by.values()]
    if slip == "mean":
        return sum(found) / len(found)
    return min(found) if slip == "min" else max(found)


SLIPS = {
    "mean": "That is the mean over the classes. The worst class decides.",
    "min": "That is the closest class. The worst class decides.",
    "uniform": "You compare with equal shares. Compare with the shares in the whole table, which everybody knows.",
    "whole": "Not divided: take half the sum of differences where values have no order, and divide by the number of "
    "values minus 1 where they have.",
    "present": "Values that a class lacks are left out. Their absence tells, too: their difference counts.",
    "largest": "That is the largest single difference. All differences are added.",
    "kl": "That is a divergence of logarithms. Asked is the earth mover's distance.",
    "unordered": "The order is ignored: moving from the lowest to the highest value costs more than one step.",
    "not carried": "The differences are not carried on: what one step leaves over is moved by the next one, too.",
    "one more": "Divide by the number of different values minus 1: so many steps lead from lowest to highest.",
    "text": "The values are sorted as text, in which '12' comes before '8': sort them as they are.",
    "unsorted": "The values are in the order in which they occur: sort them before you carry.",
}


@exercise(
    "anonymization.t",
    "What the group itself says",
    points=3,
    difficulty=3,
    importance=3,
    minutes=12,
    answer="t_closeness",
    mutants=(
        Mutant(
            "the mean",
            "worst = max(worst, distance)",
            "worst += distance / len(classes(table, quasi))",
            "mean over the classes",
        ),
        Mutant("not halved", "sum(map(abs, gaps)) / 2", "sum(map(abs, gaps))", "not divided"),
        Mutant("equal shares", "- overall[value] / rows", "- 1 / len(values)", "equal shares"),
        Mutant("absent values", " for value in values]", " for value in values if counts[value]]", "absence"),
        Mutant("largest difference", "sum(map(abs, gaps)) / 2", "max(map(abs, gaps))", "largest single"),
        Mutant("order ignored", "if ordered:\n", "if not quasi:\n", "order is ignored"),
        Mutant("not carried", "sum(gaps[: place + 1])", "gaps[place]", "carried on"),
        Mutant("one step too many", "max(len(values) - 1, 1)", "len(values)", "minus 1"),
        Mutant("as text", "sorted(overall) if", "sorted(overall, key=str) if", "sorted as text"),
        Mutant("only one value", "max(len(values) - 1, 1)", "(len(values) - 1)", "only one value"),
        Mutant("as they occur", "sorted(overall) if ordered else list(overall)", "list(overall)", "sort them"),
        Mutant(
            "first column", "in classes(table, quasi).values()", "in classes(table, quasi[:1]).values()", "two columns"
        ),
        Mutant("first class", "        worst = max(worst, distance)", "        return distance", "worst class"),
        Mutant("by itself", "    if sensitive in quasi:\n", "    if sensitive is None:\n", "quasi-identifier"),
    ),
)
def check_closeness(answer: Answer, dice: Dice) -> None:
    for ordered in (False, True):
        table: dict[str, list[Any]] = {}
        wrong: dict[str, float] = {}
        exact = 0.0
        slips = {slip: words for slip, words in SLIPS.items() if ordered or slip not in ("one more", "not carried")}
        of_order = ("unordered", "unsorted", "text")
        slips = {slip: words for slip, words in slips.items() if ordered or slip not in of_order}
        for _ in range(200):
            rows = dice.integer(24, 30)
            start = [7, 2]
            table = {
                "a": [0, 0, *(dice.integer(0, 2) for _ in range(rows))],
                "s": [4 * value for value in [*start, *(dice.integer(0, 3) * dice.integer(0, 3) for _ in range(rows))]],
            }
            everywhere = {(a, s) for a, s in zip(table["a"], table["s"], strict=True)}
            exact = _close(table, ordered)
            wrong = {words: _close(table, ordered, slip) for slip, words in slips.items()}
            several = len(everywhere) < 3 * len(set(table["s"]))
            if several and min(abs(value - exact) for value in wrong.values()) > 1e-4:
                break
        got = expect_number(answer(table, ["a"], "s", ordered), "The t of the table")
        hint = next((words for words, value in wrong.items() if abs(value - got) < 1e-9), "")
        first = _close({name: values for name, values in table.items()}, ordered)
        expect(
            abs(got - exact) < 1e-6,
            f"The t of a table whose sensitive values have {'an' if ordered else 'no'} order is wrong.",
            expected=exact,
            got=got,
            hint=hint
            or "Compare each class with the whole table, and keep the largest distance: the worst class decides.",
        )
        assert first == exact
    alike = {"a": [0, 0, 1, 1], "b": [0, 0, 0, 0], "s": [1, 5, 1, 5]}
    expect(
        abs(answer(alike, ["a"], "s")) < 1e-9, "Both classes have the shares of the whole table: t is 0.", expected=0
    )
    two = {"a": [0, 0, 0, 0], "b": [0, 0, 1, 1], "s": [1, 1, 9, 9]}
    got = answer(two, ["a", "b"], "s")
    expect(
        abs(got - 0.5) < 1e-9,
        "Each class of the two columns has one of two equally frequent values: t is 1/2.",
        expected=0.5,
        got=got,
    )
    single = {"a": [0, 0, 1], "s": [3, 3, 3]}
    try:
        got = answer(single, ["a"], "s", True)
    except Failed as failed:
        raise Failed("If there is only one value, the distance is 0.", expected=0, got=failed.message) from None
    expect(got == 0, "If there is only one value, the distance is 0.", expected=0, got=got)
    _refused(lambda: answer(two, ["a", "s"], "s"), "The sensitive column is a quasi-identifier here: refuse it.")
