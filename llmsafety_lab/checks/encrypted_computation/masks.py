"""Exercises 4 and 5: a client's masks, and what the server takes off."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checks.encrypted_computation.numbers import MODULUS, draw, expect_wholes

Vector = list[int]


def expand(seed: bytes, round: int, length: int) -> Vector:
    """Do what the lab's `expand` does."""
    stream = hashlib.shake_256(seed + round.to_bytes(8, "big")).digest(8 * length)
    return [int.from_bytes(stream[at : at + 8], "big") for at in range(0, 8 * length, 8)]


def _plus(*vectors: Vector) -> Vector:
    return [sum(column) % MODULUS for column in zip(*vectors, strict=True)]


def _minus(vector: Vector) -> Vector:
    return [-number % MODULUS for number in vector]


def _pairs(me: int, seeds: Mapping[int, bytes], round: int, length: int) -> list[Vector]:
    return [
        expand(seed, round, length) if other > me else _minus(expand(seed, round, length))
        for other, seed in seeds.items()
    ]


def _seed(dice: Dice) -> bytes:
    return bytes(dice.integers(0, 255, 16).tolist())


def _clients(dice: Dice, count: int) -> list[int]:
    start = dice.integer(1, 9)
    found = [start]
    while len(found) < count:
        found.append(found[-1] + dice.integer(1, 4))
    return found


@exercise(
    "encrypted_computation.masked",
    "Send a number that says nothing",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="masked",
    mutants=(
        Mutant("plus towards all", "if other > me", "if other != me", "plus towards all"),
        Mutant("minus towards all", "if other > me", "if other == me", "subtract towards all"),
        Mutant(
            "no mask of its own",
            "vectors = [update, expand(own, round, len(update))]",
            "vectors = [update]",
            "own mask",
        ),
        Mutant(
            "the round is ignored", "expand(seed, round, len(update))", "expand(seed, 0, len(update))", "in each round"
        ),
        Mutant(
            "its own mask in each round",
            "expand(own, round, len(update))",
            "expand(own, 0, len(update))",
            "in each round",
        ),
        Mutant("the other way round", "if other > me", "if other < me", "other way round"),
        Mutant("no modulus", "sum(column) % MODULUS", "sum(column)", "outside of 0"),
        Mutant("only one neighbour", "seeds.items()", "list(seeds.items())[:1]", "each of the other clients"),
        Mutant("the update left out", "vectors = [update, ", "vectors = [", "update itself"),
        Mutant("no masks for pairs", "seeds.items()", "{}.items()", "own mask alone"),
    ),
)
def check_masked(answer: Answer, dice: Dice) -> None:
    hint = (
        "Add expand(own), add expand(seed) for each client above you and subtract it for each one below, modulo 2^64."
    )
    for _ in range(3):
        length, round = dice.integer(2, 5), dice.integer(1, 500)
        clients = _clients(dice, 5)
        update, own = [draw(dice, MODULUS) for _ in range(length)], _seed(dice)
        for me in (clients[2], clients[0], clients[-1]):
            seeds = {other: _seed(dice) for other in clients if other != me}
            called = answer.trace(update, me, own, seeds, round)
            got = expect_wholes(called.value, "The vector that is sent", length, below=MODULUS, hint=hint)
            pairs, mine = _pairs(me, seeds, round, length), expand(own, round, length)
            stale, same = _pairs(me, seeds, 0, length), expand(own, 0, length)
            mistakes = {
                "You add plus towards all. Of each pair one adds and the other subtracts, or nothing cancels.": _plus(
                    update, mine, *[expand(seed, round, length) for seed in seeds.values()]
                ),
                "You subtract towards all. Of each pair one adds and the other subtracts, or nothing cancels.": _plus(
                    update, mine, *[_minus(expand(seed, round, length)) for seed in seeds.values()]
                ),
                "Your own mask is subtracted. Add it: the server subtracts it at the end.": _plus(
                    update, _minus(mine), *pairs
                ),
                "Your own mask is missing: with the pairs' seeds alone the server could read a late vector.": _plus(
                    update, *pairs
                ),
                "The signs are the other way round: plus where the other's number is larger than yours.": _plus(
                    update, mine, *map(_minus, pairs)
                ),
                "The pairs' masks are the same in each round: whoever subtracts two rounds sees your change.": _plus(
                    update, mine, *stale
                ),
                "Your own mask is the same in each round. Give expand the round.": _plus(update, same, *pairs),
                "No mask changes in each round: give expand the round.": _plus(update, same, *stale),
                "There is a mask with each of the other clients; you add the first one only.": _plus(
                    update, mine, pairs[0]
                ),
                "You send masks without the update itself.": _plus(mine, *pairs),
                "That is your own mask alone: the masks with the other clients are missing.": _plus(update, mine),
                "The update goes out in the clear.": update,
            }
            _expect_vector(got, _plus(update, mine, *pairs), f"What client {me} sends", mistakes, hint)
            expect(
                not called.changed,
                "You change the update in place: the client still needs it.",
                hint="Make a new list.",
            )


