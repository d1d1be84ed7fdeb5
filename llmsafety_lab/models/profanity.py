"""A linear model that scores how offensive a text is. It is as good as its words: names of identities raise the score.

Its two files are pickles, which run code when they are read. So their digests are compared each time, right before.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.packages import Carrier, check_digest

_FILES = {
    "model.joblib": "aeafc04849d4d93db4721cf30a86ebf22085595294b8a07d51918e7fa98f538b",
    "vectorizer.joblib": "19c5200dc6a41f026e0558e2f164f5fe8d8f58e502b46b37e4385037fcfa4831",
}


def _read(folder: Path) -> tuple[Any, Any]:
    import joblib

    parts = []
    for name, digest in _FILES.items():
        content = (folder / name).read_bytes()
        check_digest(f"profanity: {name}", digest, hashlib.sha256(content).hexdigest())
        parts.append(joblib.load(io.BytesIO(content)))
    model, vectorizer = parts
    return model, vectorizer


ENTRY = Model(
    name="profanity",
    task="offensive or not: tf-idf of words and a calibrated linear classifier of scikit-learn",
    size=758_600,
    licence="MIT",
    citation="Zhou 2019, profanity-check; kept up by Kotoglou and Mistriotis as alt-profanity-check 1.9.1",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="alt-profanity-check",
            version="1.9.1",
            folder="profanity_check/data",
            files=_FILES,
        ),
    ),
    read=_read,
)
