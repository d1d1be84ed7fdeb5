"""Was the benchmark in the training data? Shared n-grams where the data can be read, and the order of the items."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float


def words(text: str) -> list[str]:
    """Return a text's words and numbers in small letters."""
    return re.findall(r"\w+", text.lower())


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Return the runs of n words of a text, in order."""
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def overlap(items: Sequence[str], corpus: Iterable[str], n: int = 8) -> Float[np.ndarray, " items"]:
    """Return which share of each item's n-grams is in the corpus; 0 for an item shorter than n words.

    Raises
    ------
    ValueError
        If n is below 1.

    References
    ----------
    Brown et al. 2020, Language Models are Few-Shot Learners, appendix C (n = 13 there).
    """
    if n < 1:
        raise ValueError("an n-gram has at least one word")
    seen = {gram for text in corpus for gram in ngrams(text, n)}
    each = [ngrams(item, n) for item in items]
    return np.array([np.mean([gram in seen for gram in grams]) if grams else 0.0 for grams in each])


def order_scores(
    score: Callable[[Sequence[str]], float], items: Sequence[str], shards: int, draws: int, seed: int = 0
) -> tuple[Float[np.ndarray, " shards"], Float[np.ndarray, "shards draws"]]:
    """Return the log-probability of each shard in its published order, and in shuffled orders.

    Parameters
    ----------
    score : callable
        The model's log-probability of items in a given order.
    items : sequence of str
        In the order in which the benchmark was published. They are cut into neighbouring shards of equal size; what is
        left over at the end is left out.
    shards, draws, seed : int
        How many shards, and how many shuffled orders of each.

    Raises
    ------
    ValueError
        If a shard would have fewer than two items, or there is no draw.
    """
    size = len(items) // shards if shards > 0 else 0
    if size < 2 or draws < 1:
        raise ValueError(f"{len(items)} items in {shards} shards: each needs two at least, and orders to compare with")
    generator, published, shuffled = np.random.default_rng(seed), [], []
    for start in range(0, size * shards, size):
        shard = list(items[start : start + size])
        published.append(score(shard))
        shuffled.append([score([shard[i] for i in generator.permutation(size)]) for _ in range(draws)])
    return np.array(published), np.array(shuffled)


def order_test(published: Float[np.ndarray, " shards"], shuffled: Float[np.ndarray, "shards draws"]) -> float:
    """Return the p-value that the published order is no likelier to the model than shuffled ones: exact, one-sided.

    A model that never saw the benchmark cannot know its order, if its items are exchangeable. Then the published order
    is one more draw, and any rank of its sum over shards is as probable as any other.

    Parameters
    ----------
    published : Float[np.ndarray, " shards"]
        The log-probability of each shard in the published order.
    shuffled : Float[np.ndarray, "shards draws"]
        The same in shuffled orders.

    Raises
    ------
    ValueError
        If shapes do not fit, there is nothing to compare with, or a log-probability is not finite.

    References
    ----------
    Oren et al. 2024, Proving Test Set Contamination in Black Box Language Models: their permutation test, here with
    orders shuffled within shards; Phipson and Smyth 2010 (why 1 is added).
    """
    one, others = np.asarray(published, dtype=float), np.asarray(shuffled, dtype=float)
    if one.ndim != 1 or others.ndim != 2 or len(one) != len(others) or not others.size:
        raise ValueError(f"needed are (shards,) and (shards, draws); got {one.shape} and {others.shape}")
    if not np.isfinite(one).all() or not np.isfinite(others).all():
        raise ValueError("a log-probability is not finite")
    totals = others.sum(0)
    return float((1 + (totals >= one.sum() - 1e-9).sum()) / (1 + len(totals)))


class WordModel:
    """A language model of counts: the next word after the two before it, mixed with shorter memories.

    Parameters
    ----------
    texts : sequence of str
        Read as one long text.
    share : float
        How much of its weight each longer memory takes, where it has been seen before.
    """

    def __init__(self, texts: Iterable[str], share: float = 0.6) -> None:
        stream = [word for text in texts for word in [*words(text), "."]]
        if not stream:
            raise ValueError("there is no text to learn from")
        self.share = share
        self.runs = [Counter(zip(*(stream[i:] for i in range(n)), strict=False)) for n in (1, 2, 3)]
        self.before = [Counter[tuple[str, ...]](), self.runs[0], self.runs[1]]
        self.total = len(stream)

    def log_probability(self, texts: Sequence[str]) -> float:
        """Return the log-probability of texts in this order."""
        stream = [word for text in texts for word in [*words(text), "."]]
        found = 0.0
        for place, word in enumerate(stream):
            chance = (self.runs[0][(word,)] + 0.5) / (self.total + 0.5 * len(self.runs[0]) + 1)
            for n in (1, 2):
                past = tuple(stream[max(0, place - n) : place])
                if len(past) == n and self.before[n][past]:
                    chance = (1 - self.share) * chance + self.share * self.runs[n][(*past, word)] / self.before[n][past]
            found += float(np.log(chance))
        return found
