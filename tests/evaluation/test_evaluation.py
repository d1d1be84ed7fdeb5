"""Evaluation against scikit-learn, against brute force, and against what is known without either."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from llmsafety_lab.evaluation import (
    POINTS,
    WordModel,
    best_on_fresh,
    best_weight,
    bradley_terry,
    clustered_interval,
    design_effect,
    elo,
    items_needed,
    kappa,
    order_scores,
    order_test,
    overlap,
    prediction_powered,
    rasch,
    rogan_gladen,
    strength_intervals,
)
from llmsafety_lab.statistics import mean_interval

ROOT = Path(__file__).parents[2]
SEEDS = st.integers(0, 2**32 - 1)


def grouped(seed: int, groups: int, size: int, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scores in groups of one size; `within` is the share of the variance that a group's items share."""
    generator = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(groups), size)
    shared = generator.normal(0, math.sqrt(within), groups)[clusters]
    return shared + generator.normal(0, math.sqrt(1 - within), len(clusters)), clusters


@given(SEEDS)
@settings(max_examples=25)
def test_a_cluster_of_its_own_for_each_item_gives_the_t_interval(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=12)
    assert clustered_interval(values, list("abcdefghijkl")) == pytest.approx(mean_interval(values))
    assert design_effect(values, range(12)) == pytest.approx(1)


@given(SEEDS)
@settings(max_examples=25)
def test_items_that_repeat_their_cluster_say_no_more_than_it(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=9)
    found = clustered_interval(np.repeat(values, 5), np.repeat(np.arange(9), 5))
    assert found == pytest.approx(mean_interval(values))
    assert design_effect(np.repeat(values, 5), np.repeat(np.arange(9), 5)) == pytest.approx(
        5 * 44 / 45 * 9 / 8, rel=1e-6
    )


def test_the_clustered_interval_is_that_of_a_bootstrap_of_clusters() -> None:
    values, clusters = grouped(1, 60, 7, 0.4)
    generator = np.random.default_rng(0)
    table = values.reshape(60, 7)
    drawn = [table[generator.integers(0, 60, 60)].mean() for _ in range(4000)]
    mean, low, high = clustered_interval(values, clusters)
    assert (high - low) / (2 * stats.t.ppf(0.975, 59)) == pytest.approx(np.std(drawn), rel=0.05)
    assert mean == pytest.approx(values.mean())


def test_intervals_cover_as_often_as_they_say_only_with_clusters() -> None:
    held = np.zeros(2)
    for seed in range(400):
        values, clusters = grouped(seed, 20, 10, 0.4)
        for i, (_, low, high) in enumerate((clustered_interval(values, clusters), mean_interval(values))):
            held[i] += low <= 0 <= high
    assert 0.92 <= held[0] / 400 <= 0.98
    assert held[1] / 400 < 0.75


