from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2TokenizerFast

from llmsafety_lab import data, vocabularies
from llmsafety_lab.tokenization import (
    LOOKALIKES,
    PATTERNS,
    decode,
    encode,
    encode_word,
    finds,
    merge,
    ranks_of,
    skeleton,
    split,
    stream,
    train_bpe,
    unigram,
    wordpiece,
)

DECLARATION = data.declaration()
ENGLISH = "\n".join(DECLARATION["English"])
MIXED = "\n".join(article for articles in DECLARATION.values() for article in articles)
PRINTABLE = vocabularies.printable_bytes()
BYTE_OF = {character: byte for byte, character in PRINTABLE.items()}
some_text = st.text(max_size=60) | st.text(st.sampled_from("ab '\n\t19人ñ🍍\u200b"), max_size=60)


def spelt(token: bytes) -> str:
    return "".join(PRINTABLE[byte] for byte in token)


@pytest.fixture(scope="module")
def small() -> dict[bytes, int]:
    return ranks_of(train_bpe(Counter(split(MIXED)), 400))


@pytest.fixture(scope="module", params=list(vocabularies.REGISTRY))
def published(request) -> tuple[str, dict[bytes, int], tiktoken.Encoding]:
    ranks = vocabularies.load(request.param)
    options = {"pat_str": PATTERNS[request.param], "mergeable_ranks": ranks, "special_tokens": {}}
    return request.param, ranks, tiktoken.Encoding(request.param, **options)


@pytest.mark.parametrize("text", [ENGLISH, MIXED, "aaaa aaaaa aaaaaa ba ab", "ab ab ac ac bc bc", ""])
def test_the_merges_are_those_of_the_library(text: str) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=756, special_tokens=[PRINTABLE[byte] for byte in range(256)], show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    theirs = json.loads(tokenizer.to_str())["model"]["merges"]
    mine = train_bpe(Counter(split(text)), 500)
    assert [[spelt(left), spelt(right)] for left, right in mine] == [list(pair) for pair in theirs]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("abc", max_size=6), max_size=8), st.integers(0, 12))
def test_each_merge_is_the_most_frequent_pair(words: list[str], merges: int) -> None:
    counted = Counter(word.encode() for word in words)
    parts = {word: [bytes([byte]) for byte in word] for word in counted}
    for pair in train_bpe(counted, merges):
        counts = Counter({pair: 0} | Counter(p for word in counted.elements() for p in pairwise(parts[word])))
        assert counts[pair] == max(counts.values()) > 0
        parts = {word: merge(tokens, pair) for word, tokens in parts.items()}


def test_gpt2_is_what_was_published(published) -> None:
    name, ranks, _ = published
    assert len(ranks) == vocabularies.REGISTRY[name].tokens == max(ranks.values()) + 1
    assert {bytes([byte]) for byte in range(256)} == {token for token, rank in ranks.items() if rank < 256}
    if name == "gpt2":
        assert encode("Hello world", ranks) == [15496, 995]


@pytest.mark.parametrize("language", DECLARATION)
def test_the_ids_are_those_of_tiktoken(published, language: str) -> None:
    name, ranks, theirs = published
    for article in DECLARATION[language]:
        assert encode(article, ranks, PATTERNS[name]) == theirs.encode_ordinary(article)


@settings(deadline=None, max_examples=150)
@given(text=some_text)
def test_any_text_has_tiktokens_ids_and_comes_back(published, text: str) -> None:
    name, ranks, theirs = published
    ids = encode(text, ranks, PATTERNS[name])
    assert ids == theirs.encode_ordinary(text)
    assert b"".join(theirs.decode_tokens_bytes(ids)).decode() == text


def test_gpt2_in_transformers_gives_the_same_ids() -> None:
    ranks = vocabularies.load("gpt2")
    merges = []
    for token, rank in ranks.items():
        if rank >= 256:
            merges.append(parts_of(token, ranks, rank))
    vocabulary = {spelt(token): rank for token, rank in ranks.items()}
    theirs = GPT2TokenizerFast(vocab=vocabulary | {"<|endoftext|>": 50256}, merges=merges)
    for articles in DECLARATION.values():
        for article in articles:
            assert encode(article, ranks) == theirs(article)["input_ids"]


