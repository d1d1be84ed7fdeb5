"""A minimal Transformer, small enough to train in class: Llama's block, as causal decoder or as encoder."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from llmsafety_lab.attention.layers import MultiHeadAttention, causal_mask, padding_mask


@dataclass(frozen=True)
class TransformerConfig:
    """The size of a `Transformer`.

    Parameters
    ----------
    vocabulary, d_model, heads, layers : int
    context : int
        The longest sequence taken, cached tokens included.
    causal : bool
        True: a decoder, each token sees what came before it. False: an encoder, each token sees all.
    kv_heads : int, optional
        Heads of keys and values, by default `heads`.
    rotary_base : float
    """

    vocabulary: int
    d_model: int
    heads: int
    layers: int
    context: int
    causal: bool = True
    kv_heads: int | None = None
    rotary_base: float = 10_000.0


class GatedMLP(nn.Module):
    """Think about each token by itself: down(silu(gate(x)) * up(x)) (Shazeer 2020, eq. 6)."""

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, hidden, bias=False)
        self.up = nn.Linear(d_model, hidden, bias=False)
        self.down = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.down(silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Add to the stream what attention finds, then what the MLP makes of it (Touvron et al. 2023, section 2.2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.attention = MultiHeadAttention(
            config.d_model, config.heads, kv_heads=config.kv_heads, bias=False, rotary_base=config.rotary_base
        )
        self.mlp_norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.mlp = GatedMLP(config.d_model, 8 * config.d_model // 3)

    def forward(
        self, x: Float[Tensor, "batch tokens d_model"], mask: Tensor | None, cache: dict[str, Tensor] | None
    ) -> Float[Tensor, "batch tokens d_model"]:
        x = x + self.attention(self.attention_norm(x), mask=mask, cache=cache)[0]
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Embed the tokens, run them through the blocks, score the vocabulary at each position.

    SmolLM2's weights fit into it: its layer is the `Block` above.

    Parameters
    ----------
    config : TransformerConfig
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.unembed = nn.Linear(config.d_model, config.vocabulary, bias=False)
        for weights in self.parameters():
            if weights.ndim == 2:
                nn.init.normal_(weights, std=0.02)

    def empty_cache(self) -> list[dict[str, Tensor]]:
        """Return one empty cache a layer, for a causal model that reads its text in pieces."""
        return [{} for _ in self.blocks]

    def hidden(
        self,
        ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch all"] | None = None,
        cache: list[dict[str, Tensor]] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Give each token's vector after the last block and norm.

        Parameters
        ----------
        ids : integer Tensor, shape (batch, tokens)
        attention_mask : integer Tensor, shape (batch, cached + tokens), optional
            1 for a token, 0 for padding, as tokenizers make it.
        cache : list of dict, optional
            From `empty_cache`; holds the earlier tokens of the same texts and takes up these.

        Returns
        -------
        Tensor, shape (batch, tokens, d_model)

        Raises
        ------
        ValueError
            If the text is longer than the context, or an encoder gets a cache (its early tokens see the late ones).
        """
        if cache is not None and not self.config.causal:
            raise ValueError("only a causal model can be cached: in an encoder new tokens change the earlier ones")
        tokens = ids.shape[1]
        total = tokens + (cache[0]["keys"].shape[-2] if cache and cache[0] else 0)
        if total > self.config.context:
            raise ValueError(f"{total} tokens do not fit into a context of {self.config.context}")
        mask = causal_mask(tokens, total).to(ids.device) if self.config.causal else None
        if attention_mask is not None:
            mask = padding_mask(attention_mask) if mask is None else padding_mask(attention_mask) & mask
        x = self.embed(ids)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, None if cache is None else cache[i])
        return self.norm(x)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch all"] | None = None,
        cache: list[dict[str, Tensor]] | None = None,
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Score each token of the vocabulary at each position (logits); the arguments are those of `hidden`."""
        return self.unembed(self.hidden(ids, attention_mask, cache))
