"""Representation bias against independent oracles: scipy, concept-erasure, wefe, and what the methods promise."""

from __future__ import annotations

import importlib.util
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from llmsafety_lab import data, models, runtime
from llmsafety_lab.representation_bias import (
    association,
    bbq_bias,
    bias_direction,
    equalise,
    erase,
    hard_debias,
    inlp,
    leace,
    neutralise,
    next_logs,
    pair_logs,
    pair_preference,
    permutation,
    share_at_least,
    share_at_least_drawn,
    stereoset_scores,
    token_logs,
    unit,
    weat_effect,
    weat_p_value,
)

ROOT = Path(__file__).parents[2]
SETS = ("target_x", "target_y", "attribute_a", "attribute_b")
WEFE = (1.0916, 1.5596, 0.9606, 0.8978, 1.0113, 1.7638, 1.5442, 1.5336, 1.1874, 1.0220)
"""wefe 1.0.1's effect sizes of the ten tests on this GloVe, printed by `python benchmarks/weat.py`."""


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(scope="module")
def tests_in_glove() -> list[list[np.ndarray]]:
    vectors, rows = models.load("glove", source="carrier")
    every = [[[w.lower() for w in test[name] if w.lower() in rows] for name in SETS] for test in data.load("weat")]
    return [[np.asarray(vectors[[rows[word] for word in words]]) for words in test] for test in every]


def test_effect_sizes_are_wefes_but_for_the_standard_deviation(tests_in_glove) -> None:
    for test, theirs in zip(tests_in_glove, WEFE, strict=True):
        n = len(test[0]) + len(test[1])
        assert weat_effect(*test) == pytest.approx(theirs * math.sqrt((n - 1) / n), abs=6e-5)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_associations_do_not_feel_lengths_and_swap_with_their_sets(seed: int, xs: int, ys: int) -> None:
    x, y, a, b = (drawn(seed + i, n, 4) for i, n in enumerate((xs, ys, 3, 4)))
    stretch = np.exp(drawn(seed + 9, xs, 1))
    by_loop = [np.mean([w @ c / np.linalg.norm(w) / np.linalg.norm(c) for c in a]) for w in x]
    by_loop -= np.array([np.mean([w @ c / np.linalg.norm(w) / np.linalg.norm(c) for c in b]) for w in x])
    assert association(x * stretch, a, b) == pytest.approx(by_loop)
    assert association(x, b, a) == pytest.approx(-association(x, a, b))
    assert weat_effect(x, y, a, b) == pytest.approx(-weat_effect(y, x, a, b))
    assert abs(weat_effect(x, y, a, b)) <= math.sqrt((xs + ys) * (xs + ys - 1) / (xs * ys)) + 1e-9


@pytest.mark.parametrize(("xs", "ys"), [(4, 4), (1, 9)])
def test_the_ceiling_of_the_effect_size_is_reached_and_lies_above_two_for_unequal_sets(xs: int, ys: int) -> None:
    a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    d = weat_effect(np.repeat(a, xs, axis=0), np.repeat(b, ys, axis=0), a, b)
    assert d == pytest.approx(math.sqrt((xs + ys) * (xs + ys - 1) / (xs * ys)))
    assert (d > 2) == (xs != ys)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_exact_p_value_is_scipys(seed: int, xs: int, ys: int, two_sided: bool) -> None:
    values = drawn(seed, xs + ys).round(1)  # with ties

    def statistic(x: np.ndarray, y: np.ndarray) -> float:
        gap = round(float(x.mean() - y.mean()), 9)
        return abs(gap) if two_sided else gap

    found = stats.permutation_test(
        (values[:xs], values[xs:]), statistic, vectorized=False, n_resamples=np.inf, alternative="greater"
    )
    assert share_at_least(values, xs, two_sided) == pytest.approx(found.pvalue)


def test_counting_is_listing_and_the_bound_is_close_above(monkeypatch) -> None:
    values = drawn(3, 14) + np.repeat([1.0, 0.0], 7)
    centred = values - values.mean()
    sums = np.array([centred[list(chosen)].sum() for chosen in combinations(range(14), 7)])
    exact = (np.abs(sums) >= abs(centred[:7].sum()) - 1e-9).mean()
    assert share_at_least(values, 7) == pytest.approx(exact)
    monkeypatch.setattr(permutation, "EXACT", 0)
    assert exact <= share_at_least(values, 7) <= 1.05 * exact
    assert share_at_least(np.zeros(4), 2) == 1


