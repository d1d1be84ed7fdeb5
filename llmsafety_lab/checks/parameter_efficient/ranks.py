"""Exercise 6: which triplets are kept."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, expect_unchanged


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
        Mutant(
            "relative to the largest", "list(scores)", "[s / s.max() for s in scores]", "relative to their own layer"
        ),
        Mutant("softmax of a layer", "list(scores)", "[s.softmax(0) for s in scores]", "relative to their own layer"),
        Mutant("divided by the rank", "list(scores)", "[s / len(s) for s in scores]", "divided each layer's"),
        Mutant(
            "one for each layer",
            "everything = torch.cat(list(scores))",
            "everything = torch.cat([s + 1e6 * (s == s.max()) for s in scores])",
            "at least one",
        ),
        Mutant(
            "whole layers",
            "everything = torch.cat(list(scores))",
            "everything = torch.cat([s / 1e6 + s.mean() for s in scores])",
            "whole layers",
        ),
        Mutant(
            "three layers", "[len(score) for score in scores]", "[len(scores[i]) for i in range(3)]", "stopped with"
        ),
        Mutant("layers of one size", "[len(score) for score in scores]", "len(scores[1])", "not of length 4"),
        Mutant(
            "scores changed",
            "    kept = torch.zeros",
            "    scores[0].zero_()\n    kept = torch.zeros",
            "changed the scores",
        ),
        Mutant("full budget refused", "0 <= budget <= len", "0 <= budget < len", "ValueError"),
        Mutant("empty budget refused", "not 0 <= budget", "not 0 < budget", "ValueError"),
        Mutant("too large a budget", "if not 0 <= budget <= len(everything)", "if budget < 0", "is a ValueError"),
        Mutant("another error", "raise ValueError(", "raise AssertionError(", "is a ValueError"),
    ),
)
def check_allocate(answer: Answer, dice: Dice) -> None:
    hint = "Compare all layers' triplets with each other: the `budget` largest scores are kept, wherever they are."
    for _ in range(600):
        scores = [(0.2 + 3 * dice.uniform(1)) * (dice.uniform(n) + 0.05) for n in (dice.integer(5, 6), 4, 3, 5)]
        triplets = sum(map(len, scores))
        budget = 4 * dice.integer(1, 2)
        exact = _largest(scores, budget)
        wrong = {
            "These are the least important ones.": _largest([-s for s in scores], budget),
            "You gave each layer as many. A layer may keep all of its triplets, or none.": _each(scores, budget),
            "You compared scores relative to their own layer; compare them as they are.": (
                _largest([s / s.sum() for s in scores], budget)
            ),
            "You compared scores relative to their own layer's largest; compare them as they are.": (
                _largest([s / s.max() for s in scores], budget)
            ),
            "You compared scores after a softmax, relative to their own layer; compare them as they are.": (
                _largest([s.softmax(0) for s in scores], budget)
            ),
            "You divided each layer's scores by their number; compare them as they are.": (
                _largest([s / len(s) for s in scores], budget)
            ),
            "You kept at least one of each layer. A layer may keep all of its triplets, or none.": (
                _largest([s + 1e6 * (s == s.max()) for s in scores], budget)
            ),
            "You kept whole layers, those of the largest mean: compare the triplets.": (
                _largest([s / 1e6 + s.mean() for s in scores], budget)
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
        called = answer.trace(given, left)
        reply = expect_list(called.value, "The answer", length=len(given), expected="one boolean tensor for each layer")
        shapes = [len(layer) for layer in given]
        fits = [getattr(kept, "shape", None) for kept in reply] == [(n,) for n in shapes]
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
            expect_unchanged(called, message="You changed the scores in place: make a new tensor.")
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
