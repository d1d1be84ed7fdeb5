"""Fine-tuning: the parts against torch, scikit-learn and the paper's own numbers; the recipes that are kept."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar
from sklearn.metrics import confusion_matrix, f1_score, log_loss
from torch import nn
from transformers import BertConfig, BertModel

from llmsafety_lab import data, fine_tuning, models
from llmsafety_lab.course import fetch
from llmsafety_lab.data.ag_news import AG
from llmsafety_lab.data.news import REUTERS
from llmsafety_lab.fine_tuning.classifier import (
    AttentionPooling,
    Classifier,
    evaluate,
    fit,
    freeze,
    label_scores,
    predict,
)
from llmsafety_lab.fine_tuning.measures import (
    baseline,
    expected_calibration_error,
    fit_temperature,
    reliability,
    score,
    suspects,
)
from llmsafety_lab.models.reviews_classifier import RECIPE, WEIGHTS
from llmsafety_lab.sources import cache, registry
from llmsafety_lab.statistics import interval

WIDTH = 16
POOLINGS = ("mean", "cls", "attention")
RESULTS = json.loads((Path(__file__).parents[2] / "results" / "fine_tuning.json").read_text())


def small_bert(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertModel(BertConfig(vocab_size=30_522, **sizes)).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return models.load("minilm")[1]


@pytest.fixture(scope="module")
def reviews() -> dict[str, list]:
    return {
        f"{split}_{name}": [row[name] for row in data.load("reviews") if row["split"] == split]
        for split in ("train", "test")
        for name in ("text", "label")
    }


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling: str, tokenizer) -> None:
    model = Classifier(small_bert(), 3, pooling).eval()
    if model.pool is not None:
        nn.init.normal_(model.pool.score.weight)
    short, long = "Good.", "A long text, so that the short one beside it is padded by many tokens."
    with torch.no_grad():
        alone = model(tokenizer([short], return_tensors="pt")["input_ids"])
        batch = tokenizer([short, long], padding=True, return_tensors="pt")
        beside = model(batch["input_ids"], batch["attention_mask"])
    assert batch["attention_mask"][0].sum() < batch["attention_mask"].shape[1] / 2
    torch.testing.assert_close(beside[:1], alone, atol=1e-6, rtol=1e-5)


def test_attention_pooling_is_scaled_dot_product_attention_with_one_query() -> None:
    torch.manual_seed(0)
    pool, hidden = AttentionPooling(WIDTH), torch.randn(4, 7, WIDTH)
    mask = torch.arange(7)[None] < torch.tensor([7, 3, 1, 5])[:, None]
    torch.testing.assert_close(pool(hidden, mask.long()), fine_tuning.mean_pool(hidden, mask.long()))
    nn.init.normal_(pool.score.weight)
    query = pool.score.weight[None].expand(4, 1, WIDTH)
    library = nn.functional.scaled_dot_product_attention(query, hidden, hidden, mask[:, None], scale=1.0)[:, 0]
    torch.testing.assert_close(pool(hidden, mask.long()), library)
    with torch.no_grad():
        torch.testing.assert_close(
            fine_tuning.mean_pool(hidden, mask.long())[1], hidden[1, :3].mean(0), atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_embeddings_can_stand_for_ids_and_carry_a_gradient(pooling: str) -> None:
    model = Classifier(small_bert(), 2, pooling).eval()
    ids = torch.randint(0, 30_000, (2, 5), generator=torch.Generator().manual_seed(0))
    embeddings = model.embed(ids).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings, attention_mask=torch.ones_like(ids))
    torch.testing.assert_close(logits, model(ids))
    logits[:, 1].sum().backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0


def test_what_a_classifier_refuses() -> None:
    with pytest.raises(ValueError, match="pooling is 'max'"):
        Classifier(small_bert(), 2, "max")
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        Classifier(small_bert(), 2)()


def test_fit_learns_is_seeded_and_leaves_what_is_frozen(tokenizer) -> None:
    texts = ["a warm and lovely film", "a dull and lifeless mess", "lovely", "dull", "warm", "a mess"] * 8
    labels = [1, 0, 1, 0, 1, 0] * 8
    runs, outside = [], torch.random.get_rng_state()
    for seed in (0, 0, 1):
        model = Classifier(small_bert(), 2)
        torch.random.set_rng_state(outside)
        left = freeze(model, 1)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        losses = fit(model, tokenizer, texts, labels, epochs=10, batch_size=8, learning_rate=2e-2, seed=seed)
        changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert torch.equal(torch.random.get_rng_state(), outside)
        assert not model.training and len(losses) == 10 * 6
        assert left == sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert not any(n.startswith(("encoder.embeddings", "encoder.encoder.layer.0")) for n in changed)
        assert {"head.weight", "encoder.encoder.layer.1.attention.self.value.weight"} <= changed
        runs.append(losses)
    assert runs[0] == runs[1] != runs[2]
    assert np.mean(runs[0][-6:]) < 0.3 < np.mean(runs[0][:3])
    assert evaluate(model, tokenizer, texts, labels).accuracy == 1


def test_errors_of_fit_and_evaluate(tokenizer) -> None:
    model = Classifier(small_bert(), 2)
    for call in (fit, evaluate):
        with pytest.raises(ValueError, match="1 texts and 2 labels"):
            call(model, tokenizer, ["a"], [0, 1])
        with pytest.raises(ValueError, match="0 texts"):
            call(model, tokenizer, [], [])


def test_predict_switches_dropout_off_and_leaves_the_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5), nn.Linear(50, 2))
    batches = [{"input": torch.randn(4, 3)} for _ in range(2)]
    for training in (True, False):
        model.train(training)
        first, second = predict(model, batches), predict(model, batches)
        assert torch.equal(first, second) and not first.requires_grad
        assert model.training == training
    torch.testing.assert_close(first, torch.cat([model(b["input"]) for b in batches]).softmax(-1))


def test_evaluate_gives_the_probabilities_in_the_order_of_the_texts(tokenizer) -> None:
    model = Classifier(small_bert(), 2).eval()
    texts = ["short", "a much longer text than the others are", "of middle length", "x y z"]
    found = evaluate(model, tokenizer, texts, [0, 1, 0, 1], batch_size=2)
    alone = np.concatenate([evaluate(model, tokenizer, [t], [0]).probabilities for t in texts])
    np.testing.assert_allclose(found.probabilities, alone, atol=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(5, 60))
def test_the_measures_are_those_of_scikit_learn(seed: int, classes: int, texts: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, truth = rng.dirichlet(np.ones(classes), texts), rng.integers(0, classes, texts)
    found, guess = score(probabilities, truth), probabilities.argmax(1)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(truth, guess, labels=range(classes)))
    assert found.accuracy == pytest.approx((guess == truth).mean())
    assert found.macro_f1 == pytest.approx(f1_score(truth, guess, average="macro"))


def test_ece_by_hand_and_its_bounds() -> None:
    probabilities = np.array([[0.9, 0.1], [0.88, 0.12], [0.4, 0.6], [0.35, 0.65]])
    assert expected_calibration_error(probabilities, [0, 1, 1, 1], bins=5) == pytest.approx(
        (2 * abs(0.5 - 0.89) + 1 * abs(1 - 0.6) + 1 * abs(1 - 0.65)) / 4
    )
    assert [row[0] for row in reliability(probabilities, [0, 1, 1, 1], bins=5)] == [1, 1, 2]
    assert expected_calibration_error(np.array([[1.0, 0.0]]), [0]) == 0
    assert expected_calibration_error(np.array([[1.0, 0.0]]), [1]) == 1


@given(arrays(float, (20, 3), elements=st.floats(0.01, 1)), st.integers(0, 99), st.integers(1, 20))
def test_ece_lies_between_the_gap_of_the_means_and_one(raw: np.ndarray, seed: int, bins: int) -> None:
    probabilities = raw / raw.sum(1, keepdims=True)
    truth = np.random.default_rng(seed).integers(0, 3, 20)
    gap = abs((probabilities.argmax(1) == truth).mean() - probabilities.max(1).mean())
    assert gap - 1e-12 <= expected_calibration_error(probabilities, truth, bins) <= 1


def test_probabilities_are_asked_for_and_not_logits() -> None:
    with pytest.raises(ValueError, match="are these logits"):
        expected_calibration_error(np.array([[2.0, -1.0]]), [0])
    with pytest.raises(ValueError, match=r"needed are \(N, C\)"):
        score(np.array([[0.5, 0.5]]), [0, 1])


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_minimum_and_undoes_a_scaling(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4_000, 3))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in softmax])
    found = fit_temperature(logits * true_temperature, labels)

    def loss(temperature: float) -> float:
        scaled = np.exp(logits * true_temperature / temperature)
        return log_loss(labels, scaled / scaled.sum(1, keepdims=True))

    assert found == pytest.approx(minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x, rel=1e-2)
    assert found == pytest.approx(true_temperature, rel=0.1)


def test_the_baseline_learns_from_the_training_texts_alone() -> None:
    train, labels = ["good film", "bad film", "good story", "bad story"], [1, 0, 1, 0]
    alone = baseline(train, labels, ["good zebra"])
    beside = baseline(train, labels, ["good zebra", "zebra zebra", "a zebra film"])
    np.testing.assert_allclose(alone, beside[:1])
    assert alone[0, 1] > 0.5


def test_suspects_finds_planted_flips_and_orders_them() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    probabilities = 0.1 + 0.7 * np.eye(3)[truth] + rng.uniform(0, 0.05, (600, 3))
    probabilities /= probabilities.sum(1, keepdims=True)
    flipped = rng.choice(600, 40, replace=False)
    given_labels = truth.copy()
    given_labels[flipped] = (truth[flipped] + 1) % 3
    found = suspects(probabilities, given_labels)
    assert set(found) == set(flipped.tolist())
    margins = [probabilities[i, given_labels[i]] - probabilities[i].max() for i in found]
    assert margins == sorted(margins)
    assert suspects(probabilities, truth) == []


def test_the_threshold_is_the_class_s_own() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.4, 0.6], [0.42, 0.58], [0.55, 0.45]])
    assert suspects(probabilities, [0, 0, 0, 1, 1, 1]) == [2]
    assert suspects(probabilities, [0, 0, 1, 1, 1, 1]) == []
    assert suspects(np.vstack([probabilities, [[0.95, 0.05]]]), [0, 0, 1, 1, 1, 1, 1]) == [6]


def test_the_interval_widens_with_the_seeds() -> None:
    rng = np.random.default_rng(0)
    steady = np.tile(rng.random(500) < 0.8, (4, 1))
    unsteady = rng.random((4, 500)) < np.array([0.6, 0.7, 0.9, 1.0])[:, None]
    widths = [high - low for _, low, high in (interval(steady), interval(unsteady))]
    assert widths[1] > 1.5 * widths[0]


def test_label_scores_are_the_model_s_own(smollm2) -> None:
    model, tokenizer = smollm2
    prompts = ["I love this film. The film is", "Two"]
    found = label_scores(model, tokenizer, prompts, [" good", " bad"], batch_size=2)
    for prompt, row in zip(prompts, found, strict=True):
        with torch.no_grad():
            last = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].log_softmax(-1)
        expected = [last[tokenizer(label)["input_ids"][0]].item() for label in (" good", " bad")]
        np.testing.assert_allclose(row, expected, atol=1e-3)
    with pytest.raises(ValueError, match="not one token"):
        label_scores(model, tokenizer, prompts, [" incomprehensibilities"])


def test_reviews_and_news_are_whole(reviews) -> None:
    assert (len(reviews["train_text"]), len(reviews["test_text"])) == (10_752, 2_000)
    assert not set(reviews["train_text"]) & set(reviews["test_text"])
    assert sum(reviews["test_label"]) == 1_118
    news = data.load("news")
    assert news.column_names == ["text", "label", "topic", "split"]
    assert (news["split"].count("train"), news["split"].count("test")) == (5_485, 2_189)
    assert {(row["label"], row["topic"]) for row in news} == set(enumerate(REUTERS))


def test_hub_rows_get_the_same_columns() -> None:
    columns = {"text": [" a ", "b", "c"], "label": [1, 0, 1], "split": ["train", "validation", "test"]}
    assert data.REGISTRY["reviews"].tidy(columns) == {
        "text": ["a", "b", "c"],
        "label": [1, 0, 1],
        "split": ["train", "train", "test"],
    }
    for name, topics in (("news", REUTERS), ("ag-news", AG)):
        tidy = data.REGISTRY[name].tidy(columns)
        assert tidy["topic"] == [topics[1], topics[0], topics[1]] and tidy["text"] == columns["text"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of a few seconds, in a cache that has the models and the data and no trained classifier."""
    there = cache.root()
    here = tmp_path / "cache"
    here.mkdir()
    for kind in ("model", "data"):
        (here / kind).symlink_to(there / kind)
    monkeypatch.setenv("LLMSAFETY_CACHE", str(here))
    tiny = dataclasses.replace(RECIPE, texts=32, frozen=5, max_tokens=12)
    entry = dataclasses.replace(models.REGISTRY["reviews-classifier"], name="tiny", sources=(tiny,))
    monkeypatch.setitem(models.REGISTRY.loaded, "tiny", entry)
    return tiny


