"""Find the passages that answer a question, and say whether an answer is supported by the passages that it cites."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


class Index:
    """Passages by their words, for `retrieve`.

    Parameters
    ----------
    passages : sequence of str

    Raises
    ------
    ValueError
        If there is no passage.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        if not len(passages):
            raise ValueError("an index needs at least one passage")
        counts = [Counter(words_of(passage)) for passage in passages]
        self.lengths = [sum(count.values()) for count in counts]
        self.mean = sum(self.lengths) / len(counts)
        self.places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, count in enumerate(counts):
            for word, times in count.items():
                self.places[word].append((row, times))


def retrieve(index: Index, query: str, k: int = 3, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
    """Return the k passages with the highest BM25 score for a query, the best first, each with its score.

    Parameters
    ----------
    index : Index
    query : str
    k : int
        Passages that share no word with the query are left out, so that fewer can come.
    k1, b : float
        How soon a word that occurs often stops counting more, and how much long passages pay for their length.

    Raises
    ------
    ValueError
        If k is below 1.

    References
    ----------
    Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, section 3.
    """
    if k < 1:
        raise ValueError(f"at least one passage has to be asked for; got k = {k}")
    total = len(index.lengths)
    scores: dict[int, float] = defaultdict(float)
    for word in words_of(query):
        found = index.places.get(word, [])
        rarity = math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
        for row, times in found:
            long = k1 * (1 - b + b * index.lengths[row] / index.mean)
            scores[row] += rarity * times * (k1 + 1) / (times + long)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]


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
