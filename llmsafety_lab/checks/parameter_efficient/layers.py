"""Exercises 1 to 4: LoRA's update and layer, an adapter, and a prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import gelu

from llmsafety_lab.course.answer import Answer, Instance
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect, expect_close


@exercise(
    "parameter_efficient.merge",
    "A change in two thin matrices",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    answer="merge",
    mutants=(
        Mutant("scale forgotten", "alpha / len(A) * (B @ A)", "B @ A", "forgot the scale"),
        Mutant("alpha alone", "alpha / len(A)", "alpha", "divided by the rank"),
        Mutant("rank is the width", "len(A)", "A.shape[1]", "number of A's rows"),
        Mutant("weight left out", "weight + ", "", "the update alone"),
        Mutant("turned round", "(B @ A)", "(B @ A).T", "turned round"),
    ),
)
def check_merge(answer: Answer, dice: Dice) -> None:
    wide, rank = dice.integer(5, 7), dice.integer(2, 3)
    for outputs, inputs in ((wide, wide), (wide, wide + dice.integer(1, 3))):
        weight, A, B = dice.normal(outputs, inputs), dice.normal(rank, inputs), dice.normal(outputs, rank)
        alpha = rank * dice.integer(2, 4) + 0.5
        update = B @ A
        mistakes = {
            "You forgot the scale alpha / rank: merged, the model would not be the one that was trained.": weight
            + update,
            "Alpha has to be divided by the rank.": weight + alpha * update,
            "The rank is the number of A's rows, not their length.": weight + alpha / inputs * update,
            "This is the update alone. Add it to the weight.": alpha / rank * update,
            "The update is turned round: it has the weight's shape, (out, in), so B stands on the left.": (
                weight + alpha / rank * update.T if outputs == inputs else update
            ),
        }
        hint = "W + alpha / rank * B A, where A has `rank` rows."
        expect_close(
            answer(weight, A, B, alpha), weight + alpha / rank * update, "The weight", mistakes=mistakes, hint=hint
        )


def _frozen(layer: Instance, name: str) -> None:
    try:
        layer.get_buffer(name)
    except Failed:
        raise Failed(
            f"The base is not frozen: `{name}` is no buffer of the layer.",
            expected=f'self.register_buffer("{name}", ...)',
            got="something else of that name, or nothing",
            hint="A parameter is given to the optimiser and trained; a buffer moves with the layer and stays as it is.",
        ) from None


def _parameter(layer: Instance, name: str, shape: tuple[int, int]) -> Tensor:
    try:
        value = layer.get_parameter(name)
    except Failed:
        raise Failed(f"The layer has no nn.Parameter named {name}, so nothing would be trained.") from None
    expect(
        isinstance(value, Tensor) and tuple(value.shape) == shape,
        f"The parameter {name} has the wrong shape.",
        expected=str(shape),
        got=str(tuple(value.shape)) if isinstance(value, Tensor) else value,
        hint="A is (rank, in), B is (out, rank).",
    )
    return value


@exercise(
    "parameter_efficient.lora",
    "The layer that learns them",
    points=4,
    difficulty=2,
    importance=5,
    minutes=12,
    answer="LoRALinear",
    forbid=("peft.get_peft_model", "peft.inject_adapter_in_model"),
    mutants=(
        Mutant(
            "B not zero at the start",
            "torch.zeros(outputs, rank)",
            "torch.randn(outputs, rank)",
            "B has to start at zero",
        ),
        Mutant(
            "base not frozen",
            'self.register_buffer("weight", weight.detach())',
            "self.weight = nn.Parameter(weight.detach())",
            "not frozen",
        ),
        Mutant(
            "both start at zero", "torch.randn(rank, inputs)", "torch.zeros(rank, inputs)", "neither would ever move"
        ),
        Mutant("scale forgotten", "self.alpha / len(self.A) * (", "(", "forgot the scale"),
        Mutant("base forgotten", "super().forward(x) + ", "", "output of the base"),
        Mutant("A not trained", "self.A = nn.Parameter(", "self.A = (", "no nn.Parameter named A"),
    ),
)
def check_lora(answer: Answer, dice: Dice) -> None:
    outputs, inputs, rank = dice.integer(5, 6), dice.integer(7, 9), dice.integer(2, 3)
    alpha = rank * dice.integer(2, 4) + 0.5
    weight, bias, x = dice.normal(outputs, inputs), dice.normal(outputs), dice.normal(2, 3, inputs)
    base = x @ weight.T + bias
    layer = answer.new(weight, bias, rank, alpha)
    A, B = _parameter(layer, "A", (rank, inputs)), _parameter(layer, "B", (outputs, rank))
    _frozen(layer, "weight")
    _frozen(layer, "bias")
    expect(
        bool(A.any()) or bool(B.any()),
        "A and B both start at zero.",
        hint="The gradient of A is a multiple of B, and that of B one of A: both zero, neither would ever move.",
    )
    hint = "B has to start at zero and A at random, so that training starts from the model as it was."
    expect(not B.any(), "B does not start at zero.", hint=hint)
    mistakes = {"The output of the base is missing: the layer adds to it.": torch.zeros_like(base)}
    expect_close(layer(x), base, "The output of a new layer", hint=hint, mistakes=mistakes)

    for with_bias in (True, False):
        layer = answer.new(weight, bias if with_bias else None, rank, alpha)
        A, B = dice.normal(rank, inputs), dice.normal(outputs, rank)
        layer.load({"weight": weight, "A": A, "B": B} | ({"bias": bias} if with_bias else {}))
        base = x @ weight.T + (bias if with_bias else 0)
        update = x @ A.T @ B.T
        mistakes = {
            "You forgot the scale alpha / rank.": base + update,
            "Alpha has to be divided by the rank.": base + alpha * update,
            "The output of the base is missing: the layer adds to it.": alpha / rank * update,
            "The bias is missing, or is scaled with the update.": x @ weight.T + alpha / rank * update,
        }
        what = "The output after training" + ("" if with_bias else ", of a layer without bias")
        expect_close(
            layer(x), base + alpha / rank * update, what, mistakes=mistakes, hint="W x + b + alpha / rank * B A x."
        )


@exercise(
    "parameter_efficient.adapter",
    "A detour through a bottleneck",
    points=2,
    difficulty=2,
    importance=3,
    minutes=6,
    answer="Adapter",
    mutants=(
        Mutant("no way past it", "x + self.up", "self.up", "way past the bottleneck"),
        Mutant(
            "starts anywhere", "nn.init.zeros_(self.up.weight)", "nn.init.normal_(self.up.weight)", "starts at zero"
        ),
        Mutant("bias starts anywhere", "nn.init.zeros_(self.up.bias)", "nn.init.ones_(self.up.bias)", "starts at zero"),
        Mutant("nothing between", "gelu(self.down(x))", "self.down(x)", "GELU"),
        Mutant("bend at the end", "self.up(gelu(self.down(x)))", "gelu(self.up(self.down(x)))", "GELU"),
    ),
)
def check_adapter(answer: Answer, dice: Dice) -> None:
    width, bottleneck = dice.integer(6, 8), dice.integer(2, 3)
    x = dice.normal(2, 3, width)
    adapter = answer.new(width, bottleneck)
    names = {
        "down.weight": (bottleneck, width),
        "up.weight": (width, bottleneck),
        "down.bias": (bottleneck,),
        "up.bias": (width,),
    }
    state = {name: dice.normal(*shape) for name, shape in names.items()}
    expect_close(
        adapter(x.float()),
        x,
        "The output of a new adapter",
        mistakes={"There is no way past the bottleneck: add x to what the narrow network makes.": torch.zeros_like(x)},
        hint="A new adapter changes nothing: the weight and the bias of `up` each starts at zero.",
    )
    adapter.load({name: value.float() for name, value in state.items()})
    x, (down, up, down_bias, up_bias) = x.float().double(), (state[n].float().double() for n in names)
    narrow = x @ down.T + down_bias
    made = gelu(narrow) @ up.T + up_bias
    mistakes = {
        "There is no way past the bottleneck: add x to what the narrow network makes.": made,
        "Between `down` and `up` stands a GELU; without it the two are one linear map of low rank.": x
        + narrow @ up.T
        + up_bias,
        "The GELU belongs between `down` and `up`.": x + gelu(narrow @ up.T + up_bias),
        "The activation is a GELU, not a ReLU.": x + narrow.relu() @ up.T + up_bias,
    }
    expect_close(
        adapter(x.float()), x + made, "The output", tolerance=1e-4, mistakes=mistakes, hint="x + up(gelu(down(x)))."
    )


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
        Mutant("prefix hidden", "causal.new_ones(tokens, prefix)", "causal.new_zeros(tokens, prefix)", "no influence"),
    ),
)
def check_prefix(answer: Answer, dice: Dice) -> None:
    heads, tokens, prefix, width = 2, dice.integer(4, 6), dice.integer(2, 3), dice.integer(3, 5)
    q, k, v = (
        dice.normal(heads, tokens, width),
        dice.normal(heads, tokens, width),
        dice.normal(heads, tokens, width + 1),
    )
    before_k, before_v = dice.normal(heads, prefix, width), dice.normal(heads, prefix, width + 1)
    causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    seen = torch.ones(tokens, prefix, dtype=torch.bool)
    mask = torch.cat([seen, causal], -1)
    keys, values = torch.cat([before_k, k], 1), torch.cat([before_v, v], 1)
    ids = torch.ones(tokens, prefix + tokens, dtype=torch.bool)
    mistakes = {
        "Every token sees all of the prefix. Your causal mask starts at the prefix instead of behind it.": (
            _attend(q, keys, values, ids.tril())
        ),
        "A token sees tokens after it: they need the causal mask, the prefix does not.": _attend(q, keys, values, ids),
        "Keys and values have to stand in the same order, the prefix first, and the mask too.": (
            _attend(q, torch.cat([k, before_k], 1), values, mask)
        ),
        "Your values stand in another order than your keys: keep the same order, the prefix first.": (
            _attend(q, keys, torch.cat([v, before_v], 1), mask)
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
    }  # fmt: skip
    hint = "One softmax over the prefix, which every token sees, and over the tokens up to itself."
    got = answer(q, k, v, before_k, before_v)
    expect_close(got, _attend(q, keys, values, mask), "The output", mistakes=mistakes, hint=hint)
