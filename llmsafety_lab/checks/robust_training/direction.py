"""Exercise 5: the direction of virtual adversarial training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_tensor
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.cases import (
    begin,
    clean_hands,
    divergence,
    draw,
    logits,
    same_twice,
    slope,
    unit,
    weights_of,
)


@exercise(
    "robust_training.direction",
    "Where the prediction bends",
    points=3,
    difficulty=4,
    importance=3,
    minutes=12,
    answer="virtual_direction",
    mutants=(
        Mutant("asks at the clean point", "x + xi * d", "x + 0 * d", "gradient is 0"),
        Mutant(
            "length of each token",
            "d = steepest(masked(gradient, mask), 2)",
            "d = masked(torch.nn.functional.normalize(gradient, dim=-1), mask)",
            "each token",
        ),
        Mutant("no normalisation", "d = steepest(masked(gradient, mask), 2)", "d = masked(gradient, mask)", "length 1"),
        Mutant("padding perturbed", "d = steepest(masked(gradient, mask), 2)", "d = steepest(gradient, 2)", "padding"),
        Mutant("one iteration for all", "range(iterations)", "range(1)", "one iteration"),
        Mutant("in train mode", "with evaluating(model):", "if True:", "train mode"),
        Mutant("another xi", "x + xi * d", "x + 1e-2 * d", "another `xi`"),
        Mutant("mask demanded", "masked(gradient, mask)", "gradient * mask[..., None]", "None"),
        Mutant(
            "downhill", "d = steepest(masked(gradient, mask), 2)", "d = -steepest(masked(gradient, mask), 2)", "sign"
        ),
        Mutant(
            "by backward()",
            "(gradient,) = torch.autograd.grad(divergence(fixed, logits_of(model, x + xi * d)).sum(), d)",
            "divergence(fixed, logits_of(model, x + xi * d)).sum().backward()\n            gradient = d.grad",
            "left gradients in the weights",
        ),
        Mutant(
            "under no_grad",
            "(gradient,) = torch.autograd.grad(divergence(fixed, logits_of(model, x + xi * d)).sum(), d)",
            "with torch.no_grad():\n                apart = divergence(fixed, logits_of(model, x + xi * d)).sum()\n"
            "            (gradient,) = torch.autograd.grad(apart, d)",
            "does not require grad",
        ),
        Mutant(
            "the divergence turned round",
            "divergence(fixed, logits_of(model, x + xi * d))",
            "divergence(logits_of(model, x + xi * d), fixed)",
            "turned round",
        ),
        Mutant("xi forgotten", "x + xi * d", "x + d", "another `xi`"),
        Mutant(
            "masked too late",
            "steepest(masked(gradient, mask), 2)",
            "masked(steepest(gradient, 2), mask)",
            "before you divide",
        ),
        Mutant("one iteration more", "range(iterations)", "range(iterations + 1)", "one iteration more"),
        Mutant("two iterations by default", "iterations: int = 1", "iterations: int = 2", "by default"),
        Mutant("another xi by default", "xi: float = 1e-2", "xi: float = 1.0", "by default"),
        Mutant("always a random start", " if start is None else start", "", "from call to call"),
        Mutant("signs", "steepest(masked(gradient, mask), 2)", "masked(gradient, mask).sign()", "These are the signs"),
        Mutant(
            "the batch's length",
            "d = steepest(masked(gradient, mask), 2)",
            "d = masked(gradient, mask) / masked(gradient, mask).norm()",
            "whole batch",
        ),
        Mutant(
            "squared distance",
            "divergence(fixed, logits_of(model, x + xi * d)).sum()",
            "(fixed - logits_of(model, x + xi * d)).square().sum()",
            "squared distance",
        ),
        Mutant(
            "start overwritten", "    return d.detach()", "    return start.copy_(d.detach())", "changed an argument"
        ),
    ),
)
def check_direction(answer: Answer, dice: Dice) -> None:
    for iterations, training, masked in ((1, False, True), (3, True, True), (2, True, False)):
        for _ in range(300):
            model, x, _, mask = draw(dice, training)
            first, second = weights_of(model)
            model = replace(model, weights={"first.weight": first / 2, "second.weight": second})
            mask = mask if masked else torch.ones_like(mask)
            xi, start = 0.4 + 0.1 * dice.integer(0, 2), begin(dice, x, mask, 2.0)
            if min(_lengths(model, x, mask, xi, start, iterations)) > 0.005:
                break
        _check_direction(answer, (model, x, mask if masked else None, iterations, xi, start))


def _once(
    model: VectorClassifier, x: Tensor, mask: Tensor, xi: float, d: Tensor, training: bool = False, turned: bool = False
) -> Tensor:
    """Return the masked gradient by the direction of the divergence at x + xi d, or of that turned round."""
    at = d.clone().requires_grad_()
    pair = logits(model, x, training), logits(model, x + xi * at, training)
    value = divergence(*(pair[::-1] if turned else pair)).sum()
    return slope(value, at, mask)


def _lengths(model: VectorClassifier, x: Tensor, mask: Tensor, xi: float, d: Tensor, iterations: int) -> list[float]:
    """Return the smallest length of each iteration's gradients: long ones bear `length + 1e-8` in a denominator."""
    found = []
    for _ in range(iterations):
        gradient = _once(model, x, mask, xi, d)
        d = unit(gradient, 2)
        found.append(float(gradient.flatten(1).norm(dim=1).min()))
    return found


