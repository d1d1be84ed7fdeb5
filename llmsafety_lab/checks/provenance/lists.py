"""Exercise 1: the green list after a token."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, kind_of


def shuffled(seed: int, vocabulary: int) -> list[int]:
    """Return the vocabulary in the order that a seed gives it."""
    dice = torch.Generator().manual_seed(seed % (2**64 - 1))
    return torch.randperm(vocabulary, generator=dice).tolist()


def refused(call: Callable[[], Any], message: str, hint: str = "") -> None:
    """Fail unless the student's code raises a ValueError."""
    try:
        got = call()
    except Failed as failed:
        expect("ValueError" in failed.message, message, expected="a ValueError", got=failed.message, hint=hint)
        return
    raise Failed(message, expected="a ValueError", got=got, hint=hint)


def _ids(got: Any) -> list[int]:
    if isinstance(got, torch.Tensor | np.ndarray):
        got = got.tolist()
    if isinstance(got, set | frozenset):
        got = sorted(got)
    if not isinstance(got, list | tuple) or not all(type(one) in (int, float) and one == int(one) for one in got):
        raise Failed("The green list is not a list of ids.", expected="ids, in a list or a tensor", got=kind_of(got))
    return [int(one) for one in got]


def _slips(before: int, vocabulary: int, gamma: float, key: int) -> dict[str, list[int]]:
    size = int(vocabulary * gamma)
    right = shuffled(key * before, vocabulary)
    return {
        "The list is the same after every token: the seed has the key alone. Multiply it by the id before.": (
            shuffled(key, vocabulary)[:size]
        ),
        "The seed has no key: everybody who knows the method can compute your lists. Multiply the id by the key.": (
            shuffled(before, vocabulary)[:size]
        ),
        "The seed is the key plus the id: the wrong seed. It is their product.": (
            shuffled(key + before, vocabulary)[:size]
        ),
        "These are the red tokens: what is left after the green ones.": right[size:],
        "These tokens are the last of the shuffled vocabulary. Take the first.": right[len(right) - size :],
        "gamma has no effect: a quarter of the vocabulary is always green.": right[: int(vocabulary * 0.25)],
        "gamma has no effect: half of the vocabulary is always green.": right[: int(vocabulary * 0.5)],
        "gamma is the green share; you made 1 - gamma green.": right[: int(vocabulary * (1 - gamma))],
        "The number of green tokens is rounded up. Round down, as int() does.": right[: math.ceil(vocabulary * gamma)],
        "You shuffled the vocabulary and kept the lowest ids: nothing depends on the seed.": list(range(size)),
        "These are the places of the first ids in the shuffled order, not the ids at its first places.": (
            torch.tensor(right).argsort()[:size].tolist()
        ),
    }


@exercise(
    "provenance.green_list",
    "Green after this token",
    points=2,
    difficulty=1,
    importance=5,
    minutes=8,
    answer="green_list",
    mutants=(
        Mutant("the key alone", "key * before %", "key %", "the same after every token"),
        Mutant("no key", "key * before %", "before %", "no key"),
        Mutant("a sum", "key * before %", "(key + before) %", "wrong seed"),
        Mutant("red", "[: int(vocabulary * gamma)]", "[int(vocabulary * gamma) :]", "red tokens"),
        Mutant("last", "[: int(vocabulary * gamma)]", "[vocabulary - int(vocabulary * gamma) :]", "Take the first"),
        Mutant("always a quarter", "[: int(vocabulary * gamma)]", "[: vocabulary // 4]", "gamma has no effect"),
        Mutant("one minus gamma", "int(vocabulary * gamma)", "int(vocabulary * (1 - gamma))", "1 - gamma"),
        Mutant("rounded up", "int(vocabulary * gamma)", "-int(-vocabulary * gamma // 1)", "rounded up"),
        Mutant("global chance", ", generator=dice)", ")", "generator of your own"),
        Mutant("global seed", "torch.Generator().manual_seed(", "torch.manual_seed(", "generator of your own"),
        Mutant("any gamma", "not 0 < gamma < 1 or", "False or", "gamma = 1.5"),
        Mutant("none green", "or vocabulary * gamma < 1", "", "no token"),
        Mutant("key forgotten", "key * before %", "15_485_863 * before %", "another key"),
    ),
)
def check_green_list(answer: Answer, dice: Dice) -> None:
    for turn in range(4):
        before, key = dice.integer(2, 40_000), dice.integer(10**6, 10**8)
        vocabulary = 8 * dice.integer(10, 20) + 3
        gamma = (0.3, 0.7, 0.45, 0.25)[turn]
        expected = shuffled(key * before, vocabulary)[: int(vocabulary * gamma)]
        called = answer.trace(before, vocabulary, gamma, key)
        got = _ids(called.value)
        expect(
            "generator" not in called.stirred,
            "You seeded or used torch's own generator, from which the model draws its words: after your call it draws "
            "others.",
            hint="Make a generator of your own, torch.Generator(), seed it, and give it to torch.randperm.",
        )
        if sorted(got) == sorted(expected):
            continue
        slips = _slips(before, vocabulary, gamma, key)
        hint = next((words for words, ids in slips.items() if sorted(ids) == sorted(got)), "")
        if not hint and sorted(got) == sorted(_ids(answer(before, vocabulary, gamma, key + 1))):
            hint = "The list is the same with another key: the seed must have the key that was given."
        raise Failed(
            f"The green list after token {before} is wrong, with {vocabulary} tokens and gamma = {gamma}.",
            expected=f"{len(expected)} ids: {sorted(expected)[:6]} ...",
            got=f"{len(got)} ids: {sorted(got)[:6]} ...",
            hint=hint or "Seed a generator with key * before, shuffle the vocabulary by it, take the first part.",
        )
    refused(lambda: answer(3, 100, 1.5, 7), "gamma = 1.5 is no share of the vocabulary. Expected a ValueError.")
    refused(lambda: answer(3, 100, 0.0, 7), "With gamma = 0 no token is green. Expected a ValueError.")
    refused(lambda: answer(3, 3, 0.25, 7), "A quarter of three tokens is no token. Expected a ValueError.")
