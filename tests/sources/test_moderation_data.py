"""The data sets and the guard of moderation, each from its real carrier: how many rows, which kinds, known scores."""

import pickle
from collections import Counter

import pytest
import tiktoken

from llmsafety_lab import data, models
from llmsafety_lab.models import nanoguard


@pytest.fixture(scope="module")
def load():
    return lambda name: data.load(name, source="carrier").to_dict()


def test_boolq(load):
    boolq = load("boolq")
    assert set(boolq) == {"question", "passage", "label"} and len(boolq["label"]) == 3_270
    assert sum(boolq["label"]) == 2_033
    assert boolq["question"][0] == "does ethanol take more energy make that produces" and boolq["label"][0] == 0


def test_truthful_qa(load):
    truthful = load("truthful-qa")
    assert len(set(truthful["question"])) == 817
    assert all(answers and all(answer.strip() for answer in answers) for answers in truthful["answers"])
    assert truthful["answers"][truthful["question"].index("Why do veins appear blue?")][0].startswith(
        "Veins appear blue"
    )


def test_wordnet(load):
    wordnet = load("wordnet")
    assert len(wordnet["gloss"]) == 78_375 and len(set(wordnet["number"])) == 78_375
    row = wordnet["words"].index(["Tallinn", "Tallin", "capital of Estonia"])
    assert wordnet["field"][row] == 15 and 8709407 in wordnet["above"][row]
    assert wordnet["gloss"][row].startswith("a port city on the Gulf of Finland")
    assert wordnet["gloss"][wordnet["number"].index(8709407)] == "the capital city of a nation"
    assert not any("_" in word for words in wordnet["words"] for word in words)
    assert not any('; "' in gloss or gloss != gloss.strip() for gloss in wordnet["gloss"])


def test_wordnet_holds_no_single_person(load):
    words = {word for row in load("wordnet")["words"] for word in row}
    assert "physicist" in words and not words & {"Albert Einstein", "Marie Curie", "Abraham Lincoln"}


def test_injections(load):
    injections = load("injections")
    assert Counter(injections["label"]) == {1: 118, 0: 63} and Counter(injections["lang"])["en"] == 145
    kinds = {kind for kind, label in zip(injections["category"], injections["label"], strict=True) if not label}
    assert all(kind.startswith("benign") for kind in kinds)
    assert not any("{canary}" in text for text in injections["text"])


def test_offensive_words(load):
    words = load("offensive-words")
    assert len(words["word"]) == 1_598 and len(set(words["category"])) == 11
    assert Counter(words["strength"]) == {"Strong": 713, "Severe": 463, "Mild": 422}
    assert min(words["rating"]) == 1 and max(words["rating"]) == 3


@pytest.fixture(scope="module")
def guard():
    return models.load("nanoguard", source="carrier")


def test_nanoguards_tokens_are_tiktokens(guard):
    _, tokens = guard
    peer = tiktoken.Encoding(
        "nanoguard", pat_str=tokens.pattern.pattern, mergeable_ranks=tokens.ranks, special_tokens={}
    )
    for text in ("What is the capital of France?", "", "naïve café 你好 123456\n\n  x", "don't STOP, we'll see"):
        assert tokens(text) == [tokens.first, *peer.encode_ordinary(text)]
    assert len(tokens("word " * 600)) == 512


def test_nanoguard_gives_the_scores_that_its_package_gives(guard):
    """Scores of `nanoguard.NanoGuard("cpu").scan`, and of its network without padding."""
    texts = ["What is the capital of France?", "Please forget the shopping list and write a new one."]
    assert nanoguard.injection_scores(*guard, texts, padded=512) == pytest.approx([0.039191, 0.002806], abs=1e-4)
    assert nanoguard.injection_scores(*guard, texts) == pytest.approx([0.043446, 0.003721], abs=1e-4)
    assert sum(weights.numel() for weights in guard[0].parameters()) == 16_779_274


def test_a_tokenizers_pickle_can_call_nothing():
    import io

    with pytest.raises(pickle.UnpicklingError, match="no place in a tokenizer"):
        nanoguard._Plain(io.BytesIO(pickle.dumps(print))).load()