def _check_direction(answer: Answer, asked: tuple[Any, ...]) -> None:
    model, x, mask, iterations, xi, start = asked
    every = torch.ones(x.shape[:2], dtype=torch.bool)
    real = every if mask is None else mask

    def turned(times: int, sign: int = 1, where: Tensor = real, by: float = xi, training: bool = False) -> Tensor:
        d = start
        for _ in range(times):
            d = sign * unit(_once(model, x, where, by, d, training), 2)
        return d

    late = reverse = start
    for _ in range(iterations):
        late = unit(_once(model, x, every, xi, late), 2) * real[..., None]
        reverse = unit(_once(model, x, real, xi, reverse, turned=True), 2)
    exact, last = turned(iterations), _once(model, x, real, xi, turned(iterations - 1))
    raw = token = start
    for _ in range(iterations):
        raw = _once(model, x, real, xi, raw)
        token = torch.nn.functional.normalize(_once(model, x, real, xi, token), dim=-1)
    mistakes = {
        "You divided each token by its own length: the length is over all of an example's tokens.": token,
        "The direction has to have length 1, for each example, after every iteration.": raw,
        "The direction has to have length 1, for each example.": last,
        "Padding has a part in it: mask the gradient before you divide by its length.": turned(iterations, where=every),
        "Its sign is wrong in each iteration.": turned(iterations, -1),
        "This is the perturbation xi d: return the direction.": xi * exact,
        "This is another `xi`: use the one that is given.": turned(iterations, by=1e-2),
        "This is another `xi`, 1: ask at x + xi * d.": turned(iterations, by=1.0),
        "Mask the gradient before you divide by its length: padding must not count in it.": late,
        "The divergence is turned round: the clean prediction comes first.": reverse,
        "The model was left in train mode: compute inside of `with evaluating(model)`.": (
            turned(iterations, training=True)
        ),
    }
    if iterations > 1:
        once = "This is the result of one iteration: each begins with the direction that the one before found."
        mistakes[once] = turned(1)

    def another(value: Callable[[Tensor, Tensor], Tensor], norm: float = 2) -> Tensor:
        """Return where the iterations lead with another distance of clean and moved logits, or by another norm."""
        d = start
        for _ in range(iterations):
            at = d.clone().requires_grad_()
            d = unit(slope(value(logits(model, x), logits(model, x + xi * at)), at, real), norm)
        return d

    batch = start
    for _ in range(iterations):
        batch = _once(model, x, real, xi, batch)
        batch = batch / batch.norm()
    mistakes |= {
        "You divided by the length of the whole batch: each example has its own.": batch,
        "These are the signs: divide by the length, steepest(gradient, 2).": (
            another(lambda p, q: divergence(p, q).sum(), math.inf)
        ),
        "This climbs on the squared distance of the logits: take the divergence.": another(
            lambda p, q: (p - q).square().sum()
        ),
        "This climbs on the loss of the model's own answer: take the divergence of the two predictions.": another(
            lambda p, q: cross_entropy(q, p.argmax(-1), reduction="sum")
        ),
        "This is one iteration more than `iterations` says.": turned(iterations + 1),
        "This is one iteration less than `iterations` says.": turned(iterations - 1),
        "`divergence` takes logits: softmax is taken twice.": another(lambda p, q: divergence(p.softmax(-1), q).sum()),
    }
    called = answer.trace(*asked)
    got = expect_tensor(called.value, x.shape, "The direction")
    same_twice(got, expect_tensor(answer(*asked), x.shape, "The direction"), "The direction")
    zero = "At the clean point the divergence has its minimum, and its gradient is 0: ask at x + xi d."
    hint = "From the gradient of the divergence between p(x) and p(x + xi d), both in evaluation mode, to the next d."
    flat = not bool(got.nan_to_num().any())
    mode = "in train mode" if model.training else "in evaluation mode"
    what = f"The direction after {iterations} iteration{'s' * (iterations > 1)}, of a model {mode},"
    expect_close(got, exact, what, tolerance=1e-5, mistakes={} if flat else mistakes, hint=zero if flat else hint)
    clean_hands(called)
    got, hint = answer(model, x, start=start), "`iterations` is 1 by default, `xi` 1e-2."
    exact = turned(1, where=every, by=1e-2)
    expect_close(got, exact, "The direction without mask, iterations and xi", tolerance=1e-3, hint=hint)
