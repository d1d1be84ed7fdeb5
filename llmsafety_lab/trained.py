"""Models that are trained from the other entries, once, and kept: what each is, how it is made, and `load`.

Importing this module loads no torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab.sources import registry
from llmsafety_lab.sources.registry import Registered

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Recipe:
    """How a classifier is made: a pretrained encoder, a data set's train split, and the arguments of `fine_tuning.fit`.

    Parameters
    ----------
    version : int
        Raised when the code behind it changes what comes out, so that it is made anew.
    model, data : str
        Names in the registries of models and of data.
    texts : int
        How many of the train split, from its beginning.
    frozen : int
        How many layers above the embeddings stay as they are, too.
    learning_rate : float
    max_tokens, epochs, seed : int
    """

    version: int
    model: str
    data: str
    texts: int
    frozen: int
    learning_rate: float
    max_tokens: int
    epochs: int = 1
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.version}: {self.model} on {self.texts:,} rows of {self.data}"


@dataclass(frozen=True, kw_only=True)
class Trained(Registered):
    """A classifier that is trained here; `size` is what it takes in the cache, the part of it that was trained."""

    kind: ClassVar[str] = "trained"
    recipe: Recipe

    @property
    def origin(self) -> str:
        return f"recipe {self.recipe}"


REGISTRY = {
    entry.name: entry
    for entry in (
        Trained(
            name="reviews-classifier",
            task="sentiment of film reviews, rotten or fresh: MiniLM with a mean of its tokens and a linear head",
            size=21_893_984,
            licence="Apache-2.0 (weights from MiniLM); the reviews it was trained on state none",
            citation="made from the entries minilm (Wang et al. 2020) and reviews (Kessler 2017)",
            recipe=Recipe(
                version=1, model="minilm", data="reviews", texts=4_500, frozen=3, learning_rate=2e-4, max_tokens=48
            ),
        ),
    )
}


def load(name: str, *, source: str = "auto", **options: Any) -> tuple[Any, Any]:
    """Load a trained classifier and its tokenizer, training it first where the cache lacks it.

    Parameters
    ----------
    name : str
        A name in `REGISTRY`.
    source : {"auto", "recipe"}
    **options
        Passed to the encoder's `from_pretrained`.

    Returns
    -------
    model : llmsafety_lab.fine_tuning.Classifier
        In evaluation mode, on the processor, nothing frozen.
    tokenizer : transformers.PreTrainedTokenizerBase

    Raises
    ------
    UnknownNameError
        If no entry has this name.
    UnreachableError
        If it is not in the cache, and what it is made from could not be had.
    """
    since = time.perf_counter()
    entry = registry.find(REGISTRY, name)
    folder, _, words = registry.obtain(entry, source, makers(entry))
    from safetensors.torch import load_file

    weights = load_file(folder / WEIGHTS)
    model, tokenizer = _untrained(entry.recipe, len(weights["head.bias"]), **options)
    model.load_state_dict(weights, strict=False)
    registry.report(entry, words, time.perf_counter() - since)
    return model.eval(), tokenizer


def makers(entry: Trained, progress: bool = True) -> registry.Makers:
    """Return the function that fills an empty folder with a classifier's weights, under its source's name."""
    return {"recipe": partial(_train, entry)}


def _untrained(recipe: Recipe, classes: int, **options: Any) -> tuple[Any, Any]:
    import torch

    from llmsafety_lab import fine_tuning, models

    encoder, tokenizer = models.load(recipe.model, **options)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return fine_tuning.Classifier(encoder, classes), tokenizer


def _train(entry: Trained, into: Path) -> None:
    """Train a classifier by its recipe and save what was not frozen."""
    from safetensors.torch import save_file

    from llmsafety_lab import data, fine_tuning

    recipe = entry.recipe
    rows = data.load(recipe.data)
    train = [row for row in rows if row["split"] == "train"][: recipe.texts]
    model, tokenizer = _untrained(recipe, max(rows["label"]) + 1)
    fine_tuning.freeze(model, recipe.frozen)
    print(f"{entry.name}: training it on {len(train):,} texts, once; a minute or two on one core")
    options = {name: getattr(recipe, name) for name in ("learning_rate", "max_tokens", "epochs", "seed")}
    fine_tuning.fit(model, tokenizer, [row["text"] for row in train], [row["label"] for row in train], **options)
    weights = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}
    save_file(weights, into / WEIGHTS)
