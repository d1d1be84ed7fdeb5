"""Filters on the next token's logits: each takes logits and returns logits, with minus infinity for what it forbids."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Filter = Callable[[Tensor, Tensor], Tensor]


def temperature(logits: Float[Tensor, "*batch vocabulary"], tau: float) -> Float[Tensor, "*batch vocabulary"]:
    """Divide the logits by a temperature; at 0 only the largest of each row is left.

    Raises
    ------
    ValueError
        If the temperature is negative or not finite, or so close to 0 that the quotients overflow.
    """
    if not 0 <= tau < math.inf:
        raise ValueError(f"a temperature is a finite number of 0 or more, got {tau}")
    if tau == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))
    largest, format = float(logits.masked_fill(logits.isinf(), 1).abs().max()), torch.finfo(logits.dtype)
    if 0 < tau < max(largest / format.max, format.tiny):
        raise ValueError(f"logits of {largest:.3g} / {tau} overflow in {logits.dtype}; 0 leaves only the largest logit")
    return logits / tau


def top_k(logits: Float[Tensor, "*batch vocabulary"], k: int) -> Float[Tensor, "*batch vocabulary"]:
    """Keep the k largest logits of each row, and whatever ties with the last of them (Fan et al. 2018).

    Raises
    ------
    ValueError
        If k is less than 1.
    """
    if not k >= 1:
        raise ValueError(f"top_k keeps at least one token, got k = {k}")
    last = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < last, -math.inf)


def nucleus(logits: Float[Tensor, "*batch vocabulary"], p: float) -> Float[Tensor, "*batch vocabulary"]:
    """Return the probabilities of nucleus sampling (Holtzman et al. 2020).

    Parameters
    ----------
    logits : Tensor, shape (..., vocabulary)
    p : float
        The share of the probability to keep, in (0, 1].

    Returns
    -------
    Tensor, shape (..., vocabulary)
        Zero outside the nucleus, the smallest set of most probable tokens that holds at least p; sums to 1.

    Raises
    ------
    ValueError
        If p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise ValueError(f"p is above 0 and at most 1, got {p}")
    ranked, order = logits.softmax(dim=-1, dtype=torch.float64).sort(dim=-1, descending=True)
    # In float32 the rounded sum of 50,000 numbers reaches 1 thousands too early; what comes before a token is below 1.
    before = (ranked.cumsum(dim=-1) - ranked).clamp(max=math.nextafter(1, 0))
    kept = ranked.masked_fill(before >= p, 0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept).to(logits.dtype)


def top_p(logits: Float[Tensor, "*batch vocabulary"], p: float) -> Float[Tensor, "*batch vocabulary"]:
    """Keep the logits of the nucleus, at p = 1 all of them; errors as in `nucleus`."""
    if p == 1:
        return logits
    return logits.masked_fill(nucleus(logits, p) == 0, -math.inf)


def min_p(logits: Float[Tensor, "*batch vocabulary"], share: float) -> Float[Tensor, "*batch vocabulary"]:
    """Keep the tokens whose probability is at least a share of the largest (Nguyen et al. 2025).

    Raises
    ------
    ValueError
        If the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share is above 0 and at most 1, got {share}")
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(share), -math.inf)


def repetition_penalty(
    logits: Float[Tensor, "batch vocabulary"], ids: Int[Tensor, "batch tokens"], penalty: float
) -> Float[Tensor, "batch vocabulary"]:
    """Make each token that stands in the text less probable: divide its logit, or multiply it where it is negative.

    The rule is Keskar et al.'s (2019), with the case of negative logits that their formula leaves out.

    Raises
    ------
    ValueError
        If the penalty is not positive and finite.
    """
    if not 0 < penalty < math.inf:
        raise ValueError(f"a repetition penalty is positive and finite, and 1 changes nothing; got {penalty}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)


def presence_penalty(
    logits: Float[Tensor, "batch vocabulary"], ids: Int[Tensor, "batch tokens"], penalty: float
) -> Float[Tensor, "batch vocabulary"]:
    """Subtract a constant from the logit of each token that stands in the text, however often it does.

    Raises
    ------
    ValueError
        If the penalty is not finite.
    """
    if not math.isfinite(penalty):
        raise ValueError(f"a presence penalty is a finite number, and 0 changes nothing; got {penalty}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    return torch.where(seen, logits - penalty, logits)
