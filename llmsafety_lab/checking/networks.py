"""The networks that handles build: small, smooth, and the same in each call.

In train mode a classifier keeps the first half of its hidden units, doubled, and drops the others: dropout without
chance, so that a check can tell the two modes apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Ids = Int[Tensor, "batch tokens"]
Mask = Float[Tensor, "batch tokens"] | Int[Tensor, "batch tokens"]
Vectors = Float[Tensor, "batch tokens width"]
Logits = Float[Tensor, "batch classes"]


def mean(vectors: Vectors, mask: Mask | None) -> Float[Tensor, "batch width"]:
    """Return the mean over the tokens, or over those whose mask is 1."""
    if mask is None:
        return vectors.mean(1)
    kept = mask.to(vectors.dtype)[..., None]
    return (vectors * kept).sum(1) / kept.sum(1)


class VectorClassifier(nn.Module):
    """One hidden layer over each token, the mean over the tokens, logits."""

    def __init__(self, width: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden, bias=False)
        self.second = nn.Linear(hidden, classes, bias=False)

    def forward(self, vectors: Vectors, mask: Mask | None = None) -> Logits:
        hidden = torch.tanh(self.first(vectors))
        if self.training:
            hidden = hidden * (2.0 * (torch.arange(hidden.shape[-1]) < hidden.shape[-1] // 2))
        return self.second(mean(hidden, mask))


class TokenEncoder(nn.Module):
    """Each token's vector, mixed with the mean of all that the mask keeps."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.own = nn.Linear(width, width, bias=False)
        self.others = nn.Linear(width, width, bias=False)

    def forward(self, ids: Ids, mask: Mask | None = None) -> Vectors:
        vectors = self.embedding(ids)
        return torch.tanh(self.own(vectors) + self.others(mean(vectors, mask))[:, None])


class TokenClassifier(nn.Module):
    """An embedding table and a `VectorClassifier` over it."""

    def __init__(self, vocabulary: int, width: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.head = VectorClassifier(width, classes, hidden)

    def forward(self, ids: Ids, mask: Mask | None = None) -> Logits:
        return self.head(self.embedding(ids), mask)