def test_a_classifier_is_trained_once_and_kept(recipe, capsys, monkeypatch) -> None:
    assert {row["name"]: row["cached"] for row in fetch.listing()}["tiny"] is False
    fetch.fetch_all(["tiny"], progress=False)
    assert "tiny: training it on 32 texts, once" in capsys.readouterr().out
    monkeypatch.setattr(fine_tuning, "fit", lambda *args, **options: pytest.fail("it was trained again"))
    model, tokenizer = models.load("tiny", attn_implementation="eager")
    assert "tiny: from the cache" in capsys.readouterr().out
    assert isinstance(model, Classifier) and not model.training
    assert model.encoder.config._attn_implementation == "eager"
    assert all(p.requires_grad for p in model.parameters())
    row = next(row for row in fetch.listing() if row["name"] == "tiny")
    assert row["cached"] and row["source"] == "recipe 1: minilm on 32 rows of reviews"
    weights = load_file(registry.place(models.REGISTRY["tiny"], recipe) / WEIGHTS)
    assert {name.split(".")[3] for name in weights if "encoder.layer" in name} == {"5"}
    torch.testing.assert_close(model.head.weight, weights["head.weight"])
    logits = model(**{k: v for k, v in tokenizer("a film", return_tensors="pt").items() if k != "token_type_ids"})
    assert logits.shape == (1, 2)


