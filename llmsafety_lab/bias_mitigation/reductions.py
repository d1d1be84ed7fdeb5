"""Fairness as a game: one player sets prices on gaps, the other fits a classifier to rows that carry those prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from llmsafety_lab.bias_mitigation.learners import events
from llmsafety_lab.bias_mitigation.people import Labels, Numbers, two_groups

Decide = Callable[[Numbers], np.ndarray]
Fit = Callable[[Numbers, Labels, Float[np.ndarray, " people"]], Decide]


@dataclass(frozen=True)
class Mixture:
    """A randomised classifier: `deciders[k]` decides with probability `shares[k]`."""

    deciders: tuple[Decide, ...]
    shares: Float[np.ndarray, " deciders"]

    def __call__(self, x: Numbers) -> Float[np.ndarray, " people"]:
        """Return for each row the probability of the decision 1."""
        return sum(
            (
                share * np.asarray(decide(x), dtype=float)
                for decide, share in zip(self.deciders, self.shares, strict=True)
            ),
            np.zeros(len(x)),
        )


def violations(
    decisions: Float[np.ndarray, " people"], labels: Labels, groups: np.ndarray, notion: str
) -> Float[np.ndarray, "events groups"]:
    """Return by how much each group's mean decision exceeds everybody's, among those whom the notion compares."""
    found = []
    for among in events(labels, notion):
        overall = decisions[among].mean()
        found.append([decisions[among & (groups == group)].mean() - overall for group in np.unique(groups)])
    return np.array(found)


def costs(
    labels: Labels, groups: np.ndarray, prices: Float[np.ndarray, "events groups"], notion: str
) -> Float[np.ndarray, " people"]:
    """Return what the decision 1 costs more than 0 for each row: the error, and the prices of the gaps.

    The Lagrangian is the share of errors plus the sum over events and groups of price times violation. It is linear in
    the decisions; this is its slope, times the number of rows.

    References
    ----------
    Agarwal et al. 2018, A Reductions Approach to Fair Classification, section 3.2 and example 3.
    """
    n, found = len(labels), 1.0 - 2.0 * np.asarray(labels)
    for among, price in zip(events(labels, notion), prices, strict=True):
        found = found - among * price.sum() * n / among.sum()
        for group, one in zip(np.unique(groups), price, strict=True):
            members = among & (groups == group)
            found = found + members * one * n / members.sum()
    return found


def prices_of(
    theta: Float[np.ndarray, "signs events groups"], bound: float
) -> Float[np.ndarray, "signs events groups"]:
    """Return the price of each constraint: exponentials of theta, scaled so that they and a rest sum to `bound`."""
    top = max(0.0, float(theta.max()))
    exponentials = np.exp(theta - top)
    return bound * exponentials / (np.exp(-top) + exponentials.sum())


def reduce(
    fit: Fit,
    x: Numbers,
    labels: Labels,
    groups: np.ndarray,
    notion: str = "demographic parity",
    slack: float = 0.01,
    rounds: int = 30,
    bound: float = 2.0,
    rate: float = 1.0,
) -> Mixture:
    """Return a randomised classifier with few errors whose groups differ by little, by exponentiated gradient.

    Parameters
    ----------
    fit : callable
        From features, labels and weights of the rows to a function that decides 0 or 1. It never sees the groups.
    x, labels, groups
        Rows, shape (people, features), and what is known of them.
    notion : str
        A key of `NOTIONS`.
    slack : float
        How far a group's mean decision may lie from everybody's, on these rows.
    rounds : int
        How often prices change and a classifier is fitted.
    bound, rate : float
        The largest sum of all prices, and how fast they change.

    Returns
    -------
    Mixture
        The best mixture of the classifiers that were met, by linear programming over their shares.

    Raises
    ------
    ValueError
        If slack is negative, rounds, bound or rate is not positive, or a group has nobody whom the notion compares.

    References
    ----------
    Agarwal et al. 2018, A Reductions Approach to Fair Classification, algorithm 1.
    """
    y, g = two_groups(labels, groups)
    if slack < 0 or rounds < 1 or not bound > 0 or not rate > 0:
        raise ValueError(f"slack is at least 0, the others positive: got {slack}, {rounds}, {bound}, {rate}")
    masks = events(y, notion)
    if any(not (among & (g == group)).any() for among in masks for group in np.unique(g)):
        raise ValueError("a group has nobody among whom the notion compares: its rate is not defined")
    theta = np.zeros((2, len(masks), len(np.unique(g))))
    deciders: list[Decide] = []
    made: list[np.ndarray] = []
    for _ in range(rounds):
        prices = prices_of(theta, bound)
        cost = costs(y, g, prices[0] - prices[1], notion)
        decide = fit(x, (cost < 0).astype(int), np.abs(cost))
        decisions = np.asarray(decide(x), dtype=float)
        gaps = violations(decisions, y, g, notion)
        theta = theta + rate * np.stack([gaps - slack, -gaps - slack])
        deciders.append(decide)
        made.append(decisions)
    shares = _best_shares(np.array(made), y, g, notion, slack)
    kept = (shares > 1e-9).nonzero()[0]
    return Mixture(tuple(deciders[k] for k in kept), shares[kept] / shares[kept].sum())


def _best_shares(
    made: Float[np.ndarray, "rounds people"], labels: Labels, groups: np.ndarray, notion: str, slack: float
) -> Float[np.ndarray, " rounds"]:
    """Return the shares with the fewest errors among those whose gaps are within the slack, or as near as can be."""
    errors = np.abs(made - labels).mean(1)
    gaps = np.array([violations(row, labels, groups, notion).ravel() for row in made]).T
    above = np.vstack([np.hstack([gaps, -np.ones((len(gaps), 1))]), np.hstack([-gaps, -np.ones((len(gaps), 1))])])
    found = linprog(
        np.append(errors, 1e3),  # the last variable is how far the slack is exceeded
        A_ub=above,
        b_ub=np.full(len(above), slack),
        A_eq=[[1.0] * len(made) + [0.0]],
        b_eq=[1.0],
        bounds=(0, None),
    )
    return np.asarray(found.x[:-1])
