"""Exercise 3: one step of adversarial debiasing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_list, expect_tensor
from llmsafety_lab.checking.handles import LinearMap
from llmsafety_lab.checks.bias_mitigation.cases import people


def _flat(tensors: Any) -> Tensor:
    return torch.cat([one.reshape(-1) for one in tensors])


class _Game:
    """The gradients of both players' losses, and the weights after a step of each kind."""

    def __init__(self, own: list[Tensor], other: list[Tensor], x: Tensor, labels: Tensor, groups: Tensor) -> None:
        self.own, self.other = [w.clone().requires_grad_() for w in own], [w.clone().requires_grad_() for w in other]
        logits = (x @ self.own[0].T + self.own[1])[:, 0]
        self.loss = binary_cross_entropy_with_logits(logits, labels.double())
        self.g = _flat(torch.autograd.grad(self.loss, self.own, retain_graph=True))
        guess = (logits[:, None] @ self.other[0].T + self.other[1])[:, 0]
        reads = binary_cross_entropy_with_logits(guess, groups.double())
        self.h = _flat(torch.autograd.grad(reads, self.own, retain_graph=True))
        self.u = _flat(torch.autograd.grad(reads, self.other))
        at = torch.cat([self.h[:-1], torch.zeros(1)]), torch.cat([torch.zeros(len(self.h) - 1), self.h[-1:]])
        parts = sum(((self.g @ part) / (part @ part) * part for part in at), torch.zeros_like(self.g))
        self.separately = self.g - parts
        self.projected = self.g - (self.g @ self.h) / (self.h @ self.h) * self.h


@exercise(
    "bias_mitigation.adversary",
    "A step against an adversary",
    points=4,
    difficulty=4,
    importance=4,
    minutes=15,
    answer="adversarial_step",
    forbid=("fairlearn.adversarial.AdversarialFairnessClassifier",),
    mutants=(
        Mutant(
            "adversary never updated",
            "        for weight, gradient in zip(theirs, down, strict=True):\n            weight -= lr * gradient\n",
            "",
            "adversary's weights are as they were",
        ),
        Mutant("gradient not reversed", "- alpha * h", "+ alpha * h", "helps the adversary"),
        Mutant("no projection", "g - share * h - alpha * h", "g - alpha * h", "projection"),
        Mutant(
            "adversary goes uphill",
            "weight -= lr * gradient\n        for",
            "weight += lr * gradient\n        for",
            "adversary",
        ),
        Mutant("predictor goes uphill", "weight -= lr * direction", "weight += lr * direction", "predictor"),
        Mutant("alpha ignored", "- alpha * h", "- h", "alpha"),
        Mutant(
            "projected tensor by tensor",
            "    dot = sum((g * h).sum() for g, h in zip(own, against, strict=True))\n"
            "    share = dot / sum((h * h).sum() for h in against)\n"
            "    directions = [g - share * h - alpha * h for g, h in zip(own, against, strict=True)]",
            "    directions = [g - (g * h).sum() / (h * h).sum() * h - alpha * h for g, h in zip(own, against, "
            "strict=True)]",
            "one vector",
        ),
        Mutant(
            "projected on one side only", "share = dot / sum", "share = dot.clamp(min=0) / sum", "whatever its sign"
        ),
        Mutant("not divided by the length", "dot / sum((h * h).sum() for h in against)", "dot", "length"),
        Mutant(
            "divided by the length once",
            "dot / sum((h * h).sum() for h in against)",
            "dot / sum((h * h).sum() for h in against) ** 0.5",
            "length",
        ),
        Mutant(
            "projected on its own gradient",
            "sum((h * h).sum() for h in against)",
            "sum((g * g).sum() for g in own)",
            "length",
        ),
        Mutant(
            "adversary sees decisions",
            "adversary(logits[:, None])",
            "adversary((logits > 0).to(logits.dtype)[:, None])",
            "RuntimeError",
        ),
        Mutant(
            "adversary sees a detached logit",
            "adversary(logits[:, None])",
            "adversary(logits.detach()[:, None])",
            "RuntimeError",
        ),
        Mutant("adversary reads the label", "guesses, groups.to", "guesses, labels.to", "guesses the group"),
        Mutant(
            "adversary sees the probability",
            "adversary(logits[:, None])",
            "adversary(logits.sigmoid()[:, None])",
            "logit",
        ),
        Mutant(
            "predictor not updated",
            "            weight -= lr * direction\n",
            "            pass\n",
            "predictor's weights are as they were",
        ),
        Mutant("stepped twice", "weight -= lr * direction", "weight -= 2 * lr * direction", "twice"),
    ),
)
def check_adversary(answer: Answer, dice: Dice) -> None:
    for turn in range(2):
        for _ in range(500):  # first the gradients point to the same side, then to opposite ones
            width, of = dice.integer(3, 4), dice.integer(30, 40)
            labels, groups = people(dice, of)
            x = dice.normal(of, width) + 0.7 * groups[:, None]
            own = [dice.normal(1, width), dice.normal(1)]
            other = [(dice.normal(1, 1).abs() + 0.5) * (2 * dice.integer(0, 1) - 1), dice.normal(1)]
            game = _Game(own, other, x, labels, groups)
            if (-1) ** turn * float(game.g @ game.h) > 0.02:
                break
        alpha, lr = 0.5 + float(dice.uniform(1)), 0.1 + 0.2 * float(dice.uniform(1))
        names = ("weight", "bias")
        predictor = LinearMap(weights=dict(zip(names, own, strict=True)), inputs=width, outputs=1)
        adversary = LinearMap(weights=dict(zip(names, other, strict=True)), inputs=1, outputs=1)
        called = answer.trace(predictor, adversary, x, labels, groups, alpha, lr)
        found = expect_list(
            called.value, "The answer", length=4, expected="copies of both players' weights: four tensors"
        )
        got = [
            expect_tensor(value, like.shape, f"Tensor {place + 1} of the four").detach()
            for place, (value, like) in enumerate(zip(found, own + other, strict=True))
        ]
        _predictor(_flat(got[:2]), _flat(own), game, alpha, lr, x, labels, groups, other)
        mine, before = _flat(got[2:]), _flat(other)
        u = game.u
        expect(
            not torch.allclose(mine, before, atol=1e-9),
            "The adversary's weights are as they were: an adversary that never learns is soon fooled, and the "
            "predictor "
            "only learns to fool that one.",
            hint="It goes down its own loss: the same step, with its own gradient.",
        )
        expect_close(
            mine,
            before - lr * u,
            "The adversary's weights after the step",
            tolerance=1e-5,
            mistakes={
                "The adversary goes up its own loss: it is to read the group off as well as it can.": before + lr * u,
                "The adversary's step is twice as long as lr says.": before - 2 * lr * u,
                "The adversary's step is multiplied by alpha, which belongs to the predictor.": before - alpha * lr * u,
            },
            hint="before - lr * gradient of the adversary's loss by the adversary's weights, at the predictor's old "
            "weights.",
        )
        expect(0 in called.changed and 1 in called.changed, "Change both players' weights in place.")
        expect(not called.left, "Gradients were left in the weights: the next step of training would add to them.")


