"""Exercise 3: steps that serve twice."""

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
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.cases import (
    begin,
    by_weights,
    draw,
    flat,
    in_one_row,
    into,
    logits,
    same_twice,
    slope,
    unit,
    weights_of,
)


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
        Mutant("one step more", "for _ in range(steps):", "for _ in range(steps + 1):", "one step more"),
        Mutant("one step less", "for _ in range(steps):", "for _ in range(steps - 1):", "one step is missing"),
        Mutant("three steps", "for _ in range(steps):", "for _ in range(3):", "takes three"),
        Mutant("start ignored", "    delta = start", "    delta = torch.zeros_like(start)", "begin at `start`"),
        Mutant(
            "a random start",
            "    delta = start",
            "    delta = random_start(embeddings, eps, math.inf, mask)",
            "from call to call",
        ),
        Mutant("under the 2-norm", "mask), math.inf), eps, math.inf)", "mask), 2), eps, 2)", "those of the 2-norm"),
        Mutant("steps of the 2-norm", "mask), math.inf), eps, math.inf)", "mask), 2), eps, math.inf)", "take its sign"),
        Mutant(
            "budget of the 2-norm",
            "mask), math.inf), eps, math.inf)",
            "mask), math.inf), eps, 2)",
            "project under math.inf",
        ),
        Mutant(
            "the gradient itself",
            "steepest(masked(delta.grad, mask), math.inf)",
            "masked(delta.grad, mask)",
            "take its sign",
        ),
        Mutant("each step anew", "project(delta + step", "project(step", "forgets"),
        Mutant("step ignored", "delta + step *", "delta + 2.5 * eps / steps *", "another size"),
        Mutant("in evaluation mode", "    delta = start", "    model.eval()\n    delta = start", "other mode"),
        Mutant("divided by one more", "labels) / steps", "labels) / (steps + 1)", "steps + 1"),
        Mutant(
            "start overwritten",
            "    return [weight.grad",
            "    start.copy_(delta.detach())\n    return [weight.grad",
            "only gradients are asked",
        ),
        Mutant(
            "weights moved",
            "    return [weight.grad",
            "    torch.optim.SGD(weights, lr=0.1).step()\n    return [weight.grad",
            "only gradients are asked",
        ),
    ),
)
def check_freelb(answer: Answer, dice: Dice) -> None:
    for training in (False, True):
        _check_freelb(answer, dice, training)


_SLIPS = {
    "outside": "The perturbation leaves the budget: project after each step.",
    "padding": "Where the mask is False nothing may be changed, but padding is perturbed: mask the gradient.",
    "still": "The perturbation never moves: all gradients are taken at the start.",
    "down": "The perturbation moves downhill.",
    "clean": "The climb begins at the clean point: begin at `start`.",
    "length": "The steps and the budget are those of the 2-norm: use math.inf in steepest and in project.",
    "direction": "The steps divide by the gradient's length, as under the 2-norm: take its sign.",
    "ball": "The budget is that of the 2-norm: each coordinate may move by eps, so project under math.inf.",
    "raw": "The steps are multiples of the gradient itself: take its sign.",
    "anew": "Each step forgets the ones before: add it to delta.",
    "back": "Each step is taken from `start`: add it to delta, where you are.",
    "stride": "Each step has another size: it is `step`.",
    "far": "Each step is as long as the budget: its size is `step`.",
    "smooth": "The gradients are those of a loss with label smoothing: use the plain cross-entropy.",
    "mode": "The gradients are those of the other mode: FreeLB leaves the model in the mode in which it came.",
}


