"""Pretraining: what the chapter and its lab use."""

from llmsafety_lab.pretraining.loop import (
    train_lm,
    warm_cosine,
    warm_linear,
)
from llmsafety_lab.pretraining.muon import (
    QUINTIC,
    Muon,
    orthogonalise,
)
from llmsafety_lab.pretraining.objectives import (
    IGNORE,
    Batch,
    bits_per_character,
    causal_loss,
    character_ids,
    draw_windows,
    mask_tokens,
    next_token,
    perplexity,
    sentence_pairs,
    token_losses,
)
from llmsafety_lab.pretraining.small_lm import (
    FAST,
    USUAL,
    MiniBlock,
    Recipe,
    SmallLM,
    optimisers,
    train,
)

__all__ = [
    "FAST",
    "IGNORE",
    "QUINTIC",
    "USUAL",
    "Batch",
    "MiniBlock",
    "Muon",
    "Recipe",
    "SmallLM",
    "bits_per_character",
    "causal_loss",
    "character_ids",
    "draw_windows",
    "mask_tokens",
    "next_token",
    "optimisers",
    "orthogonalise",
    "perplexity",
    "sentence_pairs",
    "token_losses",
    "train",
    "train_lm",
    "warm_cosine",
    "warm_linear",
]
