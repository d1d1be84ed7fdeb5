"""What can be read off attention maps: a model's maps, rollout, induction heads."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def attention_maps(
    model: Any, tokenizer: Any, text: str | Sequence[int] | Int[Tensor, " tokens"]
) -> tuple[list[str], Float[Tensor, "layer head query key"]]:
    """Run a Hugging Face model on one text and keep the weights of all its heads.

    Parameters
    ----------
    model : transformers model, loaded with ``attn_implementation="eager"``
    tokenizer : its tokenizer
    text : str, or the ids of its tokens, taken as they are

    Returns
    -------
    tokens : list of str
    maps : Tensor, shape (layers, heads, tokens, tokens)

    Raises
    ------
    ValueError
        If the model gives no maps: the fused implementations never form them.
    """
    ids = tokenizer(text)["input_ids"] if isinstance(text, str) else [int(i) for i in text]
    with torch.no_grad():
        maps = model(torch.tensor([ids], device=model.device), output_attentions=True).attentions
    if not maps or any(layer is None for layer in maps):
        raise ValueError("the model gave no attention maps: load it with attn_implementation='eager'")
    return [tokenizer.decode([i]) for i in ids], torch.cat(maps)


def attention_rollout(maps: Float[Tensor, "layer head query key"]) -> Float[Tensor, "query key"]:
    """Follow attention down through the layers, half of each token staying where it is (Abnar & Zuidema 2020, eq. 1).

    Parameters
    ----------
    maps : Tensor, shape (layers, heads, tokens, tokens)

    Returns
    -------
    Tensor, shape (tokens, tokens)
        Row i: how much of the last layer's token i comes from each token of the input. Rows sum to 1.
    """
    rollout = identity = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in maps.mean(dim=1):
        mixed = 0.5 * layer + 0.5 * identity
        rollout = mixed / mixed.sum(dim=-1, keepdim=True) @ rollout
    return rollout


def induction_score(maps: Float[Tensor, "*heads query key"], period: int) -> Float[Tensor, "*heads"]:
    """How strongly a head looks at what came next the last time (Elhage et al. 2021; Olsson et al. 2022).

    Parameters
    ----------
    maps : Tensor, shape (..., tokens, tokens)
        Attention on a sequence that ends in two copies of the same `period` random tokens.
    period : int

    Returns
    -------
    Tensor, shape (...)
        Mean weight from each token of the second copy to the one after its first occurrence, from 0 to 1.

    Raises
    ------
    ValueError
        If the period is below 2, or two periods do not fit into the sequence.
    """
    tokens = maps.shape[-1]
    if not 2 <= period <= tokens // 2:
        raise ValueError(f"two copies of at least 2 tokens must fit into {tokens} tokens, got a period of {period}")
    queries = torch.arange(tokens - period, tokens, device=maps.device)
    return maps[..., queries, queries - period + 1].mean(dim=-1)
