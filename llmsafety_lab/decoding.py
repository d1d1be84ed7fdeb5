"""Decoding, written out: filters on the next token's logits, ways to choose, and beam search.

A filter is a function of logits that returns logits; what it forbids it sets to minus infinity. `generate` applies
filters that also see the ids written so far: `lambda ids, logits: top_p(logits, 0.9)`.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Filter = Callable[[Tensor, Tensor], Tensor]
Automaton = Mapping[Hashable, Mapping[Any, Hashable]]
"""For each state the symbols that may come next and the state that each leads to."""


def temperature(logits: Float[Tensor, "*batch vocabulary"], tau: float) -> Float[Tensor, "*batch vocabulary"]:
    """Divide the logits by a temperature; at 0 only the largest of each row is left.

    Raises
    ------
    ValueError
        If the temperature is negative or no number.
    """
    if not tau >= 0:
        raise ValueError(f"a temperature is 0 or more, got {tau}")
    if tau == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))
    return logits / tau


def top_k(logits: Float[Tensor, "*batch vocabulary"], k: int) -> Float[Tensor, "*batch vocabulary"]:
    """Keep the k largest logits of each row, and whatever ties with the last of them (Fan et al. 2018).

    Raises
    ------
    ValueError
        If k is less than 1.
    """
    if k < 1:
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
    ranked, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    before = ranked.cumsum(dim=-1) - ranked
    kept = ranked.masked_fill(before >= p, 0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept)


def top_p(logits: Float[Tensor, "*batch vocabulary"], p: float) -> Float[Tensor, "*batch vocabulary"]:
    """Keep the logits of the nucleus; errors as in `nucleus`."""
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
        If the penalty is not positive.
    """
    if not penalty > 0:
        raise ValueError(f"a repetition penalty is positive, and 1 changes nothing; got {penalty}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)


def presence_penalty(
    logits: Float[Tensor, "batch vocabulary"], ids: Int[Tensor, "batch tokens"], penalty: float
) -> Float[Tensor, "batch vocabulary"]:
    """Subtract a constant from the logit of each token that stands in the text, however often it does."""
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    return torch.where(seen, logits - penalty, logits)


def lift(automaton: Automaton, vocabulary: Mapping[int, str]) -> dict[Hashable, dict[int, Hashable]]:
    """Turn an automaton that reads characters into one that reads tokens (Willard and Louf 2023).

    Parameters
    ----------
    automaton : mapping
        For each state the characters that may come next and where they lead.
    vocabulary : mapping of int to str
        Each token's text.

    Returns
    -------
    dict
        For each state the tokens all of whose characters may come next, and the state after the last of them. A token
        without text is left out.
    """
    lifted: dict[Hashable, dict[int, Hashable]] = {}
    for start in automaton:
        lifted[start] = {}
        for token, text in vocabulary.items():
            state: Hashable = start
            for character in text:
                state = automaton.get(state, {}).get(character)
                if state is None:
                    break
            if text and state is not None:
                lifted[start][token] = state
    return lifted


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
    """
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
