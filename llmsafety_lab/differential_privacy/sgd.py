"""DP-SGD: a gradient for each record, clipped, summed, noised; and the lottery that says who is in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Gradients = dict[str, Tensor]
"""Gradients by the weight's name; those of single records have a first dimension for the records."""
Loss = Callable[[Tensor, Tensor], Tensor]


def per_sample_gradients(
    model: nn.Module, loss: Loss, inputs: Float[Tensor, "batch ..."] | Int[Tensor, "batch ..."], targets: Tensor
) -> Gradients:
    """Return the gradient of each record's own loss by all trainable weights.

    One backward pass computes the gradient of a sum over records, in which the single ones are lost. `torch.func.grad`
    is the gradient for one record, `torch.func.vmap` runs it for all of them at once.

    Parameters
    ----------
    model : nn.Module
        Its layers must treat records apart: no batch normalisation. Nothing is left in `.grad`.
    loss : callable
        Of outputs and targets with a batch dimension of one, to a number, as `torch.nn.functional.cross_entropy`.
    inputs, targets : Tensor, shapes (batch, ...)

    Returns
    -------
    dict of str to Tensor, each of shape (batch, *weight)

    Raises
    ------
    ValueError
        If inputs and targets differ in length, nothing is trainable, or a layer mixes the records of a batch.

    References
    ----------
    Abadi et al. 2016, Deep Learning with Differential Privacy, algorithm 1.
    """
    weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    if len(inputs) != len(targets) or not weights:
        raise ValueError(f"{len(inputs)} inputs, {len(targets)} targets, {len(weights)} weights that are trainable")
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        raise ValueError("batch normalisation mixes records: no gradient belongs to one of them. Use LayerNorm.")
    if not len(inputs):
        return {name: weight.new_zeros(0, *weight.shape) for name, weight in weights.items()}
    fixed = {name: weight.detach() for name, weight in model.named_parameters() if name not in weights}
    fixed |= dict(model.named_buffers())

    def one(weights: Gradients, x: Tensor, y: Tensor) -> Tensor:
        return loss(torch.func.functional_call(model, (weights, fixed), (x[None],)), y[None])

    with sdpa_kernel(SDPBackend.MATH):  # fused attention would be run record by record
        return torch.func.vmap(torch.func.grad(one), (None, 0, 0), randomness="different")(weights, inputs, targets)


def record_norms(gradients: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
    """Return each record's norm, over all weights together."""
    return torch.stack([part.flatten(1).norm(dim=1) for part in gradients.values()]).norm(dim=0)


def clipped_sum(gradients: Mapping[str, Tensor], bound: float) -> Gradients:
    """Scale each record's gradient down to a norm of at most `bound`, then sum over the records.

    A record that is added or removed changes the result by at most `bound` in norm: that is its sensitivity.

    Parameters
    ----------
    gradients : mapping of str to Tensor, each of shape (batch, *weight)
        Of one record, or of one client's update (federated learning).
    bound : float

    Raises
    ------
    ValueError
        If the bound is not above 0, or a gradient is not finite (scaling cannot bound that).

    References
    ----------
    Abadi et al. 2016, algorithm 1.
    """
    if not bound > 0:
        raise ValueError(f"the clipping bound is above 0, got {bound}")
    norms = record_norms(gradients)
    if not bool(norms.isfinite().all()):
        raise ValueError(f"{int((~norms.isfinite()).sum())} of {len(norms)} gradients are not finite: no bound holds")
    factor = (bound / norms.clamp_min(1e-12)).clamp_max(1)
    return {name: torch.einsum("b,b...->...", factor.to(part.dtype), part) for name, part in gradients.items()}


def noised(
    total: Mapping[str, Tensor], bound: float, multiplier: float, generator: torch.Generator | None = None
) -> Gradients:
    """Add to a sum of clipped gradients normal noise with the standard deviation multiplier * bound, once.

    Raises
    ------
    ValueError
        If the multiplier is negative.
    """
    if not multiplier >= 0:
        raise ValueError(f"the noise multiplier is at least 0, got {multiplier}")
    return {
        name: part
        + multiplier
        * bound
        * torch.randn(
            part.shape, generator=generator, dtype=part.dtype, device=generator.device if generator else None
        ).to(part.device)
        for name, part in total.items()
    }


def private_gradient(
    model: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    bound: float,
    multiplier: float,
    expected: float,
    generator: torch.Generator | None = None,
    at_once: int = 256,
) -> Gradients:
    """Return DP-SGD's gradient: clip each record's, sum, add noise once, divide by the *expected* size of the batch.

    Parameters
    ----------
    model, loss, inputs, targets
        As for `per_sample_gradients`. The batch is one of `poisson_batch`, and may be empty: then all is noise.
    bound : float
        The norm to which each record is clipped.
    multiplier : float
        The noise's standard deviation in units of the bound.
    expected : float
        Records times sampling rate. The size that the lottery gave depends on the records, so dividing by it would
        tell it.
    at_once : int
        For how many records gradients are held in memory at the same time.

    References
    ----------
    Abadi et al. 2016, algorithm 1.
    """
    if not expected > 0 or at_once < 1:
        raise ValueError(f"the expected size and at_once are above 0, got {expected} and {at_once}")
    total = {name: torch.zeros_like(weight) for name, weight in model.named_parameters() if weight.requires_grad}
    for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True):
        for name, part in clipped_sum(per_sample_gradients(model, loss, x, y), bound).items():
            total[name] += part
    return {name: part / expected for name, part in noised(total, bound, multiplier, generator).items()}


def poisson_batch(records: int, rate: float, generator: torch.Generator | None = None) -> Int[Tensor, " batch"]:
    """Draw a batch by throwing a coin for each record: it is in with probability `rate`, whatever the others do.

    Raises
    ------
    ValueError
        If there is no record, or the rate is not above 0 and at most 1.

    References
    ----------
    Abadi et al. 2016, section 3.1; Mironov, Talwar and Zhang 2019.
    """
    if records < 1 or not 0 < rate <= 1:
        raise ValueError(f"records are at least 1, the rate above 0 and at most 1; got {records} and {rate}")
    return (torch.rand(records, generator=generator) < rate).nonzero()[:, 0]


def train_private(
    model: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    rate: float,
    steps: int,
    bound: float,
    multiplier: float,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Train by DP-SGD: each step draws a batch by `poisson_batch` and gives the optimiser `private_gradient`.

    What an optimiser makes of noised gradients costs no more privacy, so that it may be any.

    Returns
    -------
    nn.Module
        The model, changed in place. No gradient is left in it.
    """
    named = dict(model.named_parameters())
    for _ in range(steps):
        batch = poisson_batch(len(inputs), rate, generator)
        made = private_gradient(
            model, loss, inputs[batch], targets[batch], bound, multiplier, rate * len(inputs), generator
        )
        for name, gradient in made.items():
            named[name].grad = gradient
        optimiser.step()
        optimiser.zero_grad()
    return model
