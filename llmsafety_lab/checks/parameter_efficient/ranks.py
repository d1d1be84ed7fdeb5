"""Exercises 5 and 6: which parts of a change matter, and who keeps them."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect, expect_close


@exercise(
    "parameter_efficient.importance",
    "What the loss would miss",
    points=3,
    difficulty=3,
    importance=3,
    minutes=8,
    answer="update_importance",
    mutants=(
        Mutant("importance without smoothing", "beta1 * sensitivity + (1 - beta1) * now", "now", "not smoothed"),
        Mutant(
            "betas turned round",
            "beta1 * sensitivity + (1 - beta1) * now",
            "(1 - beta1) * sensitivity + beta1 * now",
            "old",
        ),
        Mutant("sign kept", "now = (weight * gradient).abs()", "now = weight * gradient", "sign"),
        Mutant("gradient alone", "(weight * gradient).abs()", "gradient.abs()", "gradient alone"),
        Mutant(
            "uncertainty without smoothing",
            "beta2 * uncertainty + (1 - beta2) * (now - sensitivity).abs()",
            "(now - sensitivity).abs()",
            "not smoothed",
        ),
        Mutant(
            "against the old mean",
            "    sensitivity = beta1 * sensitivity + (1 - beta1) * now\n",
            "    old = sensitivity\n    sensitivity, old = beta1 * old + (1 - beta1) * now, old\n"
            "    return sensitivity, beta2 * uncertainty + (1 - beta2) * (now - old).abs()\n",
            "new sensitivity",
        ),
    ),
)
def check_importance(answer: Answer, dice: Dice) -> None:
    shape = (dice.integer(2, 3), dice.integer(3, 4))
    weight, gradient = dice.normal(*shape), dice.normal(*shape)
    weight[0, 0], gradient[0, 0] = weight[0, 0].abs() + 0.5, -gradient[0, 0].abs() - 0.5
    old, spread = dice.uniform(*shape) + 0.1, dice.uniform(*shape) + 0.1
    beta1, beta2 = 0.6 + 0.05 * dice.integer(0, 2), 0.8 + 0.05 * dice.integer(0, 2)

    def mean(now: Tensor, beta: float = beta1) -> Tensor:
        return beta * old + (1 - beta) * now

    def spreads(now: Tensor, middle: Tensor) -> Tensor:
        return beta2 * spread + (1 - beta2) * (now - middle).abs()

    signed = weight * gradient
    now = signed.abs()
    reply = answer(weight, gradient, old, spread, beta1, beta2)
    if not isinstance(reply, list | tuple) or len(reply) != 2:
        raise Failed("Return two tensors: the sensitivity and the uncertainty.", got=type(reply).__name__)
    wrong = {
        "The sensitivity is not smoothed: one batch says little, so keep beta1 of the old value.": now,
        "Beta says how much of the old value stays, 1 - beta how much of the new one comes in.": mean(now, 1 - beta1),
        "Take weight times gradient without its sign: a change for the better is a change, too.": mean(signed),
        "You took the gradient alone. A weight near zero can be left out whatever its gradient is.": mean(
            gradient.abs()
        ),
        "You took the weight alone: a large weight that the loss does not feel is not important.": mean(weight.abs()),
    }
    hint = "beta1 * old + (1 - beta1) * |weight * gradient|."
    expect_close(reply[0], mean(now), "The sensitivity", mistakes=wrong, hint=hint)
    wrong = {
        "The uncertainty is not smoothed: keep beta2 of the old value.": (now - mean(now)).abs(),
        "Measure the distance from the new sensitivity, smoothed with this step.": spreads(now, old),
        "Take the distance without its sign.": beta2 * spread + (1 - beta2) * (now - mean(now)),
        "The uncertainty has a beta of its own, beta2.": beta1 * spread + (1 - beta1) * (now - mean(now)).abs(),
    }
    hint = "beta2 * old + (1 - beta2) * |now - sensitivity|, with the sensitivity that you return."
    expect_close(reply[1], spreads(now, mean(now)), "The uncertainty", mistakes=wrong, hint=hint)


def _largest(scores: list[Tensor], budget: int) -> list[Tensor]:
    ranked = sorted(((-float(s), i, j) for i, layer in enumerate(scores) for j, s in enumerate(layer)))[:budget]
    kept = [torch.zeros(len(layer), dtype=torch.bool) for layer in scores]
    for _, i, j in ranked:
        kept[i][j] = True
    return kept


def _each(scores: list[Tensor], budget: int) -> list[Tensor]:
    share = budget // len(scores)
    return [_largest([layer], share)[0] for layer in scores]


@exercise(
    "parameter_efficient.allocate",
    "Deal out the ranks",
    points=3,
    difficulty=3,
    importance=4,
    minutes=8,
    answer="allocate",
    mutants=(
        Mutant("least important", "descending=True", "descending=False", "least important"),
        Mutant(
            "each layer alike",
            "everything = torch.cat(list(scores))",
            "return [s.argsort().argsort() >= len(s) - budget // len(scores) for s in scores]\n    everything = None",
            "each layer as many",
        ),
        Mutant("relative to the layer", "list(scores)", "[s / s.sum() for s in scores]", "relative to their own layer"),
        Mutant("budget given up", "[:budget]", "[budget:]", "keep `budget` triplets, do not give up"),
        Mutant("one too few", "[:budget]", "[: budget - 1]", "as many as the budget"),
    ),
)
def check_allocate(answer: Answer, dice: Dice) -> None:
    hint = "Compare all layers' triplets with each other: the `budget` largest scores are kept, wherever they are."
    for _ in range(100):
        scores = [(0.2 + 3 * dice.uniform(1)) * (dice.uniform(dice.integer(3, 5)) + 0.05) for _ in range(3)]
        triplets = sum(map(len, scores))
        budget = 3 * dice.integer(1, 2) if triplets >= 9 else 3
        exact = _largest(scores, budget)
        wrong = {
            "These are the least important ones.": _largest([-s for s in scores], budget),
            "You gave each layer as many. A layer may keep all of its triplets, or none.": _each(scores, budget),
            "You compared scores relative to their own layer; compare them as they are.": (
                _largest([s / s.sum() for s in scores], budget)
            ),
            "Read it again: keep `budget` triplets, do not give up that many.": [~kept for kept in exact],
        }
        if (
            len({str(torch.cat(kept)) for kept in (exact, *wrong.values())}) == 1 + len(wrong)
            and 2 * budget != triplets
        ):
            break
    for left in (budget, 0, triplets):
        reply = answer(scores, left)
        shapes = [len(layer) for layer in scores]
        fits = isinstance(reply, list | tuple) and [getattr(kept, "shape", None) for kept in reply] == [
            (n,) for n in shapes
        ]
        expect(
            fits,
            "The answer has to be one tensor for each layer, with an entry for each triplet.",
            expected=shapes,
            got=reply,
        )
        got = torch.cat([kept.bool() for kept in reply])
        right = torch.cat(_largest(scores, left))
        if torch.equal(got, right):
            continue
        said = next(
            (says for says, kept in wrong.items() if left == budget and torch.equal(torch.cat(kept), got)), hint
        )
        count = int(got.sum())
        expect(
            count == left or said != hint,
            f"With a budget of {left}, {count} triplets are kept, not as many as the budget.",
            expected=left,
            got=count,
            hint=hint,
        )
        raise Failed("Other triplets should be kept.", expected=right.int().tolist(), got=got.int().tolist(), hint=said)
