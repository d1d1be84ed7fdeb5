"""Membership inference against scipy and scikit-learn, and against what is known without them."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from llmsafety_lab import data
from llmsafety_lab.membership_inference import (
    Networks,
    Recipe,
    area,
    auc,
    best_accuracy,
    blind_scores,
    calibrated,
    census_features,
    draw_members,
    leave_one_out,
    lira_attack,
    logit_scaled,
    losses,
    masked,
    min_k,
    rmia_attack,
    roc_curve_log,
    shokri_attack,
    steadiness,
    tpr_at_fpr,
    train_networks,
    yeom_attack,
    zlib_ratio,
)

ROOT = Path(__file__).parents[2]
ATTACKS = {"online": (True, "record"), "offline": (False, "record"), "fixed": (True, "fixed"), "both": (False, "fixed")}


def drawn(seed: int, models: int = 12, records: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return target, shadow and membership of scores in which members are higher, and who is a member of the target."""
    generator = np.random.default_rng(seed)
    members = generator.random((models + 1, records)).argsort(axis=0) < (models + 1) // 2
    level, effect = generator.normal(0, 3, records), generator.uniform(0, 2, records)
    scores = level + effect * members + generator.normal(0, 1, members.shape)
    return scores[0], scores[1:], members[1:], members[0]


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    scores = draw(st.lists(st.integers(-4, 4), min_size=4, max_size=40))
    members = draw(st.lists(st.booleans(), min_size=len(scores) - 2, max_size=len(scores) - 2))
    return np.array(scores, dtype=float), np.array([True, False, *members])


@given(labelled())
def test_the_curve_is_that_of_scikit_learn(given_: tuple[np.ndarray, np.ndarray]) -> None:
    scores, members = given_
    fpr, tpr, thresholds = roc_curve(members, scores, drop_intermediate=False)
    found = roc_curve_log(scores, members)
    np.testing.assert_allclose(found.thresholds, thresholds[1:])
    np.testing.assert_allclose(found.tpr, tpr[1:], atol=1e-12)
    np.testing.assert_allclose(found.fpr, np.maximum(fpr[1:], 1 / (2 * (~members).sum())), atol=1e-12)


@given(labelled())
def test_the_area_is_that_of_scikit_learn_and_turns_with_the_sign(given_: tuple[np.ndarray, np.ndarray]) -> None:
    scores, members = given_
    found = area(scores, members)
    assert found == pytest.approx(roc_auc_score(members, scores))
    assert area(-scores, members) == pytest.approx(1 - found)
    assert area(np.exp(scores), members) == pytest.approx(found)
    if min(members.sum(), (~members).sum()) > 1:
        value, low, high = auc(scores, members)
        assert value == found
        assert low <= found <= high


def test_the_interval_of_the_area_covers_what_it_says() -> None:
    generator, held = np.random.default_rng(0), 0
    truth = float(stats.norm.cdf(0.5 / math.sqrt(2)))
    members = np.arange(120) < 60
    for _ in range(400):
        low, high = auc(generator.normal(0.5 * members, 1), members)[1:]
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


@given(labelled(), st.sampled_from([0.2, 0.34, 0.5, 0.75]))
def test_a_rate_at_a_rate_is_the_best_point_of_the_curve_that_accuses_no_more(
    given_: tuple[np.ndarray, np.ndarray], rate: float
) -> None:
    scores, members = given_
    if rate * (~members).sum() < 1:
        return
    fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
    share, low, high = tpr_at_fpr(scores, members, rate)
    assert share == pytest.approx(tpr[fpr <= rate + 1e-9].max())
    exact = stats.binomtest(round(share * members.sum()), int(members.sum())).proportion_ci(0.95, "exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))


def test_as_many_non_members_are_needed_as_the_rate_says() -> None:
    scores = np.arange(1000.0)
    with pytest.raises(ValueError, match="at least 1000"):
        tpr_at_fpr(scores, scores < 500, 0.001)
    tpr_at_fpr(np.arange(1500.0), np.arange(1500) < 500, 0.001)


@given(labelled())
def test_the_best_accuracy_is_that_of_the_best_threshold(given_: tuple[np.ndarray, np.ndarray]) -> None:
    scores, members = given_
    fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
    assert best_accuracy(scores, members) == pytest.approx(((1 + tpr - fpr) / 2).max())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", ATTACKS)
def test_lira_is_the_likelihood_ratio_of_scipy(seed: int, how: str) -> None:
    online, variance = ATTACKS[how]
    target, shadow, members, _ = drawn(seed)
    got = lira_attack(target, shadow, members, online=online, variance=variance)
    kinds = [[shadow[members[:, r] == kind, r] for r in range(len(target))] for kind in (True, False)]
    pooled = [
        math.sqrt(sum(((v - v.mean()) ** 2).sum() for v in kind) / sum(len(v) - 1 for v in kind)) for kind in kinds
    ]
    for r, value in enumerate(target):
        inside, outside = (
            stats.norm(kind[r].mean(), pooled[k] if variance == "fixed" else kind[r].std(ddof=1))
            for k, kind in enumerate(kinds)
        )
        expected = inside.logpdf(value) - outside.logpdf(value) if online else -outside.logsf(value)
        assert got[r] == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.1, 5), st.floats(-20, 20), st.sampled_from(sorted(ATTACKS)))
