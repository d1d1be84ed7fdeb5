"""Federated averaging: what a client computes, what the server makes of it, and the rounds of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

Client = tuple[Float[Tensor, "records features"], Int[Tensor, " records"]]
Weights = Float[Tensor, " weights"]
Updates = Float[Tensor, "clients weights"]
Counts = Float[Tensor, " clients"]
Aggregate = Callable[[Updates, Counts], Weights]


@dataclass(frozen=True)
class Recipe:
    """How a client trains on its own records.

    Parameters
    ----------
    rate : float
        Learning rate of plain gradient descent.
    epochs : int
        Passes over the client's records in one round.
    batch : int
        Records a step; 0 for all of them. One epoch with all records is one step, and the method is FedSGD.
    momentum : float
        The client's own; it begins at 0 in each round.
    proximal : float
        Pull towards the server's weights, FedProx's mu.
    """

    rate: float = 0.1
    epochs: int = 1
    batch: int = 0
    momentum: float = 0.0
    proximal: float = 0.0


def flat(network: nn.Module) -> Weights:
    """Return all weights of a network in one row, as a copy."""
    return parameters_to_vector(network.parameters()).detach().clone()


def load(network: nn.Module, weights: Weights) -> nn.Module:
    """Put a row of weights into a network, as a copy, and return the network."""
    vector_to_parameters(weights.detach().clone(), network.parameters())
    return network


def gradient(network: nn.Module, weights: Weights, x: Tensor, y: Tensor) -> Weights:
    """Return the gradient of the mean cross-entropy by all weights, in one row."""
    load(network, weights)
    parts = torch.autograd.grad(cross_entropy(network(x), y), list(network.parameters()))
    return torch.cat([part.reshape(-1) for part in parts])


def local_training(
    network: nn.Module, weights: Weights, client: Client, recipe: Recipe, seed: Sequence[int] = (0,)
) -> Weights:
    """Return the weights after a client has trained on its own records.

    Parameters
    ----------
    network : nn.Module
        Computes the logits; what its weights are does not matter, and they are other ones afterwards.
    weights : Float[Tensor, "weights"]
        Those that the server sent.
    client : (Float[Tensor, "records features"], Int[Tensor, "records"])
    recipe : Recipe
    seed : sequence of int
        Draws the order of the records.

    Raises
    ------
    ValueError
        If the client has no record, or not as many labels as records.

    References
    ----------
    McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data, algorithm 1; Li et
    al. 2020, Federated Optimization in Heterogeneous Networks, for the proximal term.
    """
    x, y = client
    if not len(x) or len(x) != len(y):
        raise ValueError(f"a client needs records, and a label for each: {len(x)} records, {len(y)} labels")
    generator = np.random.default_rng(list(seed))
    parameters = list(network.parameters())
    now = weights.detach().clone()
    vector_to_parameters(now, parameters)  # the parameters are views of `now`: a step on it is a step on them
    velocity = torch.zeros_like(now)
    size = recipe.batch or len(x)
    for _ in range(recipe.epochs):
        order = torch.as_tensor(generator.permutation(len(x)))
        for rows in order.split(size):
            parts = torch.autograd.grad(cross_entropy(network(x[rows]), y[rows]), parameters)
            slope = torch.cat([part.reshape(-1) for part in parts])
            if recipe.proximal:
                slope = slope + recipe.proximal * (now - weights)
            velocity = recipe.momentum * velocity + slope
            now -= recipe.rate * velocity
    return now


def weighted_average(updates: Updates, counts: Counts) -> Weights:
    """Return the average of the clients' updates, each weighted by its number of records.

    Raises
    ------
    ValueError
        If there is no client, not as many counts as clients, or a count is not positive.

    References
    ----------
    McMahan et al. 2017, algorithm 1.
    """
    counts = torch.as_tensor(counts, dtype=updates.dtype)
    if updates.dim() != 2 or not len(updates) or counts.shape != updates.shape[:1] or not bool((counts > 0).all()):
        raise ValueError(
            f"updates are a row for each client, with a positive count for each: {tuple(updates.shape)}, {counts}"
        )
    return (counts / counts.sum()) @ updates


def server_step(
    weights: Weights,
    step: Weights,
    velocity: Weights,
    rate: float = 1.0,
    momentum: float = 0.0,
) -> tuple[Weights, Weights]:
    """Return the server's new weights and velocity after an averaged update.

    Parameters
    ----------
    weights, step, velocity : Float[Tensor, "weights"]
        The weights that were sent out; the average of what came back, minus them; the velocity so far.
    rate, momentum : float
        The server's own. 1 and 0 are plain FedAvg.

    References
    ----------
    Hsu, Qi and Brown 2019, Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification, section 4.2 (FedAvgM); Reddi et al. 2021, Adaptive Federated Optimization, algorithm 1.
    """
    velocity = momentum * velocity + step
    return weights + rate * velocity, velocity


def federate(
    network: nn.Module,
    clients: Sequence[Client],
    recipe: Recipe,
    *,
    share: float = 1.0,
    server_rate: float = 1.0,
    server_momentum: float = 0.0,
    seed: int = 0,
    aggregate: Aggregate = weighted_average,
    send: Callable[[Updates, Int[np.ndarray, " chosen"]], Updates] | None = None,
) -> Iterator[Weights]:
    """Yield the server's weights after each round, without end.

    Parameters
    ----------
    network : nn.Module
        Its weights are those that the first round begins with.
    clients : sequence of (x, y)
    recipe : Recipe
    share : float
        The part of the clients that is drawn for a round, at least one.
    server_rate, server_momentum : float
    seed : int
        Draws the clients of each round and the order of their records.
    aggregate : callable
        Makes one update of all: `weighted_average`, or one of `robust`.
    send : callable, optional
        Changes the updates on their way: compression, noise, or an attack. Takes them and the clients' places.

    Raises
    ------
    ValueError
        If there is no client, or the share is not in (0, 1].
    """
    if not clients or not 0 < share <= 1:
        raise ValueError(f"a round needs clients, and a share of them in (0, 1]: {len(clients)} clients, share {share}")
    weights = flat(network)
    velocity = torch.zeros_like(weights)
    generator = np.random.default_rng([seed, 1])
    size = max(1, round(share * len(clients)))
    turn = 0
    while True:
        turn += 1
        chosen = np.sort(generator.choice(len(clients), size, replace=False))
        updates = torch.stack(
            [local_training(network, weights, clients[k], recipe, (seed, turn, int(k))) - weights for k in chosen]
        )
        if send:
            updates = send(updates, chosen)
        counts = torch.tensor([float(len(clients[k][1])) for k in chosen], dtype=weights.dtype)
        weights, velocity = server_step(weights, aggregate(updates, counts), velocity, server_rate, server_momentum)
        yield weights
