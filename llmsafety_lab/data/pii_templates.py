"""Sentences with fields for personal data, such as "My name is {{person}}", for a generator of made-up data to fill.

Column: text. The lines come from Presidio's evaluator, written by its contributors, and no field is filled in.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    lines = (folder / "templates.txt").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    texts = [line.replace("\\n", "\n").replace("\\,", ",").replace("\ufeff", "").strip() for line in lines]
    return {"text": [text for text in texts if text]}


ENTRY = DataSet(
    name="pii-templates",
    task="sentences with fields for personal data (a row a sentence; none is filled in)",
    size=694_340,
    licence="MIT",
    citation="The contributors of Presidio, presidio-research, data_generator/raw_data/templates.txt",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="presidio-evaluator",
            version="0.3.2",
            folder="presidio_evaluator/data_generator/raw_data",
            files={"templates.txt": "f8b04ff8c5c24d17fcac2e666767f6ba80841b69ee2ea3c1cfe089a676a766ef"},
        ),
    ),
    read=_read,
)