def test_as_many_items_as_said_find_the_difference_as_often_as_said() -> None:
    count = items_needed(0.1, 0.8, power=0.8)
    generator = np.random.default_rng(0)
    means = generator.normal(0.1, 0.8 / math.sqrt(count), 20_000)
    assert (np.abs(means) > stats.norm.ppf(0.975) * 0.8 / math.sqrt(count)).mean() == pytest.approx(0.8, abs=0.01)
    assert items_needed(0.05, 0.8) == pytest.approx(4 * count, abs=4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    first, second = zip(*pairs, strict=True)
    if len({*first, *second}) == 1:
        with pytest.raises(ValueError, match="0 / 0"):
            kappa(first, second)
    else:
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_a_share_is_corrected_back_and_its_interval_covers() -> None:
    generator, held = np.random.default_rng(0), 0
    for _ in range(400):
        flagged = generator.binomial(500, 0.2 * 0.8 + 0.8 * 0.1)
        pairs = (flagged, 500), (generator.binomial(100, 0.8), 100), (generator.binomial(100, 0.9), 100)
        _, low, high = rogan_gladen(*pairs)
        held += low <= 0.2 <= high
    assert 0.92 <= held / 400 <= 0.98
    assert rogan_gladen((240, 1000), (80, 100), (90, 100))[0] == pytest.approx(0.2)
    assert rogan_gladen((10, 1000), (80, 100), (90, 100))[0] == 0
    with pytest.raises(ValueError, match="coin"):
        rogan_gladen((5, 10), (5, 10), (5, 10))


def test_few_labels_and_a_judge_cover_and_are_narrower() -> None:
    generator = np.random.default_rng(0)
    held, widths = 0, []
    for _ in range(300):
        truth = (generator.random(1100) < 0.3).astype(float)
        judge = np.where(generator.random(1100) < 0.9, truth, 1 - truth) * 0.9 + 0.1
        _, low, high = prediction_powered(truth[:100], judge[:100], judge[100:])
        held += low <= 0.3 <= high
        alone = prediction_powered(truth[:100], judge[:100], judge[100:], weight=0)
        tuned = prediction_powered(
            truth[:100], judge[:100], judge[100:], best_weight(truth[:100], judge[:100], judge[100:])
        )
        widths.append([end[2] - end[1] for end in (alone, (0, low, high), tuned)])
        assert alone[0] == pytest.approx(truth[:100].mean())
    assert 0.91 <= held / 300 <= 0.98
    alone_, plain, best = np.mean(widths, axis=0)
    assert best <= plain < alone_


@given(SEEDS)
@settings(max_examples=25)
def test_no_other_weight_is_narrower(seed: int) -> None:
    generator = np.random.default_rng(seed)
    people, judged, rest = generator.normal(size=20), generator.normal(size=20), generator.normal(size=50)
    judged = judged + people
    best = best_weight(people, judged, rest)
    width = [np.ptp(prediction_powered(people, judged, rest, w)[1:]) for w in (best - 0.05, best, best + 0.05)]
    assert width[1] <= min(width[0], width[2]) + 1e-12


def games(seed: int, count: int = 300, players: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, players, count)
    second = (first + generator.integers(1, players, count)) % players
    chance = 1 / (1 + np.exp((second - first) * 0.4))
    score = np.where(generator.random(count) < 0.3, 0.5, generator.random(count) < chance)
    return first, second, score


@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_those_of_a_logistic_regression(seed: int) -> None:
    first, second, score = games(seed)
    x = np.eye(5)[first] - np.eye(5)[second]
    fitted = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(
        np.r_[x, x], np.r_[np.ones(len(x)), np.zeros(len(x))], sample_weight=np.r_[score, 1 - score] + 1e-300
    )
    weights = fitted.coef_[0]
    np.testing.assert_allclose(bradley_terry(first, second, score, 5), weights - weights.mean(), atol=1e-4)


def test_two_players_are_their_odds_apart_and_order_does_not_matter() -> None:
    found = bradley_terry([0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 0, 1], 2)
    assert found[0] - found[1] == pytest.approx(math.log(3))
    first, second, score = games(0)
    order = np.random.default_rng(1).permutation(len(first))
    np.testing.assert_allclose(
        bradley_terry(first, second, score, 5), bradley_terry(first[order], second[order], score[order], 5), atol=1e-8
    )
    np.testing.assert_allclose(
        bradley_terry(second, first, 1 - score, 5), bradley_terry(first, second, score, 5), atol=1e-8
    )
    assert not np.allclose(elo(first, second, score, 5), elo(first[order], second[order], score[order], 5), atol=1)


def test_elo_by_hand() -> None:
    found = elo([0, 0], [1, 1], [1, 0.5], 2, k=32)
    gap = 32.0
    move = 32 * (0.5 - 1 / (1 + 10 ** (-gap / 400)))
    np.testing.assert_allclose(found, [1016 + move, 984 - move])
    assert POINTS * math.log(10) == pytest.approx(400)


def test_intervals_of_strengths_are_around_them() -> None:
    first, second, score = games(0, 600)
    found = strength_intervals(first, second, score, 5, draws=100)
    assert (found[:, 1] < found[:, 0]).all() and (found[:, 0] < found[:, 2]).all()
    assert (np.diff(found[:, 0]) > 0).all()


@pytest.mark.parametrize(
    ("first", "second", "score", "words"),
    [
        ([0, 0], [1, 1], [1, 1], "never scored"),
        ([0, 1, 2, 3], [1, 0, 3, 2], [1, 1, 1, 1], "never scored"),
        ([0, 1], [0, 0], [1, 1], "against themselves"),
        ([0, 1], [1, 0], [2, 1], "from 0 to 1"),
        ([0.5, 1], [1, 0], [1, 1], "numbers from 0"),
        ([], [], [], "two players"),
    ],
)
def test_games_that_cannot_be_ranked_are_refused(first: list, second: list, score: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bradley_terry(first, second, score, 4 if 3 in first else 2)


def test_the_best_is_chosen_on_some_and_scored_on_others() -> None:
    scores = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]], dtype=float)
    winner, shown, fresh = best_on_fresh(scores, np.array([True, True, False, False, False]))
    assert (winner, shown) == (0, 1.0)
    assert fresh[0] == pytest.approx(1 / 3)


def test_the_best_of_equals_is_no_better_on_fresh_items() -> None:
    generator = np.random.default_rng(0)
    gaps = []
    for _ in range(300):
        scores = (generator.random((10, 100)) < 0.6).astype(float)
        _, shown, fresh = best_on_fresh(scores, np.arange(100) < 50)
        gaps.append((shown - 0.6, fresh[0] - 0.6))
    shown, fresh = np.mean(gaps, axis=0)
    assert shown > 0.08 and abs(fresh) < 0.015


