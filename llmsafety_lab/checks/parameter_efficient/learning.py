"""What a layer that is trained owes to its weights and to the layers before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Called
from llmsafety_lab.checking.expect import expect_gradient

CUT_OFF = "Is there a detach(), a no_grad() or a requires_grad_(False)? Only what is frozen is cut off."


def expect_learning(
    called: Called, weights: dict[str, Tensor], output: Callable[..., Tensor], x: Tensor, along: Tensor
) -> None:
    """Fail unless the gradients by the weights and by the input are those of the output, multiplied by `along`."""
    ends = [value.clone().requires_grad_() for value in (*weights.values(), x)]
    exact = torch.autograd.grad(output(*ends), ends, along)
    for name, gradient in zip(weights, exact, strict=False):
        expect_gradient(called.gradients["self"].get(name), gradient, name, tolerance=1e-4, hint=CUT_OFF)
    hint = "The gradient goes on through x: cut nothing off there, in the frozen base neither."
    expect_gradient(called.gradients[0][""], exact[-1], "the layers before this one", tolerance=1e-4, hint=hint)
