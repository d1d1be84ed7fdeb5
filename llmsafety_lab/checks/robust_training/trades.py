"""Exercise 4: TRADES."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.cases import (
    Case,
    begin,
    by_weights,
    clean_hands,
    divergence,
    draw,
    into,
    logits,
    reach,
    same_twice,
    scalar,
    slope,
    unit,
)


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
        Mutant("one step more", "eps, norm, steps, mask", "eps, norm, steps + 1, mask", "one more"),
        Mutant("step ignored", "mask, step)", "mask, None)", "`step` is given"),
        Mutant("beta ignored", "+ beta * ", "+ 6.0 * ", "always 6"),
        Mutant("another beta by default", "beta: float = 6.0", "beta: float = 1.0", "`beta` 6"),
        Mutant("padding perturbed", "norm, steps, mask, step", "norm, steps, None, step", "padding"),
        Mutant("always a random start", " if start is None else start", "", "from call to call"),
        Mutant(
            "both divergences",
            "divergence(clean, logits_of(model, embeddings + delta)).mean()",
            "(divergence(clean, z := logits_of(model, embeddings + delta)) + divergence(z, clean)).mean() / 2",
            "the first alone",
        ),
        Mutant(
            "cross-entropy for divergence",
            "beta * divergence(clean, logits_of(model, embeddings + delta)).mean()",
            "beta * cross_entropy(logits_of(model, embeddings + delta), clean.softmax(-1))",
            "entropy of the clean",
        ),
        Mutant(
            "clean prediction of evaluation mode",
            "    clean = logits_of(model, embeddings)",
            "    with evaluating(model):\n        clean = logits_of(model, embeddings)",
            "compute it anew",
        ),
        Mutant(
            "start overwritten",
            "    clean = logits_of(model, embeddings)",
            "    start.copy_(delta)\n    clean = logits_of(model, embeddings)",
            "changed an argument",
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
    fixed, delta = logits(model, x, on in ("train", "held")), start
    steps = {"three": 3, "more": steps + 1, "less": steps - 1}.get(on, steps)
    step = 2.5 * eps / steps if on == "stride" else step
    mask = torch.ones_like(mask) if on == "padding" else mask
    for _ in range(steps):
        at = delta.clone().requires_grad_()
        z = logits(model, x + at, on == "train")
        value = cross_entropy(z, labels, reduction="none") if on == "label" else divergence(fixed, z)
        value = divergence(z, fixed) if on == "reversed" else value
        value = (z - fixed).square().sum(-1) if on == "square" else value
        delta = into(delta + step * unit(slope(value.sum(), at, mask), norm), eps, norm)
    return delta


def _reach(called: Called, case: Case, delta: Tensor, beta: float, training: bool, when: str) -> None:
    """Fail unless the gradient flows through both predictions."""
    model, x, labels, _ = case

    def gradients(clean: bool = True, perturbed: bool = True) -> list[Tensor]:
        def loss(it: VectorClassifier) -> Tensor:
            one, other = logits(it, x, training), logits(it, x + delta, training)
            apart = divergence(one if clean else one.detach(), other if perturbed else other.detach()).mean()
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


_CLIMBS = {
    "more": "`steps` says how many steps to take: yours takes one more.",
    "less": "`steps` says how many steps to take: one is missing.",
    "three": "`steps` says how many steps to take: yours takes three.",
    "stride": "`step` is given here: use it as the size of a step.",
    "padding": "Where the mask is False nothing may be changed, but padding is perturbed.",
    "square": "The climb is on the squared distance of the logits: climb on the divergence.",
}


def _check_trades(answer: Answer, dice: Dice, norm: float, training: bool, when: str) -> None:
    slips = ["label", "reversed", *_CLIMBS] + ["train", "held"] * training
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
        ce, kl = cross_entropy(fixed, labels), {on: divergence(fixed, z) for on, z in ends.items()}
        if all(abs(float((kl[slip] - kl["divergence"]).mean())) > 1e-3 for slip in slips):
            break
    term = kl["divergence"].mean()
    mistakes = {
        "The divergence is turned round: this is KL(p(x + delta) || p(x)). The clean prediction is the one that the "
        "other is measured against, so it comes first.": ce + beta * divergence(ends["divergence"], fixed).mean(),
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
        "This is half of each divergence, KL(p || q) and KL(q || p): TRADES takes the first alone.": (
            ce + beta * (term + divergence(ends["divergence"], fixed).mean()) / 2
        ),
        "The divergence is turned round, in the climb and in the loss: the clean prediction comes first.": (
            ce + beta * divergence(ends["reversed"], fixed).mean()
        ),
        "The cross-entropy on the perturbed texts is in it, too: TRADES takes it on the clean ones.": (
            ce + cross_entropy(ends["divergence"], labels) + beta * term
        ),
        "beta is always 6 here: use the one that is given.": ce + 6 * term,
        "The divergence is divided by beta: multiply.": ce + term / beta,
        "The entropy of the clean prediction is in it: a divergence is the cross-entropy minus that.": (
            ce - beta * (fixed.softmax(-1) * ends["divergence"].log_softmax(-1)).sum(-1).mean()
        ),
        "The cross-entropy has label smoothing: take the plain one.": (
            cross_entropy(fixed, labels, label_smoothing=0.1) + beta * term
        ),
        "The cross-entropy is on the perturbed texts: TRADES takes it on the clean ones.": (
            cross_entropy(ends["divergence"], labels) + beta * term
        ),
    }
    mistakes |= {words: ce + beta * kl[on].mean() for on, words in _CLIMBS.items()}
    if training:
        delta = _climb(case, eps, norm, steps, 0.6 * eps, start, "divergence")
        calm = logits(model, x)
        mistakes |= {
            "The model was left in train mode while you climbed. Climb inside of `with evaluating(model)`.": (
                ce + beta * kl["train"].mean()
            ),
            "The climb was away from a prediction made in train mode: hold that of evaluation mode.": (
                ce + beta * kl["held"].mean()
            ),
            "The clean prediction is that of evaluation mode: after the climb, compute it anew in the mode that it was "
            "in.": cross_entropy(calm, labels) + beta * divergence(calm, ends["divergence"]).mean(),
            "This is the loss in evaluation mode: after the climb, training goes on in the mode that it was in.": (
                cross_entropy(calm, labels) + beta * divergence(calm, logits(model, x + delta)).mean()
            ),
        }
    asked: dict[str, Any] = {"eps": eps, "norm": norm, "steps": steps, "step": 0.6 * eps, "start": start, "beta": beta}
    called = answer.trace(model, x, labels, mask, by=[0], **asked)
    got = scalar(called.value, f"The loss {when}")
    same_twice(got, scalar(answer(model, x, labels, mask, **asked), f"The loss {when}"), f"The loss {when}")
    other = scalar(answer(model, x, labels, mask, **asked | {"start": -start}), f"The loss {when}")
    ignored = bool((got - other).abs() < 1e-12)
    hint = (
        "It does not depend on `start`. At the clean point the divergence is 0 and its gradient vanishes: use `start`."
    )
    expect_close(
        got,
        ce + beta * term,
        f"The loss {when}",
        tolerance=1e-5,
        mistakes=mistakes,
        hint=hint if ignored else "The cross-entropy on the clean texts + beta * mean KL(p(x) || p(x + delta)).",
    )
    delta = _climb(case, eps, norm, steps, 0.6 * eps, start, "divergence")
    _reach(called, case, delta, beta, training, when)
    clean_hands(called)
    every = (model, x, labels, torch.ones_like(mask))
    few: dict[str, Any] = {"eps": eps, "start": start} | ({} if norm == math.inf else {"norm": 2})
    what = f"The loss {when} without mask and step"
    for given, number, weight in (({"steps": steps, "beta": beta}, steps, beta), ({}, 3, 6.0)):
        free = logits(model, x + _climb(every, eps, norm, number, 2.5 * eps / number, start, "divergence"), training)
        hint = "Where no `step` is given, its size is 2.5 * eps / steps."
        if not given:
            what, hint = f"{what}, steps and beta", f"{hint} `steps` is 3 by default, `beta` 6."
        got = scalar(answer(model, x, labels, **few, **given), what)
        expect_close(got, ce + weight * divergence(fixed, free).mean(), what, tolerance=1e-5, hint=hint)