def test_overlap_counts_what_is_shared() -> None:
    found = overlap(["a b c d", "x y", "b c Z"], ["A, b: c!", "d"], n=2)
    np.testing.assert_allclose(found, [2 / 3, 0, 1 / 2])
    assert overlap(["short"], ["short"], 8).tolist() == [0.0]


def test_the_word_model_is_a_distribution_over_its_words() -> None:
    model = WordModel(["the cat sat", "the dog sat"])
    every = [word for (word,) in model.runs[0] if word != "."]
    past = model.log_probability(["the"]) - model.log_probability(["the"])
    assert past == 0
    opening = math.exp(model.log_probability(["the cat"]) - model.log_probability(["the"]))
    assert 0 < opening < 1 and len(every) == 4


def test_a_model_that_saw_the_order_is_found_and_one_that_did_not_is_found_as_often_as_said() -> None:
    generator = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(60)]
    items = [" ".join(generator.choice(vocabulary, 4)) for _ in range(80)]
    other = [" ".join(generator.choice(vocabulary, 4)) for _ in range(400)]
    saw = WordModel([*other, *items])
    assert order_test(*order_scores(saw.log_probability, items, 8, 99)) == pytest.approx(0.01)
    never, low = WordModel(other), 0
    for seed in range(100):
        shuffled = [items[i] for i in generator.permutation(len(items))]
        low += order_test(*order_scores(never.log_probability, shuffled, 8, 19, seed)) <= 0.1
    assert 4 <= low <= 17


def test_abilities_are_those_of_a_penalised_logistic_regression() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((6, 15)) < 1 / (1 + np.exp(generator.normal(size=15) - generator.normal(size=(6, 1))))
    x = np.concatenate([np.repeat(np.eye(6), 15, axis=0), -np.tile(np.eye(15), (6, 1))], axis=1)
    fitted = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x, right.ravel())
    ability, difficulty = rasch(right)
    np.testing.assert_allclose(np.r_[ability, difficulty], fitted.coef_[0], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clustered_interval([1.0, 2.0], [0, 0]), "one cluster"),
        (lambda: clustered_interval([1.0, 2.0], [0]), "shapes"),
        (lambda: clustered_interval([1.0, math.nan], [0, 1]), "finite"),
        (lambda: design_effect([1.0, 1.0], [0, 1]), "same"),
        (lambda: items_needed(0, 1), "difference"),
        (lambda: kappa([1], [1, 2]), "shapes"),
        (lambda: rogan_gladen((3, 2), (1, 1), (1, 1)), "count"),
        (lambda: prediction_powered([1.0], [1.0], [1.0, 2.0]), "two"),
        (lambda: prediction_powered([1.0, math.inf], [1.0, 1.0], [1.0, 2.0]), "finite"),
        (lambda: best_weight([1.0, 0.0], [1.0, 1.0], [1.0, 1.0]), "same score"),
        (lambda: best_on_fresh(np.ones((2, 3)), np.array([True, True, False])), "two others"),
        (lambda: best_on_fresh(np.ones((2, 3)), np.array([True, True])), "candidates"),
        (lambda: overlap(["a"], ["a"], 0), "word"),
        (lambda: order_scores(lambda texts: 0.0, ["a", "b"], 2, 1), "two at least"),
        (lambda: order_test(np.ones(2), np.ones((3, 2))), "shards"),
        (lambda: order_test(np.array([-math.inf]), np.ones((1, 2))), "finite"),
        (lambda: WordModel([]), "no text"),
        (lambda: rasch(np.ones(3)), "table"),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return `scripts/evaluation.py` as a module."""
    spec = importlib.util.spec_from_file_location("evaluation_script", ROOT / "scripts" / "evaluation.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_slice_of_the_kept_margins_comes_out_again(script: ModuleType) -> None:
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert set(script.PARTS) < set(kept)
    model, tokenizer = script.smollm2()
    text, options = script.FORMATS["Sentiment:"]
    for row, margin in zip(script.reviews(2), kept["formats"]["margins"]["Sentiment:"], strict=False):
        assert script.difference(model, tokenizer, text.format(row["text"]), options) == pytest.approx(margin, abs=0.02)


def test_both_frameworks_gave_the_same_answers_and_have_the_same_task(script: ModuleType) -> None:
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert kept["lm-eval"]["answers"] == kept["inspect-ai"]["answers"] == kept["by hand"]["answers"]
    assert len(kept["by hand"]["answers"]) == script.FRAMEWORK
    task = yaml.safe_load((script.TASKS / "reviews.yaml").read_text(encoding="utf-8"))
    code = (script.TASKS / "reviews.py").read_text(encoding="utf-8")
    asked = task["doc_to_text"].replace("{{text}}", "{row['text']}").replace("\n", "\\n")
    assert asked in code
    assert f"max_tokens={task['generation_kwargs']['max_gen_toks']}" in code
