"""Exercise 1: the loss at the worst point."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close
from llmsafety_lab.checks.robust_training.cases import (
    Case,
    begin,
    by_weights,
    clean_hands,
    draw,
    into,
    logits,
    reach,
    same_twice,
    scalar,
    slope,
    unit,
)


def _worst(case: Case, eps: float, norm: float, steps: int, step: float, start: Tensor, slip: str = "") -> Tensor:
    """Return where the climb on the label's loss ends, or where a slip lets it end."""
    model, x, labels, mask = case
    mask = torch.ones_like(mask) if slip == "padding" else mask
    delta = start
    for _ in range(steps):
        at = delta.clone().requires_grad_()
        z = logits(model, x + at, slip == "train")
        z, y = z.softmax(-1) if slip == "softmax" else z, logits(model, x).argmax(-1) if slip == "guess" else labels
        value = cross_entropy(z, y, reduction="sum", label_smoothing=0.1 * (slip == "smooth"))
        kind = math.inf if slip in ("sign", "cube") else 2 if slip == "length" else norm
        if slip == "unmasked":
            move = step * unit(slope(value, at, torch.ones_like(mask)), kind) * mask[..., None]
        else:
            move = step * unit(slope(value, at, mask), kind)
        move = -move if slip == "down" else move
        delta = move if slip == "reset" else delta + move
        delta = (
            delta if slip in ("outside", "late") else into(delta, eps, {"length": 2, "cube": math.inf}.get(slip, norm))
        )
    return into(delta, eps, norm) if slip == "late" else delta


_SLIPS = {
    "down": "The steps go downhill: the inner problem asks for the largest loss, the outer one for the smallest.",
    "train": "The model was left in train mode while it was attacked: dropout picked another network than the one that "
    "will be used. Climb inside of `with evaluating(model)`.",
    "outside": "The perturbation leaves the budget: project after each step.",
    "late": "You project once, at the end. Each gradient is to be taken inside of the budget: project after each step.",
    "sign": "This steps along the sign of the gradient. Under the norm 2 the steepest direction is the gradient "
    "divided by its length: use steepest(gradient, norm).",
    "cube": "This is the climb under infinity. Under the norm 2 the steepest direction is the gradient divided by its "
    "length, and the budget is a ball: give `norm` to steepest and to project.",
    "length": "This is the climb under the 2-norm. Under infinity the steepest direction is the gradient's sign: "
    "use steepest(gradient, norm).",
    "unmasked": "Mask the gradient before you divide by its length: padding must not count in it.",
    "softmax": "The climb is on the loss of probabilities: cross_entropy takes logits, without a softmax.",
    "smooth": "The climb is on a loss with label smoothing: use the plain cross-entropy.",
    "guess": "The climb is on the model's own answer: climb on the loss of the right label.",
    "reset": "Each step forgets the ones before: add it to delta, then project the sum.",
    "padding": "Where the mask is False nothing may be changed, but padding is perturbed.",
}


