"""Exercise 2: what a client computes on its own records."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checking.handles import LinearMap
from llmsafety_lab.checks.federated_learning.refusals import as_tensor

Slip = str


def _row(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def _update(handle: LinearMap, x: Tensor, y: Tensor, lr: float, steps: int, momentum: float, slip: Slip = "") -> Tensor:
    """Return the right update, or what a slip makes of it."""
    model = handle.build()
    weights = list(model.parameters())
    before = _row(weights)
    velocity = [torch.zeros_like(weight) for weight in weights]
    total = [torch.zeros_like(weight) for weight in weights]
    parts: list[Tensor] = []
    for _ in range(steps):
        if not parts or slip != "gradient once":
            reduction = "sum" if slip == "sum" else "mean"
            parts = list(torch.autograd.grad(cross_entropy(model(x), y, reduction=reduction), weights))
        total = [a + b for a, b in zip(total, parts, strict=True)]
        used = total if slip == "accumulated" else parts
        kept = {"no momentum": 0.0}.get(slip, momentum)
        used = [g * (k == 0) for k, g in enumerate(used)] if slip == "first weight" else used
        scale = {"damped": 1 - momentum}.get(slip, 1.0)
        velocity = [kept * v + scale * g for v, g in zip(velocity, used, strict=True)]
        with torch.no_grad():
            for _ in range(2 if slip == "twice" else 1):
                for weight, move in zip(weights, velocity, strict=True):
                    weight += lr * move if slip == "uphill" else -lr * move
        if slip == "one step":
            break
    after = _row(weights)
    if slip == "weights":
        return after
    if slip == "gradients":
        return _row(total)
    return before - after if slip == "turned" else after - before


SLIPS = {
    "weights": "These are the weights. Send the update: the weights after training minus those that came in.",
    "turned": "The sign is turned: the update is the weights after training minus those before.",
    "twice": "Each gradient is stepped twice.",
    "one step": "That is one step. Take as many as are asked for.",
    "gradient once": "The gradient is taken once, at the first weights. Take it anew in each step.",
    "accumulated": "The gradients pile up from step to step: backward() adds to what stands in .grad. Clear it first.",
    "sum": "That is the gradient of the sum over the records: take the mean.",
    "no momentum": "The momentum is not used.",
    "damped": "The gradient is multiplied by 1 - momentum. Here the velocity is momentum * velocity + gradient.",
    "uphill": "The steps go uphill: they raise the loss.",
    "first weight": "Only the first weight moves: every weight takes the steps, the bias, too.",
    "gradients": "That is the sum of gradients. The update is the change of the weights.",
}


@exercise(
    "federated_learning.local",
    "What a client does",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="local_update",
    mutants=(
        Mutant(
            "weights for an update",
            "update = flat(model) - before",
            "update = flat(model)",
            "minus those that came in",
        ),
        Mutant("stepped twice", "weight -= lr * move", "weight -= 2 * lr * move", "stepped twice"),
        Mutant(
            "under no_grad",
            "        gradients = torch.autograd.grad(cross_entropy(model(x), y), weights)",
            "        with torch.no_grad():\n            loss = cross_entropy(model(x), y)\n"
            "        gradients = torch.autograd.grad(loss, weights)",
            "does not require grad",
        ),
        Mutant(
            "detached", "cross_entropy(model(x), y)", "cross_entropy(model(x).detach(), y)", "does not require grad"
        ),
        Mutant(
            "momentum of the last call",
            "velocity = [momentum * velocity[k] + gradients[k] for",
            "velocity = globals()['KEPT'] = [momentum * globals().get('KEPT', velocity)[k] + gradients[k] for",
            "earlier call",
        ),
        Mutant(
            "model left trained",
            "    update = flat(model) - before\n",
            "    update = flat(model) - before\n    return update\n",
            "as it came",
        ),
        Mutant("momentum lost", "momentum * velocity[k] + gradients[k]", "gradients[k]", "momentum is not used"),
        Mutant("uphill", "weight -= lr * move", "weight += lr * move", "uphill"),
        Mutant(
            "sum over the records",
            "cross_entropy(model(x), y)",
            'cross_entropy(model(x), y, reduction="sum")',
            "the mean",
        ),
        Mutant("one step", "for _ in range(steps):", "for _ in range(1):", "as many"),
        Mutant("sign turned", "update = flat(model) - before", "update = before - flat(model)", "sign is turned"),
        Mutant(
            "gradients left",
            "        gradients = torch.autograd.grad(cross_entropy(model(x), y), weights)",
            "        model.zero_grad()\n        cross_entropy(model(x), y).backward()\n"
            "        gradients = [weight.grad.clone() for weight in weights]",
            "left in .grad",
        ),
        Mutant(
            "gradients pile up",
            "        gradients = torch.autograd.grad(cross_entropy(model(x), y), weights)",
            "        cross_entropy(model(x), y).backward()\n"
            "        gradients = [weight.grad.clone() for weight in weights]",
            "pile up",
        ),
        Mutant(
            "bias forgotten",
            "weights = list(model.parameters())",
            "weights = list(model.parameters())[:1]",
            "every weight",
        ),
    ),
)
def check_local(answer: Answer, dice: Dice) -> None:
    for turn in range(3):
        model = LinearMap(seed=dice.integer(0, 10**6), inputs=4, outputs=3)
        records, steps = dice.integer(5, 9), dice.integer(3, 5)
        x, y = dice.normal(records, 4), dice.integers(0, 2, records)
        lr, momentum = 0.05 * dice.integer(2, 6), (0.0, 0.5, 0.9)[turn]
        right = _update(model, x, y, lr, steps, momentum)
        mistakes = {
            words: _update(model, x, y, lr, steps, momentum, slip)
            for slip, words in SLIPS.items()
            if momentum or slip not in ("no momentum", "damped")
        }
        mistakes = {words: value for words, value in mistakes.items() if value.shape == right.shape}
        called = answer.trace(model, x, y, lr, steps, momentum)
        got = as_tensor(called.value)
        hint = (
            "Each step: gradient of the mean loss, velocity = momentum * velocity + gradient, weight -= lr * velocity."
        )
        again = as_tensor(answer(model, x, y, lr, steps, momentum))
        if isinstance(got, Tensor) and isinstance(again, Tensor) and got.shape == again.shape:
            same = torch.allclose(got, again, atol=1e-9)
            hint = hint if same else "Something of an earlier call stays. The velocity is 0 at the beginning of each."
        what = "The update, in one row,"
        expect_close(got, right, what, mistakes=mistakes, hint=hint)
        expect(
            0 not in called.changed,
            "The model is not as it came: put the weights back after training.",
            hint="The caller sends the same model to the next client.",
        )
        expect(
            not called.left,
            "Your gradients are left in .grad of the model: whoever calls backward() next adds to them.",
            hint="torch.autograd.grad leaves none; or set .grad to None in the end.",
        )
        expect_unchanged(called, 1, 2)
