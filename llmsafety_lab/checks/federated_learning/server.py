"""Exercise 1: what the server makes of the clients' weights."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_pair, expect_unchanged
from llmsafety_lab.checks.federated_learning.refusals import as_tensor, refused


def _reports(dice: Dice, clients: int, width: int) -> list[dict]:
    return [
        {"weights": dice.normal(width), "momentum": dice.normal(width), "records": dice.integer(3, 40) + 50 * k}
        for k in range(clients)
    ]


def _mean(reports: list[dict], what: str, equal: bool = False) -> Tensor:
    counts = torch.tensor([1.0 if equal else float(one["records"]) for one in reports], dtype=torch.float64)
    return (counts / counts.sum()) @ torch.stack([one[what] for one in reports])


@exercise(
    "federated_learning.server",
    "What the server does",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    answer="server_step",
    mutants=(
        Mutant(
            "unweighted average",
            'report["records"] / total * report["weights"]',
            'report["weights"] / len(reports)',
            "weighs every client the same",
        ),
        Mutant("server lr lost", "weights + lr * velocity", "weights + velocity", "learning rate"),
        Mutant(
            "averaging optimiser state",
            "velocity = momentum * velocity + mean - weights",
            'velocity = sum(report["records"] / total * report["momentum"] for report in reports)\n'
            "    velocity = momentum * velocity + mean - weights",
            "optimiser",
        ),
        Mutant(
            "the clients' momentum on top",
            "velocity = momentum * velocity + mean - weights",
            "velocity = momentum * velocity + mean - weights\n"
            '    velocity = velocity + sum(report["records"] / total * report["momentum"] for report in reports)',
            "optimiser",
        ),
        Mutant("momentum lost", "momentum * velocity + mean", "mean", "momentum is not used"),
        Mutant("away from the clients", "+ mean - weights", "- mean + weights", "away"),
        Mutant("weights for an update", "+ mean - weights", "+ mean", "minus the weights"),
        Mutant(
            "velocity not returned",
            "return weights + lr * velocity, velocity",
            "return weights + lr * velocity",
            "pair",
        ),
        Mutant(
            "velocity with the rate",
            "return weights + lr * velocity, velocity",
            "return weights + lr * velocity, lr * velocity",
            "without the learning rate",
        ),
        Mutant(
            "in place",
            "return weights + lr * velocity, velocity",
            "weights += lr * velocity\n    return weights, velocity",
            "in place",
        ),
        Mutant("nobody came", "    if not reports:\n", "    if weights is None:\n", "no client"),
    ),
)
def check_server(answer: Answer, dice: Dice) -> None:
    for momentum in (0.0, 0.25 * dice.integer(1, 3)):
        clients, width = dice.integer(3, 5), dice.integer(4, 7)
        weights, velocity = dice.normal(width), dice.normal(width)
        lr = 0.1 * dice.integer(2, 8)
        reports = _reports(dice, clients, width)
        mean, states = _mean(reports, "weights"), _mean(reports, "momentum")
        plain = _mean(reports, "weights", equal=True)
        update = mean - weights

        def after(step: Tensor, rate: float = lr, weights: Tensor = weights) -> Tensor:
            return weights + rate * step

        right = momentum * velocity + update
        called = answer.trace(weights, reports, velocity, lr, momentum)
        got, moved = expect_pair(called.value, "The result", expected="(weights, velocity)")
        mistakes = {
            "The average weighs every client the same. A client with more records counts more: divide its number of "
            "records by that of all.": after(momentum * velocity + plain - weights),
            "The server's learning rate is lost: the velocity is multiplied by it.": after(right, 1.0),
            "The velocity is made of the clients' optimiser state. Their momentum is their own: the server averages "
            "weights only.": after(momentum * states + update),
            "The clients' optimiser state is added. Their momentum is their own: the server averages weights only.": (
                after(right + states)
            ),
            "The step is taken with the clients' optimiser state alone: the server averages weights.": after(states),
            "The momentum is not used: the velocity so far, times it, is a part of the new one.": after(update),
            "The step leads away from the clients: the update is their average minus the server's weights.": after(
                momentum * velocity - update
            ),
            "An update is the average minus the weights that were sent out.": after(momentum * velocity + mean),
            "This is the plain average: the step is from the server's weights towards it.": mean,
        }
        expect_close(as_tensor(got), after(right), "The weights after the step", mistakes=mistakes)
        slips = {
            "Return the velocity without the learning rate: the rate counts when a step is taken.": lr * right,
            "The velocity that you return is the old one.": velocity,
            "The velocity that you return holds the update alone: the old one, times the momentum, is a part of it.": (
                update
            ),
            "You return the step with the clients' optimiser state in it.": right + states,
        }
        expect_close(as_tensor(moved), right, "The velocity after the step", mistakes=slips)
        expect_unchanged(called, 0, 1, 2)
    one = _reports(dice, 1, 3)
    start = dice.normal(3)
    got, _ = expect_pair(answer(start, one, torch.zeros(3, dtype=torch.float64), 1.0, 0.0), "The result")
    expect_close(as_tensor(got), one[0]["weights"], "With one client, rate 1 and no momentum, the weights")
    refused(lambda: answer(start, [], start, 1.0, 0.0), "There is no client to average, and that was not refused.")
