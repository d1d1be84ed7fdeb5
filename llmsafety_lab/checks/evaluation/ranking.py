"""Exercise 5: strengths from games of two, ties among them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_tensor, expect_unchanged, kind_of
from llmsafety_lab.checks.evaluation.uncertainty import PACKAGE, refuses, tensor


def _fitted(first: np.ndarray, second: np.ndarray, score: np.ndarray, players: int) -> np.ndarray:
    """Return the strengths by a general minimiser of the negative log-likelihood."""

    def loss(strength: np.ndarray) -> tuple[float, np.ndarray]:
        odds = strength[first] - strength[second]
        miss = 1 / (1 + np.exp(-odds)) - score
        slope = np.bincount(first, miss, players) - np.bincount(second, miss, players)
        value = np.logaddexp(0, odds) - score * odds
        return float(value.sum() + strength.sum() ** 2), slope + 2 * strength.sum()

    found = minimize(loss, np.zeros(players), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 1000}).x
    return found - found.mean()


def _games(dice: Dice, players: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw games in which each player beats, ties and loses to their neighbour in a circle, and others."""
    circle = np.arange(players)
    first = np.r_[circle, circle, circle, dice.integers(0, players - 1, 60).numpy()]
    step = np.r_[np.ones(3 * players, dtype=int), dice.integers(1, players - 1, 60).numpy()]
    score = np.r_[np.ones(players), np.zeros(players), np.full(players, 0.5), np.zeros(60)]
    second = (first + step) % players
    roll = dice.uniform(60).numpy()
    late = slice(3 * players, None)
    chance = 1 / (1 + np.exp((second[late] - first[late]) * 0.5))
    score[late] = np.where(roll < 0.4, 0.5, (roll - 0.4) / 0.6 < chance)
    order = torch.randperm(len(first), generator=dice.generator).numpy()
    return first[order], second[order], score[order]


def _wrong(first: np.ndarray, second: np.ndarray, score: np.ndarray, players: int) -> dict[str, np.ndarray]:
    exact, won = _fitted(first, second, score, players), score != 0.5
    points = np.bincount(first, score, players) + np.bincount(second, 1 - score, players)
    share = points / (np.bincount(first, minlength=players) + np.bincount(second, minlength=players))
    odds = np.log(share / (1 - share))
    return {
        "The ties are dropped. Then only the games that somebody won count, and all differences come out too large: a "
        "tie is half a win for both.": _fitted(first[won], second[won], score[won], players),
        "A tie counts as a win of the first player. It is half a win for both.": _fitted(
            first, second, np.ceil(score), players
        ),
        "A tie counts as a loss of the first player. It is half a win for both.": _fitted(
            first, second, np.floor(score), players
        ),
        "The signs are turned round: a stronger player has a larger number.": -exact,
        "Subtract the mean, so that the strengths have a mean of 0.": exact - exact[0],
        "Subtract the mean, so that the strengths have a mean of 0. The last player is at 0 here.": exact - exact[-1],
        "These are the log-odds of each player's share of points. They do not ask against whom: fit all players "
        "together.": odds - odds.mean(),
        "These are the log-odds of each player's share of points, which does not ask against whom, and their mean is "
        "not 0.": odds,
        "These are shares of points. The strengths are log-odds.": share,
        "These are the odds, and their logarithms are asked for.": np.exp(exact),
        "These are Elo's points, 400 / log(10) for one unit of log-odds. Return log-odds.": exact * 400 / np.log(10),
    }


