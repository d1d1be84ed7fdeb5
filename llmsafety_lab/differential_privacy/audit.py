"""Epsilon from below: guess who was in, and compute which epsilon that many right guesses refute.

Many records are audited in one run: each was in the training or not, by a coin of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, stats


class Audit(NamedTuple):
    """What an audit found: guesses made, guesses that were right, and the epsilon that is refuted below."""

    guesses: int
    correct: int
    epsilon: float


def p_value(records: int, guesses: int, correct: int, epsilon: float, delta: float = 0.0) -> float:
    """Bound the probability of at least so many right guesses against any (epsilon, delta)-private procedure.

    For delta = 0 a guess is right with at most the probability e^epsilon / (1 + e^epsilon), whatever the others were:
    the number of right ones is below a binomial one. A delta adds a term for each of its sizes by which it could have
    helped.

    Parameters
    ----------
    records : int
        Each was in the training with probability 1/2, independently.
    guesses : int
        The others were abstentions.
    correct : int
    epsilon, delta : float

    Raises
    ------
    ValueError
        Unless 0 <= correct <= guesses <= records, epsilon is at least 0 and delta from 0 to 1.

    References
    ----------
    Steinke, Nasr and Jagielski 2023, Privacy Auditing with One (1) Training Run, theorem 5.2 and appendix D.
    """
    if not 0 <= correct <= guesses <= records or epsilon < 0 or not 0 <= delta <= 1:
        raise ValueError(
            f"0 <= correct <= guesses <= records, epsilon >= 0 and delta from 0 to 1 are needed; got {correct}, "
            f"{guesses}, {records}, {epsilon}, {delta}"
        )
    share = 1 / (1 + np.exp(-epsilon))
    below = stats.binom.pmf(correct - np.arange(1, correct + 1), guesses, share)  # one short, two short, ...
    helped = (np.cumsum(below) / np.arange(1, correct + 1)).max() if correct else 0.0
    return float(min(stats.binom.sf(correct - 1, guesses, share) + 2 * records * delta * helped, 1.0))


def refuted(records: int, guesses: int, correct: int, delta: float = 0.0, level: float = 0.95) -> float:
    """Return the largest epsilon that so many right guesses refute at this level; 0 where they refute none.

    Raises
    ------
    ValueError
        As `p_value`; or if the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level is between 0 and 1, such as 0.95; got {level}")
    excess = lambda epsilon: p_value(records, guesses, correct, epsilon, delta) - (1 - level)  # noqa: E731
    if excess(0.0) > 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, 50.0, xtol=1e-9))


def audit(
    scores: Float[np.ndarray, " records"],
    members: Bool[np.ndarray, " records"],
    guesses: int,
    delta: float = 0.0,
    level: float = 0.95,
) -> Audit:
    """Guess "in" for the highest scores and "out" for the lowest, as many of both, and compute the epsilon refuted.

    Parameters
    ----------
    scores : Float[np.ndarray, " records"]
        High for "in".
    members : Bool[np.ndarray, " records"]
        Which were in: each by a coin of its own.
    guesses : int
        An even number, fixed before the scores are seen.
    delta, level : float

    Raises
    ------
    ValueError
        If shapes differ, or guesses is odd, below 2 or above the number of records; or as `refuted`.
    """
    found, inside = np.asarray(scores, dtype=float), np.asarray(members).astype(bool)
    if found.ndim != 1 or found.shape != inside.shape or guesses % 2 or not 2 <= guesses <= len(found):
        raise ValueError(
            f"a score and a True or False for each record, an even number of guesses: got {found.shape}, "
            f"{inside.shape} and {guesses}"
        )
    order = np.argsort(found, kind="stable")
    correct = int((~inside[order[: guesses // 2]]).sum() + inside[order[-(guesses // 2) :]].sum())
    return Audit(guesses, correct, refuted(len(found), guesses, correct, delta, level))