def test_lira_does_not_depend_on_the_unit(seed: int, factor: float, shift: float, how: str) -> None:
    online, variance = ATTACKS[how]
    target, shadow, members, _ = drawn(seed)
    one = lira_attack(target, shadow, members, online=online, variance=variance)
    other = lira_attack(factor * target + shift, factor * shadow + shift, members, online=online, variance=variance)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("offline", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 1.5])
def test_rmia_is_the_share_of_pairs(offline: float | None, gamma: float) -> None:
    raw = drawn(1)
    target, shadow = (1 / (1 + np.exp(-v)) for v in raw[:2])
    members, population = raw[2], np.arange(30) % 3 == 0
    got = rmia_attack(target, shadow, members, population, gamma=gamma, offline=offline)
    mean = []
    for r in range(30):
        out = shadow[~members[:, r], r].mean()
        inside = shadow[members[:, r], r].mean()
        mean.append((out + inside) / 2 if offline is None else ((1 + offline) * out + 1 - offline) / 2)
    for r in range(30):
        pairs = [target[r] / mean[r] / (target[z] / mean[z]) >= gamma for z in np.flatnonzero(population)]
        assert got[r] == pytest.approx(np.mean(pairs))


def test_calibration_takes_the_other_models_without_the_record() -> None:
    _, scores, members, _ = drawn(2, models=9)
    found = calibrated(scores, members)
    for i, r in ((0, 0), (3, 7), (8, 29)):
        rest = [scores[j, r] for j in range(9) if j != i and not members[j, r]]
        assert found[i, r] == pytest.approx(scores[i, r] - np.mean(rest))


def test_attacks_find_what_is_there_and_nothing_where_nothing_is() -> None:
    target, shadow, members, inside = drawn(3, models=40, records=3000)
    none = np.random.default_rng(4).normal(size=target.shape)
    for name, (online, variance) in ATTACKS.items():
        assert auc(lira_attack(target, shadow, members, online=online, variance=variance), inside)[1] > 0.6, name
        low, high = auc(lira_attack(none, shadow, members, online=online, variance=variance), inside, 0.999)[1:]
        assert low < 0.5 < high, name


def test_a_model_that_memorises_nothing_leaks_nothing() -> None:
    """Labels are coins and the networks are not trained: no attack gets away from 1/2."""
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(600, 10)), generator.integers(0, 2, 600)
    members = draw_members(32, 600, 6)
    logits = Networks(32, 10, 2, Recipe(width=8), seed=7).logits(x)
    found = leave_one_out(lira_attack, logit_scaled(logits, y), members)
    for attack in (found[0], yeom_attack(losses(logits[0], y))):
        low, high = auc(attack, members[0], 0.999)[1:]
        assert low < 0.5 < high


def test_a_model_that_learns_by_heart_is_caught() -> None:
    generator = np.random.default_rng(8)
    x, y = generator.normal(size=(300, 30)), generator.integers(0, 2, 300)
    members = draw_members(24, 300, 9)
    networks, written = train_networks(x, y, members, Recipe(width=32, epochs=40), 10, stops=(1, 40))
    logits = networks.logits(x)
    np.testing.assert_allclose(logits, written[1])
    right = logits.argmax(-1) == y
    assert right[members].mean() > 0.95
    assert 0.4 < right[~members].mean() < 0.6
    assert auc(yeom_attack(losses(logits[0], y)), members[0])[1] > 0.65
    found = leave_one_out(lambda *a: lira_attack(*a, variance="fixed"), logit_scaled(logits, y), members)
    assert auc(found[0], members[0])[1] > 0.7
    early = logit_scaled(written[0], y)
    assert auc(early[0], members[0])[0] < auc(logit_scaled(logits, y)[0], members[0])[0]
    steady = steadiness(networks, x, y, 0.3, 20)
    assert auc(steady[0], members[0])[1] > 0.6
    logs = np.stack([-losses(logits, np.full(300, c)) for c in (0, 1)], -1)
    assert auc(shokri_attack(logs[0], logs[1:9], members[1:9], y), members[0])[1] > 0.65


