"""Group fairness against fairlearn, scikit-learn, scipy, and against what ProPublica printed."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from itertools import product

import fairlearn.metrics as oracle
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import relative_risk
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_score, recall_score

from llmsafety_lab import data, group_fairness
from llmsafety_lab.group_fairness import (
    accuracy_of,
    best_thresholds,
    calibration_by_group,
    chance_below,
    counterfactual_gaps,
    demographic_parity_difference,
    demographic_parity_ratio,
    equal_opportunity_difference,
    equalized_odds_difference,
    error_rates,
    four_counts,
    four_counts_at,
    group_bootstrap,
    implied_fpr,
    intersections,
    lipschitz_pairs,
    predictive_parity_difference,
    rates_of,
    ratio_interval,
    score_counts,
    selection_rates,
    worst_group,
)

MEASURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equalized_odds_difference",
)
EVERY = (*MEASURES, "predictive_parity_difference")


def rows(seed: int, groups: int, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    group = generator.integers(0, groups, n)
    truth = (generator.random(n) < 0.2 + 0.5 * group / groups).astype(int)
    decided = (generator.random(n) < 0.25 + 0.4 * truth + 0.2 * (group % 2)).astype(int)
    return truth, decided, np.array([f"group {g}" for g in group])


@given(st.integers(0, 10_000), st.integers(2, 7))
@settings(max_examples=15)
def test_every_gap_is_fairlearns(seed: int, groups: int) -> None:
    truth, decided, group = rows(seed, groups, 1500)
    assert all(
        {(0, 0), (0, 1), (1, 0), (1, 1)} <= set(zip(truth[group == g], decided[group == g], strict=True))
        for g in set(group)
    )
    for name in MEASURES:
        theirs = getattr(oracle, name)(truth, decided, sensitive_features=group)
        assert getattr(group_fairness, name)(truth, decided, group) == pytest.approx(theirs, abs=1e-12), name


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=10)
def test_every_rate_is_fairlearns_and_scikit_learns(seed: int, groups: int) -> None:
    truth, decided, group = rows(seed, groups)
    frame = oracle.MetricFrame(
        metrics={
            "n": oracle.count,
            "selection_rate": oracle.selection_rate,
            "tpr": oracle.true_positive_rate,
            "fpr": oracle.false_positive_rate,
            "fnr": oracle.false_negative_rate,
            "ppv": precision_score,
        },
        y_true=truth,
        y_pred=decided,
        sensitive_features=group,
    )
    found = error_rates(truth.tolist(), decided.tolist(), group.tolist())
    for name, rates in found.items():
        for metric, value in frame.by_group.loc[name].items():
            assert getattr(rates, metric) == pytest.approx(value)
        assert rates.fdr == pytest.approx(1 - rates.ppv)
        assert rates.tpr == pytest.approx(recall_score(truth[group == name], decided[group == name]))
        assert selection_rates(None, decided, group)[name] == pytest.approx(rates.selection_rate)
    if groups > 1:
        expected = frame.difference(method="between_groups")["ppv"]
        assert predictive_parity_difference(truth, decided, group) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=60), st.randoms())
def test_order_and_names_do_not_matter_and_rates_are_shares(cases: list, random) -> None:
    truth, decided, group = map(list, zip(*cases, strict=True))
    found = error_rates(truth, decided, group)
    assert sum(rates.n for rates in found.values()) == len(cases)
    assert all(math.isnan(value) or 0 <= value <= 1 for rates in found.values() for value in rates[1:])
    random.shuffle(cases)
    again = error_rates(*map(list, zip(*cases, strict=True)))
    assert str(again) == str(found)
    renamed = error_rates(truth, decided, [("x", g) for g in group])
    assert {g for _, g in renamed} == set(group)


def test_a_rate_of_nobody_is_no_rate_and_a_gap_of_it_is_refused() -> None:
    truth, decided, group = [1, 0, 0, 0], [1, 0, 0, 1], ["a", "a", "b", "b"]
    assert math.isnan(error_rates(truth, decided, group)["b"].tpr)
    for measure in (equal_opportunity_difference, equalized_odds_difference):
        with pytest.raises(ValueError, match=r"nobody with the outcome 1 in \['b'\]"):
            measure(truth, decided, group)
    assert oracle.equal_opportunity_difference(truth, decided, sensitive_features=group) == 1.0  # fairlearn: 1 - 0
    with pytest.raises(ValueError, match="nobody with the outcome 0"):
        equalized_odds_difference([1, 0, 1, 1], decided, group)
    with pytest.raises(ValueError, match="nobody with the decision 1"):
        predictive_parity_difference(truth, [1, 0, 0, 0], group)
    with pytest.raises(ValueError, match="0 / 0"):
        demographic_parity_ratio(None, [0, 0, 0, 0], group)


@pytest.mark.parametrize(
    ("truth", "decided", "group", "says"),
    [
        ([], [], [], "no rows"),
        ([0, 1], [0, 1], ["a", None], "have no group"),
        ([0, 1], [0, 1], [1.0, float("nan")], "have no group"),
        ([0, 2], [0, 1], ["a", "b"], "only 0 and 1"),
        ([0, 1], [0, 0.3], ["a", "b"], "Cut a score"),
        ([0, float("nan")], [0, 1], ["a", "b"], "only 0 and 1"),
        ([0, 1, 1], [0, 1], ["a", "b"], "rows differ"),
        ([[0, 1]], [0, 1], ["a", "b"], "one row"),
        (["no", "yes"], [0, 1], ["a", "b"], "only 0 and 1"),
        ([0, 1], [0, 1], ["a", "a"], "needs two groups"),
    ],
)
def test_bad_input_is_refused_with_words(truth, decided, group, says) -> None:
    with pytest.raises(ValueError, match=says):
        equalized_odds_difference(truth, decided, group)


@functools.cache
def compas() -> dict[str, np.ndarray]:
    rows = data.load("compas")
    return {name: np.array(rows[name]) for name in ("race", "sex", "decile_score", "score_text", "two_year_recid")}


def test_the_figures_that_propublica_printed_follow_from_the_file() -> None:
    table = compas()
    found = error_rates(table["two_year_recid"], table["score_text"] != "Low", table["race"])
    black, white = found["African-American"], found["Caucasian"]
    assert (f"{black.fpr:.2%}", f"{white.fpr:.2%}") == ("44.85%", "23.45%")
    assert (f"{black.fnr:.2%}", f"{white.fnr:.2%}") == ("27.99%", "47.72%")
    for rates in (black, white):
        assert implied_fpr(rates.base_rate, rates.ppv, rates.fnr) == pytest.approx(rates.fpr)


@given(*[st.integers(1, 50)] * 4)
def test_the_identity_holds_for_all_counts(tn: int, fp: int, fn: int, tp: int) -> None:
    rates = rates_of(np.array([[tn, fp], [fn, tp]]))
    assert implied_fpr(float(rates.base_rate), float(rates.ppv), float(rates.fnr)) == pytest.approx(float(rates.fpr))
    p, ppv, fnr = Fraction(fn + tp, tn + fp + fn + tp), Fraction(tp, tp + fp), Fraction(fn, fn + tp)
    assert p / (1 - p) * (1 - ppv) / ppv * (1 - fnr) == Fraction(fp, fp + tn)


@pytest.mark.parametrize("shares", [(0, 0.5, 0.5), (1, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 1.2)])
def test_the_identity_refuses_what_is_no_share(shares) -> None:
    with pytest.raises(ValueError, match="shares are needed"):
        implied_fpr(*shares)


@pytest.mark.parametrize("name", EVERY)
def test_counts_drawn_as_multinomials_are_rows_drawn(name: str) -> None:
    truth, decided, group = rows(3, 3, 240)
    measure = getattr(group_fairness, name)
    fast = group_bootstrap(measure, truth, decided, group, draws=4_000)
    slow = group_bootstrap(lambda *row: measure(*row), truth, decided, group, draws=200, seed=1)
    assert fast[0] == slow[0] == measure(truth, decided, group)
    assert np.allclose(fast, slow, atol=0.05)


def test_the_bootstrap_covers_a_signed_difference_as_often_as_it_says() -> None:
    def signed(truth, decided, group):
        rate = selection_rates(truth, decided, group)
        return rate["b"] - rate["a"]

    generator, inside = np.random.default_rng(0), 0
    group = ["a"] * 60 + ["b"] * 90
    for seed in range(40):
        decided = (generator.random(150) < np.repeat([0.3, 0.5], [60, 90])).astype(int)
        _, low, high = group_bootstrap(signed, None, decided, group, draws=100, seed=seed)
        inside += low <= 0.2 <= high
    assert inside >= 33


def test_the_bootstrap_refuses_groups_too_small_for_the_measure() -> None:
    truth, decided, group = [1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0], list("aaabbb")
    truth[5] = 1
    with pytest.raises(ValueError, match="too few rows"):
        group_bootstrap(equal_opportunity_difference, truth, decided, group)
    with pytest.raises(ValueError, match="too few rows"):
        group_bootstrap(lambda *row: equal_opportunity_difference(*row), truth, decided, group, draws=100)
    with pytest.raises(ValueError, match="100 draws"):
        group_bootstrap(equal_opportunity_difference, truth, decided, group, draws=9)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 40), st.integers(0, 40))
def test_the_ratios_interval_is_scipys(a: int, more_a: int, b: int, more_b: int) -> None:
    found = ratio_interval((a, b), (a + more_a, b + more_b))
    theirs = relative_risk(a, a + more_a, b, b + more_b)
    assert found == pytest.approx((theirs.relative_risk, *theirs.confidence_interval(0.95)))


@pytest.mark.parametrize(("selected", "of"), [((0, 1), (5, 5)), ((3, 1), (2, 5)), ((0, 0), (0, 5)), ((-1, 2), (5, 5))])
def test_the_ratio_refuses_impossible_counts(selected, of) -> None:
    with pytest.raises(ValueError, match=r"needed|nobody"):
        ratio_interval(selected, of)


def test_chance_below_is_what_a_simulation_counts() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.binomial(20, 0.4, 40_000) / 20, generator.binomial(30, 0.4, 40_000) / 30
    below = (np.minimum(a, b) < 0.8 * np.maximum(a, b) - 1e-12).mean()
    assert chance_below(0.4, 20, 30) == pytest.approx(below, abs=0.01)
    assert chance_below(0.5, 3, 5, limit=1.0) <= 1 and chance_below(0.0, 3, 5) == 0
    with pytest.raises(ValueError, match="two groups"):
        chance_below(0.5, 0, 5)


def test_calibration_is_scikit_learns_curve_in_each_group() -> None:
    generator = np.random.default_rng(0)
    score, group = generator.random(900), generator.integers(0, 3, 900)
    truth = (generator.random(900) < score * (0.6 + 0.2 * group)).astype(int)
    for name, bins in calibration_by_group(truth, score, group, 6).items():
        share, mean = calibration_curve(truth[group == name], score[group == name], n_bins=6)
        assert [one.rate for one in bins] == pytest.approx(share.tolist())
        assert [one.score for one in bins] == pytest.approx(mean.tolist())
    edges = [0.0, 0.2, 0.9, 1.0]
    for name, bins in calibration_by_group(truth, score, group, edges).items():
        for low, high, n, _, positives in bins:
            mine = (group == name) & (score >= low) & ((score < high) | (high == 1.0))
            assert (n, positives) == (mine.sum(), truth[mine].sum())


def test_calibration_without_edges_has_a_bin_for_each_score_and_tells_of_empty_ones() -> None:
    found = calibration_by_group([1, 0, 1, 1], [1, 2, 2, 1], list("aabb"))
    assert [one.rate for one in found["a"]] == [1, 0] and [one.n for one in found["b"]] == [1, 1]
    empty = calibration_by_group([1, 0, 1], [1, 1, 2], list("aab"))["b"][0]
    assert empty.n == 0 and math.isnan(empty.rate) and math.isnan(empty.score)


@pytest.mark.parametrize(
    ("scores", "edges", "says"),
    [([0.1, 1.2], 4, "do not lie"), ([0.1, float("nan")], 4, "not finite"), ([0.1, 0.2], [0, 1, 1], "must rise"),
     ([0.1], 4, "rows differ"), ([0.1, 0.2], 0, "at least one bin")],
)  # fmt: skip
def test_calibration_refuses_bad_scores(scores, edges, says) -> None:
    with pytest.raises(ValueError, match=says):
        calibration_by_group([0, 1], scores, ["a", "b"], edges)


def test_counts_by_score_give_the_rates_of_every_threshold() -> None:
    table = compas()
    kept = np.isin(table["race"], ["African-American", "Caucasian", "Hispanic"])
    truth, score, group = (table[name][kept] for name in ("two_year_recid", "decile_score", "race"))
    counted = score_counts(truth, score, group)
    assert counted.counts.sum() == kept.sum()
    for cuts in ((5, 5, 5), (1, 4, 11)):
        by_group = dict(zip(counted.groups, cuts, strict=True))
        decided = (score >= np.array([by_group[g] for g in group])).astype(int)
        assert (four_counts_at(counted, cuts) == four_counts(truth, decided, group)[1]).all()
        assert accuracy_of(four_counts_at(counted, cuts)) == pytest.approx((decided == truth).mean())
    with pytest.raises(ValueError, match="3 groups and 2"):
        four_counts_at(counted, (5, 5))
    with pytest.raises(ValueError, match="rows differ"):
        score_counts([0, 1], [1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="not finite"):
        score_counts([0, 1], [1, float("inf")], ["a", "b"])


def test_the_best_thresholds_are_the_best_of_all() -> None:
    truth, _, group = rows(5, 2, 300)
    score = np.random.default_rng(1).integers(0, 4, 300) + truth
    counted = score_counts(truth, score, group)
    for limit, cost in ((0.05, 1.0), (0.2, 3.0), (1.0, 1.0)):
        best = math.inf
        for cuts in product([*counted.scores, 99], repeat=2):
            decided = (score >= np.where(group == "group 0", *cuts)).astype(int)
            if equalized_odds_difference(truth, decided, group) <= limit + 1e-12:
                best = min(best, (cost * (decided > truth) + (decided < truth)).sum())
        found = best_thresholds(counted, "equalized_odds_difference", limit, cost)
        cells = four_counts_at(counted, found)
        assert cost * cells[:, 0, 1].sum() + cells[:, 1, 0].sum() == best
    assert best_thresholds(score_counts([1, 0, 0, 1], [1, 1, 1, 1], list("aabb")), "predictive_parity_difference", 0.0)
    with pytest.raises(ValueError, match="a measure of"):
        best_thresholds(counted, "fairness", 0.1)
    with pytest.raises(ValueError, match="too many"):
        best_thresholds(score_counts([0, 1] * 60, range(120), ["a", "b", "c"] * 40), "demographic_parity_difference", 1)


@given(st.integers(0, 1_000), st.floats(0.1, 3))
@settings(max_examples=20)
def test_pairs_beyond_the_lipschitz_bound_are_found_one_by_one(seed: int, constant: float) -> None:
    generator = np.random.default_rng(seed)
    inputs, outputs = generator.normal(size=(12, 2)), generator.random(12)
    share, pairs = lipschitz_pairs(inputs, outputs, constant)
    beyond = {
        (i, j)
        for i in range(12)
        for j in range(i + 1, 12)
        if abs(outputs[i] - outputs[j]) > constant * math.dist(inputs[i], inputs[j]) + 1e-9
    }
    assert {(pair.first, pair.second) for pair in pairs} == beyond and share == pytest.approx(len(beyond) / 66)
    excess = [pair.difference - constant * pair.distance for pair in pairs]
    assert excess == sorted(excess, reverse=True)


def test_individuals_refuse_bad_input() -> None:
    for inputs, outputs, constant in (([[1.0]], [1.0], 1), ([[1.0], [2.0]], [1.0], 1), ([[1.0], [2.0]], [0, 1.0], 0)):
        with pytest.raises(ValueError, match=r"needed|positive"):
            lipschitz_pairs(np.array(inputs), outputs, constant)
    with pytest.raises(ValueError, match="same items"):
        counterfactual_gaps({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="one length"):
        intersections("ab", "a")
    gaps = counterfactual_gaps({"a": [1.0, 0.0], "b": [0.5, 0.5], "c": [0.0, 0.0]})
    assert gaps["a", "b"].tolist() == [0.5, -0.5] and len(gaps) == 3


@given(st.integers(0, 1_000), st.integers(1, 40), st.sampled_from(["accuracy", "tpr", "fpr", "ppv", "selection_rate"]))
@settings(max_examples=30)
def test_the_worst_group_has_enough_rows_behind_its_rate(seed: int, least: int, rate: str) -> None:
    truth, decided, group = rows(seed, 3, 200)
    both = intersections(group, np.random.default_rng(seed).integers(0, 2, 200))
    of = {"tpr": truth == 1, "fpr": truth == 0, "ppv": decided == 1}.get(rate, np.ones(200, bool))
    hit = {"accuracy": truth == decided}.get(rate, truth == 1 if rate == "ppv" else decided == 1)
    values = {}
    for name in set(both):
        mine = np.array([row == name for row in both]) & of
        if mine.sum() >= least:
            values[name] = hit[mine].mean()
    assume(values)
    name, rates = worst_group(truth, decided, both, rate, least)
    assert values[name] == min(values.values()) == pytest.approx(getattr(rates, rate))
    name, _ = worst_group(truth, decided, both, rate, least, lowest=False)
    assert values[name] == max(values.values())


def test_the_worst_group_is_refused_where_all_are_small() -> None:
    with pytest.raises(ValueError, match="no group has 30"):
        worst_group([0, 1], [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="a rate of"):
        worst_group([0, 1], [0, 1], ["a", "b"], "kindness")
    assert demographic_parity_difference(None, [0, 1], ["a", "b"]) == 1
