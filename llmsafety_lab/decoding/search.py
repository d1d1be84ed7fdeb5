"""Decoding, written out: filters on the next token's logits, ways to choose, and beam search.

A filter is a function of logits that returns logits; what it forbids it sets to minus infinity. `generate` applies
filters that also see the ids written so far: `lambda ids, logits: top_p(logits, 0.9)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.decoding.filters import Filter


def greedy(logits: Float[Tensor, "batch vocabulary"]) -> Int[Tensor, " batch"]:
    """Choose the token with the largest logit."""
    return logits.argmax(dim=-1)


def sampler(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return a function that draws a token of each row by its probability."""
    return lambda logits: torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]


@torch.no_grad()
def generate(
    model: Any,
    ids: Int[Tensor, "batch tokens"],
    steps: int,
    choose: Callable[[Tensor], Tensor] = greedy,
    filters: Sequence[Filter] = (),
    end: int | None = None,
) -> Int[Tensor, "batch longer"]:
    """Write tokens after prompts of equal length, one for each prompt at a time, with a key-value cache.

    Parameters
    ----------
    model : a causal language model of transformers
    ids : Tensor, shape (batch, tokens)
    steps : int
        The most tokens to write.
    choose : callable
        Turns logits of shape (batch, vocabulary) into ids of shape (batch,).
    filters : sequence of callables
        Each gets the ids so far and the logits, and returns logits; applied in order.
    end : int, optional
        A text that has chosen this token is filled up with it.

    Returns
    -------
    Tensor, shape (batch, tokens + at most steps)
        Shorter where every text has ended.
    """
    cache, new = None, ids
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(steps):
        out = model(new, past_key_values=cache, use_cache=True)
        cache, logits = out.past_key_values, out.logits[:, -1]
        for filtered in filters:
            logits = filtered(ids, logits)
        new = choose(logits)[:, None]
        if end is not None:
            new = new.masked_fill(ended[:, None], end)
            ended |= new[:, 0] == end
        ids = torch.cat([ids, new], dim=1)
        if ended.all():
            break
    return ids


def extend(
    scores: Float[Tensor, " beams"], logits: Float[Tensor, "beams vocabulary"], count: int
) -> tuple[Float[Tensor, " count"], Int[Tensor, " count"], Int[Tensor, " count"]]:
    """Return the best ways to extend some beams by one token.

    Parameters
    ----------
    scores : Tensor, shape (beams,)
        The log-probability of each beam so far.
    logits : Tensor, shape (beams, vocabulary)
        The model's logits after each.
    count : int
        How many to return; fewer where there are no more.

    Returns
    -------
    scores, beams, tokens : Tensors, shape (count,)
        The new log-probabilities, best first; which beam each comes from; which token it adds.

    Raises
    ------
    ValueError
        If none is asked for, or there is not one score for each beam.
    """
    if count < 1 or scores.shape != logits.shape[:1]:
        raise ValueError(f"asks for {count} of {tuple(scores.shape)} beams with logits {tuple(logits.shape)}")
    every = scores[:, None] + logits.log_softmax(dim=-1)
    best, places = every.flatten().topk(min(count, every.numel()))
    return best, places // every.shape[1], places % every.shape[1]


@torch.no_grad()
def beam_search(
    model: Any,
    ids: Int[Tensor, " tokens"],
    beams: int,
    steps: int,
    length_penalty: float = 1.0,
    end: int = -1,
) -> Int[Tensor, " longer"]:
    """Return the best of the texts that beam search finds, with the prompt.

    A finished text of log-probability s and n new tokens, the end token counted, has the score s / n^length_penalty.
    The search stops when `beams` texts have finished: `early_stopping=True` of transformers.

    Parameters
    ----------
    model : a causal language model of transformers
    ids : Tensor, shape (tokens,)
    beams : int
        How many unfinished texts are kept at each step.
    steps : int
        The most tokens to write; a text of so many is finished, too.
    length_penalty : float
        0 compares log-probabilities, 1 their means for each token; above 1 long texts are favoured.
    end : int
        The token that finishes a text; by default there is none.

    Returns
    -------
    Tensor, shape (tokens + at most steps,)

    Raises
    ------
    ValueError
        If there is no beam or no step.
    """
    if beams < 1 or steps < 1:
        raise ValueError(f"beam search needs a beam and a step, got {beams} and {steps}")
    texts, scores = ids[None], torch.zeros(1, device=ids.device, dtype=torch.float64)
    cache: Any = None
    finished: list[tuple[float, Tensor]] = []
    for step in range(1, steps + 1):
        out = model(texts if cache is None else texts[:, -1:], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        scores, parents, tokens = extend(scores, out.logits[:, -1].double(), 2 * beams)
        texts = torch.cat([texts[parents], tokens[:, None]], dim=1)
        ends = (tokens == end) | (step == steps)
        for rank in ends[:beams].nonzero()[:, 0].tolist():
            finished.append((float(scores[rank]) / step**length_penalty, texts[rank]))
        finished = sorted(finished, key=lambda one: -one[0])[:beams]
        if len(finished) == beams:
            break
        going_on = (~ends).nonzero()[:beams, 0]
        texts, scores = texts[going_on], scores[going_on]
        cache.reorder_cache(parents[going_on])
    return finished[0][1]
