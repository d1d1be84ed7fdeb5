"""What a check says of a wrong answer, and the words with which it expects something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Failed(Exception):
    """An answer is wrong: what is wrong, what was expected, what came, and a hint at the usual misconception."""

    def __init__(self, message: str, *, expected: Any = None, got: Any = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = printable(message)
        self.expected = None if expected is None else printable(show(expected))
        self.got = None if got is None else printable(show(got))
        self.hint = printable(hint)


def printable(text: str) -> str:
    """Return a text that is safe to print and to store: no control characters, no lone surrogates, not too long."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text[:4000])
    return kept + " ..." * (len(text) > 4000)


def show(value: Any) -> str:
    """Return a value as a student wants to read it: short, numbers to four digits."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.dim() == 0:
            return show(value.item())
        body = str([show(x) for x in value.flatten()[:6].tolist()]).replace("'", "")
        return f"{'x'.join(map(str, value.shape))} tensor {body[:-1]}{', ...' * (value.numel() > 6)}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else text[:300] + " ..."


def expect(condition: bool, message: str, *, expected: Any = None, got: Any = None, hint: str = "") -> None:
    """Fail with a message unless the condition holds."""
    if not condition:
        raise Failed(message, expected=expected, got=got, hint=hint)


def expect_equal(got: Any, expected: Any, what: str, *, hint: str = "") -> None:
    """Fail unless two plain values (numbers, strings, lists, dicts) are equal."""
    expect(got == expected, f"{what} is wrong.", expected=expected, got=got, hint=hint)


def expect_tensor(got: Any, shape: Sequence[int], what: str, *, hint: str = "") -> Tensor:
    """Fail unless ``got`` is a tensor of this shape; return it as float64."""
    import torch

    if not isinstance(got, torch.Tensor):
        kind = f"a {type(got).__name__}" if got is not None else "None: is there a return statement?"
        raise Failed(f"{what} is not a tensor.", expected=f"a tensor of shape {tuple(shape)}", got=kind, hint=hint)
    if tuple(got.shape) != tuple(shape):
        raise Failed(f"{what} has the wrong shape.", expected=str(tuple(shape)), got=str(tuple(got.shape)), hint=hint)
    return got.to(torch.float64)


def expect_close(
    got: Any,
    expected: Tensor,
    what: str,
    *,
    tolerance: float = 1e-6,
    mistakes: Mapping[str, Tensor] | None = None,
    hint: str = "",
) -> None:
    """Fail unless a tensor agrees with the expected one in shape and to a tolerance.

    Parameters
    ----------
    mistakes
        What the usual misconceptions would have given, by their hint. The hint of the one that fits is shown.
    """
    import torch

    got = expect_tensor(got, expected.shape, what, hint=hint)
    expected = expected.to(torch.float64)
    if torch.allclose(got, expected, rtol=0, atol=tolerance):
        return
    for words, value in (mistakes or {}).items():
        if value.shape == got.shape and torch.allclose(
            got, value.to(torch.float64), rtol=0, atol=10 * tolerance, equal_nan=True
        ):
            hint = words
            break
    if bool(got.isnan().any()) and not bool(expected.isnan().any()):
        place = tuple(got.isnan().nonzero()[0].tolist())
        raise Failed(f"{what} holds NaN, first at {place}.", expected=expected[place], got=got[place], hint=hint)
    gap = (got - expected).abs()
    place = tuple(torch.unravel_index(gap.nan_to_num(posinf=float("inf")).argmax(), gap.shape))
    place = tuple(int(i) for i in place)
    raise Failed(f"{what} is wrong, most at {place}.", expected=expected[place], got=got[place], hint=hint)