def test_p_values_of_real_tests(tests_in_glove) -> None:
    career = tests_in_glove[5]
    assert weat_p_value(*career) == pytest.approx(2 / math.comb(16, 8))
    assert weat_p_value(*career, alternative="greater") == pytest.approx(1 / math.comb(16, 8))
    illness = tests_in_glove[8]
    exact = weat_p_value(*illness)
    assert weat_p_value(*illness, draws=20_000) == pytest.approx(exact, abs=0.006)
    assert weat_p_value(*tests_in_glove[2]) == pytest.approx(weat_p_value(*tests_in_glove[2], draws=100_000), abs=5e-5)
    assert weat_p_value(*career, draws=9) >= 0.1


def test_what_no_test_can_be_made_of() -> None:
    x = drawn(0, 3, 4)
    for bad in (np.zeros((0, 4)), np.zeros((2, 4)), np.full((2, 4), np.nan), np.ones(4)):
        with pytest.raises(ValueError, match="vector"):
            association(x, bad, x)
    with pytest.raises(ValueError, match="one width"):
        association(x, drawn(1, 2, 5), x)
    with pytest.raises(ValueError, match="same association"):
        weat_effect(x[:1], x[:1], drawn(1, 2, 4), drawn(2, 2, 4))
    with pytest.raises(ValueError, match="two-sided"):
        weat_p_value(x, x, x, x, alternative="less")
    with pytest.raises(ValueError, match="draw"):
        weat_p_value(x, drawn(1, 3, 4), drawn(2, 2, 4), drawn(3, 2, 4), draws=0)
    for values, size in ((np.array([1.0, np.inf]), 1), (np.ones(3), 3), (np.ones(3), 0)):
        with pytest.raises(ValueError, match="two groups"):
            share_at_least(values, size)
        with pytest.raises(ValueError, match="two groups"):
            share_at_least_drawn(values, size, 10)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_hard_debiasing_keeps_its_two_promises(seed: int) -> None:
    direction, words = drawn(seed, 6), drawn(seed + 1, 5, 6)
    neutral = neutralise(words, direction)
    assert neutral @ direction == pytest.approx(np.zeros(5), abs=1e-9)
    one, other = equalise(drawn(seed + 2, 3, 6), drawn(seed + 3, 3, 6), direction)
    for found in (neutral, one, other):
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(found)))
    assert neutral @ one.T == pytest.approx(neutral @ other.T)  # no neutral word is closer to one of a pair
    assert one @ direction == pytest.approx(-other @ direction)


