"""What one call of a student's function did besides returning a value: passes, gradients, changes of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmsafety_lab.checking.wire import NotPlain, dumps

if TYPE_CHECKING:
    from torch import Tensor, nn

Place = int | str
"""The place of an argument, the name of a keyword argument, or "self" for the object whose method is called."""


def traced(
    call: Callable[[], Any], given: Mapping[Place, Any], by: Sequence[Place], along: Tensor | None
) -> tuple[Any, dict[str, Any]]:
    """Make a call and return its result, and what it did as plain data: the fields of `answer.Called`.

    Parameters
    ----------
    given
        The call's arguments, by place.
    by
        The arguments by which the result's gradient is taken: tensors of floats, or models, by all of their weights.
    along
        The result is multiplied by this before it is summed; by default by ones.
    """
    import torch

    models = _models(given)
    leaves = {place: _leaves(given[place]) for place in by}
    for place in by:
        if isinstance(given[place], torch.Tensor):
            given[place].requires_grad_()
    every = {place: _leaves(value) for place, value in given.items()}
    outside = _outside()
    values, modes, flags, held = (_each(given, look) for look in (_plain, _mode, _flags, _held))
    passes = {"forwards": 0, "backwards": 0}
    hooks = [model.register_forward_hook(_counting(passes)) for model in models.values()]
    try:
        result = call()
    finally:
        for hook in hooks:
            hook.remove()
    told: dict[str, Any] = {
        **passes,
        "changed": _differing(values, _each(given, _plain)),
        "modes": _differing(modes, _each(given, _mode)),
        "flags": _differing(flags, _each(given, _flags)),
        "left": {place: left for place in every if (left := _left(held[place], every[place]))},
        "stirred": [name for name, state in _outside().items() if state != outside[name]],
        "traced": getattr(_first(result), "requires_grad", False) is True,
    }
    return result, told | {"gradients": _gradients(_first(result), leaves, along)}


def _outside() -> dict[str, Any]:
    """Return what a call may leave otherwise besides its arguments: whether torch records, and where its draws are."""
    import torch

    return {"gradients": torch.is_grad_enabled(), "generator": torch.get_rng_state().numpy().tobytes()}


def _each(given: Mapping[Place, Any], look: Callable[[Any], Any]) -> dict[Place, Any]:
    return {place: look(value) for place, value in given.items()}


def _differing(before: Mapping[Place, Any], after: Mapping[Place, Any]) -> list[Place]:
    return [place for place, value in after.items() if value != before[place]]


def _models(given: Mapping[Place, Any]) -> dict[Place, nn.Module]:
    import torch

    return {place: value for place, value in given.items() if isinstance(value, torch.nn.Module)}


def _leaves(value: Any) -> dict[str, Tensor]:
    """Return what of an argument may hold a gradient: a model's weights by name, a tensor under the name ""."""
    import torch

    if isinstance(value, torch.nn.Module):
        return dict(value.named_parameters())
    return {"": value} if isinstance(value, torch.Tensor) and value.is_leaf else {}


def _plain(value: Any) -> bytes:
    """Return a value as it travels, or nothing where a student has put into it what does not travel."""
    import torch

    try:
        return dumps(dict(value.state_dict()) if isinstance(value, torch.nn.Module) else value)
    except NotPlain:
        return b""


def _mode(value: Any) -> list[bool]:
    import torch

    return [part.training for part in value.modules()] if isinstance(value, torch.nn.Module) else []


def _flags(value: Any) -> list[bool]:
    return [leaf.requires_grad for leaf in _leaves(value).values()]


def _held(value: Any) -> dict[str, bytes]:
    return {name: _plain(leaf.grad) for name, leaf in _leaves(value).items()}


def _left(held: Mapping[str, bytes], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients that stand in ``.grad`` now and did not before."""
    return {
        name: leaf.grad
        for name, leaf in leaves.items()
        if leaf.is_leaf and leaf.grad is not None and _plain(leaf.grad) != held[name]
    }


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, list | tuple) and result else result


def _counting(passes: dict[str, int]) -> Callable[..., None]:
    """Return a hook that counts a model's passes forward, and backward through what each of them returned."""
    import torch

    def back(gradient: Tensor) -> None:
        passes["backwards"] += 1

    def count(model: nn.Module, args: Any, output: Any) -> None:
        passes["forwards"] += 1
        found = list(output.values()) if isinstance(output, Mapping) else output
        first = _first(found)
        if isinstance(first, torch.Tensor) and first.requires_grad:
            first.register_hook(back)

    return count


def _gradients(
    result: Any, leaves: Mapping[Place, Mapping[str, Tensor]], along: Tensor | None
) -> dict[Place, dict[str, Tensor | None]]:
    import torch

    wanted = [leaf for each in leaves.values() for leaf in each.values() if leaf.requires_grad]
    found: dict[int, Tensor | None] = {}
    if wanted and isinstance(result, torch.Tensor) and result.requires_grad:
        ends = torch.ones_like(result) if along is None else along.to(result.dtype)
        found = dict(zip(map(id, wanted), torch.autograd.grad(result, wanted, ends, allow_unused=True), strict=True))
    return {place: {name: found.get(id(leaf)) for name, leaf in each.items()} for place, each in leaves.items()}
