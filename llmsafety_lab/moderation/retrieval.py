"""Find the passages that answer a question, and say whether an answer is supported by the passages that it cites."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


@functools.cache
def counted(text: str) -> Counter[str]:
    """Return how often each word occurs in a text; what was counted once is kept."""
    return Counter(words_of(text))


def retrieve(
    passages: Sequence[str], query: str, k: int = 3, k1: float = 1.5, b: float = 0.75
) -> list[tuple[int, float]]:
    """Return the k passages with the highest BM25 score for a query, the best first, each with its score.

    Parameters
    ----------
    passages : sequence of str
    query : str
        A word that it holds twice counts twice.
    k : int
        Passages that share no word with the query are left out, so that fewer can come.
    k1, b : float
        How soon a word that occurs often stops counting more, and how much long passages pay for their length.

    Returns
    -------
    list of (int, float)
        Rows of `passages`, and their scores; of equal ones the earlier passage comes first.

    Raises
    ------
    ValueError
        If there is no passage, or k is below 1.

    References
    ----------
    Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, section 3.
    """
    if not len(passages) or k < 1:
        raise ValueError(f"at least one passage is needed, and one asked for; got {len(passages)} and k = {k}")
    counts = [counted(passage) for passage in passages]
    lengths = [sum(count.values()) for count in counts]
    total, mean = len(counts), sum(lengths) / len(counts)
    scores = [0.0] * total
    for word in words_of(query):
        holding = sum(word in count for count in counts)
        rarity = math.log(1 + (total - holding + 0.5) / (holding + 0.5))
        for row, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            times = count[word]
            if times:
                long = k1 * (1 - b + b * length / mean)
                scores[row] += rarity * times * (k1 + 1) / (times + long)
    found = [(row, score) for row, score in enumerate(scores) if score > 0]
    return sorted(found, key=lambda item: (-item[1], item[0]))[:k]


class Cited(NamedTuple):
    """How good some citations are: the share of citations that support, the share of statements that are supported."""

    precision: float
    recall: float


def citation_scores(cited: Sequence[Collection[int]], supporting: Sequence[Collection[int]]) -> Cited:
    """Return the precision and the recall of the citations of some statements.

    Parameters
    ----------
    cited : sequence of collections of int
        For each statement the passages that it cites.
    supporting : sequence of collections of int
        For each statement the passages that support it, whether cited or not.

    Returns
    -------
    Cited
        `precision`: of all citations, the share whose passage supports its statement; NaN without a citation. `recall`:
        of all statements, the share with at least one supporting citation.

    Raises
    ------
    ValueError
        If there is no statement or not as many of both.

    References
    ----------
    Liu, Zhang and Liang 2023, Evaluating Verifiability in Generative Search Engines, section 2.
    """
    if len(cited) != len(supporting) or not len(cited):
        raise ValueError(f"statements are needed, with both lists for each: got {len(cited)} and {len(supporting)}")
    good = [len(set(mine) & set(right)) for mine, right in zip(cited, supporting, strict=True)]
    citations = sum(len(set(mine)) for mine in cited)
    return Cited(sum(good) / citations if citations else math.nan, sum(count > 0 for count in good) / len(cited))
