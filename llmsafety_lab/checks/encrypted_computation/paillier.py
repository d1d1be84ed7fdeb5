"""Exercise 6: Paillier's encryption."""

from __future__ import annotations

from math import gcd, lcm

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checks.encrypted_computation.numbers import draw, expect_whole
from llmsafety_lab.checks.encrypted_computation.shares import GUESSED


def _prime(dice: Dice, bits: int) -> int:
    from sympy import isprime

    while not isprime(candidate := draw(dice, 2**bits) | 1 | 3 << (bits - 2)):
        pass
    return candidate


@exercise(
    "encrypted_computation.encrypt",
    "A cipher that adds",
    points=3,
    difficulty=3,
    importance=3,
    minutes=10,
    answer="encrypt",
    forbid=GUESSED,
    mutants=(
        Mutant("no random factor", "pow(r, n, square)", "1", "read without the key"),
        Mutant("the same r", "r = secrets.randbelow(n - 1) + 1", "r = 2", "same ciphertext"),
        Mutant("r to no power", "pow(r, n, square)", "r", "r^n"),
        Mutant("modulo n", "% square", "% n", "n^2"),
        Mutant("a small r", "secrets.randbelow(n - 1) + 1", "secrets.randbelow(1000) + 2", "tried out"),
        Mutant("r to the wrong power", "pow(r, n, square)", "pow(r, n + 1, square)", "to the power n"),
        Mutant("the message itself", "(1 + n * message)", "message", "1 + n"),
        Mutant(
            "too large a message passes", "if not 2 * abs(message) < n:", "if not abs(message) < n * n:", "ValueError"
        ),
    ),
)
def check_encrypt(answer: Answer, dice: Dice) -> None:
    p, q = _prime(dice, 64), _prime(dice, 64)
    n, order = p * q, lcm(p - 1, q - 1)
    formula = "The ciphertext is (1 + n)^m r^n modulo n^2, with a fresh r that has no factor in common with n."
    for message in (draw(dice, 10**9) + 2, 0, 1, -draw(dice, 10**9) - 2, (n - 1) // 2, -((n - 1) // 2)):
        got = [expect_whole(answer(message, n), "The ciphertext", hint=formula) for _ in range(3)]
        for one in got:
            expect(0 < one < n**2 and gcd(one, n) == 1, "The ciphertext is no unit modulo n^2.", got=one, hint=formula)
        one = got[0]
        read = (one - 1) // n
        expect(
            (one - 1) % n != 0,
            "The ciphertext can be read without the key: (c - 1) / n is the message.",
            expected="a factor r^n that hides it",
            got=read if 2 * read < n else read - n,
            hint=formula,
        )
        expect(
            len(set(got)) == 3,
            f"Encrypting {message} twice gives the same ciphertext, so equal messages are seen to be equal.",
            expected="a fresh r each time, from secrets",
            got=got[0],
            hint=formula,
        )
        noise = pow(one, order, n**2)
        plain = (noise - 1) // n * pow(order, -1, n) % n if (noise - 1) % n == 0 else None
        plain = plain - n if plain is not None and 2 * plain > n else plain
        if plain != message:
            raise Failed(
                f"The encryption of {message} decrypts to another message.",
                expected=message,
                got=plain,
                hint=_cause(got, message, n) or formula,
            )
        mask = one * pow(1 + n * message, -1, n**2) % n**2
        small = {pow(r, n, n**2) for r in range(1, 1100)}
        expect(
            mask not in small, "The random r is so small that it can be tried out.", got="r below 1,100", hint=formula
        )
    try:
        answer(n // 2 + 1, n)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed(
        "A message of more than n / 2 is decrypted as a negative number.", expected="a ValueError", got="a ciphertext"
    )


def _cause(got: list[int], message: int, n: int) -> str:
    square = n**2
    if all(one < n for one in got):
        return "Compute modulo n^2, not modulo n: the message is in the multiples of n."
    masks = [one * pow(1 + n * message, -1, square) % square for one in got]
    if all(mask < n for mask in masks):
        return "The random factor is r itself. It has to be r^n, which the key's owner can take away."
    return "Is the first factor (1 + n)^m, which is 1 + n m modulo n^2, and the second r to the power n?"
