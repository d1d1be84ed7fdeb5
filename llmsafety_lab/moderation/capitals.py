"""Questions whose answers a dictionary knows: which city is the capital of a place?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NAME = "capital of "
SEATS = (8709407, 8713353)  # WordNet 3.1: capital of a nation, of a part of a nation
UNCLEAR = frozenset(
    {
        *("Bolivia", "Burundi", "Ivory Coast", "Kazakhstan", "Malaysia", "Myanmar", "South Africa", "Sri Lanka"),
        *(
            "Israel",
            "Taiwan",
            "Tanzania",
            "Tibet",
            "Nauru",
            "Palau",
            "Western Sahara",
            "Zaire",
            "Serbia and Montenegro",
        ),
        *("Central Africa", "Red China", "Swaziland", "Turkmenistan", "Uzbek", "Western Samoa", "the Ukraine"),
    }
)
"""Places that have another name today, or whose capital is disputed, has moved, has another name or is not one."""


class Question(NamedTuple):
    """A place, the names of its capital, and the row of the dictionary that says so."""

    place: str
    names: tuple[str, ...]
    row: int

    @property
    def text(self) -> str:
        return f"What is the capital of {self.place}?"


def capital_questions(dictionary: Mapping[str, Sequence[Any]]) -> list[Question]:
    """Return the questions that the data set "wordnet" holds the answers of, in its order.

    Parameters
    ----------
    dictionary : mapping
        From "words", "gloss" and "above" to a list with an entry a meaning.
    """
    found = []
    for row, (words, above) in enumerate(zip(dictionary["words"], dictionary["above"], strict=True)):
        places = [word.removeprefix(NAME) for word in words if word.startswith(NAME)]
        names = tuple(word for word in words if "capital" not in word)
        asked = places and names and places[0] not in names and places[0] not in UNCLEAR
        if asked and set(SEATS) & set(above):
            found.append(Question(places[0], names, row))
    often = Counter(question.place for question in found)
    return [question for question in found if often[question.place] == 1]


def plain(text: str) -> str:
    """Return a text in lower case, without accents, and with one blank between its words."""
    letters = unicodedata.normalize("NFKD", text.lower())
    return " ".join(re.sub(r"[^a-z0-9]+", " ", "".join(x for x in letters if not unicodedata.combining(x))).split())


def names_in(text: str, names: Sequence[str]) -> list[str]:
    """Return those of some names that a text holds as whole words, in any spelling of accents and capitals."""
    inside = f" {plain(text)} "
    return [name for name in names if f" {plain(name)} " in inside]
