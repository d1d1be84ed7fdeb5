"""Exercises 1 to 3: the loss at the worst point, a step of training, and steps that serve twice."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect_close, expect_tensor

Case = tuple[dict[str, Any], Tensor, Tensor, Tensor]


def draw(dice: Dice, training: bool) -> Case:
    """Draw a small classifier, embeddings, labels, and a mask; the lab's `logits_of` knows such a model."""
    batch, tokens, width, classes = dice.integer(4, 5), dice.integer(4, 5), dice.integer(4, 5), dice.integer(3, 4)
    kept = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    model = {"first": dice.normal(width, 6), "second": 3 * dice.normal(6, classes), "kept": kept, "training": training}
    mask = torch.arange(tokens) < dice.integers(2, tokens - 1, batch, 1)
    return model, dice.normal(batch, tokens, width), dice.integers(0, classes - 1, batch), mask


def logits(model: dict[str, Any], x: Tensor, training: bool = False) -> Tensor:
    hidden = torch.tanh(x @ model["first"])
    return (hidden * model["kept"] if training else hidden).mean(1) @ model["second"]


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
        move = step * unit(slope(value, at, mask), norm)
        move = -move if slip == "down" else move
        delta = move if slip == "reset" else delta + move
        delta = delta if slip == "outside" else into(delta, eps, norm)
    return delta


_SLIPS = {
    "down": "The steps go downhill: the inner problem asks for the largest loss, the outer one for the smallest.",
    "train": "The model was left in train mode while it was attacked: dropout picked another network than the one that "
    "will be used. Climb inside of `with evaluating(model)`.",
    "outside": "The perturbation leaves the budget: project after each step.",
    "reset": "Each step forgets the ones before: add it to delta, then project the sum.",
    "padding": "Where the mask is False nothing may be changed, but padding is perturbed.",
}


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
    ),
)
def check_loss(answer: Answer, dice: Dice) -> None:
    for norm, when in ((math.inf, "under infinity"), (2, "under 2")):
        for training in (False, True):
            case = model, x, labels, mask = draw(dice, training)
            eps = (0.3 if norm == math.inf else 1.2) * (1 + float(dice.uniform(1)))
            start, steps = begin(dice, x, mask, eps), dice.integer(3, 4)
            asked = {"eps": eps, "norm": norm, "steps": steps, "step": 0.7 * eps, "start": start}

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
                "This is the loss in evaluation mode: after the attack, training goes on in the mode that it was in.": (
                    at(worst, False)
                ),
            } | {words: at(_worst(*climb, slip=slip)) for slip, words in _SLIPS.items()}
            if not training:
                mistakes.pop(_SLIPS["train"])
            mode = "in train mode" if training else "in evaluation mode"
            got = scalar(answer(model, x, labels, mask, **asked), f"The loss {when}")
            expect_close(got, at(worst), f"The loss {when}, of a model {mode},", mistakes=mistakes)


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
    ),
)
def check_step(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = draw(dice, False)
    eps, lr = 0.2 + 0.2 * float(dice.uniform(1)), 0.1
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
    }
    got = _both(answer(model, x, labels, mask, eps, lr), weights, "The weights after the step")
    expect_close(got, after((1, there)), "The weights after the step, laid in one row,", mistakes=mistakes)


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
    ),
)
def check_freelb(answer: Answer, dice: Dice) -> None:
    for _ in range(50):
        model, x, labels, mask = draw(dice, False)
        eps = 0.3 * (1 + float(dice.uniform(1)))
        start, steps = begin(dice, x, mask, eps), dice.integer(3, 4)
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
    mistakes = {
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
    got = _both(answer(model, x, labels, mask, eps, steps, 0.6 * eps, start), weights, "The gradients")
    expect_close(got, mean[""], "The gradients, laid in one row,", mistakes=mistakes)