def _path(case: tuple[Any, ...], asked: tuple[Any, ...], training: bool, slip: str) -> list[Tensor]:
    """Return the gradients by the weights at each point of a climb, one point more than there are steps."""
    (model, x, labels, mask), (eps, steps, step, start) = case, asked
    training = training != (slip == "mode")
    size = {"stride": 2.5 * eps / steps, "far": eps}.get(slip, step)
    mask = torch.ones_like(mask) if slip == "padding" else mask
    delta, found = 0 * start if slip == "clean" else start, []
    for _ in range(steps + 1):
        at = delta.clone().requires_grad_()

        def loss(it: VectorClassifier, at: Tensor = at) -> Tensor:
            return cross_entropy(logits(it, x + at, training), labels, label_smoothing=0.1 * (slip == "smooth"))

        found.append(flat(by_weights(model, loss)))
        gradient = slope(loss(model), at, mask)
        move = size * (
            gradient / steps if slip == "raw" else unit(gradient, 2 if slip in ("length", "direction") else math.inf)
        )
        base = {"anew": 0 * start, "back": start}.get(slip, delta)
        delta = delta if slip == "still" else base - move if slip == "down" else base + move
        delta = delta if slip == "outside" else into(delta, eps, 2 if slip in ("length", "ball") else math.inf)
    return found


def _check_freelb(answer: Answer, dice: Dice, training: bool) -> None:
    for _ in range(100):
        case = model, x, labels, mask = draw(dice, training)
        eps = 0.3 * (1 + float(dice.uniform(1)))
        steps = dice.integer(4, 5)
        asked = (eps, steps, 0.6 * eps, begin(dice, x, mask, eps))
        found = {slip: _path(case, asked, training, slip) for slip in ("", *_SLIPS)}
        means = {slip: torch.stack(each[:-1]).mean(0) for slip, each in found.items()}
        apart = [not torch.allclose(mean, means[""], atol=1e-3) for slip, mean in means.items() if slip]
        if all(apart) and steps != len(x):
            break
    exact, path = means[""], found[""]
    weights = weights_of(model)
    left = [dice.normal(*weight.shape) for weight in weights]
    mistakes = {
        "To the gradients was added what stood in `.grad` before: clear it first.": exact + flat(left),
        "This is the sum over the batch of the cross-entropies: take their mean.": len(x) * exact,
        "This is the sum over the steps: divide each share by their number, or a learning rate no longer means the "
        "same.": steps * exact,
        "These are the gradients of the last step alone, as PGD training would take them but a step short. FreeLB adds "
        "up those of all steps.": path[-2] / steps,
        "These are the gradients of the last step alone. FreeLB takes the mean of all steps.": path[-2],
        "These are the gradients at the end of the climb alone: that is PGD training.": path[-1],
        "The first point is missing: the mean begins at the start, before any step.": torch.stack(path[1:]).mean(0),
        "These are the gradients of one step more: `steps` points, the start among them.": torch.stack(path).sum(0)
        / steps,
        "This is the mean over one step more: `steps` points, the start among them.": torch.stack(path).mean(0),
        "One step is missing: `steps` points, the start among them.": torch.stack(path[:-2]).sum(0) / steps,
        "One step is missing, the mean is over steps - 1 points.": torch.stack(path[:-2]).mean(0),
        "`steps` says how many steps to take: yours takes three.": torch.stack(path[:3]).sum(0) / steps,
        "This is divided by steps + 1: there are `steps` points.": steps * exact / (steps + 1),
        "All are 0: return the gradients as the weights hold them, before anything clears them.": 0 * exact,
    } | {words: means[slip] for slip, words in _SLIPS.items()}
    stale = replace(model, gradients=dict(zip(model.weights or {}, left, strict=True)))
    called = answer.trace(stale, x, labels, mask, *asked)
    got = in_one_row(called.value, weights, "The gradients")
    same_twice(got, in_one_row(answer(stale, x, labels, mask, *asked), weights, "The gradients"), "The gradients")
    mode = "train" if training else "evaluation"
    hint = "The mean cross-entropy at the current point, divided by steps, and backward(); then a step of delta."
    what = f"The gradients of a model in {mode} mode, laid in one row,"
    expect_close(got, exact, what, mistakes=mistakes, hint=hint)
    hint = (
        "The gradients by the weights and by delta come out of one pass: a single backward() fills the `.grad` of "
        "both. That is what FreeLB is for."
    )
    for passes, way in ((called.forwards, "forward"), (called.backwards, "backward")):
        message = f"The gradients are right, but your {steps} steps take {passes} passes {way}."
        expect(passes == steps, message, expected=steps, got=passes, hint=hint)
    expect(0 not in called.modes, "You left the model in another mode than it came in.")
    expect_unchanged(called, message="You changed the weights or an argument: only gradients are asked for.")
