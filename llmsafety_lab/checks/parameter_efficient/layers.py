"""Exercises 1 to 3: LoRA's update and layer, and an adapter."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import gelu

from llmsafety_lab.checking.answer import Answer, Called, Instance
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_gradient, expect_unchanged


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
        Mutant(
            "in place", "return weight + ", "weight += alpha / len(A) * (B @ A)\n    return weight + 0 * ", "in place"
        ),
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
        called = answer.trace(weight, A, B, alpha)
        expect_close(called.value, weight + alpha / rank * update, "The weight", mistakes=mistakes, hint=hint)
        lost = "You changed an argument in place, and the frozen weight is lost: make a new tensor."
        expect_unchanged(called, message=lost)


_CUT_OFF = "Is there a detach(), a no_grad() or a requires_grad_(False)? Only what is frozen is cut off."


def _learns(
    called: Called, weights: dict[str, Tensor], output: Callable[..., Tensor], x: Tensor, along: Tensor
) -> None:
    """Fail unless the gradients by the weights and by the input are those of the output, multiplied by `along`."""
    ends = [value.clone().requires_grad_() for value in (*weights.values(), x)]
    exact = torch.autograd.grad(output(*ends), ends, along)
    for name, gradient in zip(weights, exact, strict=False):
        expect_gradient(called.gradients["self"].get(name), gradient, name, tolerance=1e-4, hint=_CUT_OFF)
    hint = "The gradient goes on through x: cut nothing off there, in the frozen base neither."
    expect_gradient(called.gradients[0][""], exact[-1], "the layers before this one", tolerance=1e-4, hint=hint)


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
        Mutant("nothing trains", "(x @ self.A.T @ self.B.T)", "(x @ self.A.T @ self.B.T).detach()", "No gradient"),
        Mutant("A of ones", "torch.randn(rank, inputs)", "torch.ones(rank, inputs)", "drawn at random"),
        Mutant("A too large", " / math.sqrt(inputs)", "", "standard deviation"),
        Mutant("A by the rank", "math.sqrt(inputs)", "math.sqrt(rank)", "standard deviation"),
        Mutant(
            "merges at every call",
            "return super().forward(x) + self.alpha / len(self.A) * (x @ self.A.T @ self.B.T)",
            "self.weight += self.alpha / len(self.A) * (self.B @ self.A).detach()\n"
            "        return super().forward(x) + 0 * (x @ self.A.T @ self.B.T)",
            "second call",
        ),
        Mutant(
            "A cut off", "(x @ self.A.T @ self.B.T)", "((x @ self.A.T).detach() @ self.B.T)", "No gradient reaches A"
        ),
        Mutant("B cut off", "(x @ self.A.T @ self.B.T)", "(x @ self.A.T @ self.B.T.detach())", "No gradient reaches B"),
        Mutant(
            "input cut off",
            "return super().forward(x) + self",
            "x = x.detach()\n        return super().forward(x) + self",
            "layers before",
        ),
        Mutant("merged without the change", "merge(self.weight, self.A, self.B, self.alpha)", "self.weight", "merged"),
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
    called = layer.trace("__call__", x)
    expect_close(called.value, base, "The output of a new layer", hint=hint, mistakes=mistakes)
    expect(called.traced, "No gradient flows through the change, so nothing would be trained.", hint=_CUT_OFF)
    start = answer.new(dice.normal(4, 100), None, 50, alpha).get_parameter("A").std() * math.sqrt(100)
    expect(float(start) > 1e-6, "A does not start at random: it has to be drawn at random, each number by itself.")
    expect(
        0.9 < float(start) < 1.1,
        "A starts with another standard deviation, here of a layer with 100 inputs and rank 50.",
        expected="1 / sqrt(in) = 0.1",
        got=float(start) / 10,
    )

    for with_bias in (True, False):
        layer = answer.new(weight, bias if with_bias else None, rank, alpha)
        A, B = dice.normal(rank, inputs), dice.normal(outputs, rank)
        layer.load(layer.state_dict() | {"A": A, "B": B})
        base = x @ weight.T + (bias if with_bias else 0)
        update = x @ A.T @ B.T
        mistakes = {
            "You forgot the scale alpha / rank.": base + update,
            "Alpha has to be divided by the rank.": base + alpha * update,
            "The output of the base is missing: the layer adds to it.": alpha / rank * update,
            "The bias is missing, or is scaled with the update.": x @ weight.T + alpha / rank * update,
        }
        what = "The output after training" + ("" if with_bias else ", of a layer without bias")
        exact, hint = base + alpha / rank * update, "W x + b + alpha / rank * B A x."
        along = dice.normal(*exact.shape)
        called = layer.trace("__call__", x, by=["self", 0], along=along)
        expect_close(called.value, exact, what, mistakes=mistakes, hint=hint)
        hint = "`forward` changes the layer. The base is frozen: compute with it, and leave it as it is."
        expect_close(layer(x), exact, "The output of a second call", hint=hint)
        _learns(called, {"A": A, "B": B}, lambda a, b, at: at @ a.T @ b.T * alpha / rank + at @ weight.T, x, along)
        pair, hint = layer.merged(), "`merged` is given. It uses the layer's weights and your `merge`."
        expect(isinstance(pair, list | tuple) and len(pair) == 2, "`merged` has to return weight and bias.", got=pair)
        expect_close(pair[0], weight + alpha / rank * B @ A, "The merged weight", hint=hint)
        if with_bias:
            expect_close(pair[1], bias, "The merged layer's bias", hint=hint)
        else:
            expect(pair[1] is None, "A layer without bias is merged into one without bias.", got=pair[1])


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
        Mutant(
            "both start at zero",
            "nn.init.zeros_(self.up.weight)",
            "nn.init.zeros_(self.down.weight)\n        nn.init.zeros_(self.up.weight)",
            "neither would ever move",
        ),
        Mutant("nothing trains", "self.up(gelu(self.down(x)))", "self.up(gelu(self.down(x))).detach()", "No gradient"),
        Mutant("down cut off", "gelu(self.down(x))", "gelu(self.down(x)).detach()", "No gradient reaches down.weight"),
        Mutant("input cut off", "gelu(self.down(x))", "gelu(self.down(x.detach()))", "the layers before"),
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
    called = adapter.trace("__call__", x.float())
    expect_close(
        called.value,
        x,
        "The output of a new adapter",
        mistakes={"There is no way past the bottleneck: add x to what the narrow network makes.": torch.zeros_like(x)},
        hint="A new adapter changes nothing: the weight and the bias of `up` each starts at zero.",
    )
    expect(called.traced, "No gradient flows through the detour, so nothing would be trained.", hint=_CUT_OFF)
    down = adapter.get_parameter("down.weight")
    expect(
        bool(down.any()),
        "`down` starts at zero, too: only `up` does.",
        hint="With the weights of both at zero, neither would ever move.",
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
    along = dice.normal(*x.shape)
    called = adapter.trace("__call__", x.float(), by=["self", 0], along=along)
    hint = "x + up(gelu(down(x)))."
    expect_close(called.value, x + made, "The output", tolerance=1e-4, mistakes=mistakes, hint=hint)
    weights = {name: value.float().double() for name, value in state.items()}
    _learns(called, weights, lambda a, b, c, d, at: at + gelu(at @ a.T + c) @ b.T + d, x, along)
