"""Exercise 3: shares of a product."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.encrypted_computation.numbers import MODULUS, draw, expect_wholes


def _shares(dice: Dice, secret: int, parties: int) -> list[int]:
    some = [draw(dice, MODULUS) for _ in range(parties - 1)]
    return [*some, (secret - sum(some)) % MODULUS]


@exercise(
    "encrypted_computation.multiply",
    "Multiply what nobody sees",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="multiply",
    mutants=(
        Mutant("d e from each party", "if party == 0", "if party >= 0", "each party adds d e"),
        Mutant("d e forgotten", "+ (d * e if party == 0 else 0)", "", "d e is missing"),
        Mutant(
            "own products",
            "(c[party] + d * b[party] + e * a[party] + (d * e if party == 0 else 0))",
            "(x[party] * y[party])",
            "own shares",
        ),
        Mutant("crossed", "d * b[party] + e * a[party]", "d * a[party] + e * b[party]", "crossed"),
        Mutant("a is added", "x[i] - a[i]", "x[i] + a[i]", "d = x - a"),
        Mutant("no modulus at the end", ") % MODULUS\n        for party", ")\n        for party", "outside of 0"),
        Mutant(
            "opens the factors",
            "    return [",
            "    product = sum(x) * sum(y)\n    return [product % MODULUS] + [0] * (len(x) - 1)\n    return [",
            "shares of the others",
        ),
        Mutant(
            "the triple alone",
            "c[party] + d * b[party] + e * a[party]",
            "c[party] - (d * e if party == 0 else 0)",
            "ab",
        ),
    ),
)
def check_multiply(answer: Answer, dice: Dice) -> None:
    hint = "Open d = x - a and e = y - b. Party i keeps c[i] + d * b[i] + e * a[i]; one of the parties adds d * e."
    for parties in (2, 3, dice.integer(3, 5)):
        x, y, a, b = (draw(dice, MODULUS) for _ in range(4))
        cut = [_shares(dice, secret, parties) for secret in (x, y, a, b, a * b)]
        called = answer.trace(*cut)
        got = expect_wholes(called.value, "The list of shares", parties, below=MODULUS, hint=hint)
        d, e = x - a, y - b
        total, right = sum(got) % MODULUS, x * y % MODULUS
        mistakes = {
            "Here each party adds d e, and the sum has it once for each of them. One party adds it.": (
                x * y + (parties - 1) * d * e
            ),
            "The product d e is missing: xy = ab + d b + a e + d e. One party adds it.": x * y - d * e,
            "That is ab, the triple's own product.": a * b,
            "The factors are crossed: d = x - a belongs to b, and e = y - b to a.": a * b + d * a + e * b + d * e,
            "You multiply the parties' own shares. The sum of the products is not the product of the sums.": sum(
                one * other for one, other in zip(cut[0], cut[1], strict=True)
            ),
            "You open x + a. Open d = x - a: then xy = (a + d)(b + e).": (
                a * b + (x + a) * b + (y - b) * a + (x + a) * (y - b)
            ),
        }
        wrong = next((words for words, value in mistakes.items() if value % MODULUS == total), hint)
        expect(
            total == right,
            "The shares do not sum to the product xy modulo 2^64.",
            expected=right,
            got=total,
            hint=wrong,
        )
        expect(not called.changed, "You change the lists that you were given.", hint="Make a new list.")
        for party in range(parties):
            _expect_own(answer, dice, cut, party, got[party])


def _expect_own(answer: Answer, dice: Dice, cut: list[list[int]], party: int, before: int) -> None:
    """Change what the others hold, leave d, e and this party's shares, and see that this party's result is the same."""
    parties = len(cut[0])
    others = [other for other in range(parties) if other != party]
    first, second = others[0], others[-1]
    x, y, a, b, c = (list(one) for one in cut)
    more, plus = draw(dice, MODULUS), draw(dice, MODULUS)
    for shared, mask, by in ((x, a, more), (y, b, plus)):
        shared[first] = (shared[first] + by) % MODULUS
        mask[first] = (mask[first] + by) % MODULUS
    c[second] = (c[second] + sum(a) * sum(b) - sum(c)) % MODULUS
    after = expect_wholes(answer(x, y, a, b, c), "The list of shares", parties, below=MODULUS)[party]
    expect(
        after == before,
        f"The result of party {party} depends on shares of the others, which it does not see.",
        expected="a result of its own five shares and of d and e",
        got="another result when only other parties' shares changed, and d and e did not",
        hint="Only d and e are opened. Who sums up x or y has opened the secret.",
    )
