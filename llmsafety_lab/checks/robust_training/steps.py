"""Exercises 2 and 3: a step of training, and steps that serve twice."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor
from llmsafety_lab.checks.robust_training.losses import begin, draw, into, logits, slope


def _there(model: dict[str, Any], x: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the gradients of the mean loss by the weights."""
    weights = [model[name].clone().requires_grad_() for name in ("first", "second")]
    loss = cross_entropy(logits({**model, "first": weights[0], "second": weights[1]}, x), labels)
    return list(torch.autograd.grad(loss, weights))


def _both(reply: Any, like: list[Tensor], what: str) -> Tensor:
    """Return two tensors that a student sent as one vector, so that mistakes can be told apart."""
    if not isinstance(reply, list | tuple) or len(reply) != 2:
        kind = "None: is there a return statement?" if reply is None else f"a {type(reply).__name__}"
        raise Failed(f"{what} are not a list of two tensors.", expected="one for each of weights_of(model)", got=kind)
    return _flat([expect_tensor(got, one.shape, what) for got, one in zip(reply, like, strict=True)])


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.flatten() for one in tensors])


@exercise(
    "robust_training.step",
    "One step of training",
    points=2,
    difficulty=2,
    importance=4,
    minutes=10,
    answer="robust_step",
    mutants=(
        Mutant("attack's gradients kept", "        weight.grad = None", "        pass", "attack left"),
        Mutant("uphill", "weight -= lr", "weight += lr", "uphill"),
        Mutant("clean text", "embeddings + delta", "embeddings", "clean"),
        Mutant(
            "rewards being different",
            "cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "(cross_entropy(logits_of(model, embeddings), labels) "
            "- cross_entropy(logits_of(model, embeddings + delta), labels)).backward()",
            "rewards",
        ),
        Mutant("a rate of its own", "weight -= lr * weight.grad", "weight -= 0.1 * weight.grad", "learning rate"),
        Mutant(
            "copies changed",
            "weight -= lr * weight.grad\n    return [weight.detach().clone()",
            "pass\n    return [(weight - lr * weight.grad).detach()",
            "in place",
        ),
    ),
)
def check_step(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = draw(dice, False)
    eps, lr = 0.2 + 0.2 * float(dice.uniform(1)), 0.02 * dice.integer(1, 4)
    weights = [model["first"], model["second"]]
    at = x.clone().requires_grad_()
    delta = eps * slope(cross_entropy(logits(model, at), labels, reduction="sum"), at, mask).sign()
    clean, there = _there(model, x, labels), _there(model, x + delta, labels)
    attack = [len(x) * gradient for gradient in clean]

    def after(*parts: tuple[float, list[Tensor]]) -> Tensor:
        return _flat([w - lr * sum(k * g[i] for k, g in parts) for i, w in enumerate(weights)])

    mistakes = {
        "The gradients that the attack left in the weights were added to those of the training. Clear them after the "
        "attack, before your own backward().": after((1, there), (1, attack)),
        "The step goes uphill: it raises the loss. The attack climbs, the training descends.": after((-1, there)),
        "This is a step on the clean text: the perturbation is not used.": after((1, clean)),
        "This rewards the model for a different answer under attack.": after((1, clean), (-1, there)),
        "The attack's gradients were added, and the text was clean.": after((1, clean), (1, attack)),
        "The weights did not change.": after(),
        "The weights moved by the attack's gradients alone.": after((1, attack)),
        "The step has another length: the learning rate is `lr`.": after((0.1 / lr, there)),
    }
    called = answer.trace(model, x, labels, mask, eps, lr)
    got = _both(called.value, weights, "The weights after the step")
    expect_close(got, after((1, there)), "The weights after the step, laid in one row,", mistakes=mistakes)
    hint = "Under torch.no_grad(): weight -= ..., and not weight = weight - ..., which makes a new tensor."
    expect(0 in called.changed, "The model's weights are as they were: change them in place.", hint=hint)


@exercise(
    "robust_training.freelb",
    "Steps that serve twice",
    points=3,
    difficulty=4,
    importance=4,
    minutes=14,
    answer="freelb_gradients",
    mutants=(
        Mutant("sum for mean", "labels) / steps", "labels)", "sum over the steps"),
        Mutant(
            "last step only",
            "        delta = delta.detach().requires_grad_()",
            "        clear(model)\n        delta = delta.detach().requires_grad_()",
            "last step alone",
        ),
        Mutant(
            "no projection",
            "project(delta + step * steepest(masked(delta.grad, mask), math.inf), eps, math.inf)",
            "delta + step * steepest(masked(delta.grad, mask), math.inf)",
            "leaves the budget",
        ),
        Mutant("delta never moves", "delta = project(delta", "project(delta", "never moves"),
        Mutant("descent", "delta + step *", "delta - step *", "downhill"),
        Mutant("nothing cleared", "    clear(model)\n", "", "what stood in"),
        Mutant(
            "sum over the batch",
            "cross_entropy(logits_of(model, embeddings + delta), labels)",
            'cross_entropy(logits_of(model, embeddings + delta), labels, reduction="sum")',
            "sum over the batch",
        ),
    ),
)
def check_freelb(answer: Answer, dice: Dice) -> None:
    for _ in range(50):
        model, x, labels, mask = draw(dice, False)
        eps = 0.3 * (1 + float(dice.uniform(1)))
        start, steps = begin(dice, x, mask, eps), dice.integer(2, 3)
        found: dict[str, list[Tensor]] = {}
        for slip in ("", "outside", "still", "down"):
            delta, found[slip] = start, []
            for _ in range(steps + 1):
                found[slip].append(_flat(_there(model, x + delta, labels)))
                at = delta.clone().requires_grad_()
                move = 0.6 * eps * slope(cross_entropy(logits(model, x + at), labels), at, mask).sign()
                delta = delta if slip == "still" else delta - move if slip == "down" else delta + move
                delta = delta if slip == "outside" else into(delta, eps, math.inf)
        if not torch.allclose(sum(found["outside"][:-1]), sum(found[""][:-1]), atol=1e-3):  # type: ignore[arg-type]
            break
    mean = {slip: torch.stack(each[:-1]).mean(0) for slip, each in found.items()}
    weights = [model["first"], model["second"]]
    left = [dice.normal(*weight.shape) for weight in weights]
    mistakes = {
        "To the gradients was added what stood in `.grad` before: clear it first.": mean[""] + _flat(left),
        "This is the sum over the batch of the cross-entropies: take their mean.": len(x) * mean[""],
        "This is the sum over the steps: divide each share by their number, or a learning rate no longer means the "
        "same.": steps * mean[""],
        "These are the gradients of the last step alone, as PGD training would take them but a step short. FreeLB adds "
        "up those of all steps.": found[""][-2] / steps,
        "These are the gradients of the last step alone. FreeLB takes the mean of all steps.": found[""][-2],
        "These are the gradients at the end of the climb alone: that is PGD training.": found[""][-1],
        "The first point is missing: the mean begins at the start, before any step.": torch.stack(found[""][1:]).mean(
            0
        ),
        "The perturbation leaves the budget: project after each step.": mean["outside"],
        "The perturbation never moves: all gradients are taken at the start.": mean["still"],
        "The perturbation moves downhill.": mean["down"],
    }
    reply = answer(model | {"left": left}, x, labels, mask, eps, steps, 0.6 * eps, start)
    got = _both(reply, weights, "The gradients")
    expect_close(got, mean[""], "The gradients, laid in one row,", mistakes=mistakes)
