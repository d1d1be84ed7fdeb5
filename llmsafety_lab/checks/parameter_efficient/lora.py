"""Exercise 2: LoRA's layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer, Instance
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor, expect_unchanged
from llmsafety_lab.checks.parameter_efficient.learning import CUT_OFF, expect_learning


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
        Mutant("rank is the width", "self.alpha / len(self.A) * (", "self.alpha / self.A.shape[1] * (", "A's rows"),
        Mutant("a bend", "(x @ self.A.T @ self.B.T)", "((x @ self.A.T).relu() @ self.B.T)", "nothing bends"),
        Mutant(
            "bias twice",
            "super().forward(x) + ",
            "super().forward(x) + (0 if self.bias is None else self.bias) + ",
            "base's output",
        ),
        Mutant("B A built", "(x @ self.A.T @ self.B.T)", "(x @ (self.B @ self.A).T)", "builds the product"),
        Mutant(
            "alpha trained", "self.alpha = alpha", "self.alpha = nn.Parameter(torch.tensor(alpha))", "More than A and B"
        ),
        Mutant("one row copied", "torch.randn(rank, inputs)", "torch.randn(1, inputs).repeat(rank, 1)", "copies"),
        Mutant(
            "a seed of its own",
            "torch.randn(rank, inputs)",
            "torch.randn(rank, inputs, generator=torch.Generator().manual_seed(0))",
            "the same A",
        ),
        Mutant(
            "input changed",
            "return super().forward(x) + self",
            "x.data *= 1.5\n        return super().forward(x) + self",
            "wrong",
        ),
        Mutant(
            "merged in place",
            "return merge(self.weight, self.A, self.B, self.alpha), self.bias",
            "self.weight.copy_(merge(self.weight, self.A, self.B, self.alpha).detach())\n"
            "        return self.weight, self.bias",
            "after `merged`",
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
    hint = "With B at zero the change is 0: what is left is the base's output, W x + b, as it was."
    expect_close(called.value, base, "The output of a new layer", hint=hint, mistakes=mistakes)
    expect(called.traced, "No gradient flows through the change, so nothing would be trained.", hint=CUT_OFF)
    trained = set(called.gradients["self"])
    hint = "A number that is not trained is a plain attribute, as self.alpha = alpha."
    expect(trained == {"A", "B"}, "More than A and B is trained.", expected="A, B", got=", ".join(trained), hint=hint)
    wide = dice.normal(4, 100)
    first, second = (answer.new(wide, None, 50, alpha).get_parameter("A") for _ in range(2))
    start = first.std() * math.sqrt(100)
    expect(float(start) > 1e-6, "A does not start at random: it has to be drawn at random, each number by itself.")
    hint = "Draw A with torch.randn(rank, in), without a seed of your own."
    expect(not torch.equal(first, second), "Two new layers start with the same A.", hint=hint)
    independent = int(torch.linalg.matrix_rank(first.double()))
    message = "The rows of a new A are copies of each other, so a change of rank 1 is all that it can learn."
    expect(independent == 50, message, expected="50 independent rows", got=independent, hint=hint)
    expect(
        0.9 < float(start) < 1.1,
        "A starts with another standard deviation, here of a layer with 100 inputs and rank 50.",
        expected="1 / sqrt(in) = 0.1",
        got=float(start) / 10,
        hint="Divide torch.randn(rank, in) by the square root of `in`, the length of a row.",
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
            "The rank is the number of A's rows, not their length.": base + alpha / inputs * update,
            "The scale is a whole number: divide with `/`, not with `//`.": base + alpha // rank * update,
            "The change is linear: nothing bends between A and B.": (base + alpha / rank * (x @ A.T).relu() @ B.T),
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
        expect_learning(
            called, {"A": A, "B": B}, lambda a, b, at: at @ a.T @ b.T * alpha / rank + at @ weight.T, x, along
        )
        pair, hint = layer.merged(), "`merged` is given. It uses the layer's weights and your `merge`."
        expect(isinstance(pair, list | tuple) and len(pair) == 2, "`merged` has to return weight and bias.", got=pair)
        expect_close(pair[0], weight + alpha / rank * B @ A, "The merged weight", hint=hint)
        if with_bias:
            expect_close(pair[1], bias, "The merged layer's bias", hint=hint)
        else:
            expect(pair[1] is None, "A layer without bias is merged into one without bias.", got=pair[1])
        hint = "`merged` has to return new tensors: the layer is trained on."
        expect_close(layer(x), exact, "The output of a call after `merged`", hint=hint)
        expect_unchanged(called, 0, message="You changed x in place: make a new tensor.")
    _expect_thin(layer, dice, alpha / rank)


def _expect_thin(layer: Instance, dice: Dice, scale: float) -> None:
    """Fail where the layer builds B A: of numbers so large that this product overflows, and B(A x) does not."""
    (outputs, inputs), rank = layer.get_buffer("weight").shape, len(layer.get_parameter("A"))
    A, B, x = dice.normal(rank, inputs), dice.normal(outputs, rank), dice.normal(3, inputs)
    layer.load(layer.state_dict() | {"A": 1e200 * A, "B": 1e200 * B})
    got = expect_tensor(layer(1e-300 * x), (3, outputs), "The output")
    message = "The layer builds the product B A, which is as large as the weight."
    expected = "finite numbers where A and B hold numbers near 1e200, and x near 1e-300"
    hint = "Take A x first, which is thin, then B of that."
    expect(bool(got.isfinite().all()), message, expected=expected, got=got, hint=hint)
    expect_close(got / 1e100, scale * x @ A.T @ B.T, "The output for large A and B, divided by 1e100,")
