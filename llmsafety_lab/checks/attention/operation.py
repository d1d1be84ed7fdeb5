"""Exercises 1 and 2: one attention, and many side by side, against torch's own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import scaled_dot_product_attention as torch_attention

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_pair, expect_unchanged

_TORCH_ATTENTION = (
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.MultiheadAttention",
    "transformers.models.llama.modeling_llama.eager_attention_forward",
    "transformers.models.bert.modeling_bert.eager_attention_forward",
    "transformers.models.bert.modeling_bert.BertSelfAttention",
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_attention_math",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_native_multi_head_attention",
)


def _two(reply: Any) -> tuple[Any, Any]:
    return expect_pair(reply, "The answer", expected="(output, weights)")


def _wrong_weights(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> dict[str, Tensor]:
    raw, root = q @ k.mT, math.sqrt(q.shape[-1])
    scores, hidden = raw / root, ~allowed

    def soft(scores: Tensor, axis: int = -1) -> Tensor:
        return scores.masked_fill(hidden, -math.inf).softmax(axis)

    naive = scores.masked_fill(hidden, -math.inf).exp()
    naive = naive / naive.sum(-1, keepdim=True).clamp(min=1e-300)
    late = (scores - scores.amax(-1, keepdim=True)).exp() * allowed
    total = late.sum(-1, keepdim=True)
    return {
        "You did not divide the scores by the square root of d, the width of queries and keys.": soft(raw),
        "You divided the scores by d: divide them by its square root.": soft(raw / root**2),
        "You divided by the root of the values' width: it is that of queries and keys.": soft(raw / v.shape[-1] ** 0.5),
        "Your softmax runs over the queries: each query's weights, over the keys, have to sum to 1.": soft(scores, -2),
        "The mask is inverted: True is where a query may look.": scores.masked_fill(allowed, -math.inf).softmax(-1),
        "All weights of a row vanish when the largest score is a hidden one: look for the largest among those that the "
        "query may see.": late / total.masked_fill(total == 0, 1),
        "The rows do not sum to 1, which is what happens when the mask is applied after the softmax. "
        "Set the scores to minus infinity before it.": scores.softmax(-1) * allowed,
        "The mask has no effect on your weights.": scores.softmax(-1),
        "You added the mask to the scores as zeros and ones: hidden scores have to be minus infinity.": (
            (scores + allowed).softmax(-1)
        ),
        "A query that may look nowhere spreads its weight evenly here: that is what a large negative number instead of "
        "minus infinity does.": scores.masked_fill(hidden, -1e9).softmax(-1),
        "A hidden score got weight: beside large scores your number is not negative enough. Minus infinity is.": (
            scores.masked_fill(hidden, -1e4).softmax(-1)
        ),
        "exp overflows: subtract each row's largest score first.": naive,
        "A row of nothing but minus infinity has no softmax (0 / 0): give it weights of zero.": soft(scores),
        "A score of 0 is not hidden: exp(0) is 1. Hidden scores have to be minus infinity.": (
            (scores * allowed).softmax(-1)
        ),
        "0 times infinity is not a number: set the hidden scores, do not add to all of them.": (
            scores + hidden * -math.inf
        ).softmax(-1),
        "A query that may look nowhere still has weights here: a large negative number added to all of its scores "
        "changes no softmax.": (scores + hidden * -1e9).softmax(-1),
        "You divided by the root of the number of keys: it is that of d, their width.": soft(raw / k.shape[-2] ** 0.5),
    }


@exercise(
    "attention.scaled_dot_product",
    "Attention, and what breaks it",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    answer="scaled_dot_product_attention",
    forbid=_TORCH_ATTENTION,
    mutants=(
        Mutant("no scale", " / math.sqrt(q.shape[-1])", "", "did not divide"),
        Mutant("scale by d", "math.sqrt(q.shape[-1])", "q.shape[-1]", "divided the scores by d"),
        Mutant("scale by the values' width", "math.sqrt(q.shape[-1])", "math.sqrt(v.shape[-1])", "values' width"),
        Mutant(
            "softmax over the queries",
            "    return weights @ v, weights",
            "    weights = scores.softmax(dim=-2)\n    return weights @ v, weights",
            "over the queries",
        ),
        Mutant(
            "mask after softmax",
            "    return weights @ v, weights",
            "    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) * (1 if mask is None else mask)\n"
            "    return weights @ v, weights",
            "after the softmax",
        ),
        Mutant("mask inverted", "masked_fill(~mask, -math.inf)", "masked_fill(mask, -math.inf)", "inverted"),
        Mutant("mask as a number", "scores.masked_fill(~mask, -math.inf)", "scores + mask", "zeros and ones"),
        Mutant("mask forgotten", "scores.masked_fill(~mask, -math.inf)", "scores", "no effect"),
        Mutant("blind row NaN", " / total.masked_fill(total == 0, 1)", " / total", "nothing but minus infinity"),
        Mutant("blind row even", "masked_fill(~mask, -math.inf)", "masked_fill(~mask, -1e9)", "evenly"),
        Mutant(
            "hidden score weighed", "masked_fill(~mask, -math.inf)", "masked_fill(~mask, -1e4)", "not negative enough"
        ),
        Mutant(
            "underflow",
            "scores = scores.masked_fill(~mask, -math.inf)",
            "seen = (scores - scores.amax(-1, keepdim=True)).exp() * mask\n"
            "        total = seen.sum(-1, keepdim=True)\n"
            "        weights = seen / total.masked_fill(total == 0, 1)\n"
            "        return weights @ v, weights",
            "may see",
        ),
        Mutant("overflow", "(scores - largest).exp()", "scores.exp()", "exp overflows"),
        Mutant("mask as a factor", "scores.masked_fill(~mask, -math.inf)", "scores * mask", "A score of 0"),
        Mutant("mask times infinity", "scores.masked_fill(~mask, -math.inf)", "scores + ~mask * -math.inf", "0 times"),
        Mutant(
            "large number added", "scores.masked_fill(~mask, -math.inf)", "scores + ~mask * -1e9", "still has weights"
        ),
        Mutant("root of the keys", "math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])", "number of keys"),
        Mutant("batch of heads only", "masked_fill(~mask, ", "masked_fill(~mask[None, None], ", "wrong shape"),
        Mutant("mask turned round in place", "masked_fill(~mask, ", "masked_fill(mask.logical_not_(), ", "in place"),
    ),
)
def check_scaled_dot_product(answer: Answer, dice: Dice) -> None:
    lead = [dice.integer(2, 3), dice.integer(1, 2)]
    queries, d = dice.integer(3, 4), dice.integer(9, 10)
    keys, d_v = queries + dice.integer(1, 2), d - 2
    qs, ks, vs = dice.normal(*lead, queries, d), dice.normal(*lead, keys, d), dice.normal(*lead, keys, d_v)
    some = dice.uniform(queries, keys) < 0.6
    some[:, 0] = ~some[:, 1]
    nowhere = some.clone()
    nowhere[dice.integer(0, queries - 1)] = False
    padding = (torch.arange(keys) < dice.integer(1, keys - 1))[None]
    for when, q, k, v, mask in (
        ("without a mask", qs[0, 0], ks[0, 0], vs[0, 0], None),
        ("in a batch of heads", qs, ks, vs, None),
        ("of one text with a mask", qs[0, 0], ks[0, 0], vs[0, 0], some),
        ("with a mask", qs, ks, vs, some),
        ("with a mask of shape (1, keys), as padding has it,", qs, ks, vs, padding),
        ("of scores in the ten thousands", 100 * qs, 100 * ks, vs, None),
        ("of large negative scores with a mask", -300 * qs.abs(), 300 * ks.abs(), vs, some),
        ("where one query may look nowhere", qs, ks, vs, nowhere),
    ):
        called = answer.trace(q, k, v, mask)
        output, weights = _two(called.value)
        allowed = torch.ones(queries, keys, dtype=torch.bool) if mask is None else mask.expand(queries, keys)
        sees = allowed.any(-1, keepdim=True)
        every = torch.eye(keys, dtype=q.dtype).expand(*q.shape[:-2], keys, keys)
        exact = torch_attention(q, k, every, attn_mask=allowed | ~sees) * sees
        wrong = _wrong_weights(q, k, v, allowed)
        hint = "Row i: the softmax, over the keys, of query i's scores."
        expect_close(weights, exact, f"The weights' matrix {when}", mistakes=wrong, hint=hint)
        mistakes = {words: value @ v for words, value in wrong.items()}
        hint = "The weights are right: the output is weights times values."
        expect_close(output, exact @ v, f"The output {when}", mistakes=mistakes, hint=hint)
        expect_unchanged(called)


def _cut(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _wrong_heads(x: Tensor, state: dict[str, Tensor], heads: int, mask: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the weights that the usual mistakes give, by their hints, and the values cut rightly."""
    q, k, v = (linear(x, state[f"{name}.weight"], state[f"{name}.bias"]) for name in ("query", "key", "value"))

    def weights(q: Tensor, k: Tensor, width: int = 0, hidden: Tensor = ~mask) -> Tensor:
        return (q @ k.mT / math.sqrt(width or q.shape[-1])).masked_fill(hidden, -math.inf).softmax(-1)

    def strided(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)

    def mixed(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], heads, x.shape[1], -1)

    cut_q, cut_k = _cut(q, heads), _cut(k, heads)
    return {
        "The heads are split in the wrong order: head h has the numbers h * d to (h + 1) * d of each token, not every "
        "heads-th number.": weights(strided(q), strided(k)),
        "Your split mixes tokens: reshape to (batch, tokens, heads, d) first, then swap tokens and heads.": weights(
            mixed(q), mixed(k)
        ),
        "You divided by the root of the whole width: a head's queries are only d_model / heads wide.": weights(
            cut_q, cut_k, q.shape[-1]
        ),
        "The mask has no effect: hand it on.": weights(cut_q, cut_k, hidden=torch.zeros_like(mask)),
        "Queries and keys are swapped.": weights(cut_k, cut_q),
        "Your keys are queries: each of the two has a layer of its own.": weights(cut_q, cut_q),
        "The mask is inverted: True is where a query may look.": weights(cut_q, cut_k, hidden=mask),
        "You divided by the square root twice: your attention does it already.": weights(
            cut_q, cut_k, cut_q.shape[-1] ** 2
        ),
    }, _cut(v, heads)


