"""Exercises 1 and 2: a secret cut into shares, and put together again."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checks.encrypted_computation.numbers import draw, expect_whole, expect_wholes

GUESSED = (
    *(f"random.{name}" for name in ("randrange", "randint", "getrandbits", "randbytes", "random", "uniform", "gauss")),
    *(f"random.{name}" for name in ("triangular", "choice", "choices", "sample", "shuffle")),
    "random::Random",
    *(f"numpy.random.{name}" for name in ("default_rng", "randint", "random_integers", "bytes")),
    *(f"numpy.random::{name}" for name in ("Generator", "RandomState", "PCG64", "MT19937", "Philox", "integers")),
    *(f"torch.{name}" for name in ("randint", "randint_like", "rand", "randperm")),
    *(f"torch::{name}" for name in ("Generator", "random_")),
    *(f"time::{name}" for name in ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns")),
)
"""Sources that can be computed from earlier numbers, or guessed, as the time can.

After :: is what is refused by name alone. `secrets` is made of `random.Random`: if its methods were switched off,
`secrets.randbelow` would stop, too.
"""


@exercise(
    "encrypted_computation.share",
    "Cut a number into shares",
    points=2,
    difficulty=1,
    importance=5,
    minutes=8,
    answer="share",
    forbid=GUESSED,
    mutants=(
        Mutant("no modulus", "(secret - sum(shares)) % modulus", "secret - sum(shares)", "outside of 0 to modulus"),
        Mutant("small random numbers", "secrets.randbelow(modulus)", "secrets.randbelow(secret + 1)", "size"),
        Mutant("random numbers of 32 bits", "secrets.randbelow(modulus)", "secrets.randbits(32)", "size"),
        Mutant(
            "the same shares each time",
            "[secrets.randbelow(modulus) for _ in range(parties - 1)]",
            "[(7919 * i + 1) * 2**40 % modulus for i in range(parties - 1)]",
            "second call",
        ),
        Mutant(
            "one random number for all",
            "[secrets.randbelow(modulus) for _ in range(parties - 1)]",
            "[secrets.randbelow(modulus)] * (parties - 1)",
            "the same number twice",
        ),
        Mutant(
            "shares that cancel, and the secret",
            "[secrets.randbelow(modulus) for _ in range(parties - 1)]",
            "[0] * (parties - 1)",
            "is the secret",
        ),
        Mutant("one share too many", "range(parties - 1)", "range(parties)", "length"),
        Mutant("sum without sign", "(secret - sum(shares))", "(secret + sum(shares))", "sum"),
        Mutant("one number short", "secrets.randbelow(modulus)", "secrets.randbelow(modulus - 1)", "never take some"),
        Mutant(
            "zero never drawn", "secrets.randbelow(modulus)", "secrets.randbelow(modulus - 1) + 1", "never take some"
        ),
        Mutant("cut in equal parts", "(secret - sum(shares)) % modulus", "secret % modulus", "sum"),
    ),
)
def check_share(answer: Answer, dice: Dice) -> None:
    hint = "Draw all shares but one from 0 to modulus - 1, and let the last be what is missing, modulo the modulus."
    for modulus in (2**64, 2**61 - 1, 1_000_003):
        parties, secret = dice.integer(3, 6), draw(dice, min(modulus, 10_000)) + 1
        many = [
            expect_wholes(answer(secret, parties, modulus), "The list of shares", parties, below=modulus, hint=hint)
        ]
        total = sum(many[0]) % modulus
        expect(
            total == secret,
            f"The shares of {secret} do not sum to it modulo {modulus}.",
            expected=secret,
            got=total,
            hint=hint,
        )
        expect(
            secret not in many[0] or modulus < 2**32,
            "One of the shares is the secret: who holds it needs no other.",
            expected="shares that say nothing",
            got=many[0],
            hint=hint,
        )
        expect(
            len(set(many[0])) == parties or modulus < 2**32,
            "Two shares are the same number twice. Draw each by itself: two holders could subtract theirs.",
            expected=f"{parties} different numbers",
            got=many[0],
            hint=hint,
        )
        many += [
            expect_wholes(answer(secret, parties, modulus), "The list of shares", parties, below=modulus)
            for _ in range(40)
        ]
        fresh = {tuple(one) for one in many}
        expect(
            len(fresh) > 35,
            "A second call gives the shares of the first: nobody has to hold them who has seen them once.",
            expected="new random numbers in each call",
            got=many[1],
            hint=hint,
        )
        for place in range(parties):
            _expect_spread([one[place] for one in many], modulus, f"Share {place}", hint)
            pair = [(one[place] + one[place - 1]) % modulus for one in many]
            _expect_spread(pair, modulus, f"The sum of shares {(place - 1) % parties} and {place}", hint)
    number = expect_wholes(answer(0, 2, 2**64), "The list of shares", 2, below=2**64)
    expect(sum(number) % 2**64 == 0 and any(number), "The shares of 0 tell that it is 0.", got=number, hint=hint)
    _expect_every_bit(answer, dice.integer(0, 1), hint)


def _expect_every_bit(answer: Answer, secret: int, hint: str) -> None:
    """Fail where three of four shares of a bit do not take all eight values in 250 calls, once in 10^13 by chance."""
    bits = [expect_wholes(answer(secret, 4, 2), "The list of shares", 4, below=2, hint=hint) for _ in range(250)]
    expect(
        all(sum(one) % 2 == secret for one in bits),
        f"The shares of {secret} do not sum to it modulo 2.",
        expected=secret,
        got=next((one for one in bits if sum(one) % 2 != secret), None),
        hint=hint,
    )
    for missing in range(4):
        seen = {tuple(one[:missing] + one[missing + 1 :]) for one in bits}
        others = ", ".join(str(at) for at in range(4) if at != missing)
        expect(
            len(seen) == 8,
            f"Modulo 2, shares {others} of four never take some of the values that they could take together.",
            expected="each of the 8 combinations of three bits, about one call in eight",
            got=f"{len(seen)} combinations in {len(bits)} calls",
            hint="Draw each share but the last by itself, from all numbers from 0 to modulus - 1.",
        )


def _expect_spread(values: list[int], modulus: int, what: str, hint: str) -> None:
    """Fail where 41 numbers keep out of a half of the ring, which chance does once in 10^12.

    A check asks at most 36 times: a right answer of a class of 200 fails by chance with probability 10^-8.
    """
    upper = sum(2 * value >= modulus for value in values)
    expect(
        0 < upper < len(values),
        f"{what} is always in the same half of the numbers below the modulus, so its size tells of the secret.",
        expected="any number below the modulus, each as likely as another",
        got=f"{len(values)} calls, all in the {'upper' if upper else 'lower'} half",
        hint=hint,
    )


def _points(dice: Dice, threshold: int, prime: int) -> tuple[dict[int, int], int]:
    """Return shares at points that are not 1, 2, 3 in their order, and the secret behind them."""
    points: list[int] = []
    while len(points) < threshold:
        point = dice.integer(2, 60)
        if point not in points:
            points.append(point)
    coefficients = [draw(dice, prime) for _ in range(threshold)]
    shares = {
        point: sum(c * pow(point, power, prime) for power, c in enumerate(coefficients)) % prime for point in points
    }
    return shares, coefficients[0]


def _weights(points: list[int], prime: int) -> list[int]:
    return [
        prod(-other for other in points if other != point)
        * pow(prod(point - other for other in points if other != point), -1, prime)
        for point in points
    ]


@exercise(
    "encrypted_computation.recover",
    "Put a secret together again",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="recover",
    forbid=(
        "sympy.interpolate",
        "sympy.polys.polyfuncs.interpolate",
        "scipy.interpolate.lagrange",
        "mpyc.thresha.recombine",
    ),
    mutants=(
        Mutant("division of real numbers", "above * pow(below, -1, prime)", "int(above / below)", "real numbers"),
        Mutant("whole division", "above * pow(below, -1, prime)", "(above // below)", "whole-number division"),
        Mutant("no denominator", "above * pow(below, -1, prime)", "above", "denominator"),
        Mutant("signs of the numerator", "above *= -other", "above *= other", "sign"),
        Mutant("the sum of the shares", "secret += value * above * pow(below, -1, prime)", "secret += value", "sum of"),
        Mutant(
            "points by their order",
            "secret = 0\n",
            "secret = 0\n    shares = {at: value for at, value in enumerate(shares.values(), start=1)}\n",
            "1, 2, 3",
        ),
        Mutant("no modulus", "return secret % prime", "return secret", "outside of 0"),
        Mutant(
            "threshold off by one: a share left out",
            "secret = 0\n",
            "secret = 0\n    shares = dict(list(shares.items())[1:])\n",
            "leave out a share",
        ),
        Mutant("denominator the wrong way", "below *= point - other", "below *= other - point", "sign"),
    ),
)
def check_recover(answer: Answer, dice: Dice) -> None:
    hint = (
        "Multiply each share by the product of (0 - other) / (point - other) over the other points, modulo the prime."
    )
    for prime in (2**61 - 1, 2**127 - 1, 2**521 - 1, 10_007):
        for threshold in (2, 4, dice.integer(3, 6)):
            for _ in range(100):
                shares, secret = _points(dice, threshold, prime)
                wrong = [value for value in _wrong(shares, prime).values() if value != secret]
                if len(set(wrong)) == len(wrong):
                    break
            got = answer(shares, prime)
            got = expect_whole(got, "The secret", below=None, hint="Division modulo a prime is pow(number, -1, prime).")
            if got == secret:
                continue
            raise Failed(
                f"The secret behind {threshold} shares modulo {prime} is wrong.",
                expected=secret,
                got=f"{got}, which is outside of 0 to prime - 1" if not 0 <= got < prime else got,
                hint=next((words for words, wrong in _wrong(shares, prime).items() if wrong == got), hint),
            )


def _wrong(shares: dict[int, int], prime: int) -> dict[str, int]:
    points = list(shares)
    values = list(shares.values())

    def each(weight) -> int:  # type: ignore[no-untyped-def]
        return sum(value * weight(at) for at, value in enumerate(values)) % prime

    def above(at: int) -> int:
        return prod(-other for other in points if other != points[at])

    def below(at: int) -> int:
        return prod(points[at] - other for other in points if other != points[at])

    exact = each(lambda at: above(at) * pow(below(at), -1, prime))
    order = _weights(list(range(1, len(points) + 1)), prime)
    later = _weights(points[1:], prime)
    return {
        "Give the secret modulo the prime: % prime at the end.": sum(
            value * above(at) * pow(below(at), -1, prime) for at, value in enumerate(values)
        ),
        "That is a division of real numbers, rounded. Modulo a prime, divide by pow(below, -1, prime).": (
            each(lambda at: int(Fraction(above(at), below(at))))
        ),
        "That is Python's whole-number division. Modulo a prime, divide by pow(below, -1, prime).": each(
            lambda at: above(at) // below(at)
        ),
        "The denominator is missing: divide by the product of (point - other).": each(above),
        "A sign is wrong: the numerator is the product of (0 - other), the denominator that of (point - other).": (
            (-1) ** (len(points) - 1) * exact % prime
        ),
        "That is the sum of the shares. These shares are points of a polynomial; the secret is its value at 0.": (
            sum(values) % prime
        ),
        "You take the points to be 1, 2, 3 in the order of the shares. They are the keys of the dict.": (
            sum(value * weight for value, weight in zip(values, order, strict=True)) % prime
        ),
        "You leave out a share.": sum(v * w for v, w in zip(values[1:], later, strict=True)) % prime,
        "You leave out the last share.": (
            sum(v * w for v, w in zip(values[:-1], _weights(points[:-1], prime), strict=True)) % prime
        ),
        "That is the polynomial's value at 1. The secret is its value at 0.": each(
            lambda at: prod(1 - x for x in points if x != points[at]) * pow(below(at), -1, prime)
        ),
    }
