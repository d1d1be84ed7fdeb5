"""Exercise 5: how much privacy training spends."""

from __future__ import annotations

import math

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number
from llmsafety_lab.checks.differential_privacy.mean import refuses

PACKAGE = "llmsafety_lab.differential_privacy.accounting"
ORDERS = np.arange(2, 65)
CONVERTED = "steps * divergence + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)"


def _divergence(rate: float, sigma: float) -> np.ndarray:
    """Integrate, where the exercise sums binomial terms."""
    found = []
    for order in ORDERS:
        z = np.arange(-12 * sigma, order + 12 * sigma, sigma / 40)
        ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * z - 1) / (2 * sigma**2))
        logs = order * ratio - z**2 / (2 * sigma**2) - math.log(40 * math.sqrt(2 * math.pi))
        found.append((logs.max() + math.log(np.exp(logs - logs.max()).sum())) / (order - 1))
    return np.array(found)


def _convert(spent: np.ndarray, delta: float) -> np.ndarray:
    return spent + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)


@exercise(
    "differential_privacy.epsilon",
    "The account",
    points=4,
    difficulty=4,
    importance=5,
    minutes=15,
    answer="epsilon_of",
    forbid=(
        f"{PACKAGE}.rdp_subsampled",
        f"{PACKAGE}.epsilon_spent",
        f"{PACKAGE}.rdp_to_epsilon",
        "dp_accounting",
        "opacus",
    ),
    mutants=(
        Mutant("one step's epsilon", "steps * divergence", "divergence", "one step"),
        Mutant(
            "epsilon added linearly", CONVERTED, CONVERTED.replace("divergence +", "(divergence +") + ")", "linearly"
        ),
        Mutant(
            "no gain from sampling",
            "logsumexp(terms) / (order - 1)",
            "order / (2 * sigma**2)",
            "in every batch",
        ),
        Mutant(
            "the rate as a factor",
            "logsumexp(terms) / (order - 1)",
            "rate * order / (2 * sigma**2)",
            "factor",
        ),
        Mutant(
            "the first papers' conversion",
            CONVERTED,
            "steps * divergence - math.log(delta) / (order - 1)",
            "first papers",
        ),
        Mutant("the worst order", "min(found)", "max(found)", "smallest"),
        Mutant("sigma not squared", "sigma**2", "sigma", "squared"),
        Mutant("no binomial coefficients", "terms = binomial + ", "terms = ", "binomial"),
        Mutant("the root of the steps", "steps * divergence", "math.sqrt(steps) * divergence", "root"),
        Mutant("order 2 alone", "range(2, 65)", "range(2, 3)", "order 2"),
        Mutant("k squared", "k * (k - 1)", "k * k", "k (k - 1)"),
        Mutant("any delta", "not 0 < delta < 1 or ", "", "delta"),
        Mutant("any sigma", " or not sigma > 0", "", "noise"),
    ),
)
def check_epsilon(answer: Answer, dice: Dice) -> None:
    hint = "Per order: the divergence of one step, times the steps, converted. Then the smallest over the orders."
    for case in range(3):
        rate = (0.01, 0.05, 0.2)[case] * (1 + float(dice.uniform(1)))
        sigma = (1.0, 1.4, 4.0)[case] * (1 + 0.4 * float(dice.uniform(1)))
        steps, delta = dice.integer(200, 900), 10.0 ** -dice.integer(4, 7)
        one = _divergence(rate, sigma)
        every = _convert(steps * one, delta)
        right = max(float(every.min()), 0.0)
        got = expect_number(answer(rate, sigma, steps, delta), "The epsilon")
        squared = math.sqrt(sigma)
        mistakes = {
            "That is the epsilon of one step. Divergences add up: multiply by the steps before you convert.": float(
                _convert(one, delta).min()
            ),
            "You add epsilon linearly: each step is converted, and the epsilons are summed. Add divergences, convert "
            "once.": steps * max(float(_convert(one, delta).min()), 0.0),
            "You count each record as if it was in every batch. Sampling at a low rate hides who is in.": float(
                _convert(steps * ORDERS / (2 * sigma**2), delta).min()
            ),
            "The rate is no factor: take the sum over k. For small rates the gain is about the rate squared.": float(
                _convert(steps * rate * ORDERS / (2 * sigma**2), delta).min()
            ),
            "The rate is no factor: the sum over k also has terms beyond rate squared.": float(
                _convert(steps * rate**2 * ORDERS / (2 * sigma**2), delta).min()
            ),
            "That is the conversion of the first papers. The tighter one has two more terms: log(1 - 1/a), and "
            "-log(a) / (a - 1).": float((steps * one - math.log(delta) / (ORDERS - 1)).min()),
            "Every order gives an epsilon that holds. Return the smallest.": float(every.max()),
            "In the exponent sigma is squared.": float(_convert(steps * _divergence(rate, squared), delta).min()),
            "You take the root of the steps. Divergences add up, once for each step.": float(
                _convert(math.sqrt(steps) * one, delta).min()
            ),
            "That is order 2 alone. Try all orders from 2 to 64.": float(every[0]),
        }
        near = lambda value, got=got: abs(got - value) < 2e-4 * max(value, 1.0)  # noqa: E731
        words = next((w for w, value in mistakes.items() if near(value) and abs(value - right) > 1e-3), "")
        words = words or f"{hint} In a term: the binomial coefficient, rate^k, (1 - rate)^(a - k), and k (k - 1)."
        what = f"The epsilon at rate {rate:.3f}, sigma {sigma:.2f}, {steps} steps, delta {delta:g}"
        expect(near(right), f"{what} is wrong.", expected=right, got=got, hint=words)
    refuses(answer, 0.1, 1.0, 10, 2.0, because="A delta of 2 is no probability: refuse it.")
    refuses(answer, 0.1, 1.0, 10, 0.0, because="A delta of 0 cannot be had from Gaussian noise: refuse it.")
    refuses(answer, 0.1, 0.0, 10, 1e-5, because="Without noise, sigma 0, no epsilon holds: refuse it.")
