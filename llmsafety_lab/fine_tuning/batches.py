"""Texts in batches: cut, padded to the longest of a batch, and those of like length together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn


def encoded(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[dict[str, list[int]]]:
    """Return the ids and the mask of each text, cut to so many tokens and not padded."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)
    return [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids["input_ids"]]


def padded(model: nn.Module, tokenizer: Any, rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Pad rows to the longest of them, on the model's device."""
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in tokenizer.pad(rows, return_tensors="pt").items()}


def like_lengths(lengths: Sequence[int], batch_size: int, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Return batches of the places of rows whose lengths are alike.

    Parameters
    ----------
    lengths : sequence of int
    batch_size : int
    rng : numpy.random.Generator, optional
        For training: of 20 batches' worth of shuffled rows, neighbours in length, and the batches in random order.
        Without one the rows are sorted by length.

    Raises
    ------
    ValueError
        If a batch holds no row.
    """
    if batch_size < 1:
        raise ValueError(f"a batch holds at least one row, got {batch_size}")
    shuffled = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    pool = 20 * batch_size if rng else max(1, len(lengths))
    batches = []
    for start in range(0, len(shuffled), pool):
        rows = sorted(shuffled[start : start + pool].tolist(), key=lengths.__getitem__)
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]
