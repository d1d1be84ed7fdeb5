"""Speculative decoding: a small model drafts, a large one checks, and the text is as if the large one wrote it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def speculate(
    drafted: Int[Tensor, " ahead"],
    draft: Float[Tensor, "ahead vocabulary"],
    target: Float[Tensor, "ahead_and_one vocabulary"],
    generator: torch.Generator,
) -> list[int]:
    """Keep drafted tokens so that what is written follows the target's distribution (Leviathan et al. 2023).

    Parameters
    ----------
    drafted : Tensor, shape (ahead,)
        Tokens that a small model drew one after the other.
    draft : Tensor, shape (ahead, vocabulary)
        The probabilities it drew each from.
    target : Tensor, shape (ahead + 1, vocabulary)
        The large model's probabilities at the same places, and after the last.
    generator : torch.Generator

    Returns
    -------
    list of int
        The tokens kept, and one more: drawn where the first was rejected, or after the last.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if len(draft) != len(drafted) or target.shape != (len(drafted) + 1, draft.shape[-1]):
        shapes = f"{tuple(drafted.shape)}, {tuple(draft.shape)}, {tuple(target.shape)}"
        raise ValueError(f"needs n drafted tokens, n rows that they were drawn from, n + 1 of the target; got {shapes}")
    kept: list[int] = []
    for token, q, p in zip(drafted.tolist(), draft, target, strict=False):
        if torch.rand((), generator=generator) * q[token] >= p[token]:
            rest = (p - q).clamp(min=0)
            return [*kept, int(torch.multinomial(rest, 1, generator=generator))]
        kept.append(token)
    return [*kept, int(torch.multinomial(target[-1], 1, generator=generator))]
