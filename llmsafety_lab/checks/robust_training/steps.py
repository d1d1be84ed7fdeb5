"""Exercises 2 and 3: a step of training, and steps that serve twice."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_pair, expect_tensor, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.losses import begin, by_weights, draw, flat, into, logits, slope, weights_of


def _there(model: VectorClassifier, x: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the gradients of the mean loss by the weights."""
    return by_weights(model, lambda it: cross_entropy(logits(it, x), labels))


def _both(reply: Any, like: list[Tensor], what: str) -> Tensor:
    """Return two tensors that a student sent as one vector, so that mistakes can be told apart."""
    pair = expect_pair(reply, what, expected="a tensor for each of weights_of(model)")
    return flat([expect_tensor(got, one.shape, what) for got, one in zip(pair, like, strict=True)])


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
        Mutant(
            "stepped twice", "weight -= lr * weight.grad", "weight -= lr * weight.grad + lr * weight.grad", "two steps"
        ),
        Mutant(
            "under no_grad",
            "    cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "    with torch.no_grad():\n"
            "        loss = cross_entropy(logits_of(model, embeddings + delta), labels)\n    loss.backward()",
            "does not require grad",
        ),
        Mutant(
            "detached",
            "logits_of(model, embeddings + delta)",
            "logits_of(model, embeddings + delta).detach().requires_grad_()",
            "stopped with",
        ),
        Mutant(
            "sum over the batch",
            "cross_entropy(logits_of(model, embeddings + delta), labels)",
            'cross_entropy(logits_of(model, embeddings + delta), labels, reduction="sum")',
            "mean over the batch",
        ),
        Mutant(
            "last layer alone",
            "for weight in weights_of(model):\n            weight -=",
            "for weight in weights_of(model)[1:]:\n            weight -=",
            "every weight",
        ),
    ),
)
def check_step(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = draw(dice, False)
    eps, lr = 0.2 + 0.2 * float(dice.uniform(1)), 0.02 * dice.integer(1, 4)
    weights = weights_of(model)
    at = x.clone().requires_grad_()
    delta = eps * slope(cross_entropy(logits(model, at), labels, reduction="sum"), at, mask).sign()
    clean, there = _there(model, x, labels), _there(model, x + delta, labels)
    attack = [len(x) * gradient for gradient in clean]

    def after(*parts: tuple[float, list[Tensor]]) -> Tensor:
        return flat([w - lr * sum(k * g[i] for k, g in parts) for i, w in enumerate(weights)])

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
        "These are two steps: take one.": after((2, there)),
        "This is a step on the sum over the batch: take the mean over the batch.": after((len(x), there)),
        "Only the last layer has moved: every weight takes the step.": after((1, [0 * there[0], there[1]])),
        "Only the first layer has moved: every weight takes the step.": after((1, [there[0], 0 * there[1]])),
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
        Mutant(
            "two passes backward a step",
            "        (cross_entropy(logits_of(model, embeddings + delta), labels) / steps).backward()\n",
            "        value = cross_entropy(logits_of(model, embeddings + delta), labels) / steps\n"
            "        (slope,) = torch.autograd.grad(value, delta, retain_graph=True)\n"
            "        value.backward()\n        delta.grad = slope\n",
            "passes backward",
        ),
        Mutant(
            "stepped twice",
            "        (cross_entropy(logits_of(model, embeddings + delta), labels) / steps).backward()\n",
            "        again = cross_entropy(logits_of(model, embeddings + delta), labels)\n"
            "        (slope,) = torch.autograd.grad(again, delta)\n"
            "        (cross_entropy(logits_of(model, embeddings + delta), labels) / steps).backward()\n"
            "        delta.grad = slope\n",
            "passes forward",
        ),
        Mutant("padding perturbed", "masked(delta.grad, mask)", "delta.grad", "padding"),
        Mutant(
            "detached",
            "logits_of(model, embeddings + delta)",
            "logits_of(model, embeddings + delta).detach().requires_grad_()",
            "stopped with",
        ),
    ),
)
def check_freelb(answer: Answer, dice: Dice) -> None:
    for _ in range(50):
        model, x, labels, mask = draw(dice, False)
        eps = 0.3 * (1 + float(dice.uniform(1)))
        start, steps = begin(dice, x, mask, eps), dice.integer(3, 4)
        found: dict[str, list[Tensor]] = {}
        for slip in ("", "outside", "padding", "still", "down"):
            delta, found[slip] = start, []
            for _ in range(steps + 1):
                found[slip].append(flat(_there(model, x + delta, labels)))
                at = delta.clone().requires_grad_()
                where = torch.ones_like(mask) if slip == "padding" else mask
                move = 0.6 * eps * slope(cross_entropy(logits(model, x + at), labels), at, where).sign()
                delta = delta if slip == "still" else delta - move if slip == "down" else delta + move
                delta = delta if slip == "outside" else into(delta, eps, math.inf)
        apart = [not torch.allclose(sum(found[slip][:-1]), sum(found[""][:-1]), atol=1e-3) for slip in list(found)[1:]]  # type: ignore[arg-type]
        if all(apart) and steps != len(x):
            break
    mean = {slip: torch.stack(each[:-1]).mean(0) for slip, each in found.items()}
    weights = weights_of(model)
    left = [dice.normal(*weight.shape) for weight in weights]
    mistakes = {
        "To the gradients was added what stood in `.grad` before: clear it first.": mean[""] + flat(left),
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
        "Where the mask is False nothing may be changed, but padding is perturbed: mask the gradient.": mean["padding"],
        "The perturbation never moves: all gradients are taken at the start.": mean["still"],
        "The perturbation moves downhill.": mean["down"],
    }
    stale = replace(model, gradients=dict(zip(model.weights or {}, left, strict=True)))
    called = answer.trace(stale, x, labels, mask, eps, steps, 0.6 * eps, start)
    got = _both(called.value, weights, "The gradients")
    expect_close(got, mean[""], "The gradients, laid in one row,", mistakes=mistakes)
    hint = (
        "The gradients by the weights and by delta come out of one pass: a single backward() fills the `.grad` of "
        "both. That is what FreeLB is for."
    )
    for passes, way in ((called.forwards, "forward"), (called.backwards, "backward")):
        message = f"The gradients are right, but your {steps} steps take {passes} passes {way}."
        expect(passes == steps, message, expected=steps, got=passes, hint=hint)
    expect_unchanged(called, 0, 1, message="You changed the weights or the embeddings: only gradients are asked for.")
