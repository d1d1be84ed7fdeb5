"""Exercise 1: how much noise a mean needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number


def refuses(answer: Answer, *arguments: Any, because: str) -> None:
    """Fail unless the answer raises a ValueError for these arguments."""
    try:
        got = answer(*arguments)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise Failed(because, expected="a ValueError", got=f"{failed.message} {failed.got or ''}") from None
    raise Failed(because, expected="a ValueError", got=got)


@exercise(
    "differential_privacy.mean",
    "How much noise a mean needs",
    points=2,
    difficulty=1,
    importance=5,
    minutes=7,
    answer="noisy_mean",
    forbid=("llmsafety_lab.differential_privacy.mechanisms.private_mean",),
    mutants=(
        Mutant("noise for a sum", "(high - low) / len(clamped) / epsilon", "(high - low) / epsilon", "a sum needs"),
        Mutant("noise times epsilon", "len(clamped) / epsilon", "len(clamped) * epsilon", "less noise"),
        Mutant("nothing clamped", "np.clip(np.asarray(values, dtype=float), low, high)", "np.asarray(values)", "Clamp"),
        Mutant(
            "the mean clamped",
            "np.clip(np.asarray(values, dtype=float), low, high)",
            "np.full(len(values), np.clip(np.mean(values), low, high))",
            "each value",
        ),
        Mutant("the values' own range", "(high - low)", "(clamped.max() - clamped.min())", "looks at the values"),
        Mutant("the largest value", "(high - low)", "max(abs(low), abs(high))", "exchanged"),
        Mutant("no noise", " + scale * draw", "", "no noise"),
        Mutant("noise for two", "(high - low)", "2 * (high - low)", "twice"),
        Mutant("noise of size 1", "scale * draw", "draw", "as it came"),
        Mutant("takes any epsilon", "or not epsilon > 0", "", "epsilon"),
        Mutant("a range turned round", "not low < high", "low == high", "low below high"),
        Mutant(
            "the result clamped",
            "float(clamped.mean() + scale * draw)",
            "float(np.clip(clamped.mean() + scale * draw, low, high))",
            "clamp the result",
        ),
        Mutant(
            "outliers dropped",
            "np.clip(np.asarray(values, dtype=float), low, high)",
            "np.array([value for value in values if low <= value <= high])",
            "leave out",
        ),
        Mutant("the size of the noise alone", "scale * draw", "scale * abs(draw)", "sign"),
    ),
)
def check_mean(answer: Answer, dice: Dice) -> None:
    for case in range(4):
        low = float(dice.integer(-9, 6))
        high = low + float(dice.integer(3, 9))
        epsilon, draw = 0.2 + 2 * float(dice.uniform(1)), 0.5 + 2 * float(dice.uniform(1))
        draw *= (-1) ** case
        if case == 3:
            epsilon, draw = epsilon / 11, draw - 3  # so much noise that the result leaves the range
        count = dice.integer(5, 12)
        values = (low + (high - low) * dice.uniform(count)).numpy()
        values = np.clip(values, low + 0.4, high - 0.4)
        values[0] = high + 7.5 + 10 * float(dice.uniform(1))
        values[1] = low - 1.5 if case < 2 else values[1]
        clamped = np.clip(values, low, high)
        mean, width = float(clamped.mean()), high - low
        right = mean + width / count / epsilon * draw
        got = expect_number(answer(values.tolist(), low, high, epsilon, draw), "The noisy mean")
        own = float(clamped.max() - clamped.min())
        mistakes = {
            "That much noise a sum needs. One exchanged value moves the mean by the range divided by the number of "
            "values.": mean + width / epsilon * draw,
            "Your noise grows with epsilon. A large epsilon is weak protection: less noise. Divide.": mean
            + width / count * epsilon * draw,
            "Clamp each value into the range first: a value outside of it moves the mean by more than you allow "
            "for.": float(values.mean()) + width / count / epsilon * draw,
            "You clamp the mean. Clamp each value: one large value has moved the mean before.": float(
                np.clip(values.mean(), low, high)
            )
            + width / count / epsilon * draw,
            "Your scale looks at the values: their own range tells who is in. Take the range that was given.": mean
            + own / count / epsilon * draw,
            "A value may be exchanged for any other of the range, so the mean moves by its width: high - low.": mean
            + max(abs(low), abs(high)) / count / epsilon * draw,
            "There is no noise in the answer.": mean,
            "That is twice the noise: an exchanged value moves the mean by (high - low) / n, not twice that.": mean
            + 2 * width / count / epsilon * draw,
            "You clamp the result as well: then it is no longer the mean with its noise.": float(
                np.clip(right, low, high)
            ),
            "You leave out values outside of the range. Then their number tells who is in: clamp them.": float(
                values[(low <= values) & (values <= high)].mean()
            )
            + width / int(((low <= values) & (values <= high)).sum()) / epsilon * draw,
            "The draw keeps its sign: noise of one sign would shift the mean.": mean
            + width / count / epsilon * abs(draw),
            "You subtract the draw. Add it, with its sign.": mean - width / count / epsilon * draw,
            "You add the draw as it came. Multiply it by the scale.": mean + draw,
        }
        hint = next((w for w, value in mistakes.items() if abs(got - value) < 1e-6 < abs(value - right)), "")
        hint = hint or "The clamped values' mean, plus draw times (high - low) / n / epsilon."
        expect(abs(got - right) < 1e-6, "The noisy mean is wrong.", expected=right, got=got, hint=hint)
    few = dice.uniform(5).tolist()
    refuses(answer, few, 0.0, 1.0, 0.0, 0.3, because="An epsilon of 0 needs infinite noise: refuse it.")
    refuses(answer, few, 0.0, 1.0, -1.0, 0.3, because="A negative epsilon is no protection: refuse it.")
    refuses(answer, few, 1.0, 1.0, 1.0, 0.3, because="A range has low below high.")
    refuses(answer, few, 2.0, 1.0, 1.0, 0.3, because="A range has low below high.")
