"""Exercises 4 and 5: TRADES, and the direction of VAT."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_tensor
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.losses import (
    Case,
    begin,
    by_weights,
    clean_hands,
    draw,
    into,
    logits,
    reach,
    scalar,
    slope,
    unit,
    weights_of,
)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)


@exercise(
    "robust_training.trades",
    "The same answer nearby",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="trades_loss",
    mutants=(
        Mutant(
            "divergence turned round",
            "divergence(clean, logits_of(model, embeddings + delta))",
            "divergence(logits_of(model, embeddings + delta), clean)",
            "turned round",
        ),
        Mutant(
            "starts at the clean point",
            "delta = ascend(lambda d: divergence(fixed, logits_of(model, x + d)), start,",
            "delta = ascend(lambda d: divergence(fixed, logits_of(model, x + d)), 0 * start,",
            "clean point",
        ),
        Mutant(
            "climbs on the label",
            "divergence(fixed, logits_of(model, x + d))",
            'cross_entropy(logits_of(model, x + d), labels, reduction="none")',
            "the label's loss",
        ),
        Mutant("sum for mean", ".mean()", ".sum()", "sum over the batch"),
        Mutant(
            "beta on the other term",
            "cross_entropy(clean, labels) + beta * ",
            "beta * cross_entropy(clean, labels) + ",
            "wrong term",
        ),
        Mutant("pushes apart", "+ beta * divergence", "- beta * divergence", "rewards"),
        Mutant("climbs in train mode", "with evaluating(model):", "if True:", "train mode while"),
        Mutant(
            "held in evaluation mode",
            "    clean = logits_of(model, embeddings)",
            "    model.eval()\n    clean = logits_of(model, embeddings)",
            "loss in evaluation mode",
        ),
        Mutant(
            "climbs on the other divergence",
            "divergence(fixed, logits_of(model, x + d))",
            "divergence(logits_of(model, x + d), fixed)",
            "climb was on the divergence turned round",
        ),
        Mutant("always under infinity", "start, eps, norm, steps", "start, eps, math.inf, steps", "under 2"),
        Mutant("three steps", "start, eps, norm, steps", "start, eps, norm, 3", "the loss"),
        Mutant(
            "divergence under no_grad",
            "beta * divergence(clean, logits_of(model, embeddings + delta)).mean()",
            "beta * torch.no_grad()(lambda: divergence(clean, logits_of(model, embeddings + delta)).mean())()",
            "no gradient flows through the divergence",
        ),
        Mutant(
            "clean prediction detached",
            "divergence(clean, logits_of(model, embeddings + delta))",
            "divergence(clean.detach(), logits_of(model, embeddings + delta))",
            "clean prediction is cut off",
        ),
        Mutant(
            "perturbed prediction detached",
            "divergence(clean, logits_of(model, embeddings + delta))",
            "divergence(clean, logits_of(model, embeddings + delta).detach())",
            "perturbed prediction is cut off",
        ),
        Mutant(
            "climbs by backward()",
            "    clean = logits_of(model, embeddings)",
            "    divergence(fixed, logits_of(model, x + delta)).mean().backward()\n"
            "    clean = logits_of(model, embeddings)",
            "left gradients in the weights",
        ),
    ),
)
def check_trades(answer: Answer, dice: Dice) -> None:
    for norm, when in ((math.inf, "under infinity"), (2, "under 2")):
        for training in (False, True):
            mode = "in train mode" if training else "in evaluation mode"
            _check_trades(answer, dice, norm, training, f"{when}, of a model {mode},")


def _climb(case: Case, eps: float, norm: float, steps: int, step: float, start: Tensor, on: str) -> Tensor:
    """Return where the climb on the divergence ends, or that of a slip."""
    model, x, labels, mask = case
    fixed, delta = logits(model, x, on == "train"), start
    for _ in range(steps):
        at = delta.clone().requires_grad_()
        z = logits(model, x + at, on == "train")
        value = cross_entropy(z, labels, reduction="none") if on == "label" else _kl(fixed, z)
        value = _kl(z, fixed) if on == "reversed" else value
        delta = into(delta + step * unit(slope(value.sum(), at, mask), norm), eps, norm)
    return delta


def _reach(called: Called, case: Case, delta: Tensor, beta: float, training: bool, when: str) -> None:
    """Fail unless the gradient flows through both predictions."""
    model, x, labels, _ = case

    def gradients(clean: bool = True, perturbed: bool = True) -> list[Tensor]:
        def loss(it: VectorClassifier) -> Tensor:
            one, other = logits(it, x, training), logits(it, x + delta, training)
            apart = _kl(one if clean else one.detach(), other if perturbed else other.detach()).mean()
            return cross_entropy(one, labels) + beta * apart

        return by_weights(model, loss)

    mistakes = {
        "The value is right, but no gradient flows through the divergence: training would lower the cross-entropy "
        "alone.": gradients(clean=False, perturbed=False),
        "In the divergence the clean prediction is cut off (detach). That is VAT: in TRADES the gradient flows through "
        "both predictions.": gradients(clean=False),
        "In the divergence the perturbed prediction is cut off (detach): the gradient flows through both.": (
            gradients(perturbed=False)
        ),
    }
    reach(called, gradients(), when, mistakes)


def _check_trades(answer: Answer, dice: Dice, norm: float, training: bool, when: str) -> None:
    slips = ["label", "reversed"] + ["train"] * training
    for _ in range(300):
        case = model, x, labels, mask = draw(dice, training)
        eps = (0.3 if norm == math.inf else 1.2) * (1 + float(dice.uniform(1)))
        beta, steps = float(dice.integer(2, 5)), 2 * dice.integer(1, 2)
        start = begin(dice, x, mask, eps)
        fixed = logits(model, x, training)
        ends = {
            on: logits(model, x + _climb(case, eps, norm, steps, 0.6 * eps, start, on), training)
            for on in ("divergence", *slips)
        }
        ce, kl = cross_entropy(fixed, labels), {on: _kl(fixed, z) for on, z in ends.items()}
        if all(abs(float((kl[slip] - kl["divergence"]).mean())) > 1e-3 for slip in slips):
            break
    term = kl["divergence"].mean()
    mistakes = {
        "The divergence is turned round: this is KL(p(x + delta) || p(x)). The clean prediction is the one that the "
        "other is measured against, so it comes first.": ce + beta * _kl(ends["divergence"], fixed).mean(),
        "The climb was on the label's loss. TRADES looks for the point where the prediction changes most, right or "
        "wrong.": ce + beta * kl["label"].mean(),
        "The climb was on the divergence turned round: the clean prediction comes first there, too.": (
            ce + beta * kl["reversed"].mean()
        ),
        "This is the sum over the batch of the divergences: take the mean, as in the cross-entropy.": (
            ce + beta * kl["divergence"].sum()
        ),
        "This divides by the number of classes as well: sum over the classes, then take the mean over the batch "
        '(`reduction="batchmean"`).': ce + beta * term / fixed.shape[1],
        "beta stands at the wrong term: it weighs the divergence.": beta * ce + term,
        "This rewards predictions that differ: the divergence is to be lowered.": ce - beta * term,
        "beta is missing.": ce + term,
        "The cross-entropy on the clean texts is missing.": beta * term,
        "The cross-entropy is on the perturbed texts: TRADES takes it on the clean ones.": (
            cross_entropy(ends["divergence"], labels) + beta * term
        ),
    }
    if training:
        delta = _climb(case, eps, norm, steps, 0.6 * eps, start, "divergence")
        calm = logits(model, x)
        mistakes |= {
            "The model was left in train mode while you climbed. Climb inside of `with evaluating(model)`.": (
                ce + beta * kl["train"].mean()
            ),
            "This is the loss in evaluation mode: after the climb, training goes on in the mode that it was in.": (
                cross_entropy(calm, labels) + beta * _kl(calm, logits(model, x + delta)).mean()
            ),
        }
    asked: dict[str, Any] = {"eps": eps, "norm": norm, "steps": steps, "step": 0.6 * eps, "start": start, "beta": beta}
    called = answer.trace(model, x, labels, mask, by=[0], **asked)
    got = scalar(called.value, f"The loss {when}")
    other = scalar(answer(model, x, labels, mask, **asked | {"start": -start}), f"The loss {when}")
    ignored = bool((got - other).abs() < 1e-12)
    hint = (
        "It does not depend on `start`. At the clean point the divergence is 0 and its gradient vanishes: use `start`."
    )
    expect_close(
        got, ce + beta * term, f"The loss {when}", tolerance=1e-5, mistakes=mistakes, hint=hint if ignored else ""
    )
    delta = _climb(case, eps, norm, steps, 0.6 * eps, start, "divergence")
    _reach(called, case, delta, beta, training, when)
    clean_hands(called)
    every = (model, x, labels, torch.ones_like(mask))
    free = logits(model, x + _climb(every, eps, norm, steps, 2.5 * eps / steps, start, "divergence"), training)
    got = scalar(answer(model, x, labels, **asked | {"step": None}), f"The loss {when} without mask and step")
    hint = "Where no `step` is given, its size is 2.5 * eps / steps."
    expect_close(
        got, ce + beta * _kl(fixed, free).mean(), f"The loss {when} without mask and step", tolerance=1e-5, hint=hint
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
    value = _kl(*(pair[::-1] if turned else pair)).sum()
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
    called = answer.trace(*asked)
    got = expect_tensor(called.value, x.shape, "The direction")
    hint = "At the clean point the divergence has its minimum, and its gradient is 0: ask at x + xi d."
    flat = not bool(got.nan_to_num().any())
    mode = "in train mode" if model.training else "in evaluation mode"
    what = f"The direction after {iterations} iteration{'s' * (iterations > 1)}, of a model {mode},"
    expect_close(got, exact, what, tolerance=1e-5, mistakes={} if flat else mistakes, hint=hint if flat else "")
    clean_hands(called)
