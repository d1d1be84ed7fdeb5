"""A language model small enough to be pretrained while you wait, with one switch for each idea that speeds it up.

With all switches off it is GPT-2's block and the usual recipe for it; `FAST` is the recipe of the pretraining chapter.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear, pad, relu, scaled_dot_product_attention

from llmsafety_lab.attention.layers import rotary
from llmsafety_lab.pretraining.loop import train_lm, warm_cosine, warm_linear
from llmsafety_lab.pretraining.muon import Muon
from llmsafety_lab.pretraining.objectives import next_token


@dataclass(frozen=True)
class Recipe:
    """Sizes, switches and training of a `SmallLM`.

    Parameters
    ----------
    layers, heads, width, context : int
    causal : bool
        True: each token sees what came before it. False: an encoder, each sees all.
    rotary : bool
        Positions turn queries and keys; otherwise each position has a row in a table (GPT-2).
    qk_norm : bool
        Queries and keys are normalised (Dehghani et al. 2023, section 2).
    squared_relu : bool
        relu(x)^2 in the MLP (So et al. 2021), otherwise GELU.
    previous : bool
        A second table adds the token before to each token's vector.
    zero_start : bool
        The last matrix of each branch, and a table of its own for the output, start at 0; otherwise GPT-2's start with
        one table for input and output.
    muon : bool
        Matrices are moved by `Muon`, otherwise by AdamW as everything else.
    steps, batch, warmup : int
    linear : bool
        The learning rate falls on a line to 0, otherwise on a cosine to a tenth.
    matrix_rate, rate : float
        Learning rates of Muon and of AdamW.
    decay, clip : float
        AdamW's weight decay for tables and matrices; the largest norm of the gradient, 0 for any.
    """

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    causal: bool = True
    rotary: bool = True
    qk_norm: bool = True
    squared_relu: bool = True
    previous: bool = True
    zero_start: bool = True
    muon: bool = True
    steps: int = 220
    batch: int = 12
    warmup: int = 10
    linear: bool = True
    matrix_rate: float = 0.02
    rate: float = 0.01
    decay: float = 0.0
    clip: float = 0.0


FAST = Recipe()
USUAL = Recipe(
    **dict.fromkeys(("rotary", "qk_norm", "squared_relu", "previous", "zero_start", "muon", "linear"), False),
    steps=2000,
    warmup=100,
    rate=1e-3,
    decay=0.1,
    clip=1.0,
)
"""The usual minimal trainer: AdamW at 0.001, a cosine, 2,000 steps of 12 x 64 characters (after Karpathy's nanoGPT)."""


class MiniBlock(nn.Module):
    """Add to the stream what attention finds, then what the MLP makes of it; norms come first, nothing has a bias."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, width = recipe, recipe.width
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query_key_value = nn.Parameter(torch.empty(3, width, width))
        self.out = nn.Parameter(torch.empty(width, width))
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Parameter(torch.empty(4 * width, width))
        self.down = nn.Parameter(torch.empty(width, 4 * width))
        small = 0.02 / (2 * recipe.layers) ** 0.5
        for inner in (self.query_key_value, self.up):
            nn.init.normal_(inner, std=0.5 * width**-0.5 if recipe.zero_start else 0.02)
        for last in (self.out, self.down):
            nn.init.normal_(last, std=0.0 if recipe.zero_start else small)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        recipe, tokens = self.recipe, x.shape[1]
        heads = linear(self.attention_norm(x), self.query_key_value.flatten(0, 1))
        query_key, value = (
            heads.unflatten(-1, (3 * recipe.heads, -1)).transpose(1, 2).split((2 * recipe.heads, recipe.heads), dim=1)
        )
        if recipe.qk_norm:
            query_key = layer_norm(query_key, query_key.shape[-1:])
        if recipe.rotary:
            query_key = rotary(query_key, torch.arange(tokens, device=x.device), base=1000.0)
        query, key = query_key.chunk(2, dim=1)
        seen = scaled_dot_product_attention(query, key, value, is_causal=recipe.causal)
        x = x + linear(seen.transpose(1, 2).flatten(2), self.out)
        hidden = linear(self.mlp_norm(x), self.up)
        return x + linear(relu(hidden).square() if recipe.squared_relu else gelu(hidden), self.down)


class SmallLM(nn.Module):
    """Embed the tokens, run them through the blocks, score the vocabulary at each position.

    Parameters
    ----------
    vocabulary : int
    recipe : Recipe, optional
    """

    def __init__(self, vocabulary: int, recipe: Recipe = FAST) -> None:
        super().__init__()
        self.recipe, width = recipe, recipe.width
        self.embed = nn.Embedding(vocabulary, width)
        self.before = nn.Embedding(vocabulary, width) if recipe.previous else None
        self.positions = None if recipe.rotary else nn.Embedding(recipe.context, width)
        self.blocks = nn.ModuleList(MiniBlock(recipe) for _ in range(recipe.layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.unembed = nn.Linear(width, vocabulary, bias=False)
        tables = [table for table in (self.embed, self.before, self.positions) if table is not None]
        for table in tables:
            nn.init.normal_(table.weight, std=1.0 if recipe.zero_start else 0.02)
        if recipe.zero_start:
            nn.init.zeros_(self.unembed.weight)
        else:
            self.unembed.weight = self.embed.weight

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocabulary"]:
        """Score each token of the vocabulary at each position (logits).

        Raises
        ------
        ValueError
            If the text is longer than the context.
        """
        tokens = ids.shape[1]
        if tokens > self.recipe.context:
            raise ValueError(f"{tokens} tokens do not fit into a context of {self.recipe.context}")
        x = self.embed(ids)
        if self.before is not None:
            x = x + pad(self.before(ids[:, :-1]), (0, 0, 1, 0))
        if self.positions is not None:
            x = x + self.positions.weight[:tokens]
        if self.recipe.zero_start:
            x = layer_norm(x, x.shape[-1:])
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.norm(x))


def optimisers(model: SmallLM) -> list[torch.optim.Optimizer]:
    """Return what moves a model's weights, by its recipe: Muon the matrices of the blocks, AdamW the rest."""
    recipe = model.recipe
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim > 1]
    gains = [weight for weight in model.parameters() if weight.ndim == 1]
    tables = [weight for name, weight in model.named_parameters() if weight.ndim > 1 and not name.startswith("blocks")]
    decayed = tables if recipe.muon else tables + matrices
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": gains, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95 if recipe.muon else 0.99), fused=True)
    return [adam, Muon(matrices, lr=recipe.matrix_rate)] if recipe.muon else [adam]


def train(model: SmallLM, ids: Int[Tensor, " tokens"], seed: int = 0, **options: Any) -> list[float]:
    """Pretrain a causal model on a text by its recipe; the options are those of `train_lm`.

    Returns
    -------
    list of float
        The loss of each step.
    """
    recipe = model.recipe
    schedule = warm_linear if recipe.linear else warm_cosine
    share = partial(schedule, steps=recipe.steps, warmup=recipe.warmup)
    draw = next_token(ids, recipe.batch, recipe.context, seed)
    return train_lm(model, draw, optimisers(model), share, recipe.steps, clip=recipe.clip, **options)
