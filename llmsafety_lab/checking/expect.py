"""What a check says of a wrong answer, and the words with which it expects something."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from llmsafety_lab.checking.answer import Called

_AFTER_THE_NOUN = (
    "after|at|before|by|compared|for|from|in|of|on|that|to|under|when|where|which|with|without|you|your|returns"
)


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


def kind_of(value: Any) -> str:
    """Return the kind of what came in place of what was asked for, in words."""
    return came(None) if value is None else f"a {type(value).__name__}"


def came(value: Any) -> Any:
    """Return what came in place of what was asked for: itself, or for None the usual cause."""
    return "None: is there a return statement?" if value is None else value


def are(what: str) -> str:
    """Return "are" where the thing that is spoken of is a plural ("The weights after the step"), else "is"."""
    head = re.split(rf",| (?:{_AFTER_THE_NOUN}) ", f"{what} ", maxsplit=1)[0].split()
    plural = head[-1].endswith("s") and not head[-1].endswith(("ss", "us", "is", "as", "'s"))
    return "are" if "and" in head or plural else "is"


def either(hints: Iterable[str], otherwise: str = "") -> str:
    """Return one or two hints as one, or the other: two mistakes may give the same numbers."""
    return " Or: ".join(list(hints)[:2]) or otherwise


def expect_equal(got: Any, expected: Any, what: str, *, hint: str = "") -> None:
    """Fail unless two plain values (numbers, strings, lists, dicts) are equal."""
    expect(got == expected, f"{what} {are(what)} wrong.", expected=expected, got=got, hint=hint)


def expect_number(got: Any, what: str, *, hint: str = "") -> float:
    """Fail unless ``got`` is one finite number, plain or in a tensor or array of one element; return it."""
    import numpy as np
    import torch

    if (isinstance(got, torch.Tensor) and got.numel() == 1) or (
        isinstance(got, np.ndarray | np.generic) and got.size == 1
    ):
        got = got.item()
    if type(got) not in (int, float) or not math.isfinite(got):
        said = got if type(got) in (int, float) else kind_of(got)
        raise Failed(f"{what} {are(what)} not a finite number.", expected="one finite number", got=said, hint=hint)
    return float(got)


def expect_list(got: Any, what: str, *, length: int | None = None, expected: Any = None, hint: str = "") -> list[Any]:
    """Fail unless ``got`` is a list or a tuple, of this length where one is given; return it as a list.

    Parameters
    ----------
    expected
        What was asked for, in words: "(logits, gradient)".
    """
    asked = expected or (f"a list of {length}" if length is not None else "a list")
    if not isinstance(got, list | tuple):
        raise Failed(f"{what} {are(what)} not a list or a tuple.", expected=asked, got=kind_of(got), hint=hint)
    if length is not None and len(got) != length:
        said = f"{len(got)} value{'s' * (len(got) != 1)}"
        raise Failed(f"{what} {are(what)} not of length {length}.", expected=asked, got=said, hint=hint)
    return list(got)


def expect_pair(got: Any, what: str, *, expected: str = "two values", hint: str = "") -> tuple[Any, Any]:
    """Fail unless ``got`` is a list or tuple of two; return the two."""
    if not isinstance(got, list | tuple) or len(got) != 2:
        said = f"{len(got)} values" if isinstance(got, list | tuple) else kind_of(got)
        raise Failed(f"{what} {are(what)} not a pair.", expected=expected, got=said, hint=hint)
    return got[0], got[1]


def expect_unchanged(called: Called, *places: int | str, message: str = "", hint: str = "") -> None:
    """Fail if the call changed one of these arguments in place; without places, if it changed any.

    Parameters
    ----------
    called
        What `Answer.trace` returned.
    places
        Places of arguments, names of keyword arguments, or ``"self"``.
    message
        What is said then, if the usual words do not do.
    """
    changed = [place for place in called.changed if not places or place in places]
    words = message or "You changed an argument in place: whoever called you still needs it. Make a new tensor."
    expect(not changed, words, hint=hint)


def expect_tensor(got: Any, shape: Sequence[int], what: str, *, hint: str = "") -> Tensor:
    """Fail unless ``got`` is a tensor of this shape; return it as float64."""
    import torch

    if not isinstance(got, torch.Tensor):
        asked = f"a tensor of shape {tuple(shape)}"
        raise Failed(f"{what} {are(what)} not a tensor.", expected=asked, got=kind_of(got), hint=hint)
    if tuple(got.shape) != tuple(shape):
        have = "have" if are(what) == "are" else "has"
        raise Failed(
            f"{what} {have} the wrong shape.", expected=str(tuple(shape)), got=str(tuple(got.shape)), hint=hint
        )
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
        What the usual misconceptions would have given, by their hint. The hint of the one that fits is shown, or two.
    """
    import torch

    got = expect_tensor(got, expected.shape, what, hint=hint)
    expected = expected.to(torch.float64)
    if torch.allclose(got, expected, rtol=0, atol=tolerance):
        return
    fit = (
        words
        for words, value in (mistakes or {}).items()
        if value.shape == got.shape
        and torch.allclose(got, value.to(torch.float64), rtol=0, atol=10 * tolerance, equal_nan=True)
    )
    hint = either(fit, hint)
    if bool(got.isnan().any()) and not bool(expected.isnan().any()):
        place = tuple(got.isnan().nonzero()[0].tolist())
        hold = "hold" if are(what) == "are" else "holds"
        first = f", first at {place}" if place else ""
        raise Failed(f"{what} {hold} NaN{first}.", expected=expected[place], got=got[place], hint=hint)
    gap = (got - expected).abs()
    place = tuple(torch.unravel_index(gap.nan_to_num(posinf=float("inf")).argmax(), gap.shape))
    place = tuple(int(i) for i in place)
    most = f", most at {place}" if place else ""
    raise Failed(f"{what} {are(what)} wrong{most}.", expected=expected[place], got=got[place], hint=hint)


def expect_gradient(
    got: Any,
    expected: Tensor,
    what: str,
    *,
    tolerance: float = 1e-6,
    mistakes: Mapping[str, Tensor] | None = None,
    hint: str = "",
) -> None:
    """Fail unless a gradient that `Answer.trace` found agrees with the expected one.

    Parameters
    ----------
    what
        What the gradient belongs to: "the weight A".
    mistakes
        As for `expect_close`.
    """
    cut = hint or "Is there a detach(), an item() or a no_grad() on its way?"
    expect(got is not None, f"No gradient reaches {what}, so training would not change it.", hint=cut)
    if bool(expected.any()) and not bool(expect_tensor(got, expected.shape, f"The gradient by {what}").any()):
        raise Failed(f"The gradient by {what} is 0, so training would not change it.", hint=cut)
    expect_close(got, expected, f"The gradient by {what}", tolerance=tolerance, mistakes=mistakes, hint=hint)
