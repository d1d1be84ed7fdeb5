"""Federated averaging with differential privacy for whole clients: clip each update, add noise to their sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmsafety_lab.federated_learning.averaging import Client, Recipe, Weights, flat, local_training


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


def private_federate(
    network: nn.Module,
    clients: Sequence[Client],
    recipe: Recipe,
    *,
    bound: float,
    multiplier: float,
    probability: float,
    seed: int = 0,
) -> Iterator[Weights]:
    """Yield the server's weights after each round of DP-FedAvg, without end.

    A client takes part in a round by a coin of its own, so an accountant for Poisson sampling counts the rounds, with
    the probability as its rate, the multiplier as its noise, and clients in place of records.

    Parameters
    ----------
    network, clients, recipe, seed
        As for `averaging.federate`.
    bound, multiplier : float
        See `private_average`.
    probability : float
        With which a client takes part in a round.

    Raises
    ------
    ValueError
        If the probability is not in (0, 1].
    """
    if not 0 < probability <= 1:
        raise ValueError(f"a client takes part with a probability in (0, 1], got {probability}")
    weights = flat(network)
    generator, noise = np.random.default_rng([seed, 4]), torch.Generator().manual_seed(seed)
    turn = 0
    while True:
        turn += 1
        chosen = np.flatnonzero(generator.random(len(clients)) < probability).tolist()
        updates = torch.zeros(len(chosen), len(weights), dtype=weights.dtype)
        for row, k in zip(updates, chosen, strict=True):
            row.copy_(local_training(network, weights, clients[k], recipe, (seed, turn, k)) - weights)
        drawn = torch.randn(weights.shape, generator=noise, dtype=weights.dtype)
        weights = weights + private_average(updates, bound, multiplier, probability * len(clients), drawn)
        yield weights
