"""Gumbel sampling by a key: the token that chance would choose, chosen by chance that the key can repeat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from llmsafety_lab.provenance.seeds import generator


def keyed_uniforms(before: Sequence[int], vocabulary: int, key: int) -> Float[Tensor, " vocabulary"]:
    """Return a number from 0 to 1 for each token: the same ones after the same tokens with the same key."""
    return torch.rand(vocabulary, generator=generator(before, key), dtype=torch.float64)


def gumbel_choice(probabilities: Float[Tensor, " vocabulary"], uniforms: Float[Tensor, " vocabulary"]) -> int:
    """Return the token with the largest u ** (1 / p): over all u it is each token with its own probability.

    It is computed as the smallest -log(u) / p, in which no power of a small number is lost.

    Raises
    ------
    ValueError
        If no token has a positive probability, or one has a negative one.

    References
    ----------
    Aaronson and Kirchner 2022, Watermarking GPT Outputs (a talk); Maddison, Tarlow and Minka 2014 for the Gumbel trick.
    """
    if not bool((probabilities >= 0).all()) or not bool(probabilities.any()):
        raise ValueError("probabilities are not negative, and one is positive")
    waits = -uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities
    return int(waits.masked_fill(probabilities == 0, torch.inf).argmin())


def gumbel_test(uniforms: Float[Tensor, " tokens"]) -> tuple[float, float]:
    """Return the sum of -log(1 - u) over a text's tokens, and its p-value.

    Parameters
    ----------
    uniforms : Float[Tensor, "tokens"]
        The key's number of each token that was written, repeated contexts left out. Without a watermark they are
        uniform, and the sum has a Gamma distribution with the number of tokens as its shape.

    Raises
    ------
    ValueError
        If there is no token.
    """
    if not len(uniforms):
        raise ValueError("no token was looked at: there is nothing to test")
    total = float(-torch.log1p(-uniforms.to(torch.float64)).sum())
    return total, float(stats.gamma.sf(total, len(uniforms)))
