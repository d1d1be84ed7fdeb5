"""Data bias against independent oracles: scipy, scikit-learn, pandas, published tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from llmsafety_lab.data_bias import (
    auc,
    character_words,
    company,
    distinctive,
    effective_size,
    feature_strengths,
    group_rates,
    intersections,
    kamiran_calders_weights,
    mentions,
    proxy_strength,
    rate_difference,
    reference_weights,
    representation_ratio,
    resample,
    reversals,
    rows_needed,
    stratify,
    weighted_rate,
    words_of,
)
from llmsafety_lab.data_bias.rates import Rate
from llmsafety_lab.statistics import proportion_interval

rows = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), min_size=4, max_size=60)


@settings(max_examples=40)
@given(rows)
def test_rates_are_those_of_pandas(pairs: list[tuple[int, str]]) -> None:
    labels, groups = zip(*pairs, strict=True)
    found = group_rates(labels, groups)
    theirs = pd.Series(labels).groupby(pd.Series(groups)).agg(["size", "sum", "mean"])
    assert list(found) == list(theirs.index)
    for name, rate in found.items():
        assert rate[:3] == (*theirs.loc[name, ["size", "sum"]], pytest.approx(theirs.loc[name, "mean"]))
        assert rate[2:] == pytest.approx(proportion_interval(rate.positive, rate.rows))


def test_newcombes_interval_is_the_published_one() -> None:
    """Newcombe 1998, table II, method 10: 56/70 against 48/80, and 10/10 against 0/10."""

    def rate(count: int, of: int) -> Rate:
        return Rate(of, count, *proportion_interval(count, of))

    assert rate_difference(rate(56, 70), rate(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=6e-5)
    assert rate_difference(rate(10, 10), rate(0, 10)) == pytest.approx((1, 0.6075, 1), abs=6e-5)


def test_newcombes_interval_covers() -> None:
    draw = np.random.default_rng(0)
    truth, inside = 0.3 - 0.1, 0
    for a, b in zip(draw.binomial(40, 0.3, 1000), draw.binomial(25, 0.1, 1000), strict=True):
        first, second = (Rate(of, k, *proportion_interval(k, of)) for k, of in ((int(a), 40), (int(b), 25)))
        _, low, high = rate_difference(first, second)
        inside += low <= truth <= high
    assert 0.93 < inside / 1000 < 0.985


def test_representation_is_share_over_share() -> None:
    ratio = representation_ratio(["f"] * 33 + ["m"] * 67, {"f": 0.46, "m": 0.54})
    assert ratio["f"][0] == pytest.approx(0.33 / 0.46)
    assert ratio["m"][0] == pytest.approx(0.67 / 0.54)
    assert ratio["f"][1] < ratio["f"][0] < ratio["f"][2] < 1
    assert representation_ratio(["m"] * 9, {"f": 0.5, "m": 0.5})["f"][0] == 0


def test_intersections_pool_what_is_small() -> None:
    names = intersections(["x"] * 5 + ["y"] * 3, ["f", "m"] * 4, least=2)
    assert Counter(names.tolist()) == {"x, f": 3, "x, m": 2, "(small)": 1, "y, m": 2}
    assert intersections([1, 2], ["a", "b"]).tolist() == ["1, a", "2, b"]


@given(st.floats(0, 1), st.floats(0.01, 0.4))
def test_rows_needed_is_the_smallest_number_that_does(rate: float, half: float) -> None:
    z = 1.959963984540054

    def width(n: int) -> float:
        return z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)

    n = rows_needed(rate, half)
    assert width(n) <= half + 1e-12
    assert n == 1 or width(n - 1) > half - 1e-12


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=50))
def test_auc_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores, groups = zip(*pairs, strict=True)
    assume(0 < sum(groups) < len(groups))
    assert auc(scores, groups) == pytest.approx(roc_auc_score(groups, scores))


def test_proxy_strength_is_the_cross_validated_auc_of_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    features, groups = draw.normal(size=(300, 4)), draw.integers(0, 2, 300)
    features[:, 2] += groups
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    theirs = cross_val_score(model, features, groups, cv=folds, scoring="roc_auc").mean()
    estimate, low, high = proxy_strength(features, groups, seed=3)
    assert estimate == pytest.approx(theirs)
    assert low < theirs < high


def test_noise_is_no_proxy_and_the_interval_covers_what_new_rows_show() -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(40):
        noise, group = draw.normal(size=(300, 10)), draw.integers(0, 2, 300)
        _, low, high = proxy_strength(noise, group)
        inside += low <= 0.5 <= high
    assert inside >= 33


def test_words_and_gaps_are_features_and_the_strongest_comes_first() -> None:
    draw = np.random.default_rng(2)
    group = draw.integers(0, 2, 400)
    words = np.where(group == 1, "wife", "husband").astype(object)
    words[::7] = None
    table = pd.DataFrame({"noise": draw.normal(size=400), "relationship": words})
    found = feature_strengths(table, group)
    assert list(found) == ["relationship", "noise"]
    assert found["relationship"][0] > 0.85
    assert found["noise"][1] < 0.5 < found["noise"][2] + 0.05


@settings(max_examples=40)
@given(rows)
def test_weighted_label_and_group_are_independent(pairs: list[tuple[int, str]]) -> None:
    labels, groups = (np.array(column) for column in zip(*pairs, strict=True))
    cells = pd.crosstab(groups, labels)
    assume((cells > 0).all(axis=None))
    weights = kamiran_calders_weights(labels, groups)
    share = (labels == labels.max()).mean()
    assert weights.mean() == pytest.approx(1)
    for name in set(groups.tolist()):
        inside = groups == name
        assert weights[inside].sum() == pytest.approx(inside.sum())
        assert np.average(labels[inside] == labels.max(), weights=weights[inside]) == pytest.approx(share)


def test_weights_of_the_paper() -> None:
    """Kamiran and Calders 2012, table 1: ten applicants, half of each sex, six accepted."""
    sex = list("MMMMMFFFFF")
    hired = [1, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    weights = kamiran_calders_weights(hired, sex)
    assert weights[[0, 4, 5, 7]] == pytest.approx([0.75, 2, 2 / 3, 1.5])


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.floats(1e-3, 1e3))
def test_the_effective_size_is_that_of_kish(weights: list[float], scale: float) -> None:
    array = np.array(weights)
    size = effective_size(array)
    assert 1 - 1e-9 <= size <= len(array) + 1e-9
    assert size == pytest.approx(effective_size(scale * array))
    assert size == pytest.approx(len(array) / (1 + array.var() / array.mean() ** 2))
    assert effective_size(np.ones(len(array))) == pytest.approx(len(array))


def test_the_effective_size_says_how_a_weighted_mean_varies() -> None:
    draw = np.random.default_rng(0)
    weights = draw.choice([0.2, 1.0, 6.0], 200)
    means = draw.binomial(1, 0.3, (4000, 200)) @ weights / weights.sum()
    assert 0.21 / means.var() == pytest.approx(effective_size(weights), rel=0.1)
    assert weighted_rate([0, 1] * 50, np.ones(100)) == pytest.approx(proportion_interval(50, 100))


def test_reference_weights_give_the_reference_and_resampling_follows_them() -> None:
    groups = np.array(["f"] * 20 + ["m"] * 80)
    weights = reference_weights(groups, {"f": 0.5, "m": 0.5})
    assert weights.mean() == pytest.approx(1)
    assert np.average(groups == "f", weights=weights) == pytest.approx(0.5)
    drawn = groups[resample(weights, 20_000)]
    assert (drawn == "f").mean() == pytest.approx(0.5, abs=0.015)


BERKELEY = {  # men admitted, men rejected, women admitted, women rejected
    "A": (512, 313, 89, 19),
    "B": (353, 207, 17, 8),
    "C": (120, 205, 202, 391),
    "D": (138, 279, 131, 244),
    "E": (53, 138, 94, 299),
    "F": (22, 351, 24, 317),
}


def test_strata_against_pandas_on_berkeleys_admissions() -> None:
    parts = [
        pd.DataFrame({"department": name, "woman": woman, "admitted": [1] * yes + [0] * no})
        for name, (a, b, c, d) in BERKELEY.items()
        for woman, yes, no in ((0, a, b), (1, c, d))
    ]
    table = pd.concat(parts, ignore_index=True)
    found = stratify(table.admitted, table.woman, table.department)
    rate = table.groupby(["department", "woman"]).admitted.mean().unstack()
    assert found.by_stratum == pytest.approx((rate[1] - rate[0]).to_dict())
    share = table.department.value_counts(normalize=True)
    assert found.standardised[0] == pytest.approx(((rate[1] - rate[0]) * share).sum())
    assert found.crude[0] == pytest.approx(-0.1416, abs=1e-4)
    assert found.crude[2] < 0 < found.standardised[1]
    assert not found.reversed  # departments C and E admit fewer women
    (only,) = reversals(table, "admitted", {"women": table.woman}, ["department"])
    assert only[:2] == ("women", "department")


def test_a_full_reversal_and_the_standardised_interval() -> None:
    """Charig et al. 1986, kidney stones: open surgery is better for small stones and for large, and worse in all."""
    cells = {("small", 1): (81, 6), ("small", 0): (234, 36), ("large", 1): (192, 71), ("large", 0): (55, 25)}
    stratum, group, label = [], [], []
    for (size, open_surgery), (yes, no) in cells.items():
        stratum += [size] * (yes + no)
        group += [open_surgery] * (yes + no)
        label += [1] * yes + [0] * no
    found = stratify(label, group, stratum)
    assert found.reversed
    assert found.crude[0] < 0 < found.standardised[0]
    draw = np.random.default_rng(0)
    many = [
        stratify(np.array(label)[i], np.array(group)[i], np.array(stratum)[i]).standardised[0]
        for i in (draw.integers(0, len(label), len(label)) for _ in range(300))
    ]
    half = (found.standardised[2] - found.standardised[1]) / 2
    assert half == pytest.approx(1.96 * np.std(many), rel=0.15)


def test_who_is_mentioned_and_with_whom() -> None:
    texts = ["She saw his clever dog.", "He\u2019s late; her mother is not. The theme is history."]
    assert words_of(texts[1])[:2] == ["he", "late"]
    assert mentions(texts) == {"women": 3, "men": 2}
    near = company(texts, window=1)
    assert near == {"women": Counter(saw=1, late=1, **{"is": 1}), "men": Counter(saw=1, clever=1, late=1)}


def test_distinctive_words_are_those_of_the_equation() -> None:
    ours, theirs = {"a": 10, "b": 1}, {"a": 2, "b": 30}
    found = {word: (ratio, z) for word, ratio, z in distinctive(ours, theirs, Counter(ours) + Counter(theirs), 4.3)}
    aw, an, bn = 4.3 * 12 / 43, 11 + 4.3, 32 + 4.3
    ratio = math.log((10 + aw) / (an - 10 - aw)) - math.log((2 + aw) / (bn - 2 - aw))
    assert found["a"] == pytest.approx((ratio, ratio / math.sqrt(1 / (10 + aw) + 1 / (2 + aw))))
    assert distinctive(ours, theirs, Counter(ours) + Counter(theirs))[0][0] == "a"


def test_a_character_inside_of_a_word_is_not_the_word() -> None:
    assert character_words([list("他说其他人"), list("她和他们")], "他", ["其他"]) == (3, 2)


SMALL = pd.DataFrame({"y": [0, 1, 0, 1], "s": ["x", "x", "y", "y"]})

WRONG = {
    "no rows": lambda: group_rates([], []),
    "lengths": lambda: group_rates([0, 1], ["a"]),
    "a gap": lambda: group_rates([0, 1], ["a", None]),
    "NaN": lambda: group_rates([0.0, math.nan], ["a", "b"]),
    "labels": lambda: group_rates([1, 2], ["a", "b"]),
    "a stranger": lambda: representation_ratio(["a", "b"], {"a": 1.0}),
    "shares": lambda: representation_ratio(["a", "b"], {"a": 0.5, "b": 0.7}),
    "nothing to cross": lambda: intersections(),
    "width": lambda: rows_needed(0.5, 0.0),
    "one group": lambda: auc([1, 2], [1, 1]),
    "few of a group": lambda: proxy_strength(np.ones((9, 1)), [1] + [0] * 8),
    "infinite": lambda: proxy_strength(np.full((20, 1), np.inf), [0, 1] * 10),
    "rows of features": lambda: proxy_strength(np.ones((19, 1)), [0, 1] * 10),
    "an empty cell": lambda: kamiran_calders_weights([1, 1, 0], ["a", "a", "b"]),
    "other groups": lambda: reference_weights(["a"], {"a": 0.5, "b": 0.5}),
    "negative": lambda: effective_size([1, -1]),
    "zeros": lambda: effective_size([0, 0]),
    "no weight": lambda: effective_size([]),
    "no draw": lambda: resample([1.0], 0),
    "thin strata": lambda: stratify([0, 1], [0, 1], ["x", "x"]),
    "a negative share": lambda: reference_weights(["a", "b"], {"a": 1.5, "b": -0.5}),
    "a gap in a stratum": lambda: reversals(SMALL.assign(s=["x", None, "x", "y"]), "y", {"g": [0, 1, 0, 1]}, ["s"]),
    "rows of a comparison": lambda: reversals(SMALL, "y", {"g": [0, 1, 0]}, ["s"]),
    "values of a comparison": lambda: reversals(SMALL, "y", {"g": [0, 1, 2, 1]}, ["s"]),
    "window": lambda: company(["a"], window=0),
    "no company": lambda: distinctive({}, {"a": 1}, {"a": 1}),
    "background": lambda: distinctive({"b": 1}, {"a": 1}, {"a": 1}),
    "two characters": lambda: character_words(["x"], "他们"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_bad_input_is_refused_in_words(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        call()
