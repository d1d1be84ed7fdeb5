"""Small models that a check and a student's code build from the same seed: a handle crosses, not the weights."""

from __future__ import annotations

import functools
import threading
from dataclasses import asdict, dataclass
from typing import Any

_LOCK = threading.Lock()


@dataclass(frozen=True)
class SmallModel:
    """The recipe of a small language model of SmolLM2's architecture with random weights.

    Parameters
    ----------
    seed
        Draws the weights.
    layers, heads, width, vocabulary
        Its sizes. ``heads`` divides ``width``.
    ahead
        How many of the tokens after it each token sees, in every layer. 0 is a causal model; anything else leaks.
    """

    seed: int
    layers: int = 2
    heads: int = 4
    width: int = 64
    vocabulary: int = 97
    ahead: int = 0

    def recipe(self) -> dict[str, int]:
        return asdict(self)

    def build(self) -> Any:
        """Return the model, in evaluation mode, in float64, with eager attention.

        Raises
        ------
        ValueError
            If a size is out of range: a recipe may come from a submission.
        """
        sizes = (self.layers, self.heads, self.width, self.vocabulary)
        whole = type(self.ahead) is int and self.ahead >= 0 and type(self.seed) is int
        if not all(type(size) is int and 1 <= size <= 4096 for size in sizes) or self.width % self.heads or not whole:
            raise ValueError(f"a small model of these sizes cannot be built: {self}")
        return _build(self)


@functools.lru_cache(maxsize=4)
def _build(recipe: SmallModel) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=2 * recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=2048,
    )
    config._attn_implementation = "eager"
    with _LOCK, torch.random.fork_rng(devices=[]):  # the layers draw weights that are overwritten below
        model = LlamaForCausalLM(config).double().eval()
    generator = torch.Generator().manual_seed(recipe.seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dim() == 2:
            parameter.normal_(std=4 * config.initializer_range, generator=generator)
    if recipe.ahead:
        model.model.register_forward_pre_hook(functools.partial(_look_ahead, recipe.ahead), with_kwargs=True)
    return model


def _look_ahead(ahead: int, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give a model's forward pass a mask that lets each token see ``ahead`` tokens of its future; it keeps no cache."""
    import torch

    tokens = kwargs["input_ids"].shape[1]
    hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=ahead + 1)
    mask = torch.zeros(1, 1, tokens, tokens, dtype=torch.float64).masked_fill(hidden, torch.finfo(torch.float64).min)
    return args, {**kwargs, "attention_mask": mask, "past_key_values": None, "use_cache": False}


def warm() -> None:
    """Do the slow imports that building a small model needs, for one thread at a time."""
    with _LOCK:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
