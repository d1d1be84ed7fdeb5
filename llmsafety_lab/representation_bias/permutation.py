"""The permutation test between two groups, exact: how many ways to divide the items part them as far as they are?

There are 12,870 ways to divide 16 words in two halves, 601 million for 32, and 1.8 times ten to the 18 for 64. They
are counted here, never listed: the words are cut into two heaps, each heap's subsets are listed and sorted, and for
each subset of the one a binary search says how many of the other complete it.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

EXACT = 40
_SLACK = 1e-10
_CELLS = 40_000

Values = Float[np.ndarray, " items"]


def _checked(values: Values, size: int) -> Values:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all() or not 1 <= size < len(found):
        raise ValueError(
            f"two groups of finite values are needed, each with at least one; got {found.shape} and {size}"
        )
    return found - found.mean()  # now the first group's sum alone says how far apart the two means are


def _by_size(values: Values) -> list[Values]:
    """Return the sums of all subsets, sorted, by how many items they have."""
    sums, sizes = np.zeros(1), np.zeros(1, dtype=np.int8)
    for value in values:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    return [np.sort(sums[sizes == size]) for size in range(len(values) + 1)]


def _count_at_least(one: list[Values], other: list[Values], size: int, threshold: float) -> int:
    """Return how many subsets of this size have a sum of at least the threshold."""
    count = 0
    for of_one, sums in enumerate(one):
        rest = size - of_one
        if 0 <= rest < len(other):
            few, many = sorted((sums, other[rest]), key=len)
            count += len(few) * len(many) - int(np.searchsorted(many, threshold - few, side="left").sum())
    return count


def share_at_least(values: Values, size: int, two_sided: bool = True) -> float:
    """Return the share of all divisions in which the first group's mean exceeds the second's by at least as much.

    Parameters
    ----------
    values : array of shape (items,)
        The first group's values come first.
    size : int
        How many are the first group's.
    two_sided : bool
        Whether differences of the other sign count, too.

    Returns
    -------
    float
        Exact for up to 40 items. For more an upper bound, in which each value is rounded to a grid so fine that the
        bound lies close above.

    Raises
    ------
    ValueError
        If a group is empty or a value is not finite.
    """
    centred = _checked(values, size)
    slack = _SLACK * max(float(np.abs(centred).max()), 1e-300)  # what is equal but for rounding counts as equal
    observed = float(centred[:size].sum())
    ends = [observed] if not two_sided else [abs(observed)]
    if len(centred) <= EXACT:
        one, other = _by_size(centred[::2]), _by_size(centred[1::2])
        count = _count_at_least(one, other, size, ends[0] - slack)
        if two_sided:
            mirrored = [[-sums[::-1] for sums in heap] for heap in (one, other)]
            count += _count_at_least(mirrored[0], mirrored[1], size, ends[0] - slack)
        return min(1.0, count / math.comb(len(centred), size))
    tails = (centred, -centred) if two_sided else (centred,)
    return min(1.0, sum(_bound(tail, size, ends[0] - slack) for tail in tails))


def _bound(centred: Values, size: int, threshold: float) -> float:
    """Return an upper bound of the share of subsets of this size whose sum is at least the threshold.

    The values are shifted to be positive and rounded to a grid; then counts[k, s], the number of subsets of k items
    with the sum s, grows item by item. Rounding moves a sum by at most half a cell an item.
    """
    cell = float(np.ptp(centred)) * size / _CELLS
    if not cell:
        return 1.0
    steps = np.rint((centred - centred.min()) / cell).astype(int)
    width = int(np.sort(steps)[-size:].sum()) + 1
    shares = np.zeros((size + 1, width))
    shares[0, 0] = 1.0
    for step in steps:
        for chosen in range(size, 0, -1):
            shares[chosen, step:] += shares[chosen - 1, : width - step]
    least = math.ceil((threshold - size * centred.min()) / cell - size / 2)
    return float(shares[size, max(least, 0) :].sum() / math.comb(len(centred), size))


def _divisions(generator: np.random.Generator, draws: int, items: int, size: int) -> Bool[np.ndarray, "draws items"]:
    chosen: Int[np.ndarray, "draws items"] = generator.random((draws, items)).argsort(axis=1)
    return chosen < size


def share_at_least_drawn(values: Values, size: int, draws: int, seed: int = 0, two_sided: bool = True) -> float:
    """Return the same share over divisions that are drawn, the one observed counted among them.

    Raises
    ------
    ValueError
        As `share_at_least` does, and if there is no draw.
    """
    centred = _checked(values, size)
    if draws < 1:
        raise ValueError(f"at least one draw is needed; got {draws}")
    slack = _SLACK * max(float(np.abs(centred).max()), 1e-300)
    generator, hits, left = np.random.default_rng(seed), 0, draws
    observed = float(centred[:size].sum())
    while left:
        part = min(left, 10_000)
        sums = _divisions(generator, part, len(centred), size) @ centred
        hits += int((np.abs(sums) >= abs(observed) - slack).sum() if two_sided else (sums >= observed - slack).sum())
        left -= part
    return (hits + 1) / (draws + 1)
