"""The constraint E[unsafe] <= epsilon as a price that is learnt, and in closed form where the answers can be listed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor


class Lagrangian:
    """The multiplier of a constraint: it rises while the constraint is missed, and falls, to 0 at least, while not.

    Parameters
    ----------
    limit : float
        The largest mean cost that is allowed, epsilon.
    rate : float
        The step of dual ascent.
    start : float, optional
        The first multiplier.

    Raises
    ------
    ValueError
        If the limit is not from 0 to 1, the rate not above 0, or the start below 0.

    References
    ----------
    Altman 1999; Dai et al. 2024, section 3.3.
    """

    def __init__(self, limit: float, rate: float, start: float = 0.0) -> None:
        if not 0 <= limit <= 1 or not rate > 0 or not start >= 0:
            raise ValueError(f"limit from 0 to 1, rate above 0, start at least 0: got {limit}, {rate}, {start}")
        self.limit, self.rate, self.multiplier = limit, rate, float(start)

    def objective(self, reward: Float[Tensor, "*items"], cost: Float[Tensor, "*items"]) -> Float[Tensor, "*items"]:
        """Return what the policy maximises, item by item: (r - multiplier * (c - limit)) / (1 + multiplier).

        The division keeps the size of the step when the multiplier grows; it moves no maximum.
        """
        return (reward - self.multiplier * (cost - self.limit)) / (1 + self.multiplier)

    def update(self, cost: float | Tensor) -> float:
        """Take a step of dual ascent with the mean cost of a batch; return the new multiplier."""
        self.multiplier = max(0.0, self.multiplier + self.rate * (float(cost) - self.limit))
        return self.multiplier


def tilted(
    reference: Float[Tensor, "*prompts answers"], reward: Float[Tensor, "*prompts answers"], beta: float
) -> Float[Tensor, "*prompts answers"]:
    """Return the policy that maximises E[r] - beta KL(policy | reference): reference * exp(r / beta), normalised.

    Parameters
    ----------
    reference : Tensor, shape (..., answers)
        Probabilities.
    reward : Tensor, shape (..., answers)
    beta : float
        Above 0, in units of the reward a nat.

    Raises
    ------
    ValueError
        If beta is not above 0.

    References
    ----------
    Rafailov et al. 2023, eq. 4.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}: without a leash the best answer takes all")
    return (reference.log() + reward / beta).softmax(-1)


def projected(
    policy: Float[Tensor, "prompts answers"], cost: Float[Tensor, "prompts answers"], limit: float
) -> tuple[Float[Tensor, "prompts answers"], float]:
    """Return the policy nearest to a given one, by KL, whose mean cost over the prompts keeps the limit.

    It is the given one tilted by -price * cost, with the smallest price that suffices.

    Parameters
    ----------
    policy : Tensor, shape (prompts, answers)
        Probabilities; every prompt counts the same.
    cost : Tensor, shape (prompts, answers)
        1 for an unsafe answer, 0 for a safe one, or anything between.
    limit : float

    Returns
    -------
    The projected policy, and the price of the constraint in nats a unit of cost; 0 where it was kept already.

    Raises
    ------
    ValueError
        If no policy on these answers keeps the limit strictly.

    References
    ----------
    Csiszar 1975, I-divergence geometry.
    """
    reachable = torch.where(policy > 0, cost, torch.inf).min(-1).values.mean()
    if not float(reachable) < limit:
        raise ValueError(f"the least cost that these answers allow is {float(reachable):.3g}, the limit is {limit}")

    def excess(price: float) -> float:
        return float((tilted(policy, -cost, 1 / price) * cost).sum(-1).mean()) - limit if price else spent - limit

    spent = float((policy * cost).sum(-1).mean())
    if spent <= limit:
        return policy, 0.0
    top = 1.0
    while excess(top) > 0:
        top *= 2
    price = float(brentq(excess, 0.0, top, xtol=1e-10))
    return tilted(policy, -cost, 1 / price), price
