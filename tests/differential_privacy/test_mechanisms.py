"""Mechanisms for one number against their definitions, and the attack on floating-point noise."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from llmsafety_lab.differential_privacy import (
    discrete_laplace,
    gaussian_delta,
    gaussian_sigma,
    largest_area,
    largest_tpr,
    possible,
    posterior_bound,
    private_mean,
)


def test_the_private_mean_has_laplace_noise_around_the_clamped_mean() -> None:
    rng, values = np.random.default_rng(0), np.array([-50.0, 0.2, 0.4, 0.6, 90.0])
    drawn = np.array([private_mean(values, 0, 1, 0.5, rng) for _ in range(4000)])
    clamped = np.clip(values, 0, 1).mean()
    assert stats.kstest(drawn, "laplace", args=(clamped, 1 / 5 / 0.5)).pvalue > 0.01


@given(st.floats(0.05, 8), st.floats(0.1, 30))
def test_gaussian_delta_is_the_supremum_over_outcomes(epsilon: float, sigma: float) -> None:
    one, other = stats.norm(1, sigma), stats.norm(0, sigma)
    edge = 0.5 + sigma**2 * epsilon  # where the densities' ratio is e^epsilon
    direct = one.sf(edge) - math.exp(epsilon) * other.sf(edge)
    assert gaussian_delta(epsilon, sigma) == pytest.approx(direct, abs=1e-12)


def test_gaussian_sigma_is_tight_and_below_the_textbooks() -> None:
    for epsilon in (0.1, 0.5, 1.0, 4.0):
        sigma = gaussian_sigma(epsilon, 1e-5)
        assert gaussian_delta(epsilon, sigma) == pytest.approx(1e-5, rel=1e-6)
        assert sigma < math.sqrt(2 * math.log(1.25e5)) / epsilon


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(3, 2), Fraction(5)])
def test_the_discrete_laplace_has_its_distribution(scale: Fraction) -> None:
    rng, count = random.Random(1), 6000
    drawn = Counter(discrete_laplace(scale, rng) for _ in range(count))
    share = math.exp(-1 / scale)
    expected = {z: count * (1 - share) / (1 + share) * share ** abs(z) for z in range(-40, 41)}
    large = [z for z, e in expected.items() if e >= 8]
    rest = count - sum(drawn[z] for z in large), count - sum(expected[z] for z in large)
    observed, wanted = [*(drawn[z] for z in large), rest[0]], [*(expected[z] for z in large), rest[1]]
    assert stats.chisquare(observed, wanted).pvalue > 0.001
    assert drawn[0] and abs(sum(drawn)) < 200


def test_floating_point_noise_tells_the_answer_and_whole_numbers_do_not() -> None:
    rng = np.random.default_rng(0)
    for answer, other in ((0.0, 1.0), (1.0, 0.0)):
        outputs = rng.laplace(answer, 1.0, 1500)
        assert possible(outputs, answer, 1.0).all()  # the true answer is never excluded
        assert possible(outputs, other, 1.0).mean() < 0.3  # the false one mostly is
    source = random.Random(0)
    seen = [{answer + discrete_laplace(1, source) for _ in range(3000)} for answer in (0, 1)]
    assert set(range(-3, 5)) <= seen[0] & seen[1]


@given(st.floats(0, 1), st.floats(0, 10))
def test_the_posterior_bound_is_bayes_with_the_largest_ratio(prior: float, epsilon: float) -> None:
    ratio = math.exp(epsilon)
    assert float(posterior_bound(prior, epsilon)) == pytest.approx(prior * ratio / (prior * ratio + 1 - prior))


@settings(deadline=None)
@given(st.floats(0, 6), st.floats(0, 0.3), st.floats(0, 1))
def test_no_test_of_randomised_response_beats_the_bound(epsilon: float, delta: float, fpr: float) -> None:
    """The mechanism that reaches it: with delta it tells all, else it is true with e^epsilon / (1 + e^epsilon)."""
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    in_, out = (
        np.array([delta, (1 - delta) * truth, (1 - delta) * (1 - truth), 0]),
        np.array([0, (1 - delta) * (1 - truth), (1 - delta) * truth, delta]),
    )
    left, caught = fpr, 0.0
    for p, q in zip(in_, out, strict=True):  # Neyman and Pearson: outcomes by falling ratio
        part = 1.0 if q <= left else left / q
        caught, left = caught + part * p, max(0.0, left - part * q)
    assert float(largest_tpr(fpr, epsilon, delta)) == pytest.approx(caught, abs=1e-9)


def test_the_largest_area_is_the_integral() -> None:
    for epsilon, delta in ((0.0, 0.0), (1.0, 0.0), (3.0, 1e-5)):
        exact = integrate.quad(lambda f, e=epsilon, d=delta: float(largest_tpr(f, e, d)), 0, 1, limit=200)[0]
        assert largest_area(epsilon, delta) == pytest.approx(exact, abs=1e-4)
    assert largest_area(0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: private_mean(np.ones(3), 1, 1, 1, np.random.default_rng()), "low < high"),
        (lambda: gaussian_delta(-1, 1), "at least 0"),
        (lambda: gaussian_sigma(1, 0), "between 0 and 1"),
        (lambda: discrete_laplace(0), "above 0"),
        (lambda: posterior_bound(2, 1), "from 0 to 1"),
        (lambda: largest_tpr(0.1, -1), "at least 0"),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