def test_the_direction_of_pairs_and_all_words_at_once() -> None:
    along = unit(drawn(0, 1, 8))[0]
    base = drawn(1, 6, 8)
    first, second = unit(base + 2 * along), unit(base - 2 * along)
    direction = bias_direction(first, second)
    assert abs(direction @ along) > 0.95 and ((first - second) @ direction).mean() > 0
    names = [f"w{i}" for i in range(12)]
    rows = {name: i for i, name in enumerate(names)}
    vectors = np.concatenate([first[:3], second[:3], drawn(2, 6, 8)])
    pairs = [(f"w{i}", f"w{i + 3}") for i in range(3)]
    debiased = hard_debias(vectors, rows, [*pairs, ("she", "he")], pairs[:1], {name for pair in pairs for name in pair})
    exact = bias_direction(vectors[:3], vectors[3:6])
    assert debiased[6:] @ exact == pytest.approx(np.zeros(6), abs=1e-9)
    assert debiased[0] @ exact == pytest.approx(-debiased[3] @ exact)
    assert debiased[1] == pytest.approx(unit(vectors[1:2])[0])
    for call, words in (
        (lambda: hard_debias(vectors, rows, [("a", "b")], [], set()), "none of the pairs"),
        (lambda: bias_direction(first, first), "in no direction"),
        (lambda: bias_direction(first, second[:2]), "two words of one width"),
        (lambda: equalise(first, first, along), "cannot be told apart"),
        (lambda: neutralise(first, np.zeros(8)), "the direction"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def labelled(seed: int, labels: int = 2, examples: int = 200) -> tuple[np.ndarray, np.ndarray]:
    of = np.arange(examples) % labels
    return drawn(seed, examples, 5) @ drawn(seed + 1, 5, 5) + drawn(seed + 2, labels, 5)[of] + 3, of


@pytest.mark.parametrize("labels", [2, 3])
def test_leace_leaves_no_linear_trace_and_moves_least(labels: int) -> None:
    x, of = labelled(labels, labels)
    matrix, mean = leace(x, of)
    after = erase(x, of)
    assert after == pytest.approx(x - (x - mean) @ matrix.T)
    for label in range(labels):
        assert after[of == label].mean(0) == pytest.approx(after.mean(0), abs=1e-9)
    constant = np.bincount(of).max() / len(of)
    assert LogisticRegression(C=1e6, max_iter=5000).fit(after, of).score(after, of) <= constant + 0.01
    assert matrix @ matrix == pytest.approx(matrix, abs=1e-9)
    # A map that gives all labels one mean takes the gaps out whole. Add to ours what leaves them: it moves more.
    gaps = np.stack([x[of == label].mean(0) for label in range(labels)]) - mean
    free = np.eye(5) - np.linalg.pinv(gaps, rcond=1e-8) @ gaps
    least = (((x - mean) @ matrix.T) ** 2).sum()
    for seed in range(20):
        other = matrix + 0.1 * drawn(seed, 5, 5) @ free
        assert other @ gaps.T == pytest.approx(gaps.T, abs=1e-9)
        assert (((x - mean) @ other.T) ** 2).sum() > least


def test_leace_is_concept_erasures_where_it_is_installed() -> None:
    erasure = pytest.importorskip("concept_erasure")
    torch = pytest.importorskip("torch")
    x, of = labelled(7, 3)
    hot = torch.nn.functional.one_hot(torch.tensor(of)).double()
    fitter = erasure.LeaceFitter(5, 3, dtype=torch.float64, shrinkage=False)
    fitter.update(torch.tensor(x), hot)
    assert erase(x, of) == pytest.approx(fitter.eraser(torch.tensor(x)).numpy(), abs=1e-6)


def test_leace_of_vectors_without_an_inverse_covariance() -> None:
    x, of = labelled(11)
    wide = np.concatenate([x, x[:, :2]], axis=1)
    after = erase(wide, of)
    assert after[of == 0].mean(0) == pytest.approx(after[of == 1].mean(0), abs=1e-9)
    assert after[:, 5:] == pytest.approx(after[:, :2], abs=1e-7)


def test_inlp_projects_and_blinds() -> None:
    x, of = labelled(5)
    projection = inlp(x, of, 3)
    assert projection == pytest.approx(projection.T) and projection @ projection == pytest.approx(projection)
    assert np.linalg.matrix_rank(projection, tol=1e-6) == 2
    before = LogisticRegression(max_iter=2000).fit(x, of).score(x, of)
    assert LogisticRegression(max_iter=2000).fit(x @ projection, of).score(x @ projection, of) < before
    assert inlp(x, of, 9) == pytest.approx(np.zeros((5, 5)), abs=1e-9)
    for call, words in (
        (lambda: inlp(x, of, 0), "round"),
        (lambda: leace(x, np.zeros(200, int)), "one label"),
        (lambda: leace(x, of[:5]), "label each"),
        (lambda: inlp(x * np.nan, of, 1), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_pairs_are_compared_over_what_they_share() -> None:
    first = [1, 2, 3, 9], np.array([-1.0, -2.0, -3.0, -4.0])
    second = [1, 5, 6, 3, 9], np.array([-1.0, -1.0, -1.0, -2.0, -2.0])
    found = pair_logs(first, second)
    assert found.whole == pytest.approx(-3) and found.shared == pytest.approx(-8 + 5)
    assert pair_logs(first, first) == (0, 0)
    assert pair_preference([1, -1, 0, 0])[0] == 0.5 and pair_preference([2, 3])[0] == 1
    for bad in ([], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite differences"):
            pair_preference(bad)


def test_stereosets_three_scores_by_hand() -> None:
    scores = stereoset_scores([3, 1, 3], [2, 2, 2], [1, 3, 2.5], ["a", "a", "b"])
    assert scores.language_model == pytest.approx(100 * (0.5 + 0.5) / 2)
    assert scores.stereotype == pytest.approx(100 * (0.5 + 1) / 2)
    assert scores.idealised == pytest.approx(50 * 25 / 50)
    with pytest.raises(ValueError, match="as many"):
        stereoset_scores([1], [1, 2], [1], ["a"])
    with pytest.raises(ValueError, match="finite"):
        stereoset_scores([np.nan], [1], [1], ["a"])


def test_bbqs_score_by_hand() -> None:
    assert bbq_bias(["F", "M", "unknown", "F"], [["F"]] * 4, ["neg", "nonneg", "neg", "nonneg"])[0] == pytest.approx(
        1 / 3
    )
    assert bbq_bias(["unknown"], [["F"]], ["neg"]) == (0.0, 0, 0)
    with pytest.raises(ValueError, match="argument 2"):
        bbq_bias(["F"], [], [])


@pytest.fixture(scope="module")
def smollm2():
    return models.load("smollm2", source="carrier")


def test_a_texts_tokens_do_not_feel_their_neighbours(smollm2) -> None:
    texts = ["The nurse said hello.", "A sentence that is longer than the other one.", "Short"]
    together = token_logs(*smollm2, texts)
    for text, (ids, logs) in zip(texts, together, strict=True):
        alone_ids, alone = token_logs(*smollm2, [text])[0]
        assert ids == alone_ids and logs == pytest.approx(alone, abs=1e-3) and len(logs) == len(ids)
    logs = next_logs(*smollm2, "The nurse said that", [" she", " he"])
    whole = [token_logs(*smollm2, [f"The nurse said that{word}"])[0][1][-1] for word in (" she", " he")]
    assert logs[0] - logs[1] == pytest.approx(whole[0] - whole[1], abs=1e-3)
    with pytest.raises(ValueError, match="empty"):
        token_logs(*smollm2, [""])
    with pytest.raises(ValueError, match="same token"):
        next_logs(*smollm2, "The", [" she", " she"])


def test_kept_rows_come_out_again(smollm2) -> None:
    spec = importlib.util.spec_from_file_location("kept_script", ROOT / "scripts" / "representation_bias.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = runtime.kept("representation_bias")
    again = script.crows(*smollm2, data.load("crows-pairs").select(range(4)))
    for name, values in again.items():
        assert values == pytest.approx(kept["crows-pairs"][name][:4], abs=0.05), name
    assert kept["rows"]["bbq"] == script.bbq_rows(data.load("bbq-gender"))
    assert len(kept["discrim-eval"]) == len(kept["rows"]["discrim-eval"])


def test_the_three_data_sets() -> None:
    lists = data.load("bolukbasi", source="carrier")
    kinds = {kind: [row for row in lists if row["kind"] == kind] for kind in set(lists["kind"])}
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "definitional": 10,
        "equalize": 52,
        "profession": 320,
        "specific": 1441,
    }
    both = {(row["female"], row["male"]) for kind in ("definitional", "equalize") for row in kinds[kind]}
    assert {("woman", "man"), ("husbands", "wives"), ("nun", "Catholic_priest")} & both == {
        ("woman", "man"),
        ("nun", "Catholic_priest"),
    }
    shares = dict(
        zip(*(data.load("occupations", source="carrier")[name] for name in ("occupation", "women")), strict=True)
    )
    assert len(shares) == 40 and shares["carpenter"] == 0.02 and shares["secretary"] == 0.95
    named = {name.lower().removeprefix("the ").removeprefix("a ") for name in data.load("wino-bias")["occupation"]}
    assert set(shares) - {"ceo"} <= named | {"CEO"}
    reviews = data.load("chinese-reviews", source="carrier")
    assert len(set(reviews["text"])) == len(reviews) == 17_363 and sum(reviews["label"]) == 8_332