def parts_of(token: bytes, ranks: dict[bytes, int], rank: int) -> tuple[str, str]:
    """Return the two tokens that a token was made of: what BPE makes of it without the token itself."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [(ranks.get(a + b, math.inf), i) for i, (a, b) in enumerate(pairwise(parts))]
        _, i = min(pair for pair in pairs if pair[0] < rank)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return spelt(parts[0]), spelt(parts[1])


@settings(deadline=None, max_examples=200)
@given(text=some_text)
def test_what_is_encoded_comes_back(small, text: str) -> None:
    vocabulary = {rank: token for token, rank in small.items()}
    ids = encode(text, small)
    assert decode(ids, vocabulary) == text
    pieces = stream(ids, vocabulary)
    assert len(pieces) == len(ids) and "".join(pieces) == text


@settings(deadline=None)
@given(tokens=st.lists(st.binary(min_size=1, max_size=4), max_size=12))
def test_a_stream_of_any_bytes_is_what_decode_gives(tokens: list[bytes]) -> None:
    vocabulary = dict(enumerate(tokens))
    assert "".join(stream(list(vocabulary), vocabulary)) == decode(vocabulary, vocabulary)


def test_a_word_takes_the_oldest_merge_and_not_the_longest_token() -> None:
    ranks = ranks_of([(b"b", b"c"), (b"a", b"b"), (b"ab", b"x")])
    assert encode_word(b"abc", ranks) == [ord("a"), 256]
    assert encode_word(b"", ranks) == []


@given(st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=12))
def test_merging_keeps_the_bytes(parts: list[bytes]) -> None:
    joined = merge(parts, (b"a", b"b"))
    assert b"".join(joined) == b"".join(parts)
    assert (b"a", b"b") not in pairwise(joined)


def test_errors() -> None:
    with pytest.raises(UnicodeEncodeError):
        split("\ud800")
    with pytest.raises(ValueError, match="leaves out"):
        split("a b", r"\w+")
    with pytest.raises(KeyError):
        encode("a", {b"b": 0})
    with pytest.raises(ValueError, match="spells"):
        unigram("ab", {"a": -1.0})


def test_no_token_learnt_twice() -> None:
    merges = train_bpe(Counter(split(MIXED)), 400)
    assert len(set(merges)) == len(merges)
    assert train_bpe({b"a": 3}, 5) == [] and train_bpe({}, 5) == []


@settings(deadline=None)
@given(st.text("abcd", min_size=1, max_size=12))
def test_wordpiece_is_the_librarys(word: str) -> None:
    vocabulary = {piece: i for i, piece in enumerate(["[UNK]", "a", "b", "ab", "##b", "##a", "##bc", "##abc", "##c"])}
    theirs = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    assert wordpiece(word, vocabulary) == theirs.encode(word).tokens


@settings(deadline=None)
@given(st.text("abc", min_size=1, max_size=12))
def test_unigram_is_the_librarys(word: str) -> None:
    scores = {"a": -2.0, "b": -2.3, "c": -3.1, "ab": -3.3, "bc": -4.05, "abc": -5.21, "ca": -4.77}
    theirs = Tokenizer(models.Unigram([("?", -20.0), *scores.items()], unk_id=0))
    mine, other = unigram(word, scores), theirs.encode(word).tokens
    assert "".join(mine) == word
    assert sum(scores[piece] for piece in mine) == pytest.approx(sum(scores[piece] for piece in other))


def test_the_library_decodes_what_we_encode(small) -> None:
    theirs = Tokenizer(models.BPE(vocab={spelt(token): rank for token, rank in small.items()}, merges=[]))
    theirs.decoder = decoders.ByteLevel()
    assert theirs.decode(encode(MIXED, small)) == MIXED


def test_the_declaration_is_the_same_articles_everywhere() -> None:
    assert len(DECLARATION) >= 8
    assert {len(articles) for articles in DECLARATION.values()} == {12}
    assert unicodedata.is_normalized("NFC", MIXED)
    assert normalizers.NFC().normalize_str(MIXED) == MIXED


def test_lookalikes_are_single_lower_case_characters() -> None:
    for seen, letter in LOOKALIKES.items():
        assert len(seen) == 1 and seen == seen.casefold() == unicodedata.normalize("NFKC", seen).casefold()
        assert not seen.isascii() and letter.isascii()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A pineapple.", True),
        ("A PINE\u00adAPPLE.", True),
        ("A p\u0456ne\u0430ppl\u0435!", True),
        ("A \uff30\uff29\uff2e\uff25apple", True),
        ("Two pineapples", False),
        ("An apple", False),
        ("p i n e a p p l e", False),
    ],
)
def test_the_filter_finds_what_a_reader_sees(text: str, found: bool) -> None:
    assert finds(text, "pineapple", LOOKALIKES) is found
    assert ("pineapple" in skeleton(text, LOOKALIKES)) >= found