def test_training_is_that_of_torch() -> None:
    generator = np.random.default_rng(11)
    x, y = generator.normal(size=(40, 5)).astype(np.float32), generator.integers(0, 3, 40)
    members = draw_members(3, 40, 12)
    recipe = Recipe(width=6, epochs=3, batch=20)
    networks, _ = train_networks(x, y, members, recipe, 13)
    start = Networks(3, 5, 3, recipe, 13)
    for i, inside in enumerate(members):
        layers = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
        with torch.no_grad():
            for layer, weight, bias in zip(layers[::2], start.weights, start.biases, strict=True):
                layer.weight.copy_(weight[i].T)
                layer.bias.copy_(bias[i, 0])
        step = torch.optim.AdamW(layers.parameters(), lr=recipe.rate, weight_decay=0.0)
        rows, labels = torch.as_tensor(x[inside]), torch.as_tensor(y[inside])
        for _ in range(3):
            step.zero_grad()
            torch.nn.functional.cross_entropy(layers(rows), labels).backward()
            step.step()
        np.testing.assert_allclose(networks.logits(x)[i], layers(torch.as_tensor(x)).detach().numpy(), atol=1e-4)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_logit_scaling_is_the_logarithm_of_the_odds(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(0, 2, (3, 6, classes)), generator.integers(0, classes, 6)
    p = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))[:, np.arange(6), labels]
    np.testing.assert_allclose(logit_scaled(logits, labels), np.log(p / (1 - p)))
    np.testing.assert_allclose(losses(logits, labels), -np.log(p))


def test_logit_scaling_survives_certainty() -> None:
    assert logit_scaled(np.array([[900.0, 0.0], [0.0, 900.0]]), np.array([0, 0])).tolist() == [900.0, -900.0]


def test_yeom_with_a_threshold_and_without() -> None:
    assert yeom_attack(np.array([0.1, 0.5, 2.0]), 0.5).tolist() == [True, True, False]
    assert yeom_attack(np.array([0.1, 2.0])).tolist() == [-0.1, -2.0]


def test_scores_of_texts() -> None:
    logs = [np.array([-1.0, -5.0, -3.0, -0.5, -2.0]), np.array([-4.0])]
    np.testing.assert_allclose(min_k(logs, 0.4), [-4.0, -4.0])
    np.testing.assert_allclose(min_k(logs, 1.0), [-2.3, -4.0])
    repeated, varied = zlib_ratio([np.full(60, -1.0)] * 2, ["a" * 60, "".join(map(chr, range(40, 100)))])
    assert repeated < varied < 0


def test_blind_scores_know_a_shift_and_not_a_coin() -> None:
    generator = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(50)])
    texts = [" ".join(words[generator.integers(0, 50, 12)]) for _ in range(400)]
    coin = generator.permutation(400) < 200
    low, high = auc(blind_scores(texts, coin), coin, 0.999)[1:]
    assert low < 0.5 < high
    shifted = [text + " 1998" * int(inside and i % 2) for i, (text, inside) in enumerate(zip(texts, coin, strict=True))]
    assert auc(blind_scores(shifted, coin), coin)[1] > 0.6


def test_each_model_draws_half_of_the_records_by_itself() -> None:
    members = draw_members(200, 60, 1)
    assert (members.sum(1) == 30).all()
    assert stats.chisquare(members.sum(0), np.full(60, 100.0)).pvalue > 0.001
    assert 0.4 < (members[:-1] == members[1:]).mean() < 0.6
    assert (draw_members(8, 60, 1, balanced=True).sum(0) == 4).all()


def test_masks() -> None:
    logits, labels = np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([1, 0, 0])
    assert masked(logits, labels, "one decimal").tolist() == [0.7, 0.3, 1.0]
    assert masked(logits, labels, "top class").tolist() == [0.7, 0.0, 1.0]
    assert masked(logits, labels, "label").tolist() == [1.0, 0.0, 1.0]


def test_census_features_are_numbers() -> None:
    rows = {
        "age": [20, 40, 60], "education_num": [9, 9, 9], "capital_gain": [0, 10, 0], "capital_loss": [0, 0, 0],
        "hours_per_week": [1, 2, 3], "workclass": ["a", None, "a"], "education": ["x", "x", "x"],
        "marital_status": ["m", "n", "m"], "occupation": ["o", "o", "p"], "relationship": ["r", "r", "r"],
        "race": ["q", "q", "q"], "sex": ["s", "t", "s"], "native_country": ["u", "u", "u"],
    }  # fmt: skip
    found = census_features(rows)
    assert found.shape == (3, 5 + 2 + 1 + 2 + 2 + 1 + 1 + 2 + 1)
    assert np.isfinite(found).all()


