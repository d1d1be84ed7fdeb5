"""What is done to a marked text: words exchanged, pieces taken over, the lists stolen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

WORD = re.compile(r"[A-Za-z]+")


def neighbours(
    words: Sequence[str], vectors: Float[np.ndarray, "words width"], wanted: Sequence[str]
) -> dict[str, str]:
    """Return for each wanted word the nearest other word by cosine, of those that have a vector.

    Parameters
    ----------
    words : sequence of str
        The words that may come in place of another, in the order of their vectors.
    vectors : Float[np.ndarray, "words width"]
    wanted : sequence of str
    """
    place = {word: row for row, word in enumerate(words)}
    known = sorted({word for word in wanted if word in place})
    if not known:
        return {}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [place[word] for word in known]
    cosine = unit[rows] @ unit.T
    cosine[range(len(rows)), rows] = -1
    return {word: words[int(best)] for word, best in zip(known, cosine.argmax(1), strict=True)}


def substitute(text: str, other: Mapping[str, str], share: float, seed: int = 0) -> tuple[str, float]:
    """Return a text in which this share of its words is exchanged, and the share that was.

    Parameters
    ----------
    text : str
    other : mapping from str to str
        From a word in lower case to the word that comes in its place. A word that is not in it stays.
    share : float
        Of all words, from 0 to 1. Fewer are exchanged where fewer can be.
    seed : int

    Raises
    ------
    ValueError
        If the share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of words is from 0 to 1; got {share}")
    found = list(WORD.finditer(text))
    can = [match for match in found if match[0].lower() in other]
    order = np.random.default_rng(seed).permutation(len(can))[: round(share * len(found))]
    for match in sorted((can[int(place)] for place in order), key=lambda match: -match.start()):
        new = other[match[0].lower()]
        text = text[: match.start()] + (new.capitalize() if match[0][0].isupper() else new) + text[match.end() :]
    return text, len(order) / max(len(found), 1)


def dilute(marked: Sequence[int], foreign: Sequence[int], pieces: int) -> list[int]:
    """Return a text into which a marked one was copied in pieces: first foreign, then marked, and so on.

    Raises
    ------
    ValueError
        If there is no piece, or there are more pieces than marked tokens.
    """
    if not 1 <= pieces <= len(marked):
        raise ValueError(f"{len(marked)} marked tokens can be cut into 1 to {len(marked)} pieces, not {pieces}")
    mine, other = (np.array_split(np.asarray(ids, dtype=int), pieces) for ids in (marked, foreign))
    return [int(token) for pair in zip(other, mine, strict=True) for part in pair for token in part]


def steal(
    marked: Float[Tensor, "vocabulary vocabulary"], plain: Float[Tensor, "vocabulary vocabulary"], ratio: float = 1.5
) -> Float[Tensor, "vocabulary vocabulary"]:
    """Return 1 where a token seems to be green after another, 0 elsewhere, from counts of pairs and without the key.

    Parameters
    ----------
    marked, plain : Float[Tensor, "vocabulary vocabulary"]
        How often a token (column) came after another (row) in texts with the watermark and in texts without.
    ratio : float
        How many times as frequent a token must be in marked texts. Counts are smoothed by one half.

    References
    ----------
    Jovanović, Staab and Vechev 2024, Watermark Stealing in Large Language Models: the idea, without their scores for
    contexts that were never seen.
    """
    frequent, usual = (counts + 0.5 for counts in (marked, plain))
    quotient = (frequent / frequent.sum(1, keepdim=True)) / (usual / usual.sum(1, keepdim=True))
    return ((quotient >= ratio) & (marked > 0)).to(torch.float32)
