"""Many small models at once: who is trained on what, the training, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def draw_members(
    models: int, records: int, seed: int = 0, share: float = 0.5, balanced: bool = False
) -> Bool[np.ndarray, "models records"]:
    """Draw for each model its own training set, a share of the records.

    Parameters
    ----------
    models, records, seed : int
    share : float
    balanced : bool
        False: models are drawn independently, and all training sets have the same size. True: every record is in the
        same share of the models, and sizes differ. That suits shadow models alone: were the target one of them, the
        others' sets would tell who is in its own.

    Raises
    ------
    ValueError
        If there is no model, or a training set or its complement would be empty.
    """
    size = round(share * records)
    if models < 1 or not 0 < size < records:
        raise ValueError(f"{models} models, {size} of {records} records each: both parts need records")
    generator = np.random.default_rng(seed)
    draws = generator.random((models, records))
    if balanced:
        return draws.argsort(axis=0) < round(share * models)
    return draws.argsort(axis=1) < size


@dataclass(frozen=True)
class Recipe:
    """How networks with one hidden layer are trained; without one (width 0) they are linear.

    Parameters
    ----------
    width, epochs, batch : int
    rate : float
        AdamW's learning rate.
    decay : float
        Its weight decay.
    dropout : float
        The share of hidden units that are dropped in training.
    """

    width: int = 64
    epochs: int = 40
    batch: int = 64
    rate: float = 3e-3
    decay: float = 0.0
    dropout: float = 0.0


class Networks:
    """Networks of one recipe side by side, each with weights of its own.

    Parameters
    ----------
    models, features, classes : int
    recipe : Recipe
    seed : int
    """

    def __init__(self, models: int, features: int, classes: int, recipe: Recipe, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        sizes = [features, recipe.width, classes] if recipe.width else [features, classes]
        self.recipe = recipe
        self.weights = [
            (torch.randn(models, a, b, generator=generator) * a**-0.5).requires_grad_() for a, b in pairwise(sizes)
        ]
        self.biases = [torch.zeros(models, 1, size, requires_grad=True) for size in sizes[1:]]
        self.generator = generator

    def __call__(
        self, x: Float[Tensor, "#models records features"], drop: bool = False
    ) -> Float[Tensor, "models records classes"]:
        """Return the logits of all networks, each on its own records or all on the same."""
        x = x.expand(len(self.weights[0]), -1, -1)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if place:
                x = x.relu()
                if drop and self.recipe.dropout:
                    kept = torch.rand(x.shape, generator=self.generator) >= self.recipe.dropout
                    x = x * kept / (1 - self.recipe.dropout)
            x = torch.baddbmm(bias, x, weight)
        return x

    @torch.no_grad()
    def logits(self, x: Float[np.ndarray, "records features"]) -> Float[np.ndarray, "models records classes"]:
        """Return the logits of all networks on the same records."""
        return self(torch.as_tensor(x, dtype=torch.float32)[None]).double().numpy()


def train_networks(
    x: Float[np.ndarray, "records features"],
    y: Int[np.ndarray, " records"],
    members: Bool[np.ndarray, "models records"],
    recipe: Recipe | None = None,
    seed: int = 0,
    stops: tuple[int, ...] = (),
) -> tuple[Networks, list[Float[np.ndarray, "models records classes"]]]:
    """Train a network for each row of `members`, on the records that it names, all side by side.

    Parameters
    ----------
    x : Float[np.ndarray, "records features"]
    y : Int[np.ndarray, " records"]
        Classes from 0.
    members : Bool[np.ndarray, "models records"]
        Each row names as many records.
    recipe : Recipe, optional
    seed : int
    stops : tuple of int
        After which epochs the logits on all records are written down.

    Returns
    -------
    (Networks, list)
        The trained networks, and the logits at each stop.

    Raises
    ------
    ValueError
        If shapes do not fit, or training sets differ in size.
    """
    recipe = recipe or Recipe()
    inputs, labels = torch.as_tensor(np.asarray(x), dtype=torch.float32), torch.as_tensor(np.asarray(y)).long()
    inside = torch.as_tensor(np.asarray(members))
    sizes = inside.sum(1) if inside.ndim == 2 else torch.zeros(0)
    if inputs.ndim != 2 or labels.shape != inputs.shape[:1] or inside.shape[1:] != labels.shape or not len(inside):
        raise ValueError(f"shapes do not fit: {tuple(inputs.shape)}, {tuple(labels.shape)}, {tuple(inside.shape)}")
    if sizes.min() < 1 or sizes.min() != sizes.max():
        raise ValueError("each model needs a training set, and all of the same size, to be trained side by side")
    own = inside.nonzero()[:, 1].reshape(len(inside), -1)
    networks = Networks(len(inside), inputs.shape[1], int(labels.max()) + 1, recipe, seed)
    step = torch.optim.AdamW([*networks.weights, *networks.biases], lr=recipe.rate, weight_decay=recipe.decay)
    size, written = own.shape[1], []
    for epoch in range(1, recipe.epochs + 1):
        shuffled = own.gather(1, torch.rand(own.shape, generator=networks.generator).argsort(dim=1))
        for start in range(0, size, recipe.batch):
            rows = shuffled[:, start : start + recipe.batch]
            logits = networks(inputs[rows], drop=True)
            each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[rows].flatten(), reduction="none")
            step.zero_grad()
            (each.sum() / rows.shape[1]).backward()
            step.step()
        if epoch in stops:
            written.append(networks.logits(np.asarray(x)))
    return networks, written
