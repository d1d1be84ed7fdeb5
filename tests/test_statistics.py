"""Intervals cover as often as they say, by simulation, and agree with independent formulas and libraries."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest, t, ttest_1samp

from llmsafety_lab import statistics
from llmsafety_lab.statistics import (
    bootstrap,
    holm,
    interval,
    mean_interval,
    permutation_test,
    proportion_interval,
    ratio_interval,
    slope_interval,
)


def runs(rng: np.random.Generator, seeds: int, items: int, spread: float) -> np.ndarray:
    """Draw whether runs are right: seeds differ in accuracy by `spread`, items in difficulty; 0.8 in the mean."""
    chance = 0.8 + spread * rng.normal(size=(seeds, 1)) + 0.1 * rng.choice([-1, 1], size=(1, items))
    return rng.random((seeds, items)) < chance


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.04])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_over_seeds_and_items_covers_what_it_says(seeds: int, spread: float) -> None:
    rng = np.random.default_rng([seeds, int(1000 * spread)])
    ends = [interval(runs(rng, seeds, 300, spread))[1:] for _ in range(300)]
    covered = np.mean([low <= 0.8 <= high for low, high in ends])
    assert covered >= 0.925, f"{covered:.1%} of intervals hold the truth where 95% should"
    assert np.median([high - low for low, high in ends]) < (0.2 if seeds > 2 else 1.0)


def test_the_interval_of_items_alone_is_that_of_their_means() -> None:
    """Where all seeds agree nothing is left but the items."""
    row = np.random.default_rng(0).random((1, 200)) < 0.7
    mean, low, high = interval(np.repeat(row, 4, axis=0))
    error = row.std(ddof=1) / 200**0.5
    assert (mean, low, high) == pytest.approx(
        (row.mean(), row.mean() - 1.96 * error, row.mean() + 1.96 * error), abs=1e-4
    )
    assert interval(np.full((3, 5), 0.25)) == (0.25, 0.25, 0.25)


def test_the_interval_of_seeds_alone_is_students() -> None:
    """Where all items are alike each seed has one result, and the interval is that of Student's t over them."""
    results = np.array([0.71, 0.78, 0.74, 0.8])
    assert interval(np.repeat(results[:, None], 50, axis=1)) == pytest.approx(mean_interval(results))


@pytest.mark.parametrize("items", [5, 10, 40])
def test_a_ratio_of_few_items_is_covered(items: int) -> None:
    """F1 of sentences with few spans, as in `named_entities`: correct is part of the expected ones."""
    rng, covered = np.random.default_rng(items), []
    for _ in range(500):
        expected = 1 + rng.poisson(2, items)
        correct = rng.binomial(expected, 0.6)
        predicted = correct + rng.poisson(0.8, items)
        _, low, high = ratio_interval(2 * correct, expected + predicted)
        covered.append(low <= 2 * 1.8 / (3 + 1.8 + 0.8) <= high)
    assert np.mean(covered) >= 0.925


def test_a_mean_is_that_of_scipy_and_a_ratio_over_ones_is_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=9)
    theirs = ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((values.mean(), theirs.low, theirs.high))
    assert ratio_interval(values, np.ones(9), 0.9) == pytest.approx(mean_interval(values, 0.9))


@pytest.mark.parametrize(("count", "of"), [(0, 7), (7, 7), (1, 40), (13, 29), (480, 500)])
def test_a_share_has_wilsons_interval_and_the_exact_one(count: int, of: int) -> None:
    for p in proportion_interval(count, of)[1:]:  # a root of Wilson's equation
        if 0 < p < 1:
            assert abs(count / of - p) == pytest.approx(1.959964 * (p * (1 - p) / of) ** 0.5, rel=1e-5)
    share, low, high = proportion_interval(count, of, exact=True)
    assert share == count / of
    assert low == pytest.approx(beta.ppf(0.025, count, of - count + 1) if count else 0)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, of - count) if count < of else 1)


def test_the_exact_interval_always_covers_and_wilsons_in_the_mean() -> None:
    found = {exact: [proportion_interval(k, 20, exact=exact)[1:] for k in range(21)] for exact in (False, True)}
    shares = np.linspace(0.01, 0.99, 99)
    covered = {
        exact: np.array([sum(binom.pmf(k, 20, p) for k, (a, b) in enumerate(ends) if a <= p <= b) for p in shares])
        for exact, ends in found.items()
    }
    assert covered[True].min() >= 0.95
    assert covered[False].mean() == pytest.approx(0.95, abs=0.01)


def test_the_bootstrap_draws_items_whole_and_covers_a_skewed_statistic() -> None:
    rng, covered = np.random.default_rng(3), 0
    for i in range(60):
        theirs = rng.lognormal(size=60)
        ours = theirs + rng.exponential(size=60)
        mean, low, high = bootstrap((ours, theirs), lambda a, b: (a - b).mean(), draws=200, seed=i)
        assert low < mean < high < 3
        covered += low <= 1 <= high
    assert covered >= 52
    first, again, other = (bootstrap((ours, theirs), lambda a, b: (a - b).mean(), 50, s) for s in (1, 1, 2))
    assert first == again != other


