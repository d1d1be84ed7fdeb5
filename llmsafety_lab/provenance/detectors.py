"""Detectors that have no key: how probable a text is to a model, and what a verdict is worth."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor


def surprise(
    logits: Float[Tensor, "tokens vocabulary"], ids: Int[Tensor, " tokens"]
) -> tuple[Float[Tensor, " tokens"], Float[Tensor, " tokens"], Float[Tensor, " tokens"]]:
    """Return for each token its log-probability, and the mean and the variance that it would have if drawn.

    Parameters
    ----------
    logits : Float[Tensor, "tokens vocabulary"]
        What the model says of each place before it sees the token there.
    ids : Int[Tensor, "tokens"]
    """
    logs = logits.float().log_softmax(-1)
    probabilities = logs.exp()
    mean = (probabilities * logs).sum(-1)
    variance = (probabilities * logs.square()).sum(-1) - mean.square()
    return logs.gather(-1, ids[:, None])[:, 0], mean, variance


def curvature(
    logs: Float[Tensor, " tokens"], mean: Float[Tensor, " tokens"], variance: Float[Tensor, " tokens"]
) -> float:
    """Return by how many standard deviations a text is more probable than what the model would draw in its place.

    Raises
    ------
    ValueError
        If the model is sure of every token: then there is nothing to compare with.

    References
    ----------
    Bao et al. 2024, Fast-DetectGPT, equation 3 and the analytic form of its sampling.
    """
    spread = float(variance.sum())
    if spread <= 0:
        raise ValueError("the model is sure of every token of this text")
    return float((logs - mean).sum()) / spread**0.5


def right_accusations(found: float, wronged: float, base: float) -> float:
    """Return the share of accused texts that a machine wrote.

    Parameters
    ----------
    found : float
        The share of machine texts that are accused (true positives).
    wronged : float
        The share of human texts that are accused (false positives).
    base : float
        The share of machine texts among all.

    Raises
    ------
    ValueError
        If a share is not from 0 to 1, or nobody is accused.
    """
    if not all(0 <= share <= 1 for share in (found, wronged, base)):
        raise ValueError(f"shares are from 0 to 1; got {found}, {wronged} and {base}")
    accused = found * base + wronged * (1 - base)
    if not accused:
        raise ValueError("nobody is accused: no accusation is right or wrong")
    return found * base / accused


def least_base(found: float, wronged: float, wanted: float = 0.5) -> float:
    """Return the share of machine texts from which on this share of the accusations is right.

    Raises
    ------
    ValueError
        If no machine text is found, or a share is not from 0 to 1.
    """
    if not 0 < found <= 1 or not 0 <= wronged <= 1 or not 0 <= wanted < 1:
        raise ValueError(f"shares are from 0 to 1, and something is found; got {found}, {wronged} and {wanted}")
    return wanted * wronged / (wanted * wronged + (1 - wanted) * found)
