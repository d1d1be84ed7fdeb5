"""Gender as a direction among word vectors, and how hard debiasing takes it out (Bolukbasi et al. 2016)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from llmsafety_lab.representation_bias.association import Vectors, unit

Direction = Float[np.ndarray, " width"]


def _pairs(first: Vectors, second: Vectors) -> tuple[Vectors, Vectors]:
    one, other = unit(first, "the pairs' first words"), unit(second, "the pairs' second words")
    if one.shape != other.shape:
        raise ValueError(f"a pair has two words of one width; got {one.shape} first and {other.shape} second ones")
    return one, other


def bias_direction(first: Vectors, second: Vectors) -> Direction:
    """Return the direction of length 1 along which the words of pairs differ most, from second to first.

    It is the first principal component of the words, each minus its pair's mean.

    Parameters
    ----------
    first, second : arrays of shape (pairs, width)
        Words that differ in one thing alone, such as "she" and "he".

    Raises
    ------
    ValueError
        If there is no pair, the shapes differ, or the two words of every pair are the same.

    References
    ----------
    Bolukbasi et al. 2016, Man is to Computer Programmer as Woman is to Homemaker?, section 5.1.
    """
    one, other = _pairs(first, second)
    halves = (one - other) / 2
    if not halves.any():
        raise ValueError("the two words of each pair are the same: they differ in no direction")
    direction = np.linalg.svd(np.concatenate([halves, -halves]), full_matrices=False)[2][0]
    return direction * (1.0 if (halves @ direction).sum() >= 0 else -1.0)


def neutralise(vectors: Vectors, direction: Direction) -> Vectors:
    """Return the vectors without what they have along a direction, again of length 1.

    Raises
    ------
    ValueError
        If the direction is zero, or a vector has nothing else.
    """
    along = unit(np.asarray(direction, dtype=np.float64)[None], "the direction")[0]
    found = unit(vectors)
    return unit(found - (found @ along)[:, None] * along, "the vectors without the direction")


def equalise(first: Vectors, second: Vectors, direction: Direction) -> tuple[Vectors, Vectors]:
    """Return pairs that differ along the direction alone, mirrored at 0, each vector of length 1.

    Both words get their mean without the direction; what is missing to length 1 they get along it, with the sign that
    each had from their mean.

    Raises
    ------
    ValueError
        If the shapes differ, the direction is zero, or a pair does not differ along it.

    References
    ----------
    Bolukbasi et al. 2016, section 6, step 2a.
    """
    one, other = _pairs(first, second)
    along = unit(np.asarray(direction, dtype=np.float64)[None], "the direction")[0]
    gap = (one - other) @ along
    if not gap.all():
        raise ValueError("a pair whose words lie equally far along the direction cannot be told apart by it")
    mean = (one + other) / 2
    rest = mean - (mean @ along)[:, None] * along
    missing = np.sqrt(np.maximum(1 - (rest**2).sum(axis=1), 0))[:, None] * np.sign(gap)[:, None] * along
    return rest + missing, rest - missing


def hard_debias(
    vectors: Vectors, rows: dict[str, int], pairs: list[tuple[str, str]], equal: list[tuple[str, str]], keep: set[str]
) -> Vectors:
    """Return all vectors, debiased: neutral words lose the direction, pairs are made equal, words to keep keep it.

    Parameters
    ----------
    vectors : array of shape (words, width)
    rows : dict
        Each word's row.
    pairs, equal : list of pairs of words
        Those that define the direction, and those that are to be equalised; pairs with an unknown word are left out.
    keep : set of str
        Words that speak of it by their meaning.

    Raises
    ------
    ValueError
        If no pair that defines the direction is known.

    References
    ----------
    Bolukbasi et al. 2016, section 6.
    """

    def both(words: list[tuple[str, str]]) -> tuple[list[int], list[int]]:
        known = [(rows[one], rows[other]) for one, other in words if one in rows and other in rows]
        return [one for one, _ in known], [other for _, other in known]

    first, second = both(pairs)
    if not first:
        raise ValueError("none of the pairs that define the direction is among the words")
    direction = bias_direction(vectors[first], vectors[second])
    debiased = unit(vectors)
    neutral = [row for word, row in rows.items() if word not in keep]
    debiased[neutral] = neutralise(debiased[neutral], direction)
    first, second = both(equal)
    if first:
        debiased[first], debiased[second] = equalise(vectors[first], vectors[second], direction)
    return debiased
