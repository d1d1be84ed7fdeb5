"""CoNLL-2003: English news with the named entities marked word by word, as BIO tags of four types.

Columns: tokens (list of str), tags (list of str) and split ("train", "validation" or "test").
"""

from __future__ import annotations

from llmsafety_lab.data._entry import PARQUET, Columns, DataSet, Rows, named

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")


def _tidy(columns: Columns) -> Columns:
    return {"tokens": columns["tokens"], "tags": named(columns["ner_tags"], TAGS), "split": columns["split"]}


ENTRY = DataSet(
    name="conll2003",
    task="named entities in English news, four types: the whole of CoNLL-2003 (hub only)",
    size=1_234_000,
    licence="research use (Reuters' terms)",
    citation="Tjong Kim Sang and De Meulder 2003, CoNLL-2003 shared task",
    sources=(
        Rows(repository="eriktks/conll2003", revision=PARQUET, config="conll2003", columns=("tokens", "ner_tags")),
    ),
    tidy=_tidy,
)
