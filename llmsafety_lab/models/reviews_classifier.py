"""A classifier of film reviews, trained from MiniLM once and kept: the recipe, the training and the reading."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.entry import Entry, Source, former_text

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Recipe(Source):
    """How a classifier is made of MiniLM and the reviews: the arguments of `fine_tuning.fit`, and what is frozen.

    Parameters
    ----------
    version : int
        Raised when the code behind it changes what comes out, so that it is made anew.
    texts : int
        How many of the train split, from its beginning.
    frozen : int
        How many layers above the embeddings stay as they are, too.
    learning_rate : float
    max_tokens, epochs, seed : int
    """

    name: ClassVar[str] = "recipe"
    version: int
    texts: int
    frozen: int
    learning_rate: float
    max_tokens: int
    epochs: int = 1
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.version}: minilm on {self.texts:,} rows of reviews"

    def content(self) -> Any:
        return asdict(self)

    def former_key(self) -> str:
        fields = asdict(self)
        return former_text("Recipe", version=fields.pop("version"), model="minilm", data="reviews", **fields)

    def fill(self, entry: Entry, into: Path, progress: bool) -> None:
        """Train a classifier and save what was not frozen."""
        from safetensors.torch import save_file

        from llmsafety_lab import data, fine_tuning

        train = [row for row in data.load("reviews") if row["split"] == "train"][: self.texts]
        model, tokenizer = _untrained(self.seed)
        fine_tuning.freeze(model, self.frozen)
        print(f"{entry.name}: training it on {len(train):,} texts, once; a minute or two on one core")
        options = {name: getattr(self, name) for name in ("learning_rate", "max_tokens", "epochs", "seed")}
        fine_tuning.fit(model, tokenizer, [row["text"] for row in train], [row["label"] for row in train], **options)
        weights = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}
        save_file(weights, into / WEIGHTS)


def _untrained(seed: int = 0, **options: Any) -> tuple[Any, Any]:
    import torch

    from llmsafety_lab import fine_tuning, models

    encoder, tokenizer = models.load("minilm", **options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return fine_tuning.Classifier(encoder, 2), tokenizer


def _read(folder: Path, **options: Any) -> tuple[Any, Any]:
    from safetensors.torch import load_file

    model, tokenizer = _untrained(**options)
    model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    return model.eval(), tokenizer


@dataclass(frozen=True, kw_only=True)
class Trained(Model):
    """A classifier that is trained here; `size` is what it takes in the cache, the part of it that was trained."""

    kind: ClassVar[str] = "trained"


RECIPE = Recipe(version=1, texts=4_500, frozen=3, learning_rate=2e-4, max_tokens=48)

ENTRY = Trained(
    name="reviews-classifier",
    task="sentiment of film reviews, rotten or fresh: MiniLM with a mean of its tokens and a linear head",
    size=21_893_984,
    licence="Apache-2.0 (weights from MiniLM); the reviews it was trained on state none",
    citation="made from the entries minilm (Wang et al. 2020) and reviews (Kessler 2017)",
    sources=(RECIPE,),
    read=_read,
)
