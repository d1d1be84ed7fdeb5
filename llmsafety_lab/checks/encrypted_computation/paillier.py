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
        Mutant("r of 32 bits", "secrets.randbelow(n - 1) + 1", "secrets.randbits(32) | 1", "tried out"),
        Mutant(
            "few r in turn",
            "r = secrets.randbelow(n - 1) + 1",
            "encrypt.at = getattr(encrypt, 'at', 0) + 1\n    r = pow(encrypt.at % 9 + 2, 3**40, n)",
            "same r serves",
        ),
        Mutant("r to the wrong power", "pow(r, n, square)", "pow(r, n + 1, square)", "to the power n"),
        Mutant("the message itself", "(1 + n * message)", "message", "1 + n"),
        Mutant(
            "too large a message passes", "if not 2 * abs(message) < n:", "if not abs(message) < n * n:", "ValueError"
        ),
        Mutant(
            "negative messages of any size", "if not 2 * abs(message) < n:", "if not 2 * message < n:", "above n / 2"
        ),
    ),
)
def check_encrypt(answer: Answer, dice: Dice) -> None:
    p, q = _prime(dice, 64), _prime(dice, 64)
    n, order = p * q, lcm(p - 1, q - 1)
    formula = "The ciphertext is (1 + n)^m r^n modulo n^2, with a fresh r that has no factor in common with n."
    half, gap = n // 2, n >> 40  # n / 2 as a float is right to 53 bits
    sealed: list[tuple[int, int]] = []
    for message in (draw(dice, 10**9) + 2, 0, 1, -draw(dice, 10**9) - 2, half - gap, gap - half):
        got = [expect_whole(answer(message, n), "The ciphertext", hint=formula) for _ in range(3)]
        for one in got:
            expect(
                0 < one < n**2 and gcd(one, n) == 1,
                "The ciphertext is no unit modulo n^2.",
                expected="below n^2",
                got=one,
                hint=formula,
            )
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
        sealed += [(message, one) for one in got]
    _expect_fresh(answer, n, order, sealed, draw(dice, 10**9))
    for message in (half + gap, -half - gap):
        try:
            came = answer(message, n)
        except Failed as failed:
            if "ValueError" in f"{failed.message} {failed.got}":
                continue
            came = failed.message
        raise Failed(
            f"A message of {message}, with absolute value above n / 2, is not refused: it would decrypt to another.",
            expected="a ValueError",
            got=came,
            hint="Raise a ValueError where abs(message) is n / 2 or more.",
        )


def _expect_fresh(answer: Answer, n: int, order: int, sealed: list[tuple[int, int]], message: int) -> None:
    """Read r with the key out of 48 ciphertexts; fail where one came twice or all are in one half, by chance 10^-14."""
    sealed = sealed + [(message, expect_whole(answer(message, n), "The ciphertext")) for _ in range(30)]
    root = pow(n, -1, order)
    drawn = [pow(one * pow(1 + n * message, -1, n**2) % n, root, n) for message, one in sealed]
    fresh = "a fresh r from 1 to n - 1 for each message, each as likely as another"
    hint = "Draw r as secrets.randbelow(n - 1) + 1, in each call."
    upper = sum(2 * one > n for one in drawn)
    expect(
        0 < upper < len(drawn),
        "The random r is always in the same half of the numbers below n. Then it can be guessed or tried out.",
        expected=fresh,
        got=f"r from {min(drawn)} to {max(drawn)}",
        hint=hint,
    )
    expect(
        len(set(drawn)) == len(drawn),
        "The same r serves for two messages: whoever divides their ciphertexts reads the difference.",
        expected=fresh,
        got=f"{len(set(drawn))} different ones in {len(drawn)} calls",
        hint=hint,
    )


def _cause(got: list[int], message: int, n: int) -> str:
    square = n**2
    if all(one < n for one in got):
        return "Compute modulo n^2, not modulo n: the message is in the multiples of n."
    masks = [one * pow(1 + n * message, -1, square) % square for one in got]
    if all(mask < n for mask in masks):
        return "The random factor is r itself. It has to be r^n, which the key's owner can take away."
    return "Is the first factor (1 + n)^m, which is 1 + n m modulo n^2, and the second r to the power n?"
