"""LoRA of a whole model at once, so that DP-SGD trains few numbers and the rest of the model stays public."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmsafety_lab.parameter_efficient import merge


class LowRank(nn.Module):
    """Run a frozen model with a trainable change of low rank in some of its matrices (Hu et al. 2022; Yu et al. 2022).

    Parameters
    ----------
    model : nn.Module
        Frozen in place. It is not copied.
    names : sequence of str
        The ends of the matrices' dotted names: "up" takes every block's.
    rank : int
    alpha : float
        The size of the change, as for `parameter_efficient.merge`.

    Raises
    ------
    ValueError
        If a name fits no matrix, or the rank is below 1.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], rank: int, alpha: float) -> None:
        super().__init__()
        chosen = {
            name: weight
            for name, weight in model.named_parameters()
            if weight.dim() == 2 and any(f".{name}".endswith(f".{end}") for end in names)
        }
        missing = [end for end in names if not any(f".{name}".endswith(f".{end}") for name in chosen)]
        if missing or not chosen or rank < 1:
            raise ValueError(f"no matrix is named {missing or names}, or the rank {rank} is below 1")
        self.model, self.alpha = model.requires_grad_(False), alpha
        self.places = {name: name.replace(".", "_") for name in chosen}
        self.A = nn.ParameterDict(
            {self.places[n]: torch.randn(rank, w.shape[1]).to(w) / math.sqrt(w.shape[1]) for n, w in chosen.items()}
        )
        self.B = nn.ParameterDict({self.places[n]: torch.zeros(len(w), rank).to(w) for n, w in chosen.items()})

    def forward(self, *inputs: Tensor) -> Tensor:
        weights = dict(self.model.named_parameters())
        changed = {
            name: merge(weights[name], self.A[place], self.B[place], self.alpha) for name, place in self.places.items()
        }
        return torch.func.functional_call(self.model, changed, inputs)
