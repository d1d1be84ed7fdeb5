"""Exercise 4: attention with a prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(-1) @ v


@exercise(
    "parameter_efficient.prefix",
    "Keys and values of words that nobody said",
    points=4,
    difficulty=3,
    importance=3,
    minutes=10,
    answer="prefix_attention",
    mutants=(
        Mutant(
            "prefix under the causal mask",
            "torch.cat([causal.new_ones(tokens, prefix), causal], dim=-1)",
            "causal.new_ones(tokens, prefix + tokens).tril()",
            "sees all of the prefix",
        ),
        Mutant("no mask", "attn_mask=mask", "attn_mask=None", "sees tokens after it"),
        Mutant("order of keys", "torch.cat([prefix_k, k], dim=-2)", "torch.cat([k, prefix_k], dim=-2)", "same order"),
        Mutant(
            "dimensions counted from the front",
            "torch.cat([prefix_k, k], dim=-2)",
            "torch.cat([prefix_k, k], dim=1)",
            "must match",
        ),
        Mutant("prefix hidden", "causal.new_ones(tokens, prefix)", "causal.new_zeros(tokens, prefix)", "no influence"),
    ),
)
def check_prefix(answer: Answer, dice: Dice) -> None:
    for batch, more in (((), 0), ((2,), 2)):
        heads, tokens, prefix, width = 2, dice.integer(4, 6), more + dice.integer(2, 3), dice.integer(3, 5)
        q, k, before_k = (dice.normal(*batch, heads, n, width) for n in (tokens, tokens, prefix))
        v, before_v = (dice.normal(*batch, heads, n, width + 1) for n in (tokens, prefix))
        causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        seen = torch.ones(tokens, prefix, dtype=torch.bool)
        mask = torch.cat([seen, causal], -1)
        keys, values = torch.cat([before_k, k], -2), torch.cat([before_v, v], -2)
        ids = torch.ones(tokens, prefix + tokens, dtype=torch.bool)
        mistakes = {
            "Every token sees all of the prefix. Your causal mask starts at the prefix instead of behind it.": (
                _attend(q, keys, values, ids.tril())
            ),
            "A token sees tokens after it: they need the causal mask, the prefix does not.": (
                _attend(q, keys, values, ids)
            ),
            "Keys and values have to stand in the same order, the prefix first, and the mask too.": (
                _attend(q, torch.cat([k, before_k], -2), values, mask)
            ),
            "Your values stand in another order than your keys: keep the same order, the prefix first.": (
                _attend(q, keys, torch.cat([v, before_v], -2), mask)
            ),
            "The mask has to stand in the same order as the keys, the prefix first.": (
                _attend(q, keys, values, torch.cat([causal, seen], -1))
            ),
            "The prefix has no influence: it is masked out or left out.": _attend(q, k, v, causal),
            "Prefix and tokens share one softmax: do not add two attentions.": (
                _attend(q, k, v, causal) + _attend(q, before_k, before_v, seen)
            ),
            "The scores have to be divided by the square root of the width.": (
                _attend(q * math.sqrt(width), keys, values, mask)
            ),
        }
        hint = "One softmax over the prefix, which every token sees, and over the tokens up to itself."
        got = answer(q, k, v, before_k, before_v)
        exact = _attend(q, keys, values, mask)
        expect_close(got, exact, f"The output for {q.dim()}-dimensional queries", mistakes=mistakes, hint=hint)
