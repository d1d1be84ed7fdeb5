"""Muon: momentum whose step is made orthogonal before it is taken."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmsafety_lab import runtime

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of the step X <- aX + b(XX')X + c(XX')(XX')X, chosen by Jordan et al. (2024) to lift small values fast."""


def orthogonalise(matrices: Float[Tensor, "n rows columns"], steps: int = 5) -> Float[Tensor, "n rows columns"]:
    """Push all singular values of each matrix towards 1 and keep its singular vectors, by matrix products alone.

    Newton and Schulz's iteration with the coefficients of Jordan et al. (2024): the values end between about 0.7 and
    1.2, which is as good as 1 for a step and cheaper than an exact decomposition.

    Parameters
    ----------
    matrices : Tensor, shape (n, rows, columns)
        rows must not exceed columns: products of the short side are the cheap ones.
    steps : int, optional

    Returns
    -------
    Tensor, shape (n, rows, columns)

    Raises
    ------
    ValueError
        If there are more rows than columns.
    """
    if matrices.ndim != 3 or matrices.shape[1] > matrices.shape[2]:
        raise ValueError(f"need matrices of shape (n, rows, columns), rows <= columns, got {tuple(matrices.shape)}")
    a, b, c = QUINTIC
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalised, for weights that are matrices (Jordan et al. 2024).

    Parameters
    ----------
    parameters : iterable of Parameter
        Each of shape (rows, columns), or (n, rows, columns) for n matrices that are orthogonalised one by one.
    lr : float, optional
    momentum : float, optional
        Nesterov's.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        if not 0 <= lr < math.inf or not 0 <= momentum < 1:
            raise ValueError(f"needs a finite rate, and a momentum from 0 to below 1: got {lr} and {momentum}")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        wrong = [tuple(p.shape) for group in self.param_groups for p in group["params"] if p.ndim not in (2, 3)]
        if wrong:
            raise ValueError(f"Muon is for matrices; give parameters of shape {wrong[0]} to AdamW")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move each matrix by lr * sqrt(max(1, rows / columns)) times its orthogonalised momentum.

        The iteration runs in bfloat16 where the device is fast at it (`runtime.product_dtype`), as `torch.optim.Muon`
        does everywhere: it settles near 1 whatever is rounded on the way.
        """
        for group in self.param_groups:
            alike = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"])
                for i, matrix in enumerate(weight if weight.ndim == 3 else weight[None]):
                    flat = ahead[i] if weight.ndim == 3 else ahead
                    tall = matrix.shape[0] > matrix.shape[1]
                    alike[min(matrix.shape), max(matrix.shape)].append((matrix, flat.mT if tall else flat, tall))
            for same in alike.values():
                wides = torch.stack([wide for _, wide, _ in same])
                steps = orthogonalise(wides.to(runtime.product_dtype(wides.device))).to(weight.dtype)
                for (matrix, _, tall), wide in zip(same, steps, strict=True):
                    size = math.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
                    matrix.add_(wide.mT if tall else wide, alpha=-group["lr"] * size)