def test_few_swaps_are_all_counted() -> None:
    rng = np.random.default_rng(4)
    ours, theirs = rng.normal(0.5, 1, 8), rng.normal(size=8)
    apart = ours - theirs
    swaps = [abs(np.mean(apart * signs)) for signs in product((-1, 1), repeat=8)]
    assert permutation_test(ours, theirs) == pytest.approx(np.mean(np.array(swaps) >= abs(apart.mean()) - 1e-12))


def test_of_many_swaps_some_are_drawn_and_binary_ones_are_mcnemars() -> None:
    """Only items on which the methods differ matter: 30 won and 14 lost is a sign test of 44."""
    ours = np.r_[np.ones(30), np.zeros(14), np.ones(100)]
    theirs = np.r_[np.zeros(30), np.ones(14), np.ones(100)]
    assert permutation_test(ours, theirs, 10_000) == pytest.approx(binomtest(30, 44).pvalue, abs=0.005)
    assert permutation_test(ours + 5, theirs, 999) <= 2 / 1000
    assert permutation_test(ours, ours) == 1


def test_without_a_difference_small_p_values_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(5)
    p = np.array([permutation_test(rng.normal(size=30), rng.normal(size=30), 99, i) for i in range(400)])
    assert 0.02 <= (p <= 0.05).mean() <= 0.08


def test_holm_by_hand_and_by_statsmodels() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    for i in range(20):
        p = np.random.default_rng(i).random(1 + i) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_two_numbers_have_a_wide_interval() -> None:
    _, low, high = mean_interval([0.0, 1.0])
    assert high - low == pytest.approx(2 * t.ppf(0.975, 1) * 0.5)


two, nan = [0.0, 1.0], [0.0, float("nan")]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: interval(np.ones((1, 50))), r"a row for each seed.*at least two.*\(1, 50\)"),
        (lambda: interval(np.ones((50, 1))), "at least two"),
        (lambda: interval(np.ones(50)), "at least two"),
        (lambda: interval(np.array([two, nan])), "finite; 1 of 4"),
        (lambda: interval(np.eye(2), level=95), "between 0 and 1"),
        (lambda: mean_interval([1.0]), "at least two"),
        (lambda: mean_interval([]), "at least two"),
        (lambda: mean_interval(nan), "finite"),
        (lambda: mean_interval(two, 1.0), "between 0 and 1"),
        (lambda: ratio_interval(two, [1.0, -1.0]), "a sum below"),
        (lambda: ratio_interval(two, [1.0, 1.0, 1.0]), "as many items"),
        (lambda: ratio_interval(two, nan), "finite"),
        (lambda: proportion_interval(3, 2), "3 of 2"),
        (lambda: proportion_interval(0, 0), "0 of 0"),
        (lambda: proportion_interval(-1, 2), "-1 of 2"),
        (lambda: proportion_interval(1, 2, level=float("nan")), "between 0 and 1"),
        (lambda: bootstrap((two, [1.0, 2.0, 3.0]), np.mean), "same items"),
        (lambda: bootstrap((), np.mean), "same items"),
        (lambda: bootstrap((two,), np.mean, draws=0), "0 draws"),
        (lambda: bootstrap(([1.0, 1.0],), np.mean), "same values"),
        (lambda: permutation_test(two, [1.0, 2.0, 3.0]), "as many values"),
        (lambda: permutation_test(two, nan), "finite"),
        (lambda: permutation_test(two, two, draws=0), "0 draws"),
        (lambda: holm([]), "from 0 to 1"),
        (lambda: holm([0.1, 1.2]), "from 0 to 1"),
        (lambda: holm(nan), "from 0 to 1"),
    ],
)
def test_what_says_nothing_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_every_public_function_is_tested_here() -> None:
    public = {
        name for name, value in vars(statistics).items() if getattr(value, "__module__", "") == statistics.__name__
    }
    assert {name for name in public if not name.startswith("_")} <= set(globals())


def test_a_slope_is_that_of_numpy_and_its_interval_covers_what_it_says() -> None:
    rng, held = np.random.default_rng(7), 0
    x = rng.normal(size=9)
    for _ in range(2_000):
        y = 3 - 0.4 * x + 0.1 * rng.normal(size=9)
        slope, low, high = slope_interval(x, y)
        held += low <= -0.4 <= high
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0]) and low < slope < high
    assert 0.935 < held / 2_000 < 0.965


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([2, 2, 2], [1, 2, 3])])
def test_a_slope_needs_points(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="at least three points"):
        slope_interval(x, y)