def _expect_vector(got: Vector, right: Vector, what: str, mistakes: Mapping[str, Vector], hint: str) -> None:
    if got != right:
        words = next((words for words, wrong in mistakes.items() if wrong == got), hint)
        raise Failed(f"{what} is wrong.", expected=right, got=got, hint=words)


@exercise(
    "encrypted_computation.unmask",
    "Take off what did not cancel",
    points=4,
    difficulty=4,
    importance=4,
    minutes=15,
    answer="unmask",
    mutants=(
        Mutant("own masks left on", "for seed in own.values():", "for seed in {}.values():", "own masks"),
        Mutant(
            "pairs of the lost left on",
            "for lost, seeds in pairs.items():",
            "for lost, seeds in {}.items():",
            "dropped",
        ),
        Mutant("the wrong sign", "if client > lost", "if client < lost", "sign"),
        Mutant("the round is ignored", "mask = expand(seeds[client], round", "mask = expand(seeds[client], 0", "round"),
        Mutant("the mean", "return [number % MODULUS", "return [number % MODULUS // len(arrived)", "mean"),
        Mutant("no modulus", "return [number % MODULUS", "return [number", "outside of 0"),
        Mutant("own masks added again", "total[at] - mask[at]", "total[at] + mask[at]", "add"),
    ),
)
def check_unmask(answer: Answer, dice: Dice) -> None:
    hint = "Sum what arrived, subtract each sender's own mask, and add what each lost client would have sent as masks."
    for gone in (0, 1, 2):
        length, round, clients = dice.integer(2, 4), dice.integer(1, 500), _clients(dice, 6)
        own = {client: _seed(dice) for client in clients}
        seeds: dict[int, dict[int, bytes]] = {client: {} for client in clients}
        for at, client in enumerate(clients):
            for other in clients[at + 1 :]:
                seeds[client][other] = seeds[other][client] = _seed(dice)
        lost = [clients[at] for at in ((), (2,), (1, 4))[gone]]
        stayed = [client for client in clients if client not in lost]
        updates = {client: [draw(dice, MODULUS) for _ in range(length)] for client in stayed}
        arrived = {
            client: _plus(update, expand(own[client], round, length), *_pairs(client, seeds[client], round, length))
            for client, update in updates.items()
        }
        known = {client: own[client] for client in stayed}
        pairs = {client: seeds[client] for client in lost}
        called = answer.trace(arrived, known, pairs, round)
        got = expect_wholes(called.value, "The sum", length, below=MODULUS, hint=hint)
        right, left = _plus(*updates.values()), [expand(seed, round, length) for seed in known.values()]

        def of(only: list[int], at: int = round, length: int = length, pairs: dict = pairs) -> list[Vector]:
            return [
                one
                for client, kept in pairs.items()
                for one in _pairs(client, {other: seed for other, seed in kept.items() if other in only}, at, length)
            ]

        zero = [0] * length
        stuck = _plus(zero, *map(_minus, of(stayed)))
        mean = [number // len(stayed) for number in right]
        mistakes = {
            "The senders' own masks are still on: subtract expand(own[client]) for each that arrived.": _plus(
                right, *left
            ),
            "You add the senders' own masks once more: they are in the sum already, so subtract them.": _plus(
                right, *left, *left
            ),
            "Masks with the clients that dropped out are still on: nobody sent their other half.": _plus(right, stuck),
            "The sign of the lost clients' masks is wrong: add what they would have sent.": _plus(right, stuck, stuck),
            "Nothing is taken off: what arrived is only summed.": _plus(right, stuck, *left),
            "Give expand the round: these are the masks of another round.": _plus(right, stuck, *of(stayed, 0)),
            "That is the mean. The server returns the sum; modulo 2^64 nothing can be divided.": mean,
        }
        _expect_vector(got, right, f"The sum where {gone} of {len(clients)} clients dropped out", mistakes, hint)
        expect(not called.changed, "You change what arrived in place.", hint="Make new lists.")
