"""How well a model knows a planted secret: its rank among all the secrets that it could have been."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import skew, skewnorm
from torch import Tensor, nn


def mean_rank(secret: float, candidates: Float[np.ndarray, " candidates"]) -> float:
    """Return the place of a secret in the order of the candidates' losses, counted from 1; ties share their mean place.

    Parameters
    ----------
    secret : float
        The loss of the planted secret.
    candidates : Float[np.ndarray, " candidates"]
        The losses of everything that it could have been, itself among them.

    Raises
    ------
    ValueError
        If a loss is not finite, or the secret's is not among the candidates'.
    """
    losses = np.asarray(candidates, dtype=float)
    if losses.ndim != 1 or not np.isfinite(losses).all():
        raise ValueError(f"the candidates' losses are a row of finite numbers; got shape {losses.shape}")
    equal = int((losses == secret).sum())
    if not equal:
        raise ValueError("the secret's own loss is not among the candidates': compute it in the same pass as theirs")
    return int((losses < secret).sum()) + (equal + 1) / 2


def exposure(secret: float, candidates: Float[np.ndarray, " candidates"]) -> float:
    """Return how many bits of a secret a model gives away: log2 of the number of candidates, minus log2 of its rank.

    Guessing in the order of the model's losses finds the secret at its rank, and guessing blindly in the middle of the
    list. A model that knows nothing has a mean exposure of log2(e) = 1.44 bits, and one in which all losses are equal
    has 1 bit, for equal losses share their mean rank.

    Raises
    ------
    ValueError
        As `mean_rank`.

    References
    ----------
    Carlini et al. 2019, The Secret Sharer, section 4.3, definition 5.
    """
    return float(np.log2(len(candidates)) - np.log2(mean_rank(secret, candidates)))


def skew_normal(sample: Float[np.ndarray, " candidates"]) -> tuple[float, float, float]:
    """Return the shape, place and scale of the skew normal distribution that has a sample's mean, deviation and skew.

    A skew normal distribution's skew is below 0.9953: a sample with a larger one gets the largest shape allowed here,
    that of a skew of 0.99.

    Raises
    ------
    ValueError
        If there are fewer than three losses, one is not finite, or all are equal.

    References
    ----------
    Azzalini 1985, A Class of Distributions Which Includes the Normal Ones.
    """
    losses = np.asarray(sample, dtype=float)
    if losses.ndim != 1 or len(losses) < 3 or not np.isfinite(losses).all() or np.ptp(losses) == 0:
        raise ValueError("a fit needs at least three finite losses that are not all equal")
    third = float(np.clip(skew(losses), -0.99, 0.99))
    power = abs(third) ** (2 / 3)
    delta = np.sign(third) * np.sqrt(np.pi / 2 * power / (power + ((4 - np.pi) / 2) ** (2 / 3)))
    scale = losses.std() / np.sqrt(1 - 2 * delta**2 / np.pi)
    place = losses.mean() - scale * delta * np.sqrt(2 / np.pi)
    return float(delta / np.sqrt(1 - delta**2)), float(place), float(scale)


def exposure_fit(secret: float, sample: Float[np.ndarray, " candidates"]) -> float:
    """Return a secret's exposure where the candidates are too many to try: minus log2 of the share that is below it.

    A sample of random candidates gives a skew normal distribution of losses; its tail below the secret's loss is the
    share of all candidates that the model would guess first.

    Parameters
    ----------
    secret : float
    sample : Float[np.ndarray, " candidates"]
        Losses of candidates that were drawn at random.

    Raises
    ------
    ValueError
        As `skew_normal`.

    References
    ----------
    Carlini et al. 2019, section 4.3, approximation by distribution modeling.
    """
    return float(-skewnorm.logcdf(secret, *skew_normal(sample)) / np.log(2))


@torch.no_grad()
def code_losses(
    model: nn.Module, prefix: Int[Tensor, " tokens"], digits: Int[Tensor, " base"], places: int
) -> Float[np.ndarray, " codes"]:
    """Return the loss of each code after a prefix, in nats, in the order of counting: 0000, 0001, ...

    Codes that begin alike share their beginning, so the model runs on 1 + 10 + 100 + ... texts and not on a text a code
    and digit.

    Parameters
    ----------
    model : Module
        ids (batch, tokens) to logits (batch, tokens, vocabulary).
    prefix : integer Tensor, shape (tokens,)
    digits : integer Tensor, shape (base,)
        The ids of the digits in their order.
    places : int
        How many digits a code has.

    Raises
    ------
    ValueError
        If there is no prefix or no place.
    """
    if prefix.ndim != 1 or not len(prefix) or places < 1:
        raise ValueError(f"a prefix and at least one place are needed: got shape {tuple(prefix.shape)}, {places}")
    texts, losses = prefix[None], torch.zeros(1)
    for place in range(places):
        logs = torch.cat([model(part)[:, -1].log_softmax(-1)[:, digits] for part in texts.split(512)])
        losses = (losses[:, None] - logs).flatten()
        if place < places - 1:
            texts = torch.cat([texts.repeat_interleave(len(digits), 0), digits.repeat(len(texts))[:, None]], 1)
    return losses.double().numpy()
