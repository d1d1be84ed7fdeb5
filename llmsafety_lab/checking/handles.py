"""Small models that a check and a student's code build from the same recipe: the recipe crosses, not the model.

A kind of model is a dataclass under `Handle` whose fields are its sizes. `SmallModel` is a language model; the others
have few weights, so a check may also prescribe these.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

_LOCK = threading.Lock()
LARGEST = 4096
"""The largest size that a recipe may ask for."""


@dataclass(frozen=True)
class Handle:
    """The recipe of a model: built on both sides of the wire, from the same seed, it is the same model.

    Parameters
    ----------
    seed
        Draws the weights.
    """

    seed: int
    KINDS: ClassVar[dict[str, type[Handle]]] = {}

    def __init_subclass__(cls) -> None:
        Handle.KINDS[cls.__name__] = cls

    def recipe(self) -> dict[str, Any]:
        return dict(vars(self))

    def build(self) -> Any:
        """Return a new model.

        Raises
        ------
        ValueError
            If a size is out of range: a recipe may come from a submission.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SmallModel(Handle):
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

    layers: int = 2
    heads: int = 4
    width: int = 64
    vocabulary: int = 97
    ahead: int = 0

    def build(self) -> Any:
        """Return the model, in evaluation mode, in float64, with eager attention, its weights frozen."""
        return copy.deepcopy(_build(self))

    def config(self) -> Any:
        """Return its sizes as transformers writes them.

        Raises
        ------
        ValueError
            If one is out of range.
        """
        from transformers import LlamaConfig

        sizes = (self.layers, self.heads, self.width, self.vocabulary)
        whole = type(self.ahead) is int and self.ahead >= 0 and type(self.seed) is int
        if (
            not all(type(size) is int and 1 <= size <= LARGEST for size in sizes)
            or self.width % self.heads
            or not whole
        ):
            raise ValueError(f"a small model of these sizes cannot be built: {self}")

        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=2 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=2048,
        )
        config._attn_implementation = "eager"
        return config


@functools.lru_cache(maxsize=4)
def _build(recipe: SmallModel) -> Any:
    import torch
    from transformers import LlamaForCausalLM

    config = recipe.config()
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


@dataclass(frozen=True)
class Network(Handle):
    """The recipe of a small network in float64, whose weights are trained.

    Parameters
    ----------
    weights
        Weights by name, in place of those that the seed draws.
    gradients
        What stands in ``.grad`` of the weights of these names, as after an earlier ``backward()``.
    training
        Whether it comes in train mode. A classifier then keeps half of its hidden units, always the same.
    """

    seed: int = 0
    weights: Mapping[str, Tensor] | None = None
    gradients: Mapping[str, Tensor] | None = None
    training: bool = False

    def network(self) -> nn.Module:
        """Return the network, with any weights."""
        raise NotImplementedError

    def build(self) -> Any:
        import torch

        sizes = [value for name, value in vars(self).items() if name not in Network.__dataclass_fields__]
        if type(self.seed) is not int or not all(type(size) is int and 1 <= size <= LARGEST for size in sizes):
            raise ValueError(f"a network of these sizes cannot be built: {self}")
        with torch.device("meta"):
            made = self.network()
        made = made.double().to_empty(device="cpu")
        generator = torch.Generator().manual_seed(self.seed)
        given, left = self.weights or {}, self.gradients or {}
        for name, parameter in made.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(given.get(name, drawn))
            parameter.grad = left[name].clone() if name in left else None
        return made.train(self.training)


@dataclass(frozen=True)
class VectorClassifier(Network):
    """From vectors (batch, tokens, width) to logits (batch, classes): `networks.VectorClassifier`."""

    width: int = 4
    classes: int = 3
    hidden: int = 6

    def network(self) -> nn.Module:
        from llmsafety_lab.checking import networks

        return networks.VectorClassifier(self.width, self.classes, self.hidden)


@dataclass(frozen=True)
class TokenEncoder(Network):
    """From ids and an attention mask (batch, tokens) to vectors (batch, tokens, width): `networks.TokenEncoder`."""

    vocabulary: int = 23
    width: int = 4

    def network(self) -> nn.Module:
        from llmsafety_lab.checking import networks

        return networks.TokenEncoder(self.vocabulary, self.width)


@dataclass(frozen=True)
class TokenClassifier(Network):
    """From ids and an attention mask (batch, tokens) to logits (batch, classes): `networks.TokenClassifier`."""

    vocabulary: int = 23
    width: int = 4
    classes: int = 3
    hidden: int = 6

    def network(self) -> nn.Module:
        from llmsafety_lab.checking import networks

        return networks.TokenClassifier(self.vocabulary, self.width, self.classes, self.hidden)


@dataclass(frozen=True)
class LinearMap(Network):
    """From vectors (..., inputs) to vectors (..., outputs), with a bias: ``torch.nn.Linear``."""

    inputs: int = 4
    outputs: int = 3

    def network(self) -> nn.Module:
        from torch import nn

        return nn.Linear(self.inputs, self.outputs)


def warm() -> None:
    """Do the slow imports that building a small model needs, for one thread at a time."""
    with _LOCK:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
