"""Many small networks trained by DP-SGD side by side, so that an attack with shadow models can be run on them.

For a layer y = W x the gradient of one record is an outer product of two vectors, and its norm the product of their
norms. So the norms are known without any record's gradient, and a second product gives the clipped sum at once ("ghost
clipping"): what `sgd` does for any model, at a fraction of the memory, for this one.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmsafety_lab.membership_inference import Networks, Recipe


def ghost_sum(
    networks: Networks,
    x: Float[Tensor, "models batch features"],
    y: Int[Tensor, "models batch"],
    present: Float[Tensor, "models batch"],
    bound: float,
) -> list[Tensor]:
    """Return the sums of clipped gradients by the networks' weights, then biases, each network's on its own batch.

    Parameters
    ----------
    networks : Networks
        With one hidden layer or none, without dropout.
    x, y : Tensor
    present : Float[Tensor, "models batch"]
        1 for a record that is in the batch, 0 for what fills it up.
    bound : float
        Infinite for no clipping.

    References
    ----------
    Li et al. 2022, Large Language Models Can Be Strong Differentially Private Learners, section 4 (ghost clipping).
    """
    with torch.no_grad():
        entered, before = [x], x
        for weight, bias in zip(networks.weights[:-1], networks.biases[:-1], strict=True):
            entered.append(before := torch.baddbmm(bias, before, weight).relu())
        out = torch.baddbmm(networks.biases[-1], before, networks.weights[-1]).softmax(-1)
        slope = out - torch.nn.functional.one_hot(y, out.shape[-1]).to(out.dtype)
        slopes = [slope]
        for weight, hidden in zip(reversed(networks.weights[1:]), reversed(entered[1:]), strict=True):
            slopes.insert(0, slope := (slope @ weight.mT) * (hidden > 0))
        squares = torch.stack(
            [(1 + a.square().sum(-1)) * s.square().sum(-1) for a, s in zip(entered, slopes, strict=True)]
        ).sum(0)
        factor = present * (bound / squares.sqrt().clamp_min(1e-12)).clamp_max(1)
        scaled = [s * factor[..., None] for s in slopes]
        return [a.mT @ s for a, s in zip(entered, scaled, strict=True)] + [s.sum(1, keepdim=True) for s in scaled]


def train_private_networks(
    x: Float[np.ndarray, "records features"],
    y: Int[np.ndarray, " records"],
    members: Bool[np.ndarray, "models records"],
    recipe: Recipe,
    rate: float,
    steps: int,
    bound: float,
    multiplier: float,
    seed: int = 0,
) -> Networks:
    """Train a network for each row of `members` by DP-SGD with AdamW, all side by side.

    Parameters
    ----------
    x, y, members
        As for `membership_inference.train_networks`.
    recipe : Recipe
        Its width and learning rate are used; epochs and batch are replaced by the next two.
    rate : float
        The probability with which each of a network's own records is in a batch.
    steps : int
    bound, multiplier : float
        Clipping and noise; an infinite bound and a multiplier of 0 give plain training with the same batches.
    seed : int

    Raises
    ------
    ValueError
        If training sets differ in size, or noise is asked for without a bound.
    """
    inputs, labels = torch.as_tensor(np.asarray(x), dtype=torch.float32), torch.as_tensor(np.asarray(y)).long()
    inside = torch.as_tensor(np.asarray(members))
    sizes = inside.sum(1)
    if sizes.min() < 1 or sizes.min() != sizes.max():
        raise ValueError("each network needs a training set, and all of the same size, to be trained side by side")
    if multiplier and bound == float("inf"):
        raise ValueError("without a bound no noise is enough: give a finite one, or a multiplier of 0")
    own, count = inside.nonzero()[:, 1].reshape(len(inside), -1), int(sizes[0])
    networks = Networks(len(inside), inputs.shape[1], int(labels.max()) + 1, recipe, seed)
    leaves = [*networks.weights, *networks.biases]
    step = torch.optim.AdamW(leaves, lr=recipe.rate, weight_decay=recipe.decay)
    for _ in range(steps):
        drawn = torch.rand(own.shape, generator=networks.generator) < rate
        most = max(int(drawn.sum(1).max()), 1)
        present, places = drawn.float().topk(most, dim=1)
        rows = own.gather(1, places)
        sums = ghost_sum(networks, inputs[rows], labels[rows], present, bound)
        for leaf, total in zip(leaves, sums, strict=True):
            noise = torch.randn(total.shape, generator=networks.generator) if multiplier else 0.0
            leaf.grad = (total + (multiplier * bound * noise if multiplier else 0.0)) / (rate * count)
        step.step()
    return networks
