"""The accountant against dp-accounting and opacus, and against closed forms."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp as opacus_rdp
from scipy import special, stats

from llmsafety_lab.differential_privacy import (
    audit,
    epsilon_spent,
    gaussian_delta,
    noise_for,
    p_value,
    rdp_gaussian,
    rdp_subsampled,
    rdp_to_epsilon,
    refuted,
    shuffled_at_least,
)
from llmsafety_lab.differential_privacy.accounting import ORDERS


def event(rate: float, sigma: float, steps: int) -> dp_accounting.DpEvent:
    step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    return dp_accounting.SelfComposedDpEvent(step, steps)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.001, 0.9), st.floats(0.5, 20), st.integers(2, 60))
def test_the_integral_is_the_sum_of_binomial_terms_at_whole_orders(rate: float, sigma: float, order: int) -> None:
    k = np.arange(order + 1)
    terms = (
        special.gammaln(order + 1)
        - special.gammaln(k + 1)
        - special.gammaln(order - k + 1)
        + k * math.log(rate)
        + (order - k) * math.log1p(-rate)
        + k * (k - 1) / (2 * sigma**2)
    )
    exact = special.logsumexp(terms) / (order - 1)
    assert rdp_subsampled(rate, sigma, np.array([order]))[0] == pytest.approx(exact, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("rate", "sigma"), [(0.01, 1.0), (0.2, 0.7), (0.5, 5.0), (1.0, 2.0)])
def test_divergences_agree_with_opacus_at_all_orders(rate: float, sigma: float) -> None:
    theirs = opacus_rdp.compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=list(ORDERS))
    assert np.allclose(rdp_subsampled(rate, sigma), theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("rate", "sigma", "steps"), [(0.01, 1.0, 1000), (0.01, 4.0, 10_000), (0.064, 1.3, 300)])
def test_epsilon_agrees_with_dp_accounting(rate: float, sigma: float, steps: int) -> None:
    accountant = rdp.RdpAccountant(ORDERS).compose(event(rate, sigma, steps))
    assert epsilon_spent(rate, sigma, steps, 1e-5) == pytest.approx(accountant.get_epsilon(1e-5), rel=2e-4)
    tight = pld.PLDAccountant().compose(event(rate, sigma, steps)).get_epsilon(1e-5)
    assert tight < epsilon_spent(rate, sigma, steps, 1e-5) < 1.2 * tight


def test_the_figure_of_2016_and_todays() -> None:
    """Abadi et al. printed 1.26; the conversion got tighter, and the whole distribution of the loss tighter still."""
    spent = 10_000 * rdp_subsampled(0.01, 4.0)
    assert round(rdp_to_epsilon(spent, 1e-5, conversion="2017"), 2) == 1.26
    assert round(rdp_to_epsilon(spent, 1e-5), 3) == 1.035
    tight = pld.PLDAccountant().compose(event(0.01, 4.0, 10_000)).get_epsilon(1e-5)
    assert round(tight, 3) == 0.947
    assert round(epsilon_spent(0.01, 1.0, 1000, 1e-5), 3) == 2.101
    assert round(pld.PLDAccountant().compose(event(0.01, 1.0, 1000)).get_epsilon(1e-5), 3) == 1.828


def test_without_sampling_it_is_an_upper_bound_of_the_exact_gaussian() -> None:
    epsilon = rdp_to_epsilon(rdp_gaussian(2.0), 1e-5)
    assert gaussian_delta(epsilon, 2.0) < 1e-5 < 20 * gaussian_delta(epsilon, 2.0) + 1e-5


@settings(max_examples=8, deadline=None)
@given(st.floats(0.3, 12), st.floats(0.01, 0.5), st.integers(5, 400))
def test_noise_for_spends_what_was_asked_and_no_more(epsilon: float, rate: float, steps: int) -> None:
    sigma = noise_for(epsilon, rate, steps, 1e-5)
    assert 0.97 * epsilon < epsilon_spent(rate, sigma, steps, 1e-5) <= epsilon


def test_infinite_epsilon_is_no_noise() -> None:
    assert noise_for(float("inf"), 0.1, 10, 1e-5) == 0
    assert epsilon_spent(0.1, 0, 10, 1e-5) == float("inf")


def test_what_shuffling_loses_is_seen_in_simulated_batches() -> None:
    """At the threshold that tells most, both probabilities are counted; the epsilon that they show is close."""
    rng, sigma, batches, delta = np.random.default_rng(0), 1.0, 5, 0.05
    noise = sigma * rng.normal(size=(200_000, batches))
    noise[:, 0] += 2  # by symmetry the record may as well be in the first batch
    with_it = noise.max(1)
    noise[:, 0] -= 1
    without = noise.max(1)
    shown = [
        math.log(((with_it > t).mean() - delta) / (without > t).mean())
        for t in np.arange(-1, 4, 0.1)
        if (with_it > t).mean() > delta
    ]
    assert shuffled_at_least(sigma, batches, delta) == pytest.approx(max(shown), abs=0.03)
    poisson = pld.PLDAccountant().compose(event(1e-3, 0.5, 1000)).get_epsilon(1e-5)
    assert shuffled_at_least(0.5, 1000, 1e-5) > 2 * poisson


@given(st.integers(1, 400), st.data())
def test_without_delta_the_audit_is_a_binomial_tail(guesses: int, data: st.DataObject) -> None:
    correct, epsilon = data.draw(st.integers(0, guesses)), data.draw(st.floats(0, 6))
    tail = stats.binom.sf(correct - 1, guesses, special.expit(epsilon))
    assert p_value(guesses, guesses, correct, epsilon) == pytest.approx(tail)


def test_a_delta_weakens_the_audit_by_the_papers_sum() -> None:
    records, guesses, correct, epsilon, delta = 1000, 200, 130, 0.5, 1e-5
    share, alpha, total = special.expit(epsilon), 0.0, 0.0
    for i in range(1, correct + 1):  # as printed in appendix D
        total += stats.binom.pmf(correct - i, guesses, share)
        alpha = max(alpha, total / i)
    expected = stats.binom.sf(correct - 1, guesses, share) + 2 * records * delta * alpha
    assert p_value(records, guesses, correct, epsilon, delta) == pytest.approx(expected)
    assert refuted(records, guesses, correct, delta) <= refuted(records, guesses, correct)


@pytest.mark.parametrize("epsilon", [0.5, 1.5])
def test_the_audit_of_randomised_response_is_rarely_wrong_and_close(epsilon: float) -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        members = rng.random(400) < 0.5
        told = np.where(rng.random(400) < special.expit(epsilon), members, ~members)
        found.append(audit(told + 1e-6 * rng.random(400), members, 400).epsilon)
    assert np.mean(np.array(found) > epsilon) < 0.09
    assert np.median(found) > epsilon - 0.35


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rdp_subsampled(1.2, 1.0), "probability"),
        (lambda: rdp_subsampled(0.1, 0.0), "above 0"),
        (lambda: rdp_subsampled(0.1, 1.0, np.array([1.0])), "above 1"),
        (lambda: rdp_to_epsilon(rdp_gaussian(1.0), 1.0), "between 0 and 1"),
        (lambda: rdp_to_epsilon(rdp_gaussian(1.0), 0.1, conversion="old"), "conversion"),
        (lambda: epsilon_spent(0.1, 1.0, 0, 1e-5), "at least 1"),
        (lambda: noise_for(1e-9, 0.5, 5000, 1e-5), "no noise multiplier"),
        (lambda: shuffled_at_least(1.0, 0, 1e-5), "batch"),
        (lambda: p_value(5, 6, 1, 1.0), "correct"),
        (lambda: audit(np.ones(5), np.ones(5, bool), 3), "even"),
        (lambda: refuted(5, 4, 4, level=1.0), "level"),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
