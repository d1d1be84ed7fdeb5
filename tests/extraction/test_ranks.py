"""Exposure against a brute-force rank, and its fit against scipy's distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import skewnorm

from llmsafety_lab.extraction import exposure, exposure_fit, mean_rank, skew_normal


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.data())
def test_the_rank_is_the_mean_place_in_all_orders(losses, data):
    secret = data.draw(st.sampled_from(losses))
    places = [i + 1 for i, loss in enumerate(sorted(losses)) if loss == secret]
    assert mean_rank(secret, np.array(losses)) == np.mean(places)


@given(st.permutations(range(64)))
def test_the_mean_exposure_of_random_secrets_is_that_of_a_uniform_rank(order):
    bits = [exposure(value, np.array(order, dtype=float)) for value in order]
    assert np.mean(bits) == pytest.approx(6 - np.mean(np.log2(np.arange(1, 65))))


def test_the_best_of_all_has_all_bits_and_equal_losses_have_one():
    assert exposure(0.0, np.arange(1024.0)) == 10
    assert exposure(5.0, np.full(1023, 5.0)) == pytest.approx(np.log2(1023) - 9)


@pytest.mark.parametrize("shape", [-6.0, -1.0, 0.0, 0.5, 3.0])
def test_the_fit_finds_the_distribution_again(shape):
    sample = skewnorm.rvs(shape, 20, 3, size=200_000, random_state=0)
    fitted = skew_normal(sample)
    grid = np.quantile(sample, [0.001, 0.1, 0.5, 0.9])
    np.testing.assert_allclose(skewnorm.cdf(grid, *fitted), skewnorm.cdf(grid, shape, 20, 3), atol=0.01)


@pytest.mark.parametrize("shape", [-4.0, -1.0, 1.0, 4.0])
def test_the_tail_is_the_integral_of_the_density(shape):
    sample = skewnorm.rvs(shape, 20, 3, size=5_000, random_state=1)
    fitted, secret = skew_normal(sample), float(sample.min() - 1)
    tail = integrate.quad(skewnorm(*fitted).pdf, secret - 60, secret, epsabs=0, limit=500)[0]
    assert exposure_fit(secret, sample) == pytest.approx(-np.log2(tail), rel=1e-3)


def test_the_fit_agrees_with_the_rank_where_both_can_be_had():
    sample = skewnorm.rvs(2, 30, 4, size=50_000, random_state=2)
    secret = float(np.sort(sample)[50])
    assert exposure_fit(secret, sample) == pytest.approx(exposure(secret, sample), abs=0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: exposure(1.0, np.array([2.0, 3.0])), "not among"),
        (lambda: exposure(1.0, np.array([1.0, np.nan])), "finite"),
        (lambda: exposure_fit(1.0, np.array([1.0, 1.0, 1.0])), "not all equal"),
        (lambda: exposure_fit(1.0, np.array([1.0, 2.0])), "three"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
