"""Exercise 6: epsilon from below."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number, expect_unchanged
from llmsafety_lab.checks.differential_privacy.mean import refuses

PACKAGE = "llmsafety_lab.differential_privacy.audit"


def _refuted(guesses: int, correct: int, tail: float) -> float:
    """Return the epsilon from Clopper and Pearson's lower end, which is a quantile of a beta distribution."""
    if correct == 0:
        return 0.0
    share = float(stats.beta.ppf(tail, correct, guesses - correct + 1))
    return max(math.log(share / (1 - share)), 0.0)


@exercise(
    "differential_privacy.audit",
    "Epsilon from below",
    points=4,
    difficulty=4,
    importance=4,
    minutes=13,
    answer="audit_epsilon",
    forbid=(f"{PACKAGE}.audit", f"{PACKAGE}.refuted", f"{PACKAGE}.p_value"),
    mutants=(
        Mutant(
            "no interval",
            "    if tail(0.0) > 1 - level:",
            "    return max(float(np.log((correct + 1e-9) / (guesses - correct + 1e-9))), 0.0)\n"
            "    if tail(0.0) > 1 - level:",
            "luck",
        ),
        Mutant("two-sided", "tail(epsilon) - (1 - level)", "tail(epsilon) - (1 - level) / 2", "one side"),
        Mutant(
            "nobody abstains", "half = guesses // 2", "half, guesses = len(order) // 2, len(order) // 2 * 2", "abstain"
        ),
        Mutant(
            "only those in",
            "members[order[-half:]].sum() + (~members[order[:half]]).sum()",
            "2 * members[order[-half:]].sum()",
            "lowest",
        ),
        Mutant("turned round", "np.argsort(scores)", "np.argsort(-scores)", "turned round"),
        Mutant("more than, not at least", "binom.sf(correct - 1,", "binom.sf(correct,", "at least"),
        Mutant("negative epsilon", "        return 0.0", "        return -0.1", "negative"),
        Mutant("by the logarithm of 2", "1 / (1 + np.exp(-epsilon))", "1 / (1 + 2.0**-epsilon)", "natural"),
        Mutant("for e^epsilon", "1 / (1 + np.exp(-epsilon))", "min(0.5 * np.exp(epsilon), 1.0)", "e^eps / (1 + e^eps)"),
        Mutant("the upper end", "tail(epsilon) - (1 - level)", "tail(epsilon) - level", "upper"),
        Mutant("odd guesses", "guesses % 2 or ", "", "odd"),
    ),
)
def check_audit(answer: Answer, dice: Dice) -> None:
    hint = "The largest epsilon at which so many right guesses, or more, still have a probability of at most 1 - level."
    for effect, level in ((1.6, 0.95), (0.9, 0.9), (2.2, 0.99)):
        records, guesses = dice.integer(300, 400), 2 * dice.integer(45, 60)
        members = (dice.uniform(records) < 0.5).numpy()
        scores = dice.normal(records).numpy() + effect * members
        order, half = np.argsort(scores), guesses // 2
        high, low = int(members[order[-half:]].sum()), int((~members[order[:half]]).sum())
        correct = high + low
        right = _refuted(guesses, correct, 1 - level)
        called = answer.trace(scores, members, guesses, level)
        got = expect_number(called.value, "The audited epsilon")
        every = int((members[order[-(records // 2) :]]).sum() + (~members[order[: records // 2]]).sum())
        share = lambda p: math.log(p / (1 - p)) if 0 < p < 1 else 0.0  # noqa: E731
        upper = float(stats.beta.ppf(level, correct, guesses - correct + 1))
        beyond = float(stats.beta.ppf(1 - level, correct + 1, guesses - correct))
        clopper = float(stats.beta.ppf(1 - level, correct, guesses - correct + 1))
        mistakes = {
            "That is the log odds of the right guesses, with no room for luck: take the tail of the binomial.": share(
                correct / guesses
            ),
            "You split what is left of the level on two sides. Only one side is asked: a lower bound.": _refuted(
                guesses, correct, (1 - level) / 2
            ),
            "You guess for all records. Guess for `guesses` of them, the surest, and abstain for the others.": _refuted(
                records // 2 * 2, every, 1 - level
            ),
            "You count only the guesses that say in. The lowest scores are guesses, too: out.": _refuted(
                guesses, 2 * high, 1 - level
            ),
            "Your guesses are turned round: high scores say in.": _refuted(guesses, guesses - correct, 1 - level),
            "The probability of *at least* so many right ones is asked: binom.sf(correct - 1, ...).": share(beyond),
            "Epsilon is taken by the natural logarithm.": max(share(clopper), 0.0) / math.log(2),
            "A guess against an epsilon-private procedure is right with at most e^eps / (1 + e^eps).": max(
                math.log(2 * clopper), 0.0
            ),
            "That is an upper end: an audit proves that epsilon is *at least* something.": share(upper),
        }
        near = lambda value, got=got: abs(got - value) < 2e-3  # noqa: E731
        words = next((w for w, value in mistakes.items() if near(value) and abs(value - right) > 3e-3), hint)
        what = f"The epsilon that {correct} right guesses of {guesses} refute at {level:.0%}"
        expect(near(right), f"{what} is wrong.", expected=right, got=got, hint=words)
        expect_unchanged(called)
    members = (dice.uniform(60) < 0.5).numpy()
    scores = 0.01 * dice.normal(60).numpy() - members.astype(float)
    got = expect_number(answer(scores, members, 40, 0.95), "The epsilon where the guesses are all wrong")
    expect(
        abs(got) < 1e-6,
        "Where the guesses are no better than coins nothing is refuted.",
        expected=0.0,
        got=got,
        hint="Epsilon is never negative: return 0 where even an epsilon of 0 explains the guesses.",
    )
    refuses(answer, scores, members, 41, 0.95, because="An odd number of guesses has no two equal halves: refuse it.")
