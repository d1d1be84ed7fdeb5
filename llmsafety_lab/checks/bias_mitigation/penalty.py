"""Exercise 1: a penalty on the gap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_gradient, expect_unchanged
from llmsafety_lab.checking.handles import LinearMap
from llmsafety_lab.checks.bias_mitigation.cases import people, refuses


@exercise(
    "bias_mitigation.penalty",
    "A price on the gap",
    points=2,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="fair_loss",
    mutants=(
        Mutant("penalty detached", "chances = logits.sigmoid()", "chances = logits.sigmoid().detach()", "no gradient"),
        Mutant("hard decisions", "chances = logits.sigmoid()", "chances = (logits > 0).to(logits.dtype)", "decisions"),
        Mutant("not squared", "* gap**2", "* gap", "squared"),
        Mutant("absolute value", "* gap**2", "* gap.abs()", "absolute"),
        Mutant("strength may be negative", "    if strength < 0:", "    if False:", "negative strength"),
        Mutant("rewards the gap", "+ strength * gap", "- strength * gap", "rewards"),
        Mutant("gap in the logits", "chances = logits.sigmoid()", "chances = logits", "logits"),
        Mutant(
            "gap in the loss",
            "chances = logits.sigmoid()",
            'chances = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")',
            "loss",
        ),
        Mutant(
            "sums for means",
            "chances[groups == 1].mean() - chances[groups == 0].mean()",
            "chances[groups == 1].sum() - chances[groups == 0].sum()",
            "own people",
        ),
        Mutant("group against everybody", "- chances[groups == 0].mean()", "- chances.mean()", "everybody"),
        Mutant("strength ignored", "+ strength * gap", "+ gap", "strength"),
        Mutant(
            "only the positive",
            "    gap = chances[groups == 1].mean() - chances[groups == 0].mean()",
            "    gap = chances[(groups == 1) & (labels == 1)].mean() - chances[(groups == 0) & (labels == 1)].mean()",
            "equal opportunity",
        ),
    ),
)
def check_penalty(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        asked, plain = _case(answer, dice)
    refuses(
        answer,
        *asked,
        -0.5,
        what="A negative strength",
        why="It would pay the model for a gap: raise a ValueError.",
    )
    alone = float(answer(*asked, 0.0))
    if abs(alone - plain) > 1e-5:
        raise Failed("With a strength of 0 the loss is not the cross-entropy alone.")


def _case(answer: Answer, dice: Dice) -> tuple[tuple[Any, ...], float]:
    """Check the value and the gradient on people drawn anew; return what was asked, and the cross-entropy alone."""
    width, of = dice.integer(3, 5), dice.integer(30, 40)
    labels, groups = people(dice, of)
    x = dice.normal(of, width) + 0.8 * groups[:, None]
    strength = 1.0 + 4 * float(dice.uniform(1))
    weights = {"weight": dice.normal(1, width), "bias": dice.normal(1)}
    model = LinearMap(weights=weights, inputs=width, outputs=1)

    def loss(penalty: Callable[[Tensor], Tensor], by: Tensor, bias: Tensor) -> Tensor:
        logits = (x @ by.T + bias)[:, 0]
        return binary_cross_entropy_with_logits(logits, labels.double()) + penalty(logits)

    def gap(values: Tensor, among: Tensor) -> Tensor:
        return values[among & (groups == 1)].mean() - values[among & (groups == 0)].mean()

    every = labels >= 0

    def wanted(z: Tensor) -> Tensor:
        return strength * gap(z.sigmoid(), every) ** 2

    one, zero = groups == 1, groups == 0
    slips: dict[str, Callable[[Tensor], Tensor]] = {
        "This rewards a gap: it is subtracted. The sum of loss and penalty is what training lowers.": lambda z: (
            -wanted(z)
        ),
        "The gap is not squared: as it is, it would pay for a gap of the other sign, and its absolute value has a "
        "corner "
        "at 0.": lambda z: strength * gap(z.sigmoid(), every),
        "This is the absolute value of the gap: the task asks for its square, which has a slope at 0.": lambda z: (
            strength * gap(z.sigmoid(), every).abs()
        ),
        "The gap is one of decisions (0 or 1): a step has no slope, so nothing would be learnt from it. Take the "
        "probabilities.": lambda z: strength * gap((z > 0).double(), every) ** 2,
        "The gap is one of logits: take the probabilities, the sigmoid of them.": lambda z: (
            strength * gap(z, every) ** 2
        ),
        "The gap is one of the loss of the two groups. The penalty is on what is decided about them, whatever the "
        "labels say.": lambda z: (
            strength * gap(binary_cross_entropy_with_logits(z, labels.double(), reduction="none"), every) ** 2
        ),
        "These are sums over the groups: each group's mean is over its own people.": lambda z: (
            strength * (z.sigmoid()[one].sum() - z.sigmoid()[zero].sum()) ** 2
        ),
        "Both sums are divided by the number of everybody: each group's mean is over its own people.": lambda z: (
            strength * ((z.sigmoid()[one].sum() - z.sigmoid()[zero].sum()) / of) ** 2
        ),
        "This compares a group with everybody: compare it with the other group.": lambda z: (
            strength * (z.sigmoid()[one].mean() - z.sigmoid().mean()) ** 2
        ),
        "This compares group 0 with everybody: compare it with group 1.": lambda z: (
            strength * (z.sigmoid()[zero].mean() - z.sigmoid().mean()) ** 2
        ),
        "This compares only the people with label 1. That is equal opportunity; the task asks for demographic "
        "parity.": lambda z: strength * gap(z.sigmoid(), labels == 1) ** 2,
        "The strength is not used.": lambda z: gap(z.sigmoid(), every) ** 2,
        "The strength is inside of the square.": lambda z: (strength * gap(z.sigmoid(), every)) ** 2,
        "The penalty is missing.": lambda z: 0 * z.sum(),
        "Squared logits are in it: the penalty is on the gap alone.": lambda z: (
            wanted(z) + strength * z.square().mean()
        ),
    }
    given = weights["weight"], weights["bias"]
    called = answer.trace(model, x, labels, groups, strength, by=[0])
    got = called.value
    expect(
        isinstance(got, torch.Tensor) and got.dim() == 0,
        "The loss is not a tensor of one number: training needs one on which backward() can be called.",
        expected="a tensor of shape ()",
        got=type(got).__name__,
    )
    expect_close(
        got,
        loss(wanted, *given),
        "The loss",
        tolerance=1e-5,
        mistakes={words: loss(slip, *given) for words, slip in slips.items()},
        hint="Mean cross-entropy + strength * (mean probability in group 1 - mean probability in group 0) squared.",
    )
    leaves = [one_weight.clone().requires_grad_() for one_weight in given]
    true = torch.autograd.grad(loss(wanted, *leaves), leaves)
    leaves = [one_weight.clone().requires_grad_() for one_weight in given]
    plain = torch.autograd.grad(loss(lambda z: 0 * z.sum(), *leaves), leaves)
    words = "The value is right, but no gradient flows through the penalty: training would lower the loss alone."
    for name, expected, without in zip(("weight", "bias"), true, plain, strict=True):
        expect_gradient(
            called.gradients[0][name],
            expected,
            f"the predictor's {name}",
            tolerance=1e-5,
            mistakes={words: without},
        )
    expect(not called.left[0] if 0 in called.left else True, "The call left gradients in the weights.")
    expect_unchanged(called)
    return (model, x, labels, groups), float(loss(lambda z: 0 * z.sum(), *given))
