"""What the checks of this lab share: small classifiers, steps, and what a training loss owes to the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.expect import expect, expect_gradient, expect_pair, expect_tensor, expect_unchanged
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


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(p || q) for each example, of the distributions of two tables of logits."""
    return (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)


def into(delta: Tensor, eps: float, norm: float) -> Tensor:
    if norm == math.inf:
        return delta.clamp(-eps, eps)
    length = delta.flatten(1).norm(dim=1)[:, None, None]
    return delta * (eps / length.masked_fill(length == 0, 1)).clamp(max=1)


def begin(dice: Dice, x: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Draw a start that is inside of the budget under both norms."""
    delta = (2 * dice.uniform(*x.shape) - 1) * mask[..., None]
    return 0.5 * eps * delta / delta.flatten(1).norm(dim=1)[:, None, None]


def in_one_row(reply: Any, like: list[Tensor], what: str) -> Tensor:
    """Return two tensors that a student sent as one vector, so that mistakes can be told apart."""
    pair = expect_pair(reply, what, expected="a tensor for each of weights_of(model)")
    return flat([expect_tensor(got, one.shape, what) for got, one in zip(pair, like, strict=True)])


def reach(called: Called, exact: list[Tensor], when: str, mistakes: dict[str, list[Tensor]] | None = None) -> None:
    """Fail unless the loss reaches the weights with the right gradient."""
    hint = "Is there a detach() or a no_grad()? Only the perturbation is cut off, and that has to be."
    expect(called.traced, "No gradient flows through the loss, so `backward()` reaches no weight.", hint=hint)
    wrong = {words: flat(value) for words, value in (mistakes or {}).items()}
    wrong["The loss is right, and its gradient is twice what it has to be."] = 2 * flat(exact)
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
    hint = "Begin with delta = start.detach(), and make a new tensor in each step."
    expect(not called.flags, "You left an argument asking for gradients (`requires_grad`).", hint=hint)
    expect_unchanged(called, message="You changed an argument in place: whoever called you still needs it.", hint=hint)


def same_twice(one: Tensor, other: Tensor, what: str) -> None:
    """Fail where two equal calls with a given start gave two results."""
    hint = "A start is given: begin there. A random one is for calls without."
    expect(torch.equal(one.nan_to_num(), other.nan_to_num()), f"{what} differs from call to call.", hint=hint)


def scalar(reply: Any, what: str) -> Tensor:
    return expect_tensor(reply, (), what, hint="Return the loss: the mean over the batch, one number in a tensor.")
