"""Federated averaging with differential privacy for whole clients: clip each update, add noise to their sum."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def clip(updates: Float[Tensor, "clients weights"], bound: float) -> Float[Tensor, "clients weights"]:
    """Shorten each update that is longer than the bound; the others stay as they are.

    Raises
    ------
    ValueError
        If the bound is not positive.
    """
    if not bound > 0:
        raise ValueError(f"the bound of an update's length is positive, got {bound}")
    return updates * (bound / updates.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)


def private_average(
    updates: Float[Tensor, "clients weights"],
    bound: float,
    multiplier: float,
    expected: float,
    noise: Float[Tensor, " weights"],
) -> Float[Tensor, " weights"]:
    """Return the noisy average of clipped updates: their sum, with noise, divided by the expected number of clients.

    Every client counts the same, however many records it has, and the divisor is fixed beforehand: who comes must not
    change how the others count.

    Parameters
    ----------
    updates : Float[Tensor, "clients weights"]
        Of those who were drawn, each client by itself with the same probability. It may be none.
    bound : float
        The largest length of an update: the sensitivity of the sum.
    multiplier : float
        Deviation of the noise, in units of the bound.
    expected : float
        The expected number of clients in a round.
    noise : Float[Tensor, "weights"]
        Standard normal.

    Raises
    ------
    ValueError
        If the bound or the expected number is not positive, or the multiplier is negative.

    References
    ----------
    McMahan et al. 2018, Learning Differentially Private Recurrent Language Models, algorithm 1 with the estimator of a
    fixed denominator.
    """
    if not expected > 0 or multiplier < 0:
        raise ValueError(f"clients are expected, and noise is not negative: {expected} clients, noise {multiplier}")
    return (clip(updates, bound).sum(0) + multiplier * bound * noise) / expected
