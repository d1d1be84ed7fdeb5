"""How much privacy is spent: Rényi divergences of the subsampled Gaussian, added up, and turned into epsilon.

The tables that one wants are not computed in closed form: the divergence is an integral over one real number, and it is
taken as such here. The lab has the sum for whole orders; the tests hold one against the other.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

ORDERS: Float[np.ndarray, " orders"] = np.concatenate([np.arange(1.1, 11, 0.1), np.arange(11, 65), [80, 128, 256, 512]])
"""Orders at which divergences are computed by default: the best of them is taken."""


def rdp_gaussian(sigma: float, orders: Float[np.ndarray, " orders"] = ORDERS) -> Float[np.ndarray, " orders"]:
    """Return the Rényi divergences of the Gaussian mechanism with sensitivity 1: order / (2 sigma^2).

    References
    ----------
    Mironov 2017, Rényi Differential Privacy, proposition 7.
    """
    return _orders(orders) / (2 * _positive(sigma, "sigma") ** 2)


def rdp_subsampled(
    rate: float, sigma: float, orders: Float[np.ndarray, " orders"] = ORDERS
) -> Float[np.ndarray, " orders"]:
    """Return the Rényi divergences of one step of DP-SGD: Poisson sampling, then the Gaussian mechanism.

    The two outcomes to compare are N(0, sigma^2), without a record, and the mixture (1 - rate) N(0, sigma^2) + rate
    N(1, sigma^2) with it. The divergence of order a is log E[(mixture / normal)^a] / (a - 1) under the normal one.

    Parameters
    ----------
    rate : float
        The probability with which a record is in a batch.
    sigma : float
        The noise multiplier.
    orders : Float[np.ndarray, " orders"]
        Above 1, whole or not.

    Raises
    ------
    ValueError
        If the rate is not from 0 to 1, sigma not above 0, or an order not above 1.

    References
    ----------
    Mironov, Talwar and Zhang 2019, Rényi Differential Privacy of the Sampled Gaussian Mechanism, section 3.
    """
    orders, sigma = _orders(orders), _positive(sigma, "sigma")
    if not 0 <= rate <= 1:
        raise ValueError(f"the sampling rate is a probability, got {rate}")
    if rate in (0.0, 1.0):
        return rate * rdp_gaussian(sigma, orders)
    found = []
    for order in orders:
        z = np.arange(-12 * sigma, order + 12 * sigma, sigma / 40)  # the integrand's mass lies between 0 and the order
        ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (2 * z - 1) / (2 * sigma**2))
        density = -(z**2) / (2 * sigma**2) + np.log(1 / 40 / np.sqrt(2 * np.pi))
        found.append(special.logsumexp(order * ratio + density) / (order - 1))
    return np.maximum(np.array(found), 0.0)


def rdp_to_epsilon(
    rdp: Float[np.ndarray, " orders"],
    delta: float,
    orders: Float[np.ndarray, " orders"] = ORDERS,
    conversion: Literal["today", "2017"] = "today",
) -> float:
    """Return the smallest epsilon that Rényi divergences of these orders promise at a delta.

    Parameters
    ----------
    rdp : Float[np.ndarray, " orders"]
        Of all steps together: divergences of one order add up.
    delta : float
    orders : Float[np.ndarray, " orders"]
    conversion : {"today", "2017"}
        The tighter one, or that of the first papers: divergence + log(1 / delta) / (order - 1).

    Raises
    ------
    ValueError
        If shapes differ, delta is not between 0 and 1, or the conversion is unknown.

    References
    ----------
    Mironov 2017, proposition 3; Canonne, Kamath and Steinke 2020, The Discrete Gaussian for Differential Privacy,
    proposition 12.
    """
    spent, orders = np.asarray(rdp, dtype=float), _orders(orders)
    if spent.shape != orders.shape or not 0 < delta < 1:
        raise ValueError(
            f"a divergence for each order, a delta between 0 and 1: got {spent.shape}, {orders.shape}, {delta}"
        )
    if conversion not in ("today", "2017"):
        raise ValueError(f'the conversion is "today" or "2017", got {conversion!r}')
    found = spent - np.log(delta) / (orders - 1)
    if conversion == "today":
        found += np.log1p(-1 / orders) - np.log(orders) / (orders - 1)
    return max(float(found.min()), 0.0)


def epsilon_spent(rate: float, sigma: float, steps: int, delta: float) -> float:
    """Return the epsilon of so many steps of DP-SGD, by Rényi divergences; infinite without noise.

    Raises
    ------
    ValueError
        If there is no step, or as `rdp_subsampled` and `rdp_to_epsilon`.
    """
    if steps < 1:
        raise ValueError(f"steps are at least 1, got {steps}")
    if sigma == 0:
        return float("inf")
    return rdp_to_epsilon(steps * rdp_subsampled(rate, sigma), delta)


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """Return the noise multiplier with which so many steps spend just this epsilon; 0 for an infinite one.

    Raises
    ------
    ValueError
        If epsilon is not above 0, or no multiplier from 0.3 to 1,000 spends it.
    """
    if epsilon == float("inf"):
        return 0.0
    excess = lambda log: epsilon_spent(rate, float(np.exp(log)), steps, delta) - _positive(epsilon, "epsilon")  # noqa: E731
    low, high = np.log(0.3), np.log(1000)
    if excess(low) < 0 or excess(high) > 0:
        raise ValueError(f"no noise multiplier from 0.3 to 1,000 spends an epsilon of {epsilon} in {steps} steps")
    return float(np.exp(optimize.brentq(excess, low, high, xtol=1e-4))) * 1.0002


def shuffled_at_least(sigma: float, batches: int, delta: float) -> float:
    """Return an epsilon that one epoch of *shuffled* batches cannot go below, whatever an account for a lottery says.

    One record is in one of the batches, at random, and all other records pull the other way. The event "the largest of
    all batches' noisy sums is above a threshold" has a probability with the record, and one with a blank in its place;
    the threshold that tells most is taken.

    Raises
    ------
    ValueError
        If sigma is not above 0, there is no batch, or delta is not between 0 and 1.

    References
    ----------
    Chua et al. 2024, How Private are DP-SGD Implementations?, section on lower bounds for shuffling.
    """
    _positive(sigma, "sigma")
    if batches < 1 or not 0 < delta < 1:
        raise ValueError(f"a batch and a delta between 0 and 1 are needed; got {batches} and {delta}")
    threshold = np.linspace(-5 * sigma, 2 + 12 * sigma, 4000)
    others = (batches - 1) * special.log_ndtr(threshold / sigma)
    with_it = -np.expm1(others + special.log_ndtr((threshold - 2) / sigma))
    without = -np.expm1(others + special.log_ndtr((threshold - 1) / sigma))
    clear = with_it > delta
    return max(float(np.log((with_it[clear] - delta) / without[clear]).max()), 0.0)


def _positive(value: float, what: str) -> float:
    if not value > 0:
        raise ValueError(f"{what} is above 0, got {value}")
    return float(value)


def _orders(orders: Float[np.ndarray, " orders"]) -> Float[np.ndarray, " orders"]:
    found = np.asarray(orders, dtype=float)
    if found.ndim != 1 or not len(found) or not (found > 1).all():
        raise ValueError(f"orders are numbers above 1, got {found.tolist()}")
    return found