def _predictor(
    mine: Tensor,
    before: Tensor,
    game: _Game,
    alpha: float,
    lr: float,
    x: Tensor,
    labels: Tensor,
    groups: Tensor,
    other: list[Tensor],
) -> None:
    g, h, p = game.g, game.h, game.projected
    expect(
        not torch.allclose(mine, before, atol=1e-9),
        "The predictor's weights are as they were: both players take a step.",
    )
    n = h @ h
    logits = (x @ game.own[0].T + game.own[1])[:, 0]
    w, b = (one.detach() for one in game.other)

    def seen(value: Tensor, target: Tensor) -> Tensor:
        guess = (value[:, None] @ w.T + b)[:, 0]
        return _flat(
            torch.autograd.grad(binary_cross_entropy_with_logits(guess, target.double()), game.own, retain_graph=True)
        )

    label, chance = seen(logits, labels), seen(logits.sigmoid(), groups)
    directions = {
        "This helps the adversary: its gradient is added, so the predictor makes the group easier to read. Subtract "
        "it.": (p + alpha * h),
        "The projection is missing: take out of the predictor's gradient its part along the adversary's.": g
        - alpha * h,
        "The projection is missing, and the adversary is helped.": g + alpha * h,
        "alpha is not used.": p - h,
        "The adversary plays no part: this is the predictor's own gradient.": g,
        "Only the projection is there: alpha times the adversary's gradient is missing. (Or no gradient reaches the "
        "predictor from the adversary's loss.)": p,
        "The gradients are one vector over all weights, and are projected as one: yours were, tensor by tensor.": (
            game.separately - alpha * h
        ),
        "The projection is not divided by the squared length of the adversary's gradient.": g - (g @ h) * h - alpha * h,
        "The projection is divided by the length of the adversary's gradient, once: divide by its square.": (
            g - (g @ h) / n.sqrt() * h - alpha * h
        ),
        "The projection is divided by the squared length of the wrong gradient: it is onto the adversary's.": (
            g - (g @ h) / (g @ g) * h - alpha * h
        ),
        "The projection was taken away from the wrong side: added, not subtracted.": g + (g @ h) / n * h - alpha * h,
        "The step is twice as long as lr says.": 2 * (p - alpha * h),
        "The adversary guesses the group: this one guessed the label.": (
            g - (g @ label) / (label @ label) * label - alpha * label
        ),
        "The adversary saw the probability: give it the logit, which a sigmoid has not flattened.": (
            g - (g @ chance) / (chance @ chance) * chance - alpha * chance
        ),
    }
    if g @ h < 0:
        one_side = (
            "The projection is left out where the two gradients point to opposite sides: take out the part along the "
            "adversary's gradient whatever its sign."
        )
        directions = {one_side: g - alpha * h} | directions
    mistakes = {words: before - lr * value for words, value in directions.items()}
    mistakes["The predictor goes uphill: subtract lr times the direction."] = before + lr * (p - alpha * h)
    expect_close(
        mine,
        before - lr * (p - alpha * h),
        "The predictor's weights after the step",
        tolerance=1e-5,
        mistakes=mistakes,
        hint="before - lr * (g - (g.h / h.h) h - alpha h), g the gradient of the predictor's loss and h that of the "
        "adversary's, both by the predictor's weights before the step.",
    )
