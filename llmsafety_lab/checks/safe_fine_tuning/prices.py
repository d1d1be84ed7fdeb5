"""Exercise 4: the price of a constraint, against arithmetic."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_number, expect_unchanged
from llmsafety_lab.checks.safe_fine_tuning.common import PACKAGE


@exercise(
    "safe_fine_tuning.lagrangian",
    "A price that learns",
    points=3,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="Lagrangian",
    forbid=(f"{PACKAGE}.constraints.Lagrangian",),
    mutants=(
        Mutant(
            "a negative price",
            "max(0.0, self.multiplier + self.rate * (float(cost) - self.limit))",
            "self.multiplier + self.rate * (float(cost) - self.limit)",
            "below 0",
        ),
        Mutant(
            "it falls while missed",
            "self.rate * (float(cost) - self.limit)",
            "self.rate * (self.limit - float(cost))",
            "wrong direction",
        ),
        Mutant("the limit left out", "(float(cost) - self.limit))", "float(cost))", "only rises"),
        Mutant("the rate left out", "self.rate * (float(cost)", "(float(cost)", "rate"),
        Mutant(
            "the objective rewards cost",
            "(reward - self.multiplier * (cost - self.limit))",
            "(reward + self.multiplier * (cost - self.limit))",
            "takes off",
        ),
        Mutant("not divided", " / (1 + self.multiplier)", "", "1 + multiplier"),
        Mutant("cost without limit", "(cost - self.limit)", "cost", "minus the limit"),
        Mutant("never updated", "self.multiplier = max(", "return max(", "remember"),
        Mutant("starts at nothing", "float(start)", "0.0", "start"),
        Mutant(
            "capped at one",
            "max(0.0, self.multiplier + self.rate * (float(cost) - self.limit))",
            "min(1.0, max(0.0, self.multiplier + self.rate * (float(cost) - self.limit)))",
            "upper",
        ),
        Mutant(
            "capped at ten",
            "max(0.0, self.multiplier + self.rate * (float(cost) - self.limit))",
            "min(10.0, max(0.0, self.multiplier + self.rate * (float(cost) - self.limit)))",
            "no upper end",
        ),
        Mutant(
            "one multiplier for all objects",
            "self.limit, self.rate, self.multiplier = limit, rate, float(start)",
            "self.limit, self.rate = limit, rate\n        Lagrangian.multiplier = float(start)",
            "keep it in self",
        ),
        Mutant(
            "a start of its own",
            "start: float = 0.0",
            "start: float = 1.0",
            "Without an argument start",
        ),
        Mutant(
            "the cost changed in place",
            "return (reward - self.multiplier * (cost - self.limit))",
            "cost -= self.limit\n        return (reward - self.multiplier * cost)",
            "in place",
        ),
        Mutant(
            "the multiplier before",
            "return self.multiplier",
            "return self.multiplier - self.rate * (float(cost) - self.limit)",
            "not the one before",
        ),
        Mutant("the size of the miss", "(float(cost) - self.limit))", "abs(float(cost) - self.limit))", "only rises"),
    ),
)
def check_lagrangian(answer: Answer, dice: Dice) -> None:
    limit, rate, start = (
        0.05 + 0.3 * dice.uniform(1).item(),
        0.5 + dice.uniform(1).item(),
        0.2 + dice.uniform(1).item(),
    )
    price, other = answer.new(limit, rate, start), answer.new(limit, rate)
    reward, cost = dice.normal(6), dice.uniform(6)
    expected = (reward - start * (cost - limit)) / (1 + start)
    mistakes = {
        "An unsafe answer is dear: the objective takes off multiplier * (cost - limit).": (
            reward + start * (cost - limit)
        )
        / (1 + start),
        "Divide by 1 + multiplier, or the steps grow with the price.": reward - start * (cost - limit),
        "The price is on the cost minus the limit.": (reward - start * cost) / (1 + start),
        "The first multiplier is the argument start, and every object has its own: keep it in self.": reward,
        "Where the cost is below the limit there is room, and that counts, too: do not cut it off at 0.": (
            reward - start * (cost - limit).clamp(min=0)
        )
        / (1 + start),
    }
    called = price.trace("objective", reward, cost, by=())
    expect_close(called.value, expected, "The objective before any update", mistakes=mistakes)
    expect_unchanged(called)
    multiplier = start
    costs = [0.9, 0.95, 0.7 + 0.2 * dice.uniform(1).item(), 0.0, 0.0, 0.0, *[0.0] * 24, 0.8]
    for number, mean in enumerate(costs):
        before, multiplier = multiplier, max(0.0, multiplier + rate * (mean - limit))
        got = expect_number(price.update(mean), f"The multiplier after update {number + 1}")
        if abs(got - multiplier) < 1e-9:
            continue
        hints = {
            "Below the limit there is room, and the price falls. Yours only rises.": before + rate * mean,
            "The step of dual ascent is rate times the excess: you left the rate out.": before + (mean - limit),
            "The price has no upper end.": 1.0,
            "Return the new multiplier, not the one before.": before,
        }
        turned = before + rate * (limit - mean)
        if mean > limit:
            words = "The constraint is missed and the price falls: it moves in the wrong direction."
            hints |= {words: turned, words.replace("falls:", "falls to 0:"): max(0.0, turned)}
        else:
            hints["There is room, and the price falls then. Yours only rises."] = turned
        hint = next((text for text, value in hints.items() if abs(got - value) < 1e-9), "")
        if got < 0:
            hint = "The multiplier is below 0: a negative price pays for unsafe answers. It is 0 at least."
        if not hint and number:
            hint = "Does the object remember the multiplier of the update before?"
        raise Failed(
            f"The multiplier after update {number + 1} is wrong: {before:.3f}, cost {mean:.2f}, limit {limit:.2f}.",
            expected=multiplier,
            got=got,
            hint=hint,
        )
    expected = (reward - multiplier * (cost - limit)) / (1 + multiplier)
    words = "The objective knows the first multiplier only, and not what the updates made of it."
    expect_close(
        price.objective(reward, cost),
        expected,
        "The objective after the updates",
        mistakes={words: (reward - start * (cost - limit)) / (1 + start)},
    )
    expect_close(
        other.objective(reward, cost),
        reward,
        "The objective of a second object, made without a start and before the first one's updates",
        mistakes={
            "What the first object learnt is in the second one. Keep the multiplier in self.": expected,
            "Without an argument start the first multiplier is 0.": (reward - (cost - limit)) / 2,
        },
    )
    expect(
        abs(expect_number(answer.new(limit, 100 * rate).update(1.0), "The multiplier") - 100 * rate * (1 - limit))
        < 1e-6,
        "The multiplier is wrong after a large step.",
        expected=100 * rate * (1 - limit),
        hint="The price has no upper end.",
    )
