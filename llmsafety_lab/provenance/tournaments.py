"""Tournament sampling, the watermark of SynthID-Text: candidates drawn by the model meet, and the key decides."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.provenance.seeds import accumulate

TABLE = 2**16


@functools.cache
def _table(size: int, seed: int) -> Int[Tensor, " size"]:
    return torch.randint(0, 2, (size,), generator=torch.Generator().manual_seed(seed))


def g_values(
    before: Sequence[int], tokens: Int[Tensor, " tokens"], keys: Sequence[int], table: int = TABLE, seed: int = 0
) -> Int[Tensor, "tokens rounds"]:
    """Return the marks 0 or 1 that tokens have after the tokens before: one for each key, thus for each round.

    Parameters
    ----------
    before : sequence of int
        The last tokens, always as many.
    tokens : Int[Tensor, "tokens"]
    keys : sequence of int
    table, seed : int
        The size and the seed of the table in which a hash looks its mark up.

    References
    ----------
    Dathathri et al. 2024, Methods; equal to `SynthIDTextWatermarkLogitsProcessor` of transformers.
    """
    context = accumulate(torch.tensor(1), torch.tensor(list(before), dtype=torch.long))
    ngrams = accumulate(context.expand(len(tokens)), tokens[:, None])
    hashes = accumulate(
        ngrams[:, None].expand(-1, len(keys)), torch.tensor(keys)[None, :, None].expand(len(tokens), -1, 1)
    )
    return _table(table, seed)[hashes % table]


def tournament(
    probabilities: Float[Tensor, " vocabulary"], marks: Int[Tensor, "vocabulary rounds"]
) -> Float[Tensor, " vocabulary"]:
    """Return the distribution of a tournament's winner, without playing it.

    In each round pairs of candidates meet; the one with the larger mark goes on, and a coin decides between equals.
    So a round multiplies a token's probability by 1 + g - (the probability that the others of a pair have mark 1).

    Raises
    ------
    ValueError
        If there is not a row of marks for each token.

    References
    ----------
    Dathathri et al. 2024, Scalable watermarking for identifying large language model outputs, two candidates a match.
    """
    if len(marks) != len(probabilities):
        raise ValueError(f"a row of marks for each token: got {len(marks)} rows for {len(probabilities)} tokens")
    for mark in marks.T.to(probabilities.dtype):
        probabilities = probabilities * (1 + mark - mark @ probabilities)
    return probabilities


def play(
    probabilities: Float[Tensor, " vocabulary"], marks: Int[Tensor, "vocabulary rounds"], dice: torch.Generator
) -> int:
    """Return the winner of one tournament that is played: 2 ** rounds candidates are drawn from the model."""
    left = torch.multinomial(probabilities, 2 ** marks.shape[1], replacement=True, generator=dice)
    for mark in marks.T:
        one, other = left[::2], left[1::2]
        coin = torch.rand(len(one), generator=dice) < 0.5
        left = torch.where((mark[one] > mark[other]) | ((mark[one] == mark[other]) & coin), one, other)
    return int(left)
