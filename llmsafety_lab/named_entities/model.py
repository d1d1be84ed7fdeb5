"""A token classifier on a BERT encoder whose lower layers may stay fixed, its training, and its predictions.

What the fixed layers make of a sentence never changes, so it is computed once and kept while the upper layers learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from llmsafety_lab.fine_tuning.batches import like_lengths
from llmsafety_lab.pretraining.loop import decaying
from llmsafety_lab.runtime import progress


class TokenClassifier(nn.Module):
    """Score the tags at each position: an encoder of BERT's family, and one linear layer on its vectors.

    Parameters
    ----------
    encoder : transformers.BertModel
    classes : int
    frozen : int
        How many layers, from the embeddings upwards, keep their weights; 0 trains the embeddings, too.
    dropout : float
    """

    def __init__(self, encoder: Any, classes: int, frozen: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        if classes < 1 or not 0 <= frozen <= len(encoder.encoder.layer):
            raise ValueError(f"needs a class, and 0 to {len(encoder.encoder.layer)} fixed layers: {classes}, {frozen}")
        self.encoder, self.frozen = encoder, frozen
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, classes)
        encoder.requires_grad_(True)
        if frozen:
            for part in (encoder.embeddings, *encoder.encoder.layer[:frozen]):
                part.requires_grad_(False)

    def lower(
        self, ids: Int[Tensor, "batch positions"], mask: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions width"]:
        """Return what the fixed layers make of the sub-words; without fixed layers, the embeddings."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            hidden = self.encoder.embeddings(input_ids=ids)
            for layer in self.encoder.encoder.layer[: self.frozen]:
                hidden = layer(hidden, mask[:, None, None, :].bool())
        return hidden

    def upper(
        self, hidden: Float[Tensor, "batch positions width"], mask: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions classes"]:
        """Return the logits from what `lower` gave."""
        for layer in self.encoder.encoder.layer[self.frozen :]:
            hidden = layer(hidden, mask[:, None, None, :].bool())
        return self.head(self.dropout(hidden))

    def forward(
        self, ids: Int[Tensor, "batch positions"], mask: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions classes"]:
        return self.upper(self.lower(ids, mask), mask)

    def train(self, mode: bool = True) -> TokenClassifier:
        """Set the mode; the fixed layers stay without dropout."""
        super().train(mode)
        if self.frozen:
            for part in (self.encoder.embeddings, *self.encoder.encoder.layer[: self.frozen]):
                part.eval()
        return self


@torch.no_grad()
def _kept(
    model: TokenClassifier, ids: Tensor, mask: Tensor, batch_size: int, device: torch.device
) -> tuple[list[Tensor], list[int]]:
    """Return for each sentence what the fixed layers give, without padding, and its length."""
    lengths = mask.sum(1).tolist()
    kept: list[Tensor] = [torch.empty(0)] * len(lengths)
    for batch in progress(like_lengths(lengths, batch_size), "fixed layers"):
        longest = max(lengths[i] for i in batch)
        hidden = model.lower(ids[batch, :longest].to(device), mask[batch, :longest].to(device))
        for i, vectors in zip(batch, hidden, strict=True):
            kept[i] = vectors[: lengths[i]].clone()
    return kept, lengths


def fit(
    model: TokenClassifier,
    ids: Int[Tensor, "sentences positions"],
    mask: Int[Tensor, "sentences positions"],
    labels: Int[Tensor, "sentences positions"],
    *,
    epochs: int = 3,
    batch_size: int = 16,
    learning_rate: float = 5e-4,
    seed: int = 0,
) -> list[float]:
    """Train the layers that are not fixed, and the head: AdamW, a short warm-up, then a linear fall to 0.

    Parameters
    ----------
    model : TokenClassifier
    ids, mask, labels : integer Tensor, shape (sentences, positions)
        Padded at the end, as tokenizers do; a label of -100 is not counted.

    Returns
    -------
    list of float
        The loss of each step.

    Raises
    ------
    ValueError
        If no position has a label.
    """
    if not (labels >= 0).any():
        raise ValueError("no position has a label: all are negative, and the loss would be 0 / 0")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"fit needs an epoch and a sentence in a batch, got {epochs} and {batch_size}")
    device = model.head.weight.device
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    model.eval()
    kept, lengths = _kept(model, ids, mask, batch_size, device) if model.frozen else ([], mask.sum(1).tolist())
    model.train()
    steps = epochs * -(-len(lengths) // batch_size)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    schedule = decaying(optimizer, steps)
    losses = []
    with progress(None, "training", steps) as bar:
        for _ in range(epochs):
            for batch in like_lengths(lengths, batch_size, rng):
                longest = max(lengths[i] for i in batch)
                some = mask[batch, :longest].to(device)
                if model.frozen:
                    logits = model.upper(pad_sequence([kept[i] for i in batch], batch_first=True), some)
                else:
                    logits = model(ids[batch, :longest].to(device), some)
                loss = cross_entropy(logits.flatten(0, 1), labels[batch, :longest].flatten().to(device))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                bar.update()
    model.eval()
    return losses


@torch.no_grad()
def predict(
    model: TokenClassifier,
    ids: Int[Tensor, "sentences positions"],
    mask: Int[Tensor, "sentences positions"],
    batch_size: int = 32,
) -> Float[Tensor, "sentences positions classes"]:
    """Return the logits of each position; at padding they are 0."""
    model.eval()
    device = model.head.weight.device
    logits = torch.zeros(*ids.shape, model.head.out_features)
    lengths = mask.sum(1).tolist()
    for batch in progress(like_lengths(lengths, batch_size), "predicting"):
        longest = max(lengths[i] for i in batch)
        some = mask[batch, :longest]
        logits[batch, :longest] = model(ids[batch, :longest].to(device), some.to(device)).cpu() * some[..., None]
    return logits
