"""What the checks of this lab share: what is refused, what a loss owes to its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.expect import Failed, expect, expect_gradient, expect_unchanged

PACKAGE = "llmsafety_lab.safe_fine_tuning"


def refuses(answer: Answer, *args: Any, because: str) -> None:
    """Fail unless the call raises a ValueError."""
    try:
        answer(*args)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed(because, expected="a ValueError", got="an answer")


def reaches(
    called: Called,
    exact: Mapping[int, tuple[str, Tensor]],
    never: Mapping[int, str],
    mistakes: Mapping[int, Mapping[str, Tensor]] | None = None,
) -> None:
    """Fail unless the result's gradient by some arguments is right, and none goes into others.

    Parameters
    ----------
    exact
        By argument: its name, and the gradient.
    never
        By argument: what is said if a gradient goes there.
    mistakes
        By argument: gradients of the usual mistakes, by their hints.
    """
    expect(
        called.traced,
        "No gradient flows through the result, so training would change nothing.",
        hint="Is there a detach(), an item() or a no_grad() on its way?",
    )
    for place, (name, gradient) in exact.items():
        wrong = (mistakes or {}).get(place, {})
        expect_gradient(called.gradients[place][""], gradient, name, tolerance=1e-6, mistakes=wrong)
    for place, words in never.items():
        gradient = called.gradients[place][""]
        expect(gradient is None or not bool(gradient.any()), words, hint="Cut it off with detach().")
    expect_unchanged(called)


def by(places: Sequence[int]) -> list[int | str]:
    return list(places)
