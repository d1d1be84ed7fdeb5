"""A linear model and what is added to its loss: weights of the rows, or a penalty on the gap between the groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llmsafety_lab.bias_mitigation.people import Labels, Numbers, Scores, two_groups

Scorer = Callable[[Numbers], Scores]
NOTIONS = {"demographic parity": (None,), "equal opportunity": (1,), "equalized odds": (0, 1)}
"""For each notion, the labels among whose people the decisions must not differ; None is everybody."""


def events(labels: Labels, notion: str) -> list[np.ndarray]:
    """Return the masks of the people among whom a notion compares the groups.

    Raises
    ------
    ValueError
        If the notion is none of `NOTIONS`.
    """
    if notion not in NOTIONS:
        raise ValueError(f"the notion is one of {', '.join(NOTIONS)}; got {notion!r}")
    y = np.asarray(labels)
    return [np.ones(len(y), bool) if label is None else y == label for label in NOTIONS[notion]]


def gap_penalty(
    logits: Float[Tensor, " people"],
    labels: Int[Tensor, " people"],
    groups: Int[Tensor, " people"],
    notion: str = "demographic parity",
) -> Float[Tensor, ""]:
    """Return the squared differences between each group's mean probability and everybody's, summed.

    A decision is a step, and a step has no slope. So the penalty is on probabilities, which have one: it is a stand-in
    for the gap in decisions, and need not vanish when that does.

    Parameters
    ----------
    logits : Float[Tensor, " people"]
        Before the sigmoid.
    labels, groups : Int[Tensor, " people"]
    notion : str
        A key of `NOTIONS`.

    Raises
    ------
    ValueError
        If a group has nobody among whom the notion compares.

    References
    ----------
    Kamishima et al. 2012 and Zafar et al. 2017 penalise other measures of dependence in the same place.
    """
    total = logits.new_zeros(())
    chances = logits.sigmoid()
    for label in NOTIONS[notion]:
        among = torch.ones_like(groups, dtype=torch.bool) if label is None else labels == label
        overall = chances[among].mean()
        for group in groups.unique():
            members = among & (groups == group)
            if not members.any():
                raise ValueError(f"group {int(group)} has nobody with label {label}: its rate is not defined")
            total = total + (chances[members].mean() - overall) ** 2
    return total


def fit_linear(
    x: Numbers,
    labels: Labels,
    weights: Float[np.ndarray, " people"] | None = None,
    penalty: Callable[[Tensor], Tensor] | None = None,
    decay: float = 1e-4,
    steps: int = 60,
) -> Float[np.ndarray, " weights"]:
    """Return the weights of a logistic regression, the intercept last, fitted by L-BFGS on all rows.

    Parameters
    ----------
    x : Float[np.ndarray, "people features"]
    labels : Int[np.ndarray, " people"]
    weights : Float[np.ndarray, " people"], optional
        How much each row counts; none is negative, and they are scaled to mean 1.
    penalty : callable, optional
        From the logits, shape (people,), to a number that is added to the mean loss.
    decay : float
        Half of it times the squared weights is added, the intercept apart.
    steps : int

    Raises
    ------
    ValueError
        If shapes differ, something is not finite, or a weight is negative or all are 0.
    """
    matrix, y = torch.as_tensor(np.asarray(x, dtype=float)), torch.as_tensor(np.asarray(labels, dtype=float))
    count = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    if matrix.ndim != 2 or not len(matrix) or len(matrix) != len(y) or count.shape != (len(y),):
        raise ValueError(f"a row, a label and a weight a person: got {tuple(matrix.shape)}, {len(y)}, {count.shape}")
    if not torch.isfinite(matrix).all() or not np.isfinite(count).all() or (count < 0).any() or not count.sum():
        raise ValueError("features and weights are finite, and weights are not negative and not all 0")
    counted = torch.as_tensor(count / count.mean())
    theta = torch.zeros(matrix.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = matrix @ theta[:-1] + theta[-1]
        loss = binary_cross_entropy_with_logits(logits, y, counted) + decay / 2 * theta[:-1].square().sum()
        loss = loss if penalty is None else loss + penalty(logits)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return theta.detach().numpy()


def linear_scores(theta: Float[np.ndarray, " weights"], x: Numbers) -> Scores:
    """Return the probability that a linear model gives each row."""
    return 1 / (1 + np.exp(-np.clip(x @ theta[:-1] + theta[-1], -500, 500)))


def fit_penalised(
    x: Numbers, labels: Labels, groups: np.ndarray, strength: float, notion: str = "demographic parity", steps: int = 60
) -> Float[np.ndarray, " weights"]:
    """Return a logistic regression whose loss has `strength` times the gap's penalty added.

    Raises
    ------
    ValueError
        If the strength is negative, which would pay for a gap.
    """
    y, g = two_groups(labels, groups)
    if not strength >= 0 or not np.isfinite(strength):
        raise ValueError(f"a strength is at least 0, or the model is paid for the gap; got {strength}")
    events(y, notion)
    targets, places = torch.as_tensor(y), torch.as_tensor(np.unique(g, return_inverse=True)[1])
    added = (lambda logits: strength * gap_penalty(logits, targets, places, notion)) if strength else None
    return fit_linear(x, y, penalty=added, steps=steps)


def resample(labels: Labels, groups: np.ndarray, rng: np.random.Generator) -> Int[np.ndarray, " people"]:
    """Return places drawn with replacement so that label and group are independent: uniform sampling.

    Each pair of a label and a group is drawn as often as it would be, were the two independent.

    References
    ----------
    Kamiran and Calders 2012, Data preprocessing techniques for classification without discrimination, section 4.3.
    """
    y, g = two_groups(labels, groups)
    drawn = []
    for group in np.unique(g):
        for label in (0, 1):
            members = ((g == group) & (y == label)).nonzero()[0]
            if not len(members):
                raise ValueError(f"nobody of group {group} has label {label}: there is nobody to draw")
            count = round((g == group).mean() * (y == label).mean() * len(y))
            drawn.append(rng.choice(members, count))
    return np.concatenate(drawn)
