"""Extraction without knowing what to look for: let the model write, and pick what it wrote from memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@torch.no_grad()
def generate(
    model: nn.Module, prompts: Int[Tensor, "texts prompt"], tokens: int, top: int = 0, seed: int = 0
) -> Int[Tensor, "texts tokens"]:
    """Continue each prompt by tokens that are drawn from the model's distribution.

    Parameters
    ----------
    model : Module
        ids (batch, tokens) to logits (batch, tokens, vocabulary).
    prompts : integer Tensor, shape (texts, prompt)
    tokens : int
        How many to write.
    top : int
        Draw among that many most probable tokens; 1 is greedy, 0 draws among all.
    seed : int

    Returns
    -------
    Int[Tensor, "texts tokens"]
        Prompts and continuations.
    """
    random = torch.Generator().manual_seed(seed)
    ids = prompts
    for _ in range(tokens):
        logits = torch.cat([model(part)[:, -1] for part in ids.split(512)])
        if top:
            logits = logits.masked_fill(logits < logits.topk(top).values[:, -1:], -torch.inf)
        drawn = logits.argmax(-1, keepdim=True) if top == 1 else logits.softmax(-1).multinomial(1, generator=random)
        ids = torch.cat([ids, drawn], 1)
    return ids


def rank_candidates(
    texts: Sequence[str],
    losses: Float[np.ndarray, " texts"],
    by: str,
    other: Float[np.ndarray, " texts"] | None = None,
) -> Int[np.ndarray, " distinct"]:
    """Return the places of the distinct texts in the order in which an attacker believes in them, the surest first.

    A text that came several times is named once, by its first place. Of equal scores the earlier text comes first.

    Parameters
    ----------
    texts : sequence of str
        What the model wrote.
    losses : Float[np.ndarray, " texts"]
        Mean loss of each text under the attacked model: the logarithm of its perplexity.
    by : {"perplexity", "zlib", "ratio"}
        By the loss alone; by the loss divided by the bytes of the compressed text; by the loss divided by `other`.
    other : Float[np.ndarray, " texts"], optional
        Losses to compare with: those of another model, or of the same model on the texts in lower case.

    Raises
    ------
    ValueError
        If the numbers of texts and losses differ, a loss is not a finite positive number, or `by` is something else.

    References
    ----------
    Carlini et al. 2021, Extracting Training Data from Large Language Models, section 5.2.
    """
    own = np.asarray(losses, dtype=float)
    beside = {
        "perplexity": np.ones(len(texts)),
        "zlib": np.array([len(zlib.compress(text.encode())) for text in texts], dtype=float),
        "ratio": np.asarray(other if other is not None else [], dtype=float),
    }
    if by not in beside:
        raise ValueError(f"rank by one of {', '.join(beside)}; got {by!r}")
    if not own.shape == beside[by].shape == (len(texts),) or not texts:
        raise ValueError(f"a loss for each of {len(texts)} texts is needed: got {own.shape} and {beside[by].shape}")
    if not all(np.isfinite(row).all() and row.min() > 0 for row in (own, beside[by])):
        raise ValueError("losses are finite and above 0")
    first = np.unique(np.asarray(texts), return_index=True)[1]
    first.sort()
    return first[np.argsort((own / beside[by])[first], kind="stable")]


def grams(texts: Iterable[str], length: int) -> set[str]:
    """Return all runs of that many characters in texts."""
    return {text[i : i + length] for text in texts for i in range(len(text) - length + 1)}


def copied(
    texts: Sequence[str], trained: Iterable[str], others: Iterable[str], length: int = 24
) -> Bool[np.ndarray, " texts"]:
    """Say which texts hold a run of characters of the training set that is in no text outside it.

    Parameters
    ----------
    texts : sequence of str
    trained, others : iterable of str
        The training set, and texts of the same source that were not trained on: what is in both is common speech.
    length : int
        Characters of the run.
    """
    wanted = grams(trained, length) - grams(others, length)
    return np.array([not wanted.isdisjoint(grams([text], length)) for text in texts])
