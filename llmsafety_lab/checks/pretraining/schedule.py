"""Exercise 2: the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_number


@exercise(
    "pretraining.schedule",
    "Warm up, then go down",
    points=2,
    difficulty=1,
    importance=3,
    minutes=6,
    answer="warm_linear",
    mutants=(
        Mutant("first step of no size", "return (step + 1) / warmup", "return step / warmup", "first step"),
        Mutant(
            "falls from the start",
            "return (steps - step) / (steps - warmup)",
            "return (steps - step) / steps",
            "jumps down",
        ),
        Mutant("never falls", "return (steps - step) / (steps - warmup)", "return 1.0", "stays"),
        Mutant("rises at the end", "return (steps - step) /", "return (step - warmup) /", "it rises"),
        Mutant("warm-up too long", "if step < warmup:", "if step <= warmup:", "one step too long"),
        Mutant("warm-up ends below", "(step + 1) / warmup", "(step + 1) / (warmup + 1)", "the whole at its last step"),
        Mutant(
            "last step of no size",
            "return (steps - step) / (steps - warmup)",
            "return (steps - step - 1) / (steps - warmup - 1)",
            "last step does nothing",
        ),
        Mutant(
            "falls too early",
            "return (steps - step) / (steps - warmup)",
            "return (steps - step - 1) / (steps - warmup)",
            "one step too early",
        ),
        Mutant(
            "never the whole",
            "return (steps - step) / (steps - warmup)",
            "return (steps - step) / (steps - warmup + 1)",
            "starts from the whole",
        ),
        Mutant("no warm-up", "if step < warmup:", "if step < 0:", "no warm-up"),
        Mutant(
            "a cosine",
            "return (steps - step) / (steps - warmup)",
            "return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2",
            "cosine",
        ),
        Mutant(
            "whole numbers", "(steps - step) / (steps - warmup)", "(steps - step) // (steps - warmup)", "whole numbers"
        ),
        Mutant("a floor", "return (steps - step) /", "return 0.1 + 0.9 * (steps - step) /", "down to 0"),
    ),
)
def check_schedule(answer: Answer, dice: Dice) -> None:
    for steps, warmup in ((dice.integer(40, 60), dice.integer(4, 9)), (12, 0)):
        got = torch.zeros(steps, dtype=torch.float64)
        for step in dice.uniform(steps).argsort().tolist():  # in no order, so that nobody counts the calls
            got[step] = expect_number(answer(step, steps, warmup), f"The share at step {step}", hint="Return a number.")
        what = f"of {steps} steps with {warmup} of warm-up"
        exact, mistakes = _curves(steps, warmup)
        expect(
            float(got[0]) > 0,
            f"The share at step 0 {what} is {got[0]:.3g}: the first step does nothing.",
            expected=f"{1 / max(1, warmup):.4f}",
            got=float(got[0]),
            hint="Steps are counted from 0, and the warm-up's last step has the whole rate.",
        )
        hint = "A line up to 1 in the warm-up, then a line down to 0, which the step after the last would get."
        expect_close(got, exact, f"The share {what}", mistakes=mistakes, hint=hint)


def _curves(steps: int, warmup: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the shares of all steps, and what mistakes make of them."""
    rest = steps - warmup

    def climb(step: int) -> float:
        return (step + 1) / warmup

    def fall(step: int) -> float:
        return (steps - step) / rest

    def shares(fall: Callable[[int], float], climb: Callable[[int], float] = climb, ends: int = warmup) -> Tensor:
        return torch.tensor([climb(s) if s < ends else fall(s) for s in range(steps)], dtype=torch.float64)

    mistakes = {
        "It jumps down after the warm-up: the line starts from the whole at its end.": shares(lambda s: 1 - s / steps),
        "It stays at the whole: after the warm-up it falls to 0.": shares(lambda s: 1.0),
        "After the warm-up it rises: it has to fall, from 1 to 0.": shares(lambda s: 1 - fall(s)),
        "That is a cosine: a line is asked for.": shares(lambda s: (1 - math.cos(math.pi * fall(s))) / 2),
        "The last step does nothing: the line reaches 0 at step `steps`, which is never taken.": shares(
            lambda s: (steps - s - 1) / (rest - 1)
        ),
        "The line begins to fall one step too early: step `warmup` has the whole.": shares(
            lambda s: (steps - s - 1) / rest
        ),
        "The line never has the whole: it starts from the whole at step `warmup`.": shares(
            lambda s: (steps - s) / (rest + 1)
        ),
        "These are whole numbers: divide with `/`, not with `//`.": shares(lambda s: math.floor(fall(s))),
    }
    if warmup:
        mistakes |= {
            "The warm-up is one step too long: its last step is warmup - 1.": shares(fall, ends=warmup + 1),
            "The warm-up has to have the whole at its last step: step 0 has 1 / warmup.": shares(
                fall, lambda s: (s + 1) / (warmup + 1)
            ),
            "There is no warm-up.": shares(fall, fall),
            "There is no warm-up: it falls from step 0 on.": shares(lambda s: 1 - s / steps, ends=0),
            "The warm-up is multiplied by the fall: the fall begins when it is over.": shares(
                lambda s: 1 - s / steps, lambda s: climb(s) * (1 - s / steps)
            ),
        }
    return shares(fall), mistakes
