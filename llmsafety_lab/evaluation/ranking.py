"""Who is better, from games of two: Bradley and Terry's strengths, and Elo's ratings. A tie is half a win for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

POINTS = 400 / np.log(10)
"""Points of Elo for one unit of log-odds: 400 points are odds of ten to one."""


def _games(
    first: ArrayLike, second: ArrayLike, score: ArrayLike, players: int
) -> tuple[Int[np.ndarray, " games"], Int[np.ndarray, " games"], Float[np.ndarray, " games"]]:
    one, other, won = np.asarray(first), np.asarray(second), np.asarray(score, dtype=float)
    if one.ndim != 1 or not one.size or one.shape != other.shape or one.shape != won.shape:
        raise ValueError(f"a game has two players and a score; got shapes {one.shape}, {other.shape} and {won.shape}")
    if one.dtype.kind not in "iu" or other.dtype.kind not in "iu" or min(one.min(), other.min()) < 0:
        raise ValueError("players are numbers from 0")
    if max(one.max(), other.max()) >= players or (one == other).any():
        raise ValueError(f"players are numbers below {players}, and nobody plays against themselves")
    if not ((won >= 0) & (won <= 1)).all():
        raise ValueError("the score of the first player is from 0 to 1: 1 won, 0.5 a tie, 0 lost")
    return one, other, won


def bradley_terry(
    first: Int[np.ndarray, " games"] | Sequence[int],
    second: Int[np.ndarray, " games"] | Sequence[int],
    score: Float[np.ndarray, " games"] | Sequence[float],
    players: int,
) -> Float[np.ndarray, " players"]:
    """Return the strengths that make the games likeliest: player i beats j with odds of exp(strength i - strength j).

    Parameters
    ----------
    first, second : Int[np.ndarray, " games"]
        Who played.
    score : Float[np.ndarray, " games"]
        1 where the first won, 0 where the second did, 0.5 for a tie.
    players : int

    Returns
    -------
    Float[np.ndarray, " players"]
        In units of log-odds, with a mean of 0.

    Raises
    ------
    ValueError
        If games do not fit, or the players fall into two groups of which one never scored against the other: then the
        difference between the groups has no finite best value.

    References
    ----------
    Bradley and Terry 1952; Ford 1957 (when the best value exists); Newton's method.
    """
    one, other, won = _games(first, second, score, players)
    points = np.zeros((players, players))
    np.add.at(points, (one, other), won)
    np.add.at(points, (other, one), 1 - won)
    if not (np.linalg.matrix_power(np.eye(players) + (points > 0), players) > 0).all():
        raise ValueError("one group of players never scored against the rest (or never played it): add games")
    played, strength = points + points.T, np.zeros(players)
    for _ in range(100):
        expected = 1 / (1 + np.exp(strength - strength[:, None]))
        uphill = (points - played * expected).sum(1)
        weight = played * expected * (1 - expected)
        step = np.linalg.pinv(np.diag(weight.sum(1)) - weight) @ uphill
        strength = strength + step / max(1, np.abs(step).max())
        if np.abs(step).max() < 1e-10:
            break
    return strength - strength.mean()


def elo(
    first: Int[np.ndarray, " games"] | Sequence[int],
    second: Int[np.ndarray, " games"] | Sequence[int],
    score: Float[np.ndarray, " games"] | Sequence[float],
    players: int,
    k: float = 16.0,
) -> Float[np.ndarray, " players"]:
    """Return Elo's ratings after the games in their order, from 1,000 each: each game moves both players.

    Raises
    ------
    ValueError
        If games do not fit.

    References
    ----------
    Elo 1978, The Rating of Chessplayers, Past and Present.
    """
    rating = np.full(players, 1000.0)
    for i, j, won in zip(*_games(first, second, score, players), strict=True):
        move = k * (won - 1 / (1 + 10 ** ((rating[j] - rating[i]) / 400)))
        rating[i] += move
        rating[j] -= move
    return rating


def strength_intervals(
    first: Int[np.ndarray, " games"],
    second: Int[np.ndarray, " games"],
    score: Float[np.ndarray, " games"],
    players: int,
    draws: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Float[np.ndarray, "players ends"]:
    """Return each strength with its lower and upper end, over games drawn with replacement (percentiles).

    Raises
    ------
    ValueError
        As `bradley_terry`, of the games or of a draw of them.
    """
    one, other, won = _games(first, second, score, players)
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(0, len(one), len(one)) for _ in range(draws)]
    again = np.array([bradley_terry(one[d], other[d], won[d], players) for d in drawn])
    ends = np.quantile(again, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.stack([bradley_terry(one, other, won, players), *ends], axis=1)