@exercise(
    "attention.multi_head",
    "Many heads, with MiniLM's weights",
    points=4,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="MultiHeadAttention",
    forbid=_TORCH_ATTENTION,
    mutants=(
        Mutant("wrong order", "(heads, -1)).transpose(1, 2)", "(-1, heads)).permute(0, 3, 1, 2)", "wrong order"),
        Mutant(
            "split mixes tokens",
            "x.unflatten(-1, (heads, -1)).transpose(1, 2)",
            "x.reshape(x.shape[0], heads, x.shape[1], -1)",
            "split mixes tokens",
        ),
        Mutant("merge mixes", "x.transpose(1, 2).flatten(-2)", "x.reshape(len(x), x.shape[2], -1)", "merge mixes"),
        Mutant("no output layer", "self.out(self.merge(output))", "self.merge(output)", "output layer"),
        Mutant("mask dropped", "attention(q, k, v, mask)", "attention(q, k, v)", "hand it on"),
        Mutant("queries for keys", "attention(q, k, v, mask)", "attention(k, q, v, mask)", "swapped"),
        Mutant("queries twice", "attention(q, k, v, mask)", "attention(q, q, v, mask)", "keys are queries"),
        Mutant("scaled twice", "attention(q, k, v, mask)", "attention(q / q.shape[-1] ** 0.5, k, v, mask)", "twice"),
        Mutant("residual", "self.out(self.merge(output))", "self.out(self.merge(output)) + x", "You added x"),
    ),
)
def check_multi_head(answer: Answer, dice: Dice) -> None:
    heads, batch, tokens = dice.integer(2, 4), dice.integer(2, 3), dice.integer(5, 7)
    width = heads * (heads + dice.integer(1, 3))
    names = ("query", "key", "value", "out")
    state = {f"{name}.weight": (dice.normal(width, width) * 2 / math.sqrt(width)).float() for name in names}
    state |= {f"{name}.bias": dice.normal(width).float() for name in names}
    x = dice.normal(batch, tokens, width).float()
    mask = (dice.uniform(tokens, tokens) < 0.5) | torch.eye(tokens, dtype=torch.bool)

    oracle = nn.MultiheadAttention(width, heads, batch_first=True)
    for kind in ("weight", "bias"):
        inner = torch.cat([state[f"{name}.{kind}"] for name in names[:3]])
        oracle.load_state_dict({f"in_proj_{kind}": inner, f"out_proj.{kind}": state[f"out.{kind}"]}, strict=False)
    module = answer.new(width, heads)
    module.load(state)
    for when, allowed in (("without a mask", torch.ones_like(mask)), ("with a mask", mask)):
        output, weights = _two(module(x) if allowed is not mask else module(x, mask=mask))
        with torch.no_grad():
            exact, exact_weights = oracle(x, x, x, attn_mask=~allowed, average_attn_weights=False)
        hint = "Queries come from `query`, keys from `key`, each split into heads; then one attention for every head."
        if not isinstance(weights, Tensor) or weights.shape != exact_weights.shape:
            hint = "Every head keeps weights of its own: their shape is (batch, heads, queries, keys)."
        wrong, v = _wrong_heads(x, state, heads, allowed)
        expect_close(weights, exact_weights, f"The weights' tensor {when}", tolerance=1e-4, mistakes=wrong, hint=hint)
        mixed = exact_weights @ v
        merged = mixed.transpose(1, 2).flatten(-2)
        slip = {
            "You forgot the output layer: the merged heads still go through `out`.": merged,
            "Your merge mixes tokens: swap heads and tokens back before you lay the heads side by side.": linear(
                mixed.reshape(batch, tokens, width), state["out.weight"], state["out.bias"]
            ),
            "You added x: the residual connection stands outside of this class.": exact + x,
            "The output layer's bias is missing: call the layer, not its weight alone.": exact - state["out.bias"],
            "You mixed x itself: the values come from the layer `value`.": linear(
                (exact_weights @ _cut(x, heads)).transpose(1, 2).flatten(-2), state["out.weight"], state["out.bias"]
            ),
        }
        hint = "The weights are right: look at the values, at merge, and at the output layer."
        expect_close(output, exact, f"The output {when}", tolerance=1e-4, mistakes=slip, hint=hint)