@exercise(
    "evaluation.strengths",
    "Strengths from games",
    points=4,
    difficulty=4,
    importance=4,
    minutes=18,
    answer="bradley_terry",
    forbid=(f"{PACKAGE}.ranking.bradley_terry", f"{PACKAGE}.ranking.strength_intervals"),
    mutants=(
        Mutant(
            "ties dropped",
            "    points = np.zeros((players, players))",
            "    one, other, won = one[won != 0.5], other[won != 0.5], won[won != 0.5]\n"
            "    points = np.zeros((players, players))",
            "ties are dropped",
        ),
        Mutant("a tie is a win", "    points = ", "    won = np.ceil(won)\n    points = ", "win of the first"),
        Mutant("a tie is a loss", "    points = ", "    won = np.floor(won)\n    points = ", "loss of the first"),
        Mutant(
            "turned round", "return strength - strength.mean()", "return strength.mean() - strength", "turned round"
        ),
        Mutant("not centred", "return strength - strength.mean()", "return strength - strength[0]", "mean of 0"),
        Mutant("one step", "range(100)", "range(1)", "wrong"),
        Mutant(
            "shares of points",
            "    for _ in range(100)",
            "    strength = np.log(points.sum(1) / points.sum(0))\n    for _ in range(0)",
            "against whom",
        ),
        Mutant("odds", "return strength - strength.mean()", "return np.exp(strength - strength.mean())", "logarithms"),
        Mutant(
            "Elo's points",
            "return strength - strength.mean()",
            "return (strength - strength.mean()) * 400 / np.log(10)",
            "Elo's points",
        ),
        Mutant(
            "everybody scored and all are linked",
            "if not (np.linalg.matrix_power(np.eye(players) + (points > 0), players) > 0).all():",
            "if (points.sum(1) == 0).any() or not ("
            "np.linalg.matrix_power(np.eye(players) + (points + points.T > 0), players)"
            " > 0).all():",
            "In each pair both scored",
        ),
        Mutant("no refusal", "if not (np.linalg", "if False and not (np.linalg", "never"),
        Mutant(
            "refuses who never won",
            "    points = ",
            "    if min(np.bincount(np.r_[one[won == 1], other[won == 0]], minlength=players)) == 0:\n"
            '        raise ValueError("nobody")\n    points = ',
            "a tie is enough",
        ),
    ),
)
def check_strengths(answer: Answer, dice: Dice) -> None:
    for players in (4, dice.integer(5, 7)):
        first, second, score = _games(dice, players)
        called = answer.trace(first, second, score, players)
        what = f"The strengths of {players} players"
        got = _array(called.value, players, what)
        mistakes = {words: tensor(value) for words, value in _wrong(first, second, score, players).items()}
        exact = tensor(_fitted(first, second, score, players))
        hint = "At the best strengths each player's points are as many as the model expects of their games."
        expect_close(got, exact, what, mistakes=mistakes, tolerance=5e-4, hint=hint)
        expect_unchanged(called)
    first, second, score = np.array([0, 1, 0, 1, 2, 0]), np.array([1, 0, 2, 2, 0, 1]), np.array([1, 1, 1, 1, 0.5, 0.5])
    turn = dice.integer(0, 2)
    first, second = (first + turn) % 3, (second + turn) % 3
    try:
        came = answer(first, second, score, 3)
    except Failed as failed:
        said = "One player never won, and tied once: a tie is enough, half a win is a point."
        raise Failed(said, expected="strengths", got=failed.got or failed.message) from None
    exact = tensor(_fitted(first, second, score, 3))
    expect_close(_array(came, 3, "The strengths"), exact, "The strengths where one player only tied", tolerance=1e-3)
    score = np.where(second == (2 + turn) % 3, 1.0, np.where(first == (2 + turn) % 3, 0.0, score))
    refuses(answer, first, second, score, 3, because="One player never scored: the best strength is minus infinity.")
    seats = torch.randperm(4, generator=dice.generator).numpy()
    one_way = seats[[0, 1, 2, 3, 0]], seats[[1, 0, 3, 2, 2]], np.ones(5)
    because = "In each pair both scored, but one pair never scored against the other: no best value is finite."
    refuses(answer, *one_way, 4, because=because)
    apart = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2]), np.ones(4)
    refuses(answer, *apart, 4, because="Two pairs never played each other: nothing compares them.")


def _array(got: object, players: int, what: str) -> torch.Tensor:
    if isinstance(got, list | tuple):
        try:
            got = np.array([float(value) for value in got])
        except (TypeError, ValueError):
            raise Failed(f"{what} are not numbers.", expected=f"{players} numbers", got=got) from None
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(got)
    if not isinstance(got, torch.Tensor):
        raise Failed(f"{what} are not an array.", expected=f"an array of {players} numbers", got=kind_of(got))
    return expect_tensor(got, (players,), what)
