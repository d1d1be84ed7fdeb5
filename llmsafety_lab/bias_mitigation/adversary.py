"""Adversarial debiasing: a predictor learns the label while an adversary tries to read the group off its output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from llmsafety_lab.bias_mitigation.learners import events
from llmsafety_lab.bias_mitigation.people import Labels, Numbers, two_groups

Model = nn.Module


def seen(
    logits: Float[Tensor, " people"], labels: Int[Tensor, " people"], notion: str
) -> Float[Tensor, "people features"]:
    """Return what the adversary sees: the logit; for equalized odds also the label, and the logit among each label.

    For equal opportunity it is shown the positive people alone, which `adversary_loss` sees to.
    """
    if notion == "equalized odds":
        y = labels.to(logits.dtype)
        return torch.stack([logits, logits * y, y], 1)
    return logits[:, None]


def adversary_loss(
    adversary: Model,
    logits: Float[Tensor, " people"],
    labels: Int[Tensor, " people"],
    groups: Int[Tensor, " people"],
    notion: str = "demographic parity",
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy with which the adversary guesses the group, 0 or 1, from the predictor's output."""
    guesses = adversary(seen(logits, labels, notion))[:, 0]
    loss = binary_cross_entropy_with_logits(guesses, groups.to(guesses.dtype), reduction="none")
    return loss[labels == 1].mean() if notion == "equal opportunity" else loss.mean()


def debiased_direction(own: Sequence[Tensor], others: Sequence[Tensor], alpha: float) -> list[Tensor]:
    """Return the predictor's gradient without its part along the adversary's, minus `alpha` times the adversary's.

    Parameters
    ----------
    own, others : sequence of Tensor
        The gradients of the predictor's and of the adversary's loss by the predictor's weights, all of one shape.
    alpha : float
        How strongly the predictor goes against the adversary.

    Raises
    ------
    ValueError
        If alpha is negative, which would help the adversary, or shapes differ.

    References
    ----------
    Zhang, Lemoine and Mitchell 2018, Mitigating Unwanted Biases with Adversarial Learning, equation 1.
    """
    if not alpha >= 0:
        raise ValueError(f"alpha is at least 0, or the predictor helps the adversary; got {alpha}")
    if [g.shape for g in own] != [h.shape for h in others]:
        raise ValueError("both gradients are by the same weights: their shapes differ")
    dot = sum((g * h).sum() for g, h in zip(own, others, strict=True))
    length = sum((h * h).sum() for h in others)
    share = dot / length if length > 0 else 0.0
    return [g - share * h - alpha * h for g, h in zip(own, others, strict=True)]


def debias_step(
    predictor: Model,
    adversary: Model,
    x: Float[Tensor, "people features"],
    labels: Int[Tensor, " people"],
    groups: Int[Tensor, " people"],
    alpha: float,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    notion: str = "demographic parity",
    decay: float = 0.0,
) -> tuple[float, float]:
    """Take one step of both players on a batch; return the predictor's loss and the adversary's, before it.

    The adversary goes down its own loss. The predictor goes along `debiased_direction`.
    """
    weights = [weight for weight in predictor.parameters() if weight.requires_grad]
    logits = predictor(x)[:, 0]
    loss = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    own = torch.autograd.grad(loss + decay / 2 * sum(w.square().sum() for w in weights), weights, retain_graph=True)
    against = adversary_loss(adversary, logits, labels, groups, notion)
    others = torch.autograd.grad(against, weights, retain_graph=True)
    for optimizer in optimizers:
        optimizer.zero_grad()
    against.backward(inputs=[weight for weight in adversary.parameters() if weight.requires_grad])
    for weight, gradient in zip(weights, debiased_direction(own, others, alpha), strict=True):
        weight.grad = gradient
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach()), float(against.detach())


def adversarial_debias(
    x: Numbers,
    labels: Labels,
    groups: np.ndarray,
    alpha: float,
    notion: str = "demographic parity",
    seed: int = 0,
    epochs: int = 20,
    batch: int = 256,
    rates: tuple[float, float] = (0.01, 0.01),
) -> Model:
    """Return a linear predictor of the label that was trained against a linear adversary.

    The learning rates fall in a straight line to 0.

    Parameters
    ----------
    x, labels, groups
        Rows, shape (people, features); two groups.
    alpha : float
        0 leaves only the projection.
    notion : str
        A key of `NOTIONS`.
    seed : int
        Draws the first weights and the batches.
    epochs, batch : int
    rates : pair of float
        Learning rates of the predictor and of the adversary.

    Raises
    ------
    ValueError
        If there are not exactly two groups, or alpha is negative.
    """
    y, g = two_groups(labels, groups)
    if len(np.unique(g)) != 2:
        raise ValueError(f"this adversary tells two groups apart; got {len(np.unique(g))}")
    events(y, notion)
    if epochs < 1 or batch < 2:
        raise ValueError(f"at least one epoch and batches of two: got {epochs} and {batch}")
    generator = torch.Generator().manual_seed(seed)
    rows, targets = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    places = torch.as_tensor((g == np.unique(g)[1]).astype(int))
    predictor = nn.Linear(rows.shape[1], 1)
    adversary = nn.Linear(3 if notion == "equalized odds" else 1, 1)
    with torch.no_grad():
        for weight in (*predictor.parameters(), *adversary.parameters()):
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    steps = epochs * max(1, len(rows) // batch)
    optimizers = (
        torch.optim.Adam(predictor.parameters(), lr=rates[0]),
        torch.optim.Adam(adversary.parameters(), lr=rates[1]),
    )
    schedules = [torch.optim.lr_scheduler.LinearLR(one, 1.0, 0.0, steps) for one in optimizers]
    taken = 0
    while taken < steps:
        order = torch.randperm(len(rows), generator=generator)
        for part in order.split(batch)[: max(1, len(rows) // batch)]:
            if notion != "equal opportunity" or bool(targets[part].any()):
                debias_step(predictor, adversary, rows[part], targets[part], places[part], alpha, optimizers, notion)
            for schedule in schedules:
                schedule.step()
            taken += 1
    return predictor
