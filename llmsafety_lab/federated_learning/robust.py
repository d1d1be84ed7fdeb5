"""Averages that a few clients cannot move far: median, trimmed mean, Krum, and a bound on the length."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.federated_learning.averaging import weighted_average


def coordinate_median(updates: Float[Tensor, "clients weights"]) -> Float[Tensor, " weights"]:
    """Return the median of each coordinate; of an even number of clients the mean of the middle two.

    References
    ----------
    Yin et al. 2018, Byzantine-Robust Distributed Learning, definition 1.
    """
    ordered = updates.sort(dim=0).values
    return (ordered[(len(updates) - 1) // 2] + ordered[len(updates) // 2]) / 2


def trimmed_mean(updates: Float[Tensor, "clients weights"], attackers: int) -> Float[Tensor, " weights"]:
    """Return the mean of each coordinate without its `attackers` largest and as many smallest values.

    Raises
    ------
    ValueError
        If nothing would be left.

    References
    ----------
    Yin et al. 2018, definition 2.
    """
    if not 0 <= 2 * attackers < len(updates):
        raise ValueError(f"of {len(updates)} clients {attackers} cannot be cut off at both ends")
    return updates.sort(dim=0).values[attackers : len(updates) - attackers].mean(0)


def krum_scores(updates: Float[Tensor, "clients weights"], attackers: int) -> Float[Tensor, " clients"]:
    """Return for each update the sum of squared distances to its n - attackers - 2 nearest others.

    Raises
    ------
    ValueError
        If there are fewer than 2 * attackers + 3 clients, for which nothing is proven.

    References
    ----------
    Blanchard et al. 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, section 4.
    """
    clients = len(updates)
    if attackers < 0 or clients < 2 * attackers + 3:
        raise ValueError(f"Krum against {attackers} attackers needs {2 * attackers + 3} clients, there are {clients}")
    distances = (updates[:, None] - updates[None]).square().sum(-1)
    others = distances.sort(dim=1).values[:, 1:]  # the first is the distance to itself
    return others[:, : clients - attackers - 2].sum(1)


def krum_choice(updates: Float[Tensor, "clients weights"], attackers: int, kept: int = 1) -> Int[Tensor, " kept"]:
    """Return the places of the updates with the lowest scores."""
    return krum_scores(updates, attackers).argsort()[:kept]


def krum(updates: Float[Tensor, "clients weights"], attackers: int, kept: int = 1) -> Float[Tensor, " weights"]:
    """Return the update that lies closest to its neighbours, or the mean of the `kept` closest (Multi-Krum)."""
    return updates[krum_choice(updates, attackers, kept)].mean(0)


def bounded(
    updates: Float[Tensor, "clients weights"], counts: Float[Tensor, " clients"], bound: float | None = None
) -> Float[Tensor, " weights"]:
    """Return the weighted mean of updates that are cut to a length: the median of all lengths, unless it is given.

    References
    ----------
    Sun et al. 2019, Can You Really Backdoor Federated Learning?, section 4.
    """
    lengths = updates.norm(dim=1, keepdim=True)
    limit = lengths.median() if bound is None else torch.as_tensor(bound)
    return weighted_average(updates * (limit / lengths.clamp(min=1e-12)).clamp(max=1), counts)
