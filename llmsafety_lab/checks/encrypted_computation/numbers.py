"""What the checks of this lab ask of whole numbers."""

from __future__ import annotations

from typing import Any

from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.expect import expect, expect_list, kind_of

MODULUS = 2**64


def draw(dice: Dice, below: int) -> int:
    """Draw a whole number below a bound of any size."""
    number = 0
    for piece in dice.integers(0, 2**30 - 1, below.bit_length() // 30 + 2).tolist():
        number = number << 30 | piece
    return number % below


def expect_whole(got: Any, what: str, *, below: int | None = None, hint: str = "") -> int:
    """Fail unless ``got`` is a whole number, from 0 up to a bound where one is given; return it."""
    came = kind_of(got) if got is None or isinstance(got, list | dict | str) else got
    expect(type(got) is int, f"{what} is not a whole number.", expected="an int", got=came, hint=hint)
    if below is not None:
        expect(
            0 <= got < below, f"{what} is outside of 0 to modulus - 1.", expected=f"below {below}", got=got, hint=hint
        )
    return got


def expect_wholes(got: Any, what: str, length: int, *, below: int, hint: str = "") -> list[int]:
    """Fail unless ``got`` is a list of so many whole numbers from 0 up to a bound; return it."""
    return [
        expect_whole(one, f"Number {at} of {what[0].lower()}{what[1:]}", below=below, hint=hint)
        for at, one in enumerate(expect_list(got, what, length=length))
    ]
