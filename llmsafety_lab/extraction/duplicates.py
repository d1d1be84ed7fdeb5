"""Deduplication: of texts that are the same, or nearly so, one is kept."""

from __future__ import annotations

from collections.abc import Sequence

from llmsafety_lab.extraction.candidates import grams


def deduplicate(texts: Sequence[str], similarity: float = 1.0, length: int = 5) -> list[str]:
    """Return texts without those that are too similar to one kept before, in their order.

    Two texts are compared by their runs of `length` characters: the share of all runs of both that both have (Jaccard).
    At 1 only texts that are equal go. Comparing all pairs is quadratic; at the size of the web the pairs are found by
    MinHash (Lee et al. 2022), which estimates the same share.

    Raises
    ------
    ValueError
        If the similarity is not above 0 and at most 1.

    References
    ----------
    Lee et al. 2022, Deduplicating Training Data Makes Language Models Better, section 4.2.
    """
    if not 0 < similarity <= 1 or length < 1:
        raise ValueError(f"a similarity above 0 and at most 1, and runs of a character: got {similarity}, {length}")
    distinct = list(dict.fromkeys(texts))
    if similarity == 1:
        return distinct
    kept: list[tuple[str, set[str]]] = []
    holders: dict[str, list[int]] = {}
    for text in distinct:
        runs = grams([text], min(length, len(text)))
        near = {i for run in runs for i in holders.get(run, ())}
        if any(len(runs & kept[i][1]) >= similarity * len(runs | kept[i][1]) for i in near):
            continue
        for run in runs:
            holders.setdefault(run, []).append(len(kept))
        kept.append((text, runs))
    return [text for text, _ in kept]
