"""Unlearning: losses that make a trained model forget some records, and what is left of these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from llmsafety_lab.membership_inference import area
from llmsafety_lab.pretraining import IGNORE, Batch

Loss = Callable[[Float[Tensor, " forget"], Float[Tensor, " forget"], Float[Tensor, " retain"]], Float[Tensor, ""]]


def gradient_ascent(
    forget: Float[Tensor, " forget"], reference: Float[Tensor, " forget"], retain: Float[Tensor, " retain"]
) -> Float[Tensor, ""]:
    """Return the mean log-probability of the texts to forget: less is better, and there is no least."""
    return forget.mean()


def gradient_difference(
    forget: Float[Tensor, " forget"], reference: Float[Tensor, " forget"], retain: Float[Tensor, " retain"]
) -> Float[Tensor, ""]:
    """Return the mean log-probability of the texts to forget minus that of texts to retain.

    References
    ----------
    Maini et al. 2024, TOFU: A Task of Fictitious Unlearning for LLMs, section 3.
    """
    return forget.mean() - retain.mean()


def npo_loss(
    forget: Float[Tensor, " forget"], reference: Float[Tensor, " forget"], beta: float = 0.1
) -> Float[Tensor, ""]:
    """Return the loss of negative preference optimisation: (2 / beta) mean log(1 + (p / p_reference)^beta).

    Where the model still finds a text as probable as the reference did, the gradient is that of `gradient_ascent`; the
    less probable the text has become, the smaller is its gradient. It has a least value, 0.

    Parameters
    ----------
    forget, reference : Float[Tensor, " forget"]
        Log-probability of each whole text under the model, and under the model before unlearning.
    beta : float
        As it falls to 0, the gradient becomes that of `gradient_ascent`.

    Raises
    ------
    ValueError
        If beta is not above 0, or the shapes differ.

    References
    ----------
    Zhang et al. 2024, Negative Preference Optimization, equation 3.
    """
    if not beta > 0 or forget.shape != reference.shape:
        raise ValueError(f"beta is above 0 and shapes are equal; got {beta}, {forget.shape} and {reference.shape}")
    return 2 / beta * softplus(beta * (forget - reference.detach())).mean()


def npo_retain(
    forget: Float[Tensor, " forget"], reference: Float[Tensor, " forget"], retain: Float[Tensor, " retain"]
) -> Float[Tensor, ""]:
    """Return `npo_loss` minus the mean log-probability of texts to retain."""
    return npo_loss(forget, reference) - retain.mean()


def log_probabilities(model: nn.Module, batch: Batch) -> Float[Tensor, " texts"]:
    """Return the log-probability of each text's labels, in nats."""
    inputs, labels = batch
    return -cross_entropy(model(inputs).transpose(1, 2), labels, ignore_index=IGNORE, reduction="none").sum(1)


def unlearn(
    model: nn.Module, forget: Batch, retain: Batch, loss: Loss, steps: int, rate: float, size: int = 32, seed: int = 0
) -> list[float]:
    """Change a model in place so that it forgets, a batch of both kinds a step, with AdamW.

    Parameters
    ----------
    model : Module
    forget, retain : pair of integer Tensors
        Inputs and labels, a row a text.
    loss : callable
        Of log-probabilities of texts to forget, the same before unlearning, and of texts to retain.
    steps, size, seed : int
    rate : float

    Returns
    -------
    list of float
        The loss of each step.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        before = log_probabilities(model, forget)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        some = torch.randperm(len(forget[0]), generator=random)[:size]
        rest = torch.randperm(len(retain[0]), generator=random)[:size]
        value = loss(
            log_probabilities(model, (forget[0][some], forget[1][some])),
            before[some],
            log_probabilities(model, (retain[0][rest], retain[1][rest])),
        )
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(value.item())
    return losses


def judge(
    before: Float[np.ndarray, " canaries"],
    after: Float[np.ndarray, " canaries"],
    relearned: Float[np.ndarray, " canaries"],
    retrained: Float[np.ndarray, " canaries"],
    retrained_relearned: Float[np.ndarray, " canaries"],
    forgotten: Float[np.ndarray, " forgotten"],
    outsiders: Float[np.ndarray, " outsiders"],
) -> tuple[float, float, float]:
    """Judge unlearning by a model that was trained anew without the forgotten: as good as this is all one can ask.

    Parameters
    ----------
    before, after, relearned : Float[np.ndarray, " canaries"]
        Exposure in bits of the forgotten canaries: before unlearning, after it, and after a short training on other
        texts.
    retrained, retrained_relearned : Float[np.ndarray, " canaries"]
        The same of the model that never saw them, and of that model after the same short training.
    forgotten, outsiders : Float[np.ndarray, " texts"]
        Losses of the unlearned model on records that it should have forgotten, and on records that nobody trained on.

    Returns
    -------
    forgot : float
        The fall of the mean exposure, divided by its fall to the retrained model's: 1 is as if never seen.
    returned : float
        What the short training brings back, beyond what it brings to the retrained model, divided by the same.
    trace : float
        How well forgotten records are told from outsiders, by losses that are too low or too high: 1/2 is not at all.

    Raises
    ------
    ValueError
        If rows of canaries differ in length, a number is not finite, or there was no more to forget than the retrained
        model shows.
    """
    rows = [np.asarray(row, dtype=float) for row in (before, after, relearned, retrained, retrained_relearned)]
    if len({row.shape for row in rows}) > 1 or not rows[0].size or not np.isfinite(rows).all():
        raise ValueError("five rows of finite exposures, one of each canary, are needed")
    was, now, again, never, never_again = (float(row.mean()) for row in rows)
    if not was > never:
        raise ValueError(f"nothing to forget: {was:.2f} bits before, {never:.2f} in a model that never saw them")
    found = np.r_[forgotten, outsiders]
    one_sided = area(-found, np.arange(len(found)) < len(forgotten))
    forgot = (was - now) / (was - never)
    returned = ((again - now) - (never_again - never)) / (was - never)
    return forgot, returned, max(one_sided, 1 - one_sided)
