"""Tuning that changes linear layers, written out: LoRA, adapters, IA3. AdaLoRA is in `adalora`.

A method is a class made from a layer's weight and bias, and `inject` puts it in their place. The model's own numbers
stay as they are.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, linear


class FrozenLinear(nn.Module):
    """A linear layer that is used and not trained: its weight and bias are buffers, which no optimiser sees.

    Parameters
    ----------
    weight : Tensor, shape (out, in)
        Taken over, not copied.
    bias : Tensor, shape (out), or None
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return linear(x, self.weight, self.bias)


def merge(
    weight: Float[Tensor, "out in"], A: Float[Tensor, "rank in"], B: Float[Tensor, "out rank"], alpha: float
) -> Float[Tensor, "out in"]:
    """Return the weight with LoRA's update in it: W + alpha / rank * B A (Hu et al. 2022).

    With `-alpha` the update goes out again, but for rounding. Matrices that do not fit, or of rank 0, are a ValueError.
    """
    if A.shape[:1] != B.shape[1:] or not A.numel():
        raise ValueError(f"A has a row, and B a column, for each rank: got {tuple(A.shape)} and {tuple(B.shape)}")
    return weight + alpha / len(A) * (B @ A)


class LoRALinear(FrozenLinear):
    """Add a change of low rank to a frozen layer: W x + b + alpha / rank * B A x (Hu et al. 2022, eq. 3).

    Parameters
    ----------
    weight, bias : Tensor, shapes (out, in), (out); the bias may be None
    rank : int
    alpha : float
        The size of the change, kept apart from the rank so that the learning rate need not follow the rank.

    Raises
    ------
    ValueError
        If the rank is below 1.
    """

    def __init__(
        self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, rank: int, alpha: float
    ) -> None:
        super().__init__(weight, bias)
        if not rank >= 1:
            raise ValueError(f"a change has a rank of at least 1, got {rank}")
        outputs, inputs = weight.shape
        self.A = nn.Parameter(torch.randn(rank, inputs).to(weight) / math.sqrt(inputs))
        self.B = nn.Parameter(torch.zeros(outputs, rank).to(weight))
        self.alpha = alpha

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return super().forward(x) + self.alpha / len(self.A) * (x @ self.A.T @ self.B.T)

    def merged(self) -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
        return merge(self.weight, self.A, self.B, self.alpha), self.bias


class IA3Linear(FrozenLinear):
    """Stretch each output of a frozen layer, or each input, by a learnt factor (Liu et al. 2022).

    Parameters
    ----------
    weight, bias : Tensor, shapes (out, in), (out); the bias may be None
    inputs : bool
        Stretch the inputs, as the paper does at the second layer of the MLP; otherwise the outputs, as at keys, values.
    """

    def __init__(
        self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, inputs: bool = False
    ) -> None:
        super().__init__(weight, bias)
        self.inputs = inputs
        self.scale = nn.Parameter(torch.ones(weight.shape[int(inputs)]).to(weight))

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return super().forward(x * self.scale) if self.inputs else super().forward(x) * self.scale

    def merged(self) -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
        if self.inputs:
            return self.weight * self.scale, self.bias
        return self.weight * self.scale[:, None], None if self.bias is None else self.bias * self.scale


class Adapter(nn.Module):
    """Add to a vector what a narrow network makes of it: x + up(gelu(down(x))) (Houlsby et al. 2019).

    `up` starts at zero, so that at first nothing changes. (The paper starts near zero.) A bottleneck below 1 is a
    ValueError.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        if not bottleneck >= 1:
            raise ValueError(f"the bottleneck is at least 1 wide, got {bottleneck}")
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x + self.up(gelu(self.down(x)))


class AdapterLinear(FrozenLinear):
    """A frozen layer with an adapter behind it: the paper has one where attention ends, and one where the MLP does."""

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, bottleneck: int) -> None:
        super().__init__(weight, bias)
        self.adapter = Adapter(len(weight), bottleneck).to(weight)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return self.adapter(super().forward(x))


def inject(
    model: nn.Module, names: Sequence[str], make: Callable[[Tensor, Tensor | None], nn.Module]
) -> dict[str, nn.Module]:
    """Freeze a model and put a trainable layer in the place of some of its linear layers.

    Parameters
    ----------
    model : nn.Module
        Changed in place. All that was trainable in it is frozen.
    names : sequence of str
        The ends of the layers' dotted names: "query" takes every layer's, "0.attention.self.query" one.
    make : callable
        Makes the new layer of weight and bias, as `partial(LoRALinear, rank=8, alpha=16)`.

    Returns
    -------
    dict of str to nn.Module
        The new layers by their names.

    Raises
    ------
    ValueError
        If there is no name, or one fits no linear layer. The model is then as it was.
    """
    if not names:
        raise ValueError("no layer is named, so nothing would be trained")
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for end in names:
        if not any(f".{name}".endswith(f".{end}") for name in linears):
            raise ValueError(f"no linear layer's name ends in {end!r}; there are {', '.join(list(linears)[:8])} ...")
    model.requires_grad_(False)
    made = {}
    for name, old in linears.items():
        if any(f".{name}".endswith(f".{end}") for end in names):
            made[name] = make(old.weight, old.bias).train(old.training)
            model.set_submodule(name, made[name])
    return made


def fold(model: nn.Module) -> int:
    """Put a plain linear layer in the place of each one that can be merged; return how many there were.

    The model then costs what it cost before the injection, and can no longer be told to leave the change out.
    """
    foldable = {name: module for name, module in model.named_modules() if hasattr(module, "merged")}
    for name, module in foldable.items():
        weight, bias = module.merged()
        outputs, inputs = weight.shape
        plain = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
        plain.weight = nn.Parameter(weight.detach(), requires_grad=False)
        if bias is not None:
            plain.bias = nn.Parameter(bias.detach(), requires_grad=False)
        model.set_submodule(name, plain)
    return len(foldable)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what is trained of a model, by name: what the optimiser gets, and all that a checkpoint needs."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