@exercise(
    "robust_training.loss",
    "The loss at the worst point",
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
    answer="adversarial_loss",
    mutants=(
        Mutant(
            "rewards being different",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings), labels) "
            "- cross_entropy(logits_of(model, embeddings + delta), labels)",
            "rewards",
        ),
        Mutant("attacked in train mode", "with evaluating(model):", "if True:", "train mode"),
        Mutant(
            "no projection",
            "project(delta + size * steepest(masked(gradient, mask), norm), eps, norm)",
            "delta + size * steepest(masked(gradient, mask), norm)",
            "leaves the budget",
        ),
        Mutant("each step starts anew", "project(delta + size", "project(size", "forgets"),
        Mutant("descent", "project(delta + size", "project(delta - size", "downhill"),
        Mutant("padding perturbed", "steepest(masked(gradient, mask), norm)", "steepest(gradient, norm)", "padding"),
        Mutant(
            "trained on the clean text",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings), labels)",
            "plain training",
        ),
        Mutant(
            "cut off",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings + delta), labels).detach()",
            "No gradient",
        ),
        Mutant("steps too long", "2.5 * eps / steps if step", "eps if step", "Where no `step` is given"),
        Mutant(
            "detached",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings + delta).detach().requires_grad_(), labels)",
            "No gradient reaches",
        ),
        Mutant(
            "under no_grad",
            "    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "    with torch.no_grad():\n        return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "No gradient",
        ),
        Mutant(
            "climbs by backward()",
            "(gradient,) = torch.autograd.grad(objective(delta).sum(), delta)",
            "objective(delta).sum().backward()\n        gradient = delta.grad",
            "left gradients in the weights",
        ),
        Mutant(
            "first layer frozen",
            "    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "    model.first.requires_grad_(False)\n"
            "    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "No gradient reaches first.weight",
        ),
        Mutant(
            "one projection at the end",
            "        delta = project(delta + size * steepest(masked(gradient, mask), norm), eps, norm)\n"
            "    return delta.detach()",
            "        delta = delta + size * steepest(masked(gradient, mask), norm)\n"
            "    return project(delta, eps, norm).detach()",
            "project after each step",
        ),
        Mutant("sign under 2", "steepest(masked(gradient, mask), norm)", "masked(gradient, mask).sign()", "divided by"),
        Mutant("left in evaluation mode", "    with evaluating(model):", "    model.eval()\n    if True:", "mode"),
        Mutant("one step more", "for _ in range(steps):", "for _ in range(steps + 1):", "one more"),
        Mutant("one step less", "for _ in range(steps):", "for _ in range(steps - 1):", "one is missing"),
        Mutant("three steps", "for _ in range(steps):", "for _ in range(3):", "takes three"),
        Mutant("four steps by default", "steps: int = 3", "steps: int = 4", "3 by default"),
        Mutant("step ignored", "2.5 * eps / steps if step is None else step", "2.5 * eps / steps", "`step` is given"),
        Mutant("always a random start", " if start is None else start", "", "from call to call"),
        Mutant(
            "label smoothing",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings + delta), labels, label_smoothing=0.1)",
            "label smoothing",
        ),
        Mutant(
            "softmax twice",
            "return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "return cross_entropy(logits_of(model, embeddings + delta).softmax(-1), labels)",
            "twice",
        ),
        Mutant(
            "gradient doubled",
            "    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "    loss = cross_entropy(logits_of(model, embeddings + delta), labels)\n"
            "    return 2 * loss - loss.detach()",
            "is twice what",
        ),
        Mutant(
            "graph through the climb",
            "(gradient,) = torch.autograd.grad(objective(delta).sum(), delta)\n"
            "        delta = project(delta + size * steepest(masked(gradient, mask), norm), eps, norm)\n"
            "    return delta.detach()",
            "(gradient,) = torch.autograd.grad(objective(delta).sum(), delta, create_graph=True)\n"
            "        delta = project(delta + size * steepest(masked(gradient, mask), norm), eps, norm)\n"
            "    return delta",
            "that has to be",
        ),
        Mutant(
            "start overwritten",
            "    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "    start.copy_(delta)\n    return cross_entropy(logits_of(model, embeddings + delta), labels)",
            "changed an argument",
        ),
        Mutant(
            "start marked",
            "    with evaluating(model):",
            "    start.requires_grad_()\n    with evaluating(model):",
            "asking for gradients",
        ),
        Mutant(
            "masked too late",
            "steepest(masked(gradient, mask), norm)",
            "masked(steepest(gradient, norm), mask)",
            "before you divide",
        ),
        Mutant(
            "another norm",
            "start,\n            eps,\n            norm,",
            "start,\n            eps,\n            2,",
            "sign: use",
        ),
    ),
)
def check_loss(answer: Answer, dice: Dice) -> None:
    for norm, when in ((math.inf, "under infinity"), (2, "under 2")):
        for training in (False, True):
            case = model, x, labels, mask = draw(dice, training)
            eps = (0.3 if norm == math.inf else 1.2) * (1 + float(dice.uniform(1)))
            start, steps = begin(dice, x, mask, eps), dice.integer(4, 5)
            asked: dict[str, Any] = {"eps": eps, "norm": norm, "steps": steps, "step": 0.7 * eps, "start": start}

            def at(delta: Tensor, mode: bool = training, model: Any = model, x: Any = x, y: Any = labels) -> Tensor:
                return cross_entropy(logits(model, x + delta, mode), y)

            climb = (case, eps, norm, steps, 0.7 * eps, start)
            worst = _worst(*climb)
            clean = at(torch.zeros_like(x))
            mistakes = {
                "This rewards the model for a different answer under attack: it is lowest for a model that is fooled. "
                "Return the loss at the perturbed point alone.": clean - at(worst),
                "This rewards being fooled: the sign of the loss is wrong.": -at(worst),
                "This is plain training: the perturbation is not used.": clean,
                "This is the sum over the batch: return the mean.": len(x) * at(worst),
                "This is the mean of the clean and the perturbed loss: return the perturbed one.": (clean + at(worst))
                / 2,
                "This adds the clean loss: return the perturbed one alone.": clean + at(worst),
                "The climb begins at the clean point: begin at `start`.": (
                    at(_worst(case, eps, norm, steps, 0.7 * eps, 0 * start))
                ),
                "This is the loss in evaluation mode: after the attack, training goes on in the mode that it was in.": (
                    at(worst, False)
                ),
                "This is the loss in train mode: after the attack, training goes on in the mode that it was in.": (
                    at(worst, True)
                ),
                "`steps` says how many steps to take: one is missing.": at(_worst(*climb[:3], steps - 1, *climb[4:])),
                "`steps` says how many steps to take: yours takes one more.": (
                    at(_worst(*climb[:3], steps + 1, *climb[4:]))
                ),
                "`steps` says how many steps to take: yours takes three.": at(_worst(*climb[:3], 3, *climb[4:])),
                "`step` is given here: use it as the size of a step.": (
                    at(_worst(case, eps, norm, steps, 2.5 * eps / steps, start))
                ),
                "This is one step of size eps, FGSM: climb in `steps` steps.": (
                    at(_worst(case, eps, norm, 1, eps, 0 * start))
                ),
                "This is a loss with label smoothing: return the plain cross-entropy.": (
                    cross_entropy(logits(model, x + worst, training), labels, label_smoothing=0.1)
                ),
                "Softmax was taken twice: cross_entropy takes logits.": (
                    cross_entropy(logits(model, x + worst, training).softmax(-1), labels)
                ),
                "This is the largest loss of the batch: return the mean.": (
                    cross_entropy(logits(model, x + worst, training), labels, reduction="none").max()
                ),
            } | {words: at(_worst(*climb, slip=slip)) for slip, words in _SLIPS.items()}
            if not training:
                mistakes.pop(_SLIPS["train"])
            for slip in ("sign", "cube") if norm == math.inf else ("length",):
                mistakes.pop(_SLIPS[slip])
            mode = "in train mode" if training else "in evaluation mode"
            called = answer.trace(model, x, labels, mask, by=[0], **asked)
            got = scalar(called.value, f"The loss {when}")
            same_twice(got, scalar(answer(model, x, labels, mask, **asked), f"The loss {when}"), f"The loss {when}")
            hint = (
                "The mean cross-entropy at embeddings + delta, where `steps` steps from `start`, each projected, end."
            )
            what = f"The loss {when}, of a model {mode},"
            expect_close(got, at(worst), what, tolerance=1e-5, mistakes=mistakes, hint=hint)
            there = by_weights(model, lambda it, end=worst, mode=training: at(end, mode, it))  # type: ignore[misc]
            reach(called, there, when)
            clean_hands(called)
            free = (model, x, labels, torch.ones_like(mask))
            few: dict[str, Any] = {"eps": eps, "start": start} | ({} if norm == math.inf else {"norm": 2})
            for given, number, what in (({"steps": steps}, steps, "mask and step"), ({}, 3, "mask, step and steps")):
                got = scalar(answer(model, x, labels, **few, **given), f"The loss {when}, without {what},")
                hint = "Where no `step` is given, its size is 2.5 * eps / steps; `steps` is 3 by default."
                exact = at(_worst(free, eps, norm, number, 2.5 * eps / number, start))
                expect_close(got, exact, f"The loss {when}, without {what},", tolerance=1e-5, hint=hint)
