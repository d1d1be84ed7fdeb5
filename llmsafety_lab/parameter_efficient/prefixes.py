"""Tuning that adds to what a frozen transformer reads, written out: prefix and prompt tuning.

A method wraps the whole model, whose own numbers stay as they are.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def prefix_attention(
    q: Float[Tensor, "*batch tokens d"],
    k: Float[Tensor, "*batch tokens d"],
    v: Float[Tensor, "*batch tokens d_v"],
    prefix_k: Float[Tensor, "*batch prefix d"],
    prefix_v: Float[Tensor, "*batch prefix d_v"],
) -> Float[Tensor, "*batch tokens d_v"]:
    """Causal attention in which every query also sees a prefix of learnt keys and values (Li and Liang 2021)."""
    tokens, prefix = q.shape[-2], prefix_k.shape[-2]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril()
    mask = torch.cat([causal.new_ones(tokens, prefix), causal], dim=-1)
    return scaled_dot_product_attention(
        q, torch.cat([prefix_k, k], dim=-2), torch.cat([prefix_v, v], dim=-2), attn_mask=mask
    )


class PrefixTuning(nn.Module):
    """Give each layer of a frozen transformer learnt keys and values before those of its tokens (Li and Liang 2021).

    The prefix is learnt directly; the paper makes it by an MLP while it trains.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An encoder, or a causal model. Frozen in place.
    length : int
        How many places each layer gets.
    """

    def __init__(self, model: Any, length: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"a prefix has at least one place, got {length}")
        config = model.config
        self.model = model.requires_grad_(False)
        heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        start = torch.randn(config.num_hidden_layers, 2, 1, heads, length, width) * config.initializer_range
        self.prefix = nn.Parameter(start.to(model.dtype))

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        inputs_embeds: Float[Tensor, "batch tokens d_model"] | None = None,
    ) -> Any:
        """Return what the model returns for its tokens."""
        from transformers import DynamicCache

        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        past = DynamicCache([tuple(pair.expand(2, len(x), -1, -1, -1)) for pair in self.prefix])
        mask = _with_prefix(attention_mask, x, self.prefix.shape[-2])
        return self.model(inputs_embeds=x, attention_mask=mask, past_key_values=past)


class PromptTuning(nn.Module):
    """Put learnt embeddings before those of a frozen transformer's tokens (Lester et al. 2021).

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An encoder, or a causal model. Frozen in place.
    length : int
        How many embeddings; they start as those of random tokens.
    """

    def __init__(self, model: Any, length: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"a prompt has at least one embedding, got {length}")
        self.model = model.requires_grad_(False)
        table = model.get_input_embeddings().weight
        self.prompt = nn.Parameter(table[torch.randint(len(table), (length,))].clone())

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        inputs_embeds: Float[Tensor, "batch tokens d_model"] | None = None,
    ) -> Any:
        """Return what the model returns for its tokens, the prompt's places cut off."""
        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        length = len(self.prompt)
        mask = _with_prefix(attention_mask, x, length)
        out = self.model(inputs_embeds=torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1), attention_mask=mask)
        for name in ("last_hidden_state", "logits"):
            if name in out:
                out[name] = out[name][:, length:]
        return out


def _with_prefix(
    mask: Int[Tensor, "batch tokens"] | None, x: Float[Tensor, "batch tokens d_model"], length: int
) -> Int[Tensor, "batch more"]:
    """Return the mask of padding for a prefix, which is never padding, and the tokens after it."""
    mask = x.new_ones(x.shape[:2], dtype=torch.long) if mask is None else mask
    return torch.cat([mask.new_ones(len(mask), length), mask], dim=1)
