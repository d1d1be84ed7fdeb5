"""Exercises 5 and 6: what can be read off attention maps, against the definitions spelt out token by token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close


def _maps(dice: Dice, layers: int, heads: int, tokens: int, causal: bool) -> Tensor:
    scores = 2 * dice.normal(layers, heads, tokens, tokens)
    if causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens, dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(-1)


@exercise(
    "attention.induction",
    "Heads that look for what came next",
    points=3,
    difficulty=3,
    importance=4,
    minutes=9,
    answer="induction_score",
    mutants=(
        Mutant("first occurrence", "queries - period + 1]", "queries - period]", "the same token"),
        Mutant("one before", "queries - period + 1]", "queries - period - 1]", "in front of"),
        Mutant("turned round", "queries, queries - period + 1]", "queries - period + 1, queries]", "swapped"),
        Mutant("sum", ".mean(dim=-1)", ".sum(dim=-1)", "sum"),
        Mutant("first copy too", "arange(tokens - period, tokens,", "arange(period - 1, tokens,", "second copy only"),
        Mutant(
            "half the text",
            "tokens = maps.shape[-1]",
            "tokens = maps.shape[-1]\n    period = tokens // 2",
            "half of the text",
        ),
        Mutant("from the front", "arange(tokens - period, tokens,", "arange(period, 2 * period,", "from the end"),
    ),
)
def check_induction(answer: Answer, dice: Dice) -> None:
    layers, heads, period = dice.integer(2, 3), dice.integer(2, 4), dice.integer(5, 8)
    for prefix, where in ((0, "two copies"), (dice.integer(2, 3), "some other tokens and then two copies")):
        text = [-1 - i for i in range(prefix)] + [*range(period)] * 2
        maps = _maps(dice, layers, heads, len(text), causal=False)
        last: dict[int, int] = {}
        right = []
        for position, token in enumerate(text):
            if token in last:
                right.append((position, last[token] + 1))
            last[token] = position
        perfect = dice.integer(0, layers - 1), dice.integer(0, heads - 1)
        for query, key in right:
            maps[perfect][query] = torch.arange(len(text)) == key
        exact = torch.stack([maps[..., query, key] for query, key in right]).mean(0)

        second = torch.arange(len(text) - period, len(text))
        ahead = torch.arange(period, 2 * period)
        half = len(text) // 2
        late = torch.arange(len(text) - half, len(text))
        mistakes = {
            "You look at the same token's first occurrence: an induction head looks at the one after it.": (
                maps[..., second, second - period].mean(-1)
            ),
            "You look at the token in front of the first occurrence: it is the one after it.": (
                maps[..., second, (second - period - 1) % len(text)].mean(-1)
            ),
            "Queries and keys are swapped: maps[..., query, key].": maps[..., second - period + 1, second].mean(-1),
            "This is the sum over the second copy: take the mean, so that the score ends at 1.": exact * period,
            "Count the queries of the second copy only: the ones before it have nothing to look back to.": (
                maps.diagonal(1 - period, -2, -1).mean(-1)
            ),
            "Count the second copy from the end: other tokens may stand in front of the first.": (
                maps[..., ahead, ahead - period + 1].mean(-1)
            ),
            "You took half of the text for the period: it is an argument.": maps[..., late, late - half + 1].mean(-1),
        }
        hint = "Mean over the second copy of the weight from a token to the one after its first occurrence."
        what = f"The score on {where} of {period} tokens"
        expect_close(answer(maps, period), exact, what, mistakes=mistakes, hint=hint)


@exercise(
    "attention.rollout",
    "Follow attention down through the layers",
    points=3,
    difficulty=3,
    importance=3,
    minutes=9,
    answer="attention_rollout",
    mutants=(
        Mutant("no residual", "0.5 * layer + 0.5 * identity", "layer", "residual"),
        Mutant("not halved", "mixed / mixed.sum(dim=-1, keepdim=True)", "2 * mixed", "sum to 1"),
        Mutant("wrong order", "mixed / mixed.sum(dim=-1, keepdim=True) @ rollout", "rollout @ mixed", "wrong order"),
        Mutant("largest head", "maps.mean(dim=1)", "maps.amax(dim=1)", "mean over the heads"),
        Mutant("last layer only", "mixed / mixed.sum(dim=-1, keepdim=True) @ rollout", "mixed", "last layer alone"),
    ),
)
def check_rollout(answer: Answer, dice: Dice) -> None:
    layers, heads, tokens = dice.integer(3, 4), dice.integer(2, 3), dice.integer(6, 8)
    previous = torch.zeros(tokens, tokens, dtype=torch.float64)
    previous[torch.arange(tokens), (torch.arange(tokens) - 1).clamp(min=0)] = 1
    chain = previous.expand(layers, heads, tokens, tokens)
    for maps, kind in (
        (_maps(dice, layers, heads, tokens, causal=False), "random maps"),
        (_maps(dice, layers, heads, tokens, causal=True), "random causal maps"),
        (chain, "heads that all look at the token before"),
    ):
        mean, identity = maps.mean(1), torch.eye(tokens, dtype=torch.float64)
        peak = maps.amax(1) + identity
        mistakes = {
            "You left out the residual connection: half of each token stays where it is.": _chain(mean),
            "The rows have to sum to 1: half the attention plus half the identity.": _chain(mean + identity),
            "The layers are multiplied in the wrong order: a later layer stands to the left.": (
                _chain(((mean + identity) / 2).flip(0))
            ),
            "Take the mean over the heads, not the largest.": _chain(peak / peak.sum(-1, keepdim=True)),
            "This is the last layer alone: multiply it with the rollout of those below.": (mean[-1] + identity) / 2,
            "You took the mean over the layers: multiply them.": mean.mean(0),
        }
        hint = "Each layer: mean over heads, half of it plus half the identity, times the rollout of the layers below."
        what = f"The rollout of {kind}"
        expect_close(answer(maps.float()), walk(maps), what, tolerance=1e-5, mistakes=mistakes, hint=hint)


def walk(maps: Tensor) -> Tensor:
    """Where a walker ends who goes down from each token: in each layer it stays, or goes where a random head looks."""
    place = torch.eye(maps.shape[-1], dtype=torch.float64)
    for layer in reversed(maps):
        place = (place + sum(place @ head for head in layer) / len(layer)) / 2
    return place


def _chain(layers: Tensor) -> Tensor:
    """Multiply matrices, the first one on the right."""
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    return product