S, M = np.zeros((4, 3)), np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lira_attack(np.zeros(2), S, M), "shapes"),
        (lambda: lira_attack(np.zeros(3), S, M), "same score in all"),
        (lambda: lira_attack(np.zeros(3), S, np.ones((4, 3), bool)), "Train more models"),
        (lambda: lira_attack(np.array([0, np.inf, 0]), S, M), "finite"),
        (lambda: lira_attack(np.zeros(3), S, M * 0.5), "True or False"),
        (lambda: lira_attack(np.zeros(3), S, M, variance="shared"), "variance"),
        (lambda: rmia_attack(np.zeros(3), S, M, np.ones(3, bool)), "probabilities"),
        (lambda: rmia_attack(np.ones(3), S + 1, M, np.zeros(3, bool)), "population"),
        (lambda: rmia_attack(np.ones(3), S + 1, M, np.ones(3, bool), gamma=0.5), "gamma"),
        (lambda: yeom_attack(np.array([])), "a loss for each record"),
        (lambda: yeom_attack(np.array([np.nan])), "NaN"),
        (lambda: shokri_attack(np.zeros((3, 2)), np.zeros((4, 2, 2)), M, np.zeros(3, int)), "shapes"),
        (lambda: shokri_attack(np.zeros((3, 2)), np.zeros((4, 3, 2)), M | True, np.zeros(3, int)), "class 0"),
        (lambda: calibrated(S, M[:2]), "one shape"),
        (lambda: calibrated(S, M | True), "no other model"),
        (lambda: leave_one_out(lira_attack, S[:1], M[:1]), "two models"),
        (lambda: auc(np.zeros(3), np.ones(3, bool)), "members and non-members"),
        (lambda: auc(np.zeros(3), np.array([True, False, False])), "two members"),
        (lambda: auc(np.zeros(4), np.arange(4) < 2, level=1), "level"),
        (lambda: roc_curve_log(np.array([np.nan, 0]), np.array([True, False])), "NaN"),
        (lambda: roc_curve_log(np.zeros(3), np.ones(2, bool)), "for each record"),
        (lambda: roc_curve_log(np.zeros(2), np.array([0.5, 1])), "True or False"),
        (lambda: tpr_at_fpr(np.zeros(4), np.arange(4) < 2, 1.0), "between 0 and 1"),
        (lambda: draw_members(1, 1), "both parts"),
        (lambda: train_networks(np.zeros((3, 2)), np.zeros(2, int), M), "shapes"),
        (lambda: train_networks(np.zeros((3, 2)), np.zeros(3, int), M), "same size"),
        (lambda: logit_scaled(np.zeros((3, 1)), np.zeros(3, int)), "two classes"),
        (lambda: logit_scaled(np.full((3, 2), np.nan), np.zeros(3, int)), "finite"),
        (lambda: logit_scaled(np.zeros((3, 2)), np.full(3, 2)), "whole numbers"),
        (lambda: masked(np.zeros((3, 2)), np.zeros(3, int), "none"), "masks"),
        (lambda: steadiness(Networks(1, 2, 2, Recipe()), np.zeros((1, 2)), [0], copies=0), "copies"),
        (lambda: min_k([], 0.5), "texts"),
        (lambda: min_k([np.zeros(2)], 0.0), "share"),
        (lambda: zlib_ratio([np.zeros(2)], []), "as many texts"),
        (lambda: blind_scores(["a"], [True, False]), "as many texts"),
        (lambda: blind_scores(["a", "b", "c"], [True, False, False], folds=2), "folds"),
        (lambda: census_features({name: [1] for name in ("age",)}), "two rows"),
    ],
)
def test_bad_input_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kept_membership", ROOT / "scripts" / "membership_inference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_of_the_kept_tables_comes_out_again(script: ModuleType) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert set(script.PARTS) < set(kept)
    every, count = data.load("reviews"), kept["reviews"]["records"]
    chosen = np.random.default_rng(script.SEED).permutation(len(every))[:count]
    rows = every[chosen.tolist()]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(rows["text"])
    y, members = np.array(rows["label"]), draw_members(kept["reviews"]["models"], count, script.SEED)
    odds = LogisticRegression(C=0.3).fit(words[members[0]], y[members[0]]).decision_function(words)
    made = kept["reviews"]["rows"]["tf-idf, C = 0.3"]["loss"]
    found = script.measured(-losses(np.stack([-odds / 2, odds / 2], -1), y)[None], members)
    for name in ("auc", "tpr 0.01"):
        assert found[name][0] == pytest.approx(made[name][0], abs=0.003)


def test_the_kept_tables_have_their_rows(script: ModuleType) -> None:
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert len(kept["table"]["rows"]["loss"]["auc"]) == kept["table"]["targets"] == script.TARGETS
    assert len(kept["table"]["caught"]) == kept["table"]["records"]
    assert set(kept["defences"]["rows"]["none"]) == {"auc", "accuracy", "tpr 0.01", "test", "train", "loss auc"}
    assert set(kept["copies"]["rows"]) == {"with copies", "deduplicated"}
