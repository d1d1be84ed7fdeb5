"""Green lists: the token before and a key choose a part of the vocabulary, and the model is pushed towards it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

KEY = 15_485_863
"""The key of the paper's code and of transformers, the millionth prime. Whoever marks in earnest takes another."""


def green_list(before: int, vocabulary: int, gamma: float = 0.25, key: int = KEY) -> Int[Tensor, " green"]:
    """Return the ids of the tokens that are green after one token.

    A generator is seeded with the key times the id of the token before. It shuffles the vocabulary, and the first
    part of it, a share of gamma rounded down, is green.

    Parameters
    ----------
    before : int
        The id of the token before.
    vocabulary : int
        How many tokens there are.
    gamma : float
    key : int

    Raises
    ------
    ValueError
        If gamma is not between 0 and 1, or leaves no token green.

    References
    ----------
    Kirchenbauer et al. 2023, A Watermark for Large Language Models, Algorithm 2; the same lists as in transformers'
    `WatermarkLogitsProcessor` with the seeding scheme "lefthash".
    """
    if not 0 < gamma < 1 or vocabulary * gamma < 1:
        raise ValueError(f"gamma is between 0 and 1 and leaves a token green; got {gamma} of {vocabulary} tokens")
    dice = torch.Generator().manual_seed(key * before % (2**64 - 1))
    return torch.randperm(vocabulary, generator=dice)[: int(vocabulary * gamma)]


def green_matrix(vocabulary: int, gamma: float = 0.25, key: int = KEY) -> Float[Tensor, "vocabulary vocabulary"]:
    """Return which token (column) is green after which (row), as 0 and 1: for vocabularies of a few thousand."""
    matrix = torch.zeros(vocabulary, vocabulary)
    for before in range(vocabulary):
        matrix[before, green_list(before, vocabulary, gamma, key)] = 1
    return matrix


def count_green(
    ids: Sequence[int], vocabulary: int, gamma: float = 0.25, key: int = KEY, once: bool = True
) -> tuple[int, int]:
    """Return how many tokens of a text are green, and how many were looked at.

    The first token has none before it and is not looked at. A pair of tokens that comes again says nothing new: the
    token is as green as it was the first time.

    Parameters
    ----------
    ids : sequence of int
    once : bool
        Count each different pair of neighbours once. False counts all, as is often done.

    Raises
    ------
    ValueError
        If there are fewer than two tokens.
    """
    pairs = list(pairwise(ids))
    if not pairs:
        raise ValueError(f"a text of {len(ids)} tokens has no pair of neighbours to look at")
    green: dict[int, Tensor] = {}
    for before, _ in pairs:
        if before not in green:
            green[before] = green_list(before, vocabulary, gamma, key)
    looked = sorted(set(pairs)) if once else pairs
    return sum(token in green[before] for before, token in looked), len(looked)


def z_score(green: float, looked: int, gamma: float = 0.25) -> float:
    """Return by how many standard deviations there are more green tokens than without a watermark.

    Raises
    ------
    ValueError
        If nothing was looked at, or gamma is not between 0 and 1.

    References
    ----------
    Kirchenbauer et al. 2023, equation 3.
    """
    if looked < 1 or not 0 < gamma < 1:
        raise ValueError(f"there is nothing to test: {looked} tokens were looked at, with gamma = {gamma}")
    return (green - gamma * looked) / math.sqrt(looked * gamma * (1 - gamma))


def expected_green(
    probabilities: Float[Tensor, "*shape vocabulary"], gamma: float, delta: float
) -> Float[Tensor, "*shape"]:
    """Return how probable a green token is at least, over all lists of this size.

    With alpha = exp(delta), a token of probability p is drawn while green with probability
    gamma * alpha * p / (1 + (alpha - 1) * G), where G is the green probability. G's mean is p + gamma * (1 - p) when
    this token is green, and 1 / (1 + x) is convex: put the mean in and the result can only get smaller.

    Raises
    ------
    ValueError
        If gamma is not between 0 and 1.

    References
    ----------
    Kirchenbauer et al. 2023, Theorem 4.2: the sum is their spike entropy, multiplied out.
    """
    if not 0 < gamma < 1:
        raise ValueError(f"gamma is the green share of the vocabulary, between 0 and 1; got {gamma}")
    alpha = math.exp(delta)
    mean = gamma * (1 - probabilities) + probabilities
    return (gamma * alpha * probabilities / (1 + (alpha - 1) * mean)).sum(-1)


def diluted_z(share: float, kept: float, looked: int, gamma: float = 0.25) -> float:
    """Return the z that is expected where only a part of the pairs is left of a marked text.

    Parameters
    ----------
    share : float
        The green share in the marked text.
    kept : float
        The part of the pairs that is left, from 0 to 1; the others are green at gamma, as in any text.
    looked : int
        How many pairs are looked at, foreign ones among them.

    Raises
    ------
    ValueError
        If a share is not from 0 to 1.
    """
    if not (0 <= share <= 1 and 0 <= kept <= 1):
        raise ValueError(f"shares are from 0 to 1; got {share} and {kept}")
    return z_score((kept * share + (1 - kept) * gamma) * looked, looked, gamma)
