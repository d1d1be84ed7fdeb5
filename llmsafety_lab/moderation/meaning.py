"""How sure a model is of what it means, rather than of how it says it: entropy over meanings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


def meanings(entails: ArrayLike) -> list[int]:
    """Return for each answer the number of its meaning, the meanings being numbered as they come.

    An answer has the meaning of an earlier one if the two entail each other. It is compared with the first answer of
    each meaning, in order, and takes the first that fits; where none fits it begins a new one.

    Parameters
    ----------
    entails : array of bool, shape (answers, answers)
        Whether the answer of the row entails that of the column.

    Raises
    ------
    ValueError
        If the array is not square, or empty.

    References
    ----------
    Farquhar et al. 2024, Detecting Hallucinations in Large Language Models Using Semantic Entropy, Methods.
    """
    holds: Bool[np.ndarray, "answers answers"] = np.asarray(entails, dtype=bool)
    if holds.ndim != 2 or holds.shape[0] != holds.shape[1] or not len(holds):
        raise ValueError(f"a square table is needed, a row and a column an answer; got the shape {holds.shape}")
    first: list[int] = []
    found = []
    for row in range(len(holds)):
        same = [number for number, one in enumerate(first) if holds[row, one] and holds[one, row]]
        if not same:
            first.append(row)
        found.append(same[0] if same else len(first) - 1)
    return found


def semantic_entropy(entails: ArrayLike, logs: Sequence[float] | None = None) -> float:
    """Return the entropy of the meanings of some sampled answers, in nats.

    Parameters
    ----------
    entails : array of bool, shape (answers, answers)
        As for `meanings`.
    logs : sequence of float, optional
        The answers' log-probabilities. With them an answer weighs as much as it is probable, and the weights of all
        answers are scaled to a sum of 1; without them all weigh the same.

    Raises
    ------
    ValueError
        As `meanings`, and if there are not as many log-probabilities as answers.

    References
    ----------
    Farquhar et al. 2024, Methods: semantic entropy, and its discrete variant, which does without probabilities.
    """
    of = np.array(meanings(entails))
    values = np.zeros(len(of)) if logs is None else np.asarray(logs, dtype=float)
    if values.shape != of.shape or not np.isfinite(values).all():
        raise ValueError(f"a finite log-probability is needed for each of {len(of)} answers; got {values.tolist()}")
    weights = np.exp(values - values.max())
    shares: Float[np.ndarray, " meanings"] = np.bincount(of, weights) / weights.sum()
    shares = shares[shares > 0]
    return float(abs(-(shares * np.log(shares)).sum()))
