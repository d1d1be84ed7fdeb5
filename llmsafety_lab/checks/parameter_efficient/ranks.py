"""Exercises 5 and 6: which parts of a change matter, and who keeps them."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close


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
        Mutant("another beta by default", "beta1: float = 0.85", "beta1: float = 0.5", "without betas"),
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
    beta1 = beta2 = 0.85
    reply, hint = answer(weight, gradient, old, spread), "Where none are given, both betas are 0.85, as in the stub."
    expect_close(reply[0], mean(now, beta1), "The sensitivity of a call without betas", hint=hint)
    expect_close(reply[1], spreads(now, mean(now, beta1)), "The uncertainty of a call without betas", hint=hint)


def _largest(scores: list[Tensor], budget: int) -> list[Tensor]:
    ranked = sorted(((-float(s), i, j) for i, layer in enumerate(scores) for j, s in enumerate(layer)))[:budget]
    kept = [torch.zeros(len(layer), dtype=torch.bool) for layer in scores]
    for _, i, j in ranked:
        kept[i][j] = True
    return kept


def _tied(dice: Dice) -> tuple[list[Tensor], int]:
    """Draw scores of which many are equal, and a budget that keeps only some of the second layer's middle ones."""
    levels = torch.tensor([[3, 2, 2, 1], [1, 2, 2, 2], [2, 1, 3, 2]], dtype=torch.float64)
    return [layer[dice.uniform(4).argsort()] for layer in levels], 4 + dice.integer(1, 2)


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
        Mutant(
            "later of equals", "argsort(descending=True, stable=True)", "argsort(stable=True).flip(0)", "the earlier"
        ),
        Mutant(
            "threshold",
            "kept[everything.argsort(descending=True, stable=True)[:budget]] = True",
            "if budget:\n        kept = everything >= everything.sort(descending=True).values[budget - 1]",
            "a threshold keeps all",
        ),
        Mutant("numbers for booleans", "dtype=torch.bool, ", "", "not boolean"),
        Mutant("any budget", "if not 0 <= budget <= len(everything):", "if False:", "is a ValueError"),
        Mutant("another error", "raise ValueError(", "raise AssertionError(", "is a ValueError"),
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
    tied, cut = _tied(dice)
    latest = [kept.flip(0) for kept in _largest([layer.flip(0) for layer in tied[::-1]], cut)][::-1]
    ties = {"Of equal scores the earlier one is kept: an earlier layer's, or an earlier one of the same layer.": latest}
    threshold = "Where the budget ends among equal scores, the earlier ones are kept; a threshold keeps all of them."
    for given, left, mistakes, counting in (
        (scores, budget, wrong, hint),
        (scores, 0, {}, hint),
        (scores, triplets, {}, hint),
        (tied, cut, ties, threshold),
    ):
        reply = answer(given, left)
        shapes = [len(layer) for layer in given]
        fits = isinstance(reply, list | tuple) and [getattr(kept, "shape", None) for kept in reply] == [
            (n,) for n in shapes
        ]
        expect(
            fits,
            "The answer has to be one tensor for each layer, with an entry for each triplet.",
            expected=shapes,
            got=reply,
        )
        types = {str(kept.dtype) for kept in reply}
        expect(
            types == {"torch.bool"},
            "The tensors are not boolean: True where a triplet is kept.",
            expected="torch.bool",
            got=", ".join(sorted(types)),
        )
        got, right = torch.cat(list(reply)), torch.cat(_largest(given, left))
        if torch.equal(got, right):
            continue
        said = next((says for says, kept in mistakes.items() if torch.equal(torch.cat(kept), got)), "")
        count = int(got.sum())
        expect(
            count == left or bool(said),
            f"With a budget of {left}, {count} triplets are kept, not as many as the budget.",
            expected=left,
            got=count,
            hint=counting,
        )
        raise Failed(
            "Other triplets should be kept.", expected=right.int().tolist(), got=got.int().tolist(), hint=said or hint
        )
    for left in (-1, triplets + 1):
        try:
            answer(scores, left)
        except Failed as failed:
            said = failed.message
        else:
            said = "no error"
        expect(
            "ValueError" in said,
            f"A budget of {left} for {triplets} triplets is a ValueError: raise it.",
            expected="ValueError",
            got=said,
        )
