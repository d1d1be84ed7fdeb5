"""Exercise 5: which parts of a change matter."""

from __future__ import annotations

from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_pair, expect_unchanged


@exercise(
    "parameter_efficient.importance",
    "What the loss would miss",
    points=3,
    difficulty=3,
    importance=3,
    minutes=8,
    answer="update_importance",
    mutants=(
        Mutant("importance without smoothing", "beta1 * sensitivity + (1 - beta1) * now", "now", "not smoothed"),
        Mutant(
            "betas turned round",
            "beta1 * sensitivity + (1 - beta1) * now",
            "(1 - beta1) * sensitivity + beta1 * now",
            "old",
        ),
        Mutant("sign kept", "now = (weight * gradient).abs()", "now = weight * gradient", "sign"),
        Mutant("gradient alone", "(weight * gradient).abs()", "gradient.abs()", "gradient alone"),
        Mutant(
            "uncertainty without smoothing",
            "beta2 * uncertainty + (1 - beta2) * (now - sensitivity).abs()",
            "(now - sensitivity).abs()",
            "not smoothed",
        ),
        Mutant(
            "against the old mean",
            "    sensitivity = beta1 * sensitivity + (1 - beta1) * now\n",
            "    old = sensitivity\n    sensitivity, old = beta1 * old + (1 - beta1) * now, old\n"
            "    return sensitivity, beta2 * uncertainty + (1 - beta2) * (now - old).abs()\n",
            "new sensitivity",
        ),
        Mutant("another beta by default", "beta1: float = 0.85", "beta1: float = 0.5", "without betas"),
        Mutant("another beta2 by default", "beta2: float = 0.85", "beta2: float = 0.9", "without betas"),
        Mutant(
            "in place",
            "    sensitivity = beta1 * sensitivity + (1 - beta1) * now",
            "    sensitivity = sensitivity.mul_(beta1).add_((1 - beta1) * now)",
            "in place",
        ),
        Mutant("gradient changed", "(weight * gradient).abs()", "gradient.mul_(weight).abs_()", "in place"),
        Mutant("added whole", "(1 - beta1) * now", "now", "added whole"),
        Mutant("beta1 ignored", "beta1 * sensitivity + (1 - beta1)", "0.85 * sensitivity + 0.15", "is an argument"),
        Mutant("squared", "(now - sensitivity).abs()", "(now - sensitivity) ** 2", "squared the distance"),
        Mutant("betas swapped", "beta1 * sensitivity + (1 - beta1)", "beta2 * sensitivity + (1 - beta2)", "swapped"),
    ),
)
def check_importance(answer: Answer, dice: Dice) -> None:
    shape = (dice.integer(2, 3), dice.integer(3, 4))
    weight, gradient = dice.normal(*shape), dice.normal(*shape)
    weight[0, 0], gradient[0, 0] = weight[0, 0].abs() + 0.5, -gradient[0, 0].abs() - 0.5
    old, spread = dice.uniform(*shape) + 0.1, dice.uniform(*shape) + 0.1
    beta1, beta2 = 0.6 + 0.05 * dice.integer(0, 2), 0.75 + 0.05 * dice.integer(0, 1)

    def mean(now: Tensor, beta: float = beta1) -> Tensor:
        return beta * old + (1 - beta) * now

    def spreads(now: Tensor, middle: Tensor) -> Tensor:
        return beta2 * spread + (1 - beta2) * (now - middle).abs()

    signed = weight * gradient
    now = signed.abs()
    called = answer.trace(weight, gradient, old, spread, beta1, beta2)
    reply = expect_pair(called.value, "The answer", expected="(sensitivity, uncertainty)")
    wrong = {
        "The sensitivity is not smoothed: one batch says little, so keep beta1 of the old value.": now,
        "Beta says how much of the old value stays, 1 - beta how much of the new one comes in.": mean(now, 1 - beta1),
        "Take weight times gradient without its sign: a change for the better is a change, too.": mean(signed),
        "You took the gradient alone. A weight near zero can be left out whatever its gradient is.": mean(
            gradient.abs()
        ),
        "The old value was added whole: keep beta1 of it.": old + (1 - beta1) * now,
        "The new value was added whole: 1 - beta1 of it comes in.": beta1 * old + now,
        "You squared weight times gradient: take its absolute value.": mean(signed**2),
        "You added weight and gradient: multiply them.": mean(weight.abs() + gradient.abs()),
        "beta1 is an argument: yours is 0.85, whatever it says.": mean(now, 0.85),
        "The two betas are swapped: beta1 is the sensitivity's.": mean(now, beta2),
        "You took the mean over all numbers: each has an importance of its own.": mean(now.mean().expand_as(now)),
        "The absolute value belongs to weight times gradient, before the smoothing.": mean(signed).abs(),
        "These are the uncertainties: return the sensitivity first.": spreads(now, mean(now)),
        "You took the weight alone: a large weight that the loss does not feel is not important.": mean(weight.abs()),
    }
    hint = "beta1 * old + (1 - beta1) * |weight * gradient|."
    expect_close(reply[0], mean(now), "The sensitivity", mistakes=wrong, hint=hint)
    wrong = {
        "The uncertainty is not smoothed: keep beta2 of the old value.": (now - mean(now)).abs(),
        "Measure the distance from the new sensitivity, smoothed with this step.": spreads(now, old),
        "Take the distance without its sign.": beta2 * spread + (1 - beta2) * (now - mean(now)),
        "The distance came in whole: 1 - beta2 of it does.": beta2 * spread + (now - mean(now)).abs(),
        "Beta says how much of the old value stays, 1 - beta2 how much of the new one comes in.": (
            (1 - beta2) * spread + beta2 * (now - mean(now)).abs()
        ),
        "You squared the distance: take its absolute value.": beta2 * spread + (1 - beta2) * (now - mean(now)) ** 2,
        "Measure the distance between this step's importance and the sensitivity, not between two sensitivities.": (
            spreads(mean(now), old)
        ),
        "This is the product of both, the importance: return the two.": mean(now) * spreads(now, mean(now)),
        "beta2 is an argument: yours is 0.85, whatever it says.": (
            0.85 * spread + (1 - 0.85) * (now - mean(now)).abs()
        ),
        "The uncertainty has a beta of its own, beta2.": beta1 * spread + (1 - beta1) * (now - mean(now)).abs(),
    }
    hint = "beta2 * old + (1 - beta2) * |now - sensitivity|, with the sensitivity that you return."
    expect_close(reply[1], spreads(now, mean(now)), "The uncertainty", mistakes=wrong, hint=hint)
    lost = "You changed an argument in place: the averages of the other weights still need it. Make new tensors."
    expect_unchanged(called, message=lost)
    beta1 = beta2 = 0.85
    reply = expect_pair(answer(weight, gradient, old, spread), "The answer", expected="(sensitivity, uncertainty)")
    hint = "Where none are given, both betas are 0.85, as in the stub."
    expect_close(reply[0], mean(now, beta1), "The sensitivity of a call without betas", hint=hint)
    expect_close(reply[1], spreads(now, mean(now, beta1)), "The uncertainty of a call without betas", hint=hint)