def test_another_recipe_is_another_classifier() -> None:
    changes = ({"version": 2}, {"texts": 1}, {"frozen": 1}, {"learning_rate": 1e-4}, {"max_tokens": 1}, {"seed": 1})
    assert len({dataclasses.replace(RECIPE, **change).key() for change in ({}, *changes)}) == 7


def test_what_only_the_hub_has_is_fetched_by_name_alone(recipe, capsys, monkeypatch) -> None:
    monkeypatch.setattr(fetch, "entries", lambda: {"ag-news": data.REGISTRY["ag-news"]})
    fetch.fetch_all()
    assert "ag-news: left out" in capsys.readouterr().out


def test_the_reviews_classifier_beats_the_baseline_on_the_same_texts(reviews) -> None:
    model, tokenizer = models.load("reviews-classifier")
    texts, labels = reviews["test_text"][:500], reviews["test_label"][:500]
    known = RECIPE.texts
    found = evaluate(model, tokenizer, texts, labels, max_tokens=48)
    words = score(baseline(reviews["train_text"][:known], reviews["train_label"][:known], texts), labels)
    assert found.accuracy > words.accuracy + 0.02
    assert found.accuracy > 0.76 and found.ece < 0.12


def kept(**wanted) -> list[dict]:
    return [row for row in RESULTS["rows"] if wanted.items() <= row.items()]


def right(row: dict) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(row["right"]), np.uint8))[: RESULTS["tested"]].astype(bool)


@pytest.mark.parametrize("row", RESULTS["rows"], ids=lambda row: f"{row['method']} {row['texts']}")
def test_the_kept_rows_agree_with_themselves(row: dict) -> None:
    assert right(row).mean() == pytest.approx(row["accuracy"], abs=1e-3)


def test_one_kept_row_comes_out_again() -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fine_tuning.py"))
    train, labels, test, test_labels = script["reviews"]()
    [words] = kept(method="tf-idf", texts=250)
    hits = baseline(train[:250], labels[:250], test).argmax(1) == np.array(test_labels)
    assert (hits != right(words)).sum() <= 5
    stored = RESULTS["slice"]
    assert stored["of"] == script["SLICE"]
    again = script["small_row"](train, labels, test, test_labels)
    assert again["losses"] == pytest.approx(stored["losses"], abs=0.01)
    assert again["probabilities"] == pytest.approx(stored["probabilities"], abs=0.02)
    assert np.ptp(stored["probabilities"]) > 0.05
