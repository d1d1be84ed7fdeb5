"""Attention, written out: the operation, masks, positions, many heads, and three ways to look at what they do."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def scaled_dot_product_attention(
    q: Float[Tensor, "*batch queries d"],
    k: Float[Tensor, "*batch keys d"],
    v: Float[Tensor, "*batch keys d_v"],
    mask: Bool[Tensor, "*#batch #queries #keys"] | None = None,
) -> tuple[Float[Tensor, "*batch queries d_v"], Float[Tensor, "*batch queries keys"]]:
    """Mix the values, each query by its own weights: softmax(q kᵀ / √d) v (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    q, k, v : Tensor, shapes (..., queries, d), (..., keys, d), (..., keys, d_v)
    mask : boolean Tensor, broadcastable to (..., queries, keys), optional
        True where a query may look. A query that may look nowhere gets weights and output of zero.

    Returns
    -------
    output : Tensor, shape (..., queries, d_v)
    weights : Tensor, shape (..., queries, keys); each row sums to 1, or to 0 where all of it is masked

    Raises
    ------
    ValueError
        If the shapes do not fit together, there is no key, or the mask is not boolean.
    """
    shapes = f"got {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ValueError(f"q, k, v must be (..., tokens, d) with the same leading dimensions, {shapes}")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"queries and keys must have the same width, {shapes}")
    if k.shape[-2] != v.shape[-2] or k.shape[-2] == 0:
        raise ValueError(f"there must be a key, and a value for each key, {shapes}")
    # Half precision ends at 65,504, which a score may pass: so scale first, and form scores in float32 at least.
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(wide) / math.sqrt(q.shape[-1]) @ k.to(wide).transpose(-2, -1)
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be boolean, True where a query may look, got {mask.dtype}")
        pairs = zip(mask.shape[::-1], scores.shape[::-1], strict=False)
        if mask.ndim > scores.ndim or any(m not in (1, s) for m, s in pairs):
            raise ValueError(f"mask {tuple(mask.shape)} does not broadcast to the scores {tuple(scores.shape)}")
        scores = scores.masked_fill(~mask, -math.inf)

    # exp overflows at 89 (float32); less its row's largest, every score is at most 0. A row all masked has no largest.
    largest = scores.detach().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    exponentials = (scores - largest).exp()
    total = exponentials.sum(dim=-1, keepdim=True)
    weights = (exponentials / total.masked_fill(total == 0, 1)).to(q.dtype)
    return weights @ v, weights


def causal_mask(queries: int, keys: int | None = None) -> Bool[Tensor, "queries keys"]:
    """Let each query look at itself and what came before it.

    Parameters
    ----------
    queries, keys : int
        With more keys than queries (a cache holds the earlier ones) the last query is the last key's token.

    Returns
    -------
    Tensor, shape (queries, keys), True where a query may look

    Raises
    ------
    ValueError
        If there are fewer keys than queries.
    """
    keys = queries if keys is None else keys
    if keys < queries:
        raise ValueError(f"a causal query is one of the keys: got {queries} queries and only {keys} keys")
    return torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=keys - queries)


def padding_mask(attention_mask: Int[Tensor, "batch keys"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """Turn a tokenizer's `attention_mask` (1 token, 0 padding) into a mask for every head and query."""
    return attention_mask.bool()[:, None, None, :]


def sinusoidal_positions(length: int, d_model: int, base: float = 10_000.0) -> Float[Tensor, "length d_model"]:
    """Positions as sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5).

    Returns
    -------
    Tensor, shape (length, d_model)
        Column 2i is sin(position / base^(2i / d_model)), column 2i + 1 the cosine of the same.

    Raises
    ------
    ValueError
        If `d_model` is odd.
    """
    if d_model % 2:
        raise ValueError(f"d_model must be even, a sine and a cosine for each frequency, got {d_model}")
    frequencies = base ** (-torch.arange(0, d_model, 2) / d_model)
    angles = torch.arange(length)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def rotary(
    x: Float[Tensor, "*batch tokens d"], positions: Int[Tensor, " tokens"], base: float = 10_000.0
) -> Float[Tensor, "*batch tokens d"]:
    """Turn each pair of numbers by an angle that grows with the position (Su et al. 2021, section 3.2.2).

    The dot product of a turned query and a turned key depends on their distance only. Pair i turns by
    position / base^(2i / d) radians. As in Llama it is made of the numbers i and i + d/2; Su et al. pair neighbours,
    which is the same up to the order of the columns.

    Parameters
    ----------
    x : Tensor, shape (..., tokens, d)
    positions : integer Tensor, shape (tokens,)
    base : float, optional

    Returns
    -------
    Tensor, shape (..., tokens, d)

    Raises
    ------
    ValueError
        If `d` is odd, or there is not one position for each token.
    """
    if x.shape[-1] % 2 or positions.shape != x.shape[-2:-1]:
        raise ValueError(f"need an even width and one position a token, got {tuple(x.shape)}, {tuple(positions.shape)}")
    half = x.shape[-1] // 2
    exponents = torch.arange(half, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device) / half
    angles = positions[:, None] * base**-exponents
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the width (Vaswani et al. 2017, section 3.2.2).

    Parameters
    ----------
    d_model, heads : int
        Each head is d_model / heads wide; anything but a whole number raises a ValueError.
    kv_heads : int, optional
        Heads of keys and values, each shared by heads / kv_heads query heads (Ainslie et al. 2023). By default `heads`.
    bias : bool, optional
    rotary_base : float, optional
        If given, queries and keys are turned by `rotary`; if not, the module knows no order.
    """

    def __init__(
        self, d_model: int, heads: int, kv_heads: int | None = None, bias: bool = True, rotary_base: float | None = None
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if min(d_model, heads, kv_heads) < 1:
            raise ValueError(f"width and heads are at least 1: got {d_model}, {heads}, {kv_heads}")
        if d_model % heads or heads % kv_heads:
            raise ValueError(f"heads must divide d_model, kv_heads heads: got {d_model}, {heads}, {kv_heads}")
        self.heads, self.kv_heads, self.rotary_base = heads, kv_heads, rotary_base
        kv_width = d_model // heads * kv_heads
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key = nn.Linear(d_model, kv_width, bias=bias)
        self.value = nn.Linear(d_model, kv_width, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    @staticmethod
    def split(x: Float[Tensor, "batch tokens width"], heads: int) -> Float[Tensor, "batch heads tokens d"]:
        """Cut the width into heads: head h has the numbers h * d to (h + 1) * d of every token."""
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    @staticmethod
    def merge(x: Float[Tensor, "batch heads tokens d"]) -> Float[Tensor, "batch tokens width"]:
        """Lay the heads side by side again: the inverse of `split`."""
        return x.transpose(1, 2).flatten(-2)

    def forward(
        self,
        x: Float[Tensor, "batch queries d_model"],
        memory: Float[Tensor, "batch keys d_model"] | None = None,
        mask: Bool[Tensor, "#queries all"] | Bool[Tensor, "#batch #heads #queries all"] | None = None,
        cache: dict[str, Tensor] | None = None,
    ) -> tuple[Float[Tensor, "batch queries d_model"], Float[Tensor, "batch heads queries all"]]:
        """Let the tokens of `x` look at each other, or at `memory` (cross attention).

        Parameters
        ----------
        x, memory : Tensor, shapes (batch, queries, d_model), (batch, keys, d_model)
        mask : boolean Tensor, shape (queries, keys) or (batch or 1, heads or 1, queries or 1, keys), optional
            Its keys are those in the cache, then those of `x`.
        cache : dict, optional
            Empty at first; takes up the keys and values of `x`, and holds them for the tokens that come after.

        Returns
        -------
        output : Tensor, shape (batch, queries, d_model)
        weights : Tensor, shape (batch, heads, queries, keys)

        Raises
        ------
        ValueError
            If the mask has another number of dimensions, or `memory` comes with a cache or rotary positions.
        """
        if mask is not None and mask.ndim not in (2, 4):
            raise ValueError(f"mask must be (queries, keys) or (batch, heads, queries, keys), got {tuple(mask.shape)}")
        if memory is not None and (cache is not None or self.rotary_base is not None):
            raise ValueError("cross attention has neither a cache nor rotary positions")
        source = x if memory is None else memory
        q = self.split(self.query(x), self.heads)
        k = self.split(self.key(source), self.kv_heads)
        v = self.split(self.value(source), self.kv_heads)
        if self.rotary_base is not None:
            start = cache["keys"].shape[-2] if cache else 0
            positions = torch.arange(start, start + x.shape[1], device=x.device)
            q, k = rotary(q, positions, self.rotary_base), rotary(k, positions, self.rotary_base)
        if cache is not None:
            if cache:
                k, v = torch.cat([cache["keys"], k], dim=-2), torch.cat([cache["values"], v], dim=-2)
            cache.update(keys=k, values=v)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        output, weights = scaled_dot_product_attention(q, k, v, mask)
        return self.out(self.merge(output)), weights
