"""When a service hides its confidence: what it shows then, and an attack that needs labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from llmsafety_lab.membership_inference.scores import _logits_and_labels

if TYPE_CHECKING:
    from llmsafety_lab.membership_inference.shadows import Networks


def masked(
    logits: Float[np.ndarray, "*models records classes"],
    labels: Int[np.ndarray, " records"],
    how: Literal["one decimal", "top class", "label"],
) -> Float[np.ndarray, "*models records"]:
    """Return the probability of the label that an attacker can read off an output that was masked.

    Parameters
    ----------
    logits : Float[np.ndarray, "*models records classes"]
    labels : Int[np.ndarray, " records"]
    how : {"one decimal", "top class", "label"}
        Probabilities rounded to one decimal; the probability of the most probable class alone, rounded to one decimal
        (another class has 0); or that class alone, so that the answer is 1 where it is the label and 0 elsewhere.

    Raises
    ------
    ValueError
        If shapes do not fit, or there is no such mask.
    """
    rows, truth = _logits_and_labels(logits, labels)
    odds = np.exp(rows - rows.max(-1, keepdims=True))
    probabilities = odds / odds.sum(-1, keepdims=True)
    own = probabilities[..., np.arange(len(truth)), truth]
    right = rows.argmax(-1) == truth
    if how == "one decimal":
        return own.round(1)
    if how == "top class":
        return np.where(right, own.round(1), 0.0)
    if how == "label":
        return right.astype(float)
    raise ValueError(f'the masks are "one decimal", "top class" and "label"; got {how!r}')


@torch.no_grad()
def steadiness(
    networks: Networks,
    x: Float[np.ndarray, "records features"],
    y: Int[np.ndarray, " records"],
    scale: float = 0.5,
    copies: int = 50,
    seed: int = 0,
) -> Float[np.ndarray, "models records"]:
    """Return the share of noisy copies of each record for which each network still predicts the record's label.

    A record far inside its class keeps its label under noise, and training pushes its records there. Only labels are
    read.

    Parameters
    ----------
    scale : float
        The standard deviation of the noise that is added to each feature.
    copies : int

    Raises
    ------
    ValueError
        If there is no copy, or the scale is not positive.

    References
    ----------
    Choquette-Choo et al. 2021, Label-Only Membership Inference Attacks, section 3.
    """
    if copies < 1 or scale <= 0:
        raise ValueError(f"noisy copies need noise and a copy: got {scale} and {copies}")
    generator = torch.Generator().manual_seed(seed)
    clean, labels = torch.as_tensor(np.asarray(x), dtype=torch.float32), torch.as_tensor(np.asarray(y)).long()
    kept = torch.zeros(len(networks.weights[0]), len(clean))
    for _ in range(copies):
        noisy = clean + scale * torch.randn(clean.shape, generator=generator)
        kept += networks(noisy[None]).argmax(-1) == labels
    return (kept / copies).double().numpy()
