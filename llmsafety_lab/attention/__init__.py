"""Attention: what the chapter and its lab use."""

from llmsafety_lab.attention.layers import (
    MultiHeadAttention,
    causal_mask,
    padding_mask,
    rotary,
    scaled_dot_product_attention,
    sinusoidal_positions,
)
from llmsafety_lab.attention.maps import (
    attention_maps,
    attention_rollout,
    induction_score,
)
from llmsafety_lab.attention.transformer import (
    Block,
    GatedMLP,
    Transformer,
    TransformerConfig,
)

__all__ = [
    "Block",
    "GatedMLP",
    "MultiHeadAttention",
    "Transformer",
    "TransformerConfig",
    "attention_maps",
    "attention_rollout",
    "causal_mask",
    "induction_score",
    "padding_mask",
    "rotary",
    "scaled_dot_product_attention",
    "sinusoidal_positions",
]
