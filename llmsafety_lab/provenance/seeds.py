"""Keyed chance: the numbers that a watermark draws are fixed by a secret key and the tokens before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

MULTIPLIER, INCREMENT = 6364136223846793005, 1


def accumulate(seed: Int[Tensor, "*shape"], numbers: Int[Tensor, "*shape length"]) -> Int[Tensor, "*shape"]:
    """Return a seed into which numbers were mixed one after the other, by a linear congruential generator of 64 bits.

    Raises
    ------
    ValueError
        If the seed or the numbers are no integers.

    References
    ----------
    Knuth, The Art of Computer Programming, volume 2, section 3.3.4; Dathathri et al. 2024 mix n-grams in this way.
    """
    if seed.is_floating_point() or numbers.is_floating_point():
        raise ValueError(f"token ids and keys are integers; got {seed.dtype} and {numbers.dtype}")
    for number in numbers.unbind(-1):
        seed = (seed + number) * MULTIPLIER + INCREMENT
    return seed


def generator(before: Sequence[int], key: int) -> torch.Generator:
    """Return a generator of chance that follows from the tokens before and the key, and from nothing else."""
    seed = accumulate(torch.tensor(key), torch.tensor([*before, key]))
    return torch.Generator().manual_seed(int(seed) % 2**63)
