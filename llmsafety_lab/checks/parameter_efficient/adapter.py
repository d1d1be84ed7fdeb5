"""Exercise 3: an adapter."""

from __future__ import annotations

import torch
from torch.nn.functional import gelu, silu

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checks.parameter_efficient.learning import CUT_OFF, expect_learning


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
        Mutant("way past cut off", "return x + ", "return x.detach() + ", "the layers before"),
        Mutant("SiLU", "gelu(self.down(x))", "nn.functional.silu(self.down(x))", "not a SiLU"),
        Mutant("tanh's GELU", "gelu(self.down(x))", 'gelu(self.down(x), approximate="tanh")', "approximation"),
        Mutant("GELU before", "gelu(self.down(x))", "self.down(gelu(x))", "between `down` and `up`"),
        Mutant(
            "GELU after all",
            "return x + self.up(gelu(self.down(x)))",
            "return gelu(x + self.up(gelu(self.down(x))))",
            "changes nothing",
        ),
        Mutant("product for sum", "x + self.up", "x * self.up", "way past"),
        Mutant("minus for plus", "x + self.up", "x - self.up", "subtracted"),
        Mutant(
            "down frozen",
            "self.up = nn",
            "self.down.requires_grad_(False)\n        self.up = nn",
            "No gradient reaches down",
        ),
        Mutant("no bias", "nn.Linear(bottleneck, width)", "nn.Linear(bottleneck, width, bias=False)", "stopped with"),
        Mutant(
            "in place",
            "return x + self.up(gelu(self.down(x)))",
            "out = x + self.up(gelu(self.down(x)))\n        x.data.copy_(out.data)\n        return out",
            "in place",
        ),
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
    expect(called.traced, "No gradient flows through the detour, so nothing would be trained.", hint=CUT_OFF)
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
        "The activation is a GELU, not a SiLU.": x + silu(narrow) @ up.T + up_bias,
        "This is the approximation of the GELU by tanh: take the exact one.": (
            x + gelu(narrow, approximate="tanh") @ up.T + up_bias
        ),
        "The GELU belongs between `down` and `up`, not before them.": x
        + (gelu(x) @ down.T + down_bias) @ up.T
        + up_bias,
        "The detour was subtracted: add it.": x - made,
    }
    along = dice.normal(*x.shape)
    called = adapter.trace("__call__", x.float(), by=["self", 0], along=along)
    hint = "x + up(gelu(down(x)))."
    expect_close(called.value, x + made, "The output", tolerance=1e-4, mistakes=mistakes, hint=hint)
    weights = {name: value.float().double() for name, value in state.items()}
    expect_unchanged(called, 0, message="You changed x in place: make a new tensor.")
    expect_learning(called, weights, lambda a, b, c, d, at: at + gelu(at @ a.T + c) @ b.T + d, x, along)
