"""Exercise 1: the loss at the worst point."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_gradient, expect_tensor, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier

Case = tuple[VectorClassifier, Tensor, Tensor, Tensor]
KEPT = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0, 0.0], dtype=torch.float64)


def draw(dice: Dice, training: bool) -> Case:
    """Draw a small classifier, embeddings, labels, and a mask."""
    batch, tokens, width, classes = dice.integer(4, 5), dice.integer(4, 5), dice.integer(4, 5), dice.integer(3, 4)
    weights = {"first.weight": dice.normal(6, width), "second.weight": 3 * dice.normal(classes, 6)}
    model = VectorClassifier(weights=weights, training=training, width=width, classes=classes)
    mask = torch.arange(tokens) < dice.integers(2, tokens - 1, batch, 1)
    return model, dice.normal(batch, tokens, width), dice.integers(0, classes - 1, batch), mask


def weights_of(model: VectorClassifier) -> list[Tensor]:
    return list((model.weights or {}).values())


def logits(model: VectorClassifier, x: Tensor, training: bool = False) -> Tensor:
    first, second = weights_of(model)
    hidden = torch.tanh(x @ first.T)
    return (hidden * KEPT if training else hidden).mean(1) @ second.T


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.flatten() for one in tensors])


def by_weights(model: VectorClassifier, loss: Callable[[VectorClassifier], Tensor]) -> list[Tensor]:
    """Return the gradients of a loss by the weights."""
    weights = {name: weight.clone().requires_grad_() for name, weight in (model.weights or {}).items()}
    return list(torch.autograd.grad(loss(replace(model, weights=weights)), list(weights.values())))


def slope(value: Tensor, at: Tensor, mask: Tensor) -> Tensor:
    return torch.autograd.grad(value, at)[0] * mask[..., None]


def unit(gradient: Tensor, norm: float) -> Tensor:
    if norm == math.inf:
        return gradient.sign()
    length = gradient.flatten(1).norm(dim=1)[:, None, None]
    return gradient / length.masked_fill(length == 0, 1)


def into(delta: Tensor, eps: float, norm: float) -> Tensor:
    if norm == math.inf:
        return delta.clamp(-eps, eps)
    length = delta.flatten(1).norm(dim=1)[:, None, None]
    return delta * (eps / length.masked_fill(length == 0, 1)).clamp(max=1)


def begin(dice: Dice, x: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Draw a start that is inside of the budget under both norms."""
    delta = (2 * dice.uniform(*x.shape) - 1) * mask[..., None]
    return 0.5 * eps * delta / delta.flatten(1).norm(dim=1)[:, None, None]


def _worst(case: Case, eps: float, norm: float, steps: int, step: float, start: Tensor, slip: str = "") -> Tensor:
    """Return where the climb on the label's loss ends, or where a slip lets it end."""
    model, x, labels, mask = case
    mask = torch.ones_like(mask) if slip == "padding" else mask
    delta = start
    for _ in range(steps):
        at = delta.clone().requires_grad_()
        value = cross_entropy(logits(model, x + at, slip == "train"), labels, reduction="sum")
        move = step * unit(slope(value, at, mask), math.inf if slip == "sign" else norm)
        move = -move if slip == "down" else move
        delta = move if slip == "reset" else delta + move
        delta = delta if slip in ("outside", "late") else into(delta, eps, norm)
    return into(delta, eps, norm) if slip == "late" else delta


_SLIPS = {
    "down": "The steps go downhill: the inner problem asks for the largest loss, the outer one for the smallest.",
    "train": "The model was left in train mode while it was attacked: dropout picked another network than the one that "
    "will be used. Climb inside of `with evaluating(model)`.",
    "outside": "The perturbation leaves the budget: project after each step.",
    "late": "You project once, at the end. Each gradient is to be taken inside of the budget: project after each step.",
    "sign": "This steps along the sign of the gradient. Under the norm 2 the steepest direction is the gradient "
    "divided by its length: use steepest(gradient, norm).",
    "reset": "Each step forgets the ones before: add it to delta, then project the sum.",
    "padding": "Where the mask is False nothing may be changed, but padding is perturbed.",
}


def reach(called: Called, exact: list[Tensor], when: str, mistakes: dict[str, list[Tensor]] | None = None) -> None:
    """Fail unless the loss reaches the weights with the right gradient."""
    hint = "Is there a detach() or a no_grad()? Only the perturbation is cut off."
    expect(called.traced, "No gradient flows through the loss, so `backward()` reaches no weight.", hint=hint)
    wrong = {words: flat(value) for words, value in (mistakes or {}).items()}
    got = list(called.gradients[0].values())
    for gradient, name in zip(got, called.gradients[0], strict=True):
        expect(gradient is not None, f"No gradient reaches {name}, so training would not change it.", hint=hint)
    what = f"the weights, laid in one row, of the loss {when}"
    expect_gradient(flat(got), flat(exact), what, tolerance=1e-5, mistakes=wrong, hint=hint)


def clean_hands(called: Called) -> None:
    """Fail unless model and embeddings are as they were, and no gradient was left in the weights."""
    hint = (
        "`backward()` fills the `.grad` of every weight, and the training adds its own to it. Ask for the gradient by "
        "the perturbation alone: torch.autograd.grad(value, delta)."
    )
    expect(0 not in called.left, "Your search for the perturbation left gradients in the weights.", hint=hint)
    hint = "Do it inside of `with evaluating(model)`, which puts the mode back."
    expect(0 not in called.modes, "You left the model in another mode than it came in.", hint=hint)
    expect(0 not in called.flags, "You left `requires_grad` of the weights otherwise than it was.")
    expect_unchanged(called, 0, message="You changed the weights: a loss leaves them to the optimiser.")
    expect_unchanged(called, 1, message="You changed the embeddings in place: make a new tensor.")


def scalar(reply: Any, what: str) -> Tensor:
    return expect_tensor(reply, (), what, hint="Return the loss: the mean over the batch, one number in a tensor.")


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
    ),
)
def check_loss(answer: Answer, dice: Dice) -> None:
    for norm, when in ((math.inf, "under infinity"), (2, "under 2")):
        for training in (False, True):
            case = model, x, labels, mask = draw(dice, training)
            eps = (0.3 if norm == math.inf else 1.2) * (1 + float(dice.uniform(1)))
            start, steps = begin(dice, x, mask, eps), dice.integer(3, 4)
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
            } | {words: at(_worst(*climb, slip=slip)) for slip, words in _SLIPS.items()}
            if not training:
                mistakes.pop(_SLIPS["train"])
            if norm == math.inf:
                mistakes.pop(_SLIPS["sign"])
            mode = "in train mode" if training else "in evaluation mode"
            called = answer.trace(model, x, labels, mask, by=[0], **asked)
            got = scalar(called.value, f"The loss {when}")
            expect_close(got, at(worst), f"The loss {when}, of a model {mode},", tolerance=1e-5, mistakes=mistakes)
            there = by_weights(model, lambda it, end=worst, mode=training: at(end, mode, it))  # type: ignore[misc]
            reach(called, there, when)
            clean_hands(called)
            got = scalar(answer(model, x, labels, **asked | {"step": None}), f"The loss {when}, without mask and step,")
            free = (model, x, labels, torch.ones_like(mask))
            hint = "Where no `step` is given, its size is 2.5 * eps / steps."
            exact = at(_worst(free, eps, norm, steps, 2.5 * eps / steps, start))
            expect_close(got, exact, f"The loss {when}, without mask and step,", tolerance=1e-5, hint=hint)
