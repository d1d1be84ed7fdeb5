"""Exercise 4: attention with a prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_gradient, expect_unchanged


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
        Mutant(
            "prefix cut off",
            "torch.cat([prefix_k, k], dim=-2)",
            "torch.cat([prefix_k.detach(), k], dim=-2)",
            "No gradient reaches prefix_k",
        ),
        Mutant(
            "values cut off",
            "torch.cat([prefix_v, v], dim=-2)",
            "torch.cat([prefix_v.detach(), v], dim=-2)",
            "No gradient reaches prefix_v",
        ),
        Mutant(
            "queries cut off",
            "        q, torch.cat([prefix_k",
            "        q.detach(), torch.cat([prefix_k",
            "No gradient reaches q",
        ),
        Mutant("queries changed", "    return scaled", "    q.data *= 1.0001\n    return scaled", "wrong"),
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
            "A token does not see itself: it sees the real tokens up to itself.": (
                _attend(q, keys, values, torch.cat([seen, causal.tril(-1)], -1))
            ),
            "A token sees one token after it: it sees the real tokens up to itself.": (
                _attend(q, keys, values, torch.cat([seen, torch.ones_like(causal).tril(1)], -1))
            ),
            "The scores are divided by the width: divide by its square root.": (
                _attend(q / math.sqrt(width), keys, values, mask)
            ),
            "The scores are divided by the square root of the values' width: it is that of the queries.": (
                _attend(q * math.sqrt(width / (width + 1)), keys, values, mask)
            ),
            "The mask came after the softmax, so the weights do not sum to 1: mask the scores.": (
                ((q @ keys.mT / math.sqrt(width)).softmax(-1) * mask) @ values
            ),
            "Masked scores are set to 0, which is a score like any other: set them to minus infinity.": (
                (q @ keys.mT / math.sqrt(width)).masked_fill(~mask, 0).softmax(-1) @ values
            ),
            "Prefix and tokens share one softmax: do not take the mean of two attentions.": (
                (_attend(q, k, v, causal) + _attend(q, before_k, before_v, seen)) / 2
            ),
            "The scores have to be divided by the square root of the width.": (
                _attend(q * math.sqrt(width), keys, values, mask)
            ),
        }
        hint = "One softmax over the prefix, which every token sees, and over the tokens up to itself."
        given = [q, k, v, before_k, before_v]
        exact = _attend(q, keys, values, mask)
        along = dice.normal(*exact.shape)
        called = answer.trace(*given, by=range(5), along=along)
        expect_close(called.value, exact, f"The output for {q.dim()}-dimensional queries", mistakes=mistakes, hint=hint)
        lost = "You changed an argument in place: make a new tensor."
        expect_unchanged(called, message=lost)
        leaves = [one.clone().requires_grad_() for one in given]
        q, k, v, before_k, before_v = leaves
        output = _attend(q, torch.cat([before_k, k], -2), torch.cat([before_v, v], -2), mask)
        hint = "Is there a detach() or a no_grad()? The prefix is learnt, and the layers before learn, too."
        for place, gradient in enumerate(torch.autograd.grad(output, leaves, along)):
            what = ("q", "k", "v", "prefix_k", "prefix_v")[place]
            expect_gradient(called.gradients[place][""], gradient, what, tolerance=1e-5, hint=hint)
