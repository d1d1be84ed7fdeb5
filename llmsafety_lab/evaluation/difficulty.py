"""Which items say something: a model's ability and an item's difficulty on one scale (item response theory)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float


def rasch(
    right: Bool[np.ndarray, "models items"], prior: float = 1.0
) -> tuple[Float[np.ndarray, " models"], Float[np.ndarray, " items"]]:
    """Return abilities and difficulties: a model is right on an item with log-odds of ability minus difficulty.

    Parameters
    ----------
    right : Bool[np.ndarray, "models items"]
    prior : float
        The standard deviation of a normal distribution around 0 from which both are thought to come. It keeps an item
        that all models get right from becoming infinitely easy.

    Raises
    ------
    ValueError
        If there are no models or no items, or the prior is not positive.

    References
    ----------
    Rasch 1960; Polo et al. 2024, tinyBenchmarks (with more dimensions).
    """
    answers = torch.as_tensor(np.asarray(right, dtype=float))
    if answers.dim() != 2 or not answers.numel() or prior <= 0:
        raise ValueError(
            f"a table of models and items and a positive prior are needed; got shape {tuple(answers.shape)}"
        )
    models, items = answers.shape
    both = torch.zeros(models + items, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([both], max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        odds = both[:models, None] - both[models:]
        value = torch.nn.functional.binary_cross_entropy_with_logits(odds, answers, reduction="sum")
        value = value + (both**2).sum() / (2 * prior**2)
        value.backward()
        return value

    optimiser.step(loss)
    found = both.detach().numpy()
    return found[:models], found[models:]
