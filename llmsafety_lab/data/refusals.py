"""Answers of language models to requests, most of them harmful, with a person's verdict: did the model refuse?

Columns: request, response, label (1 for a refusal), part ("main" or "extra"). No page prints a request or a response.
"""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_FILES = {"refusal.csv": "main", "refusal_extra.csv": "extra"}


def _read(folder: Path) -> Columns:
    columns: Columns = {"request": [], "response": [], "label": [], "part": []}
    for name, part in _FILES.items():
        with (folder / name).open(encoding="utf-8-sig", newline="") as stream:
            lines = list(stream)
        start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        for row in csv.DictReader(lines[start:]):
            values = (row["objective"].strip(), row["assistant_response"].strip(), int(row["human_score"]), part)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    return columns


ENTRY = DataSet(
    name="refusals",
    task="judging: a row an answer of a language model (request, response, label 1 for a refusal by a person, part)",
    size=187_324,
    licence="MIT",
    citation="Munoz et al. 2024, PyRIT, arXiv:2410.02828",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="pyrit",
            version="1.1.0",
            folder="pyrit/datasets/scorer_evals/refusal_scorer",
            files={
                "refusal.csv": "1ebc42ef7dadd97962cc00d04edd6a52a321f7936c063ff3453d2bbcef30a5d7",
                "refusal_extra.csv": "6ce7f61a8205eb8c29b1a247b52b3730501349f9adf0674a696efb004658a18a",
            },
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
