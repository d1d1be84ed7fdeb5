"""Measures of generated text: how much of it repeats, how alike several texts are, and what a model thinks of it."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def ngrams(tokens: Sequence[Any], n: int) -> list[tuple[Any, ...]]:
    """Return the sequences of n neighbours, in order; n below 1 is a ValueError."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one token, got n = {n}")
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct_n(texts: Sequence[Sequence[Any]], n: int) -> float:
    """Return the share of different n-grams among all n-grams of some texts (Li et al. 2016); 0 where there is none."""
    every = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(every)) / max(len(every), 1)


def repetition(text: Sequence[Any], n: int = 4) -> float:
    """Return the share of a text's n-grams that stood in it before (Welleck et al. 2020, seq-rep-n)."""
    every = ngrams(text, n)
    return 1 - len(set(every)) / len(every) if every else 0.0


def bleu(text: Sequence[Any], references: Sequence[Sequence[Any]], order: int = 4) -> float:
    """Return a text's BLEU: how many of its n-grams, up to `order`, a reference shares (Papineni et al. 2002).

    The geometric mean of the shares, times a penalty where the text is shorter than the reference closest in length.
    A share of 0 is not smoothed: the score is 0 then.
    """
    if not references or order < 1:
        raise ValueError(f"BLEU needs a reference and n-grams: got {len(references)} references, order {order}")
    logs = []
    for n in range(1, order + 1):
        mine = Counter(ngrams(text, n))
        most: Counter[tuple[Any, ...]] = Counter()
        for reference in references:
            most |= Counter(ngrams(reference, n))
        shared = (mine & most).total()
        if shared == 0:
            return 0.0
        logs.append(math.log(shared / mine.total()))
    closest = min((abs(len(reference) - len(text)), len(reference)) for reference in references)[1]
    brevity = min(1.0, math.exp(1 - closest / len(text)))
    return brevity * math.exp(sum(logs) / order)


def self_bleu(texts: Sequence[Sequence[Any]], order: int = 4) -> float:
    """Return the mean BLEU of each text against all others: high where texts resemble each other (Zhu et al. 2018)."""
    if len(texts) < 2:
        raise ValueError(f"self-BLEU compares texts with each other: got {len(texts)}")
    scores = [bleu(text, [*texts[:i], *texts[i + 1 :]], order) for i, text in enumerate(texts)]
    return sum(scores) / len(scores)


@torch.no_grad()
def log_probabilities(model: Any, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens_less_one"]:
    """Return what a model thinks of texts: the log-probability of each token but the first after those before it."""
    logits = model(ids[:, :-1], use_cache=False).logits
    return logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])[..., 0]
