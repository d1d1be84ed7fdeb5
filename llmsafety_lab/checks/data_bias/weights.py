"""Exercises 3 and 4: weights that make label and group independent, and what weights cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checks.data_bias.cases import by_group, column, names, shuffled


@exercise(
    "data_bias.weights",
    "Reweigh",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="weights",
    mutants=(
        Mutant("upside down", "expected / observed", "observed / expected", "upside down"),
        Mutant("counts", "len(labels) * (in_group", "1 * (in_group", "mean of the weights"),
        Mutant(
            "group alone", "expected / observed", "1 / (in_group.mean() * len(set(groups)))", "groups equally large"
        ),
        Mutant("label alone", "expected / observed", "0.5 / with_label.mean()", "labels equally frequent"),
        Mutant(
            "every cell alike",
            "expected / observed",
            "1 / (2 * len(set(groups)) * observed)",
            "overall share",
        ),
        Mutant("share of the group", "expected / observed", "in_group.sum() / observed", "P(label)"),
        Mutant("one weight a group", "with_label = labels == label", "with_label = labels == 1", "own label"),
    ),
)
def check_weights(answer: Answer, dice: Dice) -> None:
    groups = names(dice, 3)
    cells: dict[tuple[str, int], int] = {}
    for name, (low, high) in zip(groups, ((3, 6), (12, 18), (20, 28)), strict=True):
        cells |= {(name, 1): dice.integer(low, high), (name, 0): dice.integer(2 * low, 3 * high)}
    labels, group_of = shuffled(dice, cells)
    n = len(labels)
    size = {name: cells[name, 0] + cells[name, 1] for name in groups}
    share = {y: sum(cells[name, y] for name in groups) / n for y in (0, 1)}

    def each(make: Callable[[str, int], float]) -> torch.Tensor:
        return torch.tensor([make(name, int(y)) for y, name in zip(labels, group_of, strict=True)], dtype=torch.float64)

    right = each(lambda a, y: size[a] * share[y] / cells[a, y])
    mistakes = {
        "The fraction is upside down: rows of a rare pair must weigh more, not less.": 1 / right,
        "The mean of the weights must be 1: take shares of all rows, not counts.": right / n,
        "The mean of the weights must be 1. Take shares, not counts.": right * n,
        "The weights are those of the right rows in another order. Keep the order of the rows.": right.sort().values,
        "These are whole numbers: the weights need their decimals.": right.floor(),
        "This is 1 / count of the pair. P(label) P(group) is missing above.": each(lambda a, y: 1 / cells[a, y]),
        "These weights make the groups equally large and leave their rates apart.": each(
            lambda a, y: n / (3 * size[a])
        ),
        "These weights make the labels equally frequent and leave the groups' rates apart.": each(
            lambda a, y: 0.5 / share[y]
        ),
        "These weights give every pair the same weight in all: the overall share of label 1 becomes one half.": each(
            lambda a, y: n / (6 * cells[a, y])
        ),
        "You divide P(group) by P(label, group): P(label) is missing above.": each(lambda a, y: size[a] / cells[a, y]),
        "Rows of label 0 still have weight 1. A row's weight depends on its own label.": each(
            lambda a, y: size[a] * share[1] / cells[a, 1] if y else 1.0
        ),
        "A row's weight depends on its own label: rows of label 0 have other weights than those of label 1.": each(
            lambda a, y: size[a] * share[1] / cells[a, 1]
        ),
    }
    hint = "P(label) P(group) / P(label, group) for each row, in the order of the rows."
    called = answer.trace(labels, group_of)
    got = column(called.value, n, "The column of weights", "Return a list or an array with a weight for each row.")
    expect_close(got, right, "The column of weights", tolerance=1e-5, mistakes=mistakes, hint=hint)
    expect_unchanged(called, message="You changed the labels or the groups in place: they are still needed.")
    word = np.array([1 - y for y in labels.tolist()])
    swapped = each(lambda a, y: size[a] * share[y] / cells[a, y])
    got = column(answer(word, group_of), n, "The column of weights for labels turned round")
    expect_close(got, swapped, "The column of weights for labels turned round", tolerance=1e-5, hint=hint)


@exercise(
    "data_bias.effective",
    "What weights cost",
    points=3,
    difficulty=2,
    importance=4,
    minutes=8,
    answer="effective",
    mutants=(
        Mutant("rows", "inside.sum() ** 2 / (inside**2).sum()", "len(inside)", "number of rows"),
        Mutant("sum of weights", "inside.sum() ** 2 / (inside**2).sum()", "inside.sum()", "sum of the weights"),
        Mutant(
            "weights not scaled", "inside.sum() ** 2 / (inside**2).sum()", "1 / (inside**2).sum()", "do not sum to 1"
        ),
        Mutant("square of the sum below", "(inside**2).sum()", "inside.sum() ** 2", "always 1"),
        Mutant("mean above", "inside.sum() ** 2", "inside.mean() ** 2", "mean above"),
        Mutant("root", "inside.sum() ** 2 / (inside**2).sum()", "inside.sum() / (inside**2).sum() ** 0.5", "root"),
        Mutant("all rows' weights below", "/ (inside**2).sum()", "/ (weights**2).sum()", "of the group alone"),
    ),
)
def check_effective(answer: Answer, dice: Dice) -> None:
    groups = names(dice, 3)
    group_of = [
        name
        for name, rows in zip(groups, (dice.integer(12, 18), dice.integer(5, 8), 1), strict=True)
        for _ in range(rows)
    ]
    order = torch.randperm(len(group_of), generator=dice.generator).tolist()
    group_of = [group_of[i] for i in order]
    weights = (0.2 + 3 * dice.uniform(len(group_of)) ** 2).numpy()
    parts = [weights[[name == one for one in group_of]] for name in groups]

    def table(make: Callable[[np.ndarray], float]) -> torch.Tensor:
        return torch.tensor([[float(make(part))] for part in parts], dtype=torch.float64)

    right = table(lambda w: w.sum() ** 2 / (w**2).sum())
    mistakes = {
        "This is the number of rows. With unequal weights the effective size is smaller.": table(len),
        "This is the sum of the weights, which says nothing of how unequal they are.": table(np.sum),
        "1 / sum of squares is right only for weights that sum to 1. These do not sum to 1.": table(
            lambda w: 1 / (w**2).sum()
        ),
        "This is always 1: below stand the squares, summed, and not the sum, squared.": table(lambda w: 1.0),
        "You have the mean above. It is the sum, squared.": table(lambda w: w.mean() ** 2 / (w**2).sum()),
        "This is the root of the effective size: square the sum.": table(lambda w: w.sum() / (w**2).sum() ** 0.5),
        "Below stand the squared weights of the group alone, not those of all rows.": table(
            lambda w: w.sum() ** 2 / (weights**2).sum()
        ),
        "This is a rounded number. The effective size need not be whole.": right.round(),
        "This is the effective size over the number of rows. Leave the rows in.": table(
            lambda w: w.mean() ** 2 / (w**2).mean()
        ),
        "This is the effective size of all rows together: give each group its own.": table(
            lambda w: weights.sum() ** 2 / (weights**2).sum()
        ),
    }
    hint = "(sum of the weights)^2 / (sum of their squares), over the rows of the group."
    called = answer.trace(weights, group_of)
    got = by_group(called.value, groups, 1, "The answer", hint)
    expect_close(got, right, "The table of effective sizes", tolerance=1e-4, mistakes=mistakes, hint=hint)
    expect_unchanged(called)
    large = by_group(answer(1000 * weights, group_of), groups, 1, "The answer", hint)
    gap = float((large - right).abs().max())
    words = "With weights a thousand times as large the effective size changes."
    expect(gap < 1e-3, words, expected=0.0, got=gap, hint="Only the proportions of the weights count.")
