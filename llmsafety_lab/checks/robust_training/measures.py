"""Exercise 6: the accuracy that is reported."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close

_Z = 1.959964


def _wilson(count: int, of: int) -> list[float]:
    """Return the share and the two p at which it lies 1.96 standard errors away: the roots of Wilson's equation."""
    share = count / of
    a, b, c = 1 + _Z**2 / of, -(2 * share + _Z**2 / of), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return [share, (-b - root) / (2 * a), (-b + root) / (2 * a)]


def _three(reply: Any) -> Tensor:
    numbers = isinstance(reply, tuple | list) and len(reply) == 3 and all(type(x) in (int, float) for x in reply)
    if numbers:
        return torch.tensor([float(x) for x in reply], dtype=torch.float64)
    kind = "None: is there a return statement?" if reply is None else f"{reply!r}"[:200]
    raise Failed("The answer is not three numbers.", expected="(share, low, high), plain numbers", got=kind)


@exercise(
    "robust_training.report",
    "What is left standing",
    points=2,
    difficulty=2,
    importance=5,
    minutes=6,
    answer="robust_accuracy",
    mutants=(
        Mutant("mean of the attacks", "held &= predicted == labels", "held |= predicted == labels", "every attack"),
        Mutant("clean forgotten", "held = clean == labels", "held = labels == labels", "without any attack"),
        Mutant("among those that were right", "len(labels)", "int((clean == labels).sum())", "all texts"),
        Mutant(
            "last attack wins",
            "held &= predicted == labels",
            "held = (clean == labels) & (predicted == labels)",
            "last attack",
        ),
        Mutant("attacks not used", "held &= predicted == labels", "pass", "attacks are not used"),
        Mutant(
            "always three",
            "for predicted in attacked:",
            "for predicted in (attacked[0], attacked[1], attacked[2]):",
            "IndexError",
        ),
    ),
)
def check_report(answer: Answer, dice: Dice) -> None:
    for _ in range(1_000):
        of = dice.integer(20, 30)
        labels = dice.integers(0, 1, of)
        flipped = [dice.uniform(of) < share for share in (0.3, 0.3, 0.3, 0.2)]
        clean, *attacked = [torch.where(flip, 1 - labels, labels) for flip in flipped]
        right = clean == labels
        holds = [predicted == labels for predicted in attacked]
        every = right & holds[0] & holds[1] & holds[2]
        counts = {
            "A text that fell to one attack counts as lost, whatever the others did to it: it has to hold under every "
            "attack.": int((right & (holds[0] | holds[1] | holds[2])).sum()),
            "It has to hold under every attack, and as it is.": int((right | holds[0] | holds[1] | holds[2]).sum()),
            "A text has to be right without any attack, too: doing nothing is within the budget.": (
                int((holds[0] & holds[1] & holds[2]).sum())
            ),
            "This is the accuracy without any attack: the attacks are not used.": int(right.sum()),
            "Only the last attack was counted.": int((right & holds[2]).sum()),
            "This counts texts whose answer stayed the same, wrong ones among them.": (
                int(((clean == attacked[0]) & (clean == attacked[1]) & (clean == attacked[2])).sum())
            ),
            "This is the share that fell.": of - int(every.sum()),
        }
        if len({int(every.sum()), *counts.values()}) == len(counts) + 1 and every.any():
            break
    mistakes = {words: torch.tensor(_wilson(count, of), dtype=torch.float64) for words, count in counts.items()}
    average = int(sum((right & held).sum() for held in holds)) / 3 / of
    amongst = _wilson(int(every.sum()), int(right.sum()))
    mistakes[
        "The denominator is all texts: robust accuracy is compared with clean accuracy, which counts them all."
    ] = torch.tensor(amongst, dtype=torch.float64)
    got = _three(answer(labels, clean, attacked))
    hint = ""
    if abs(float(got[0]) - average) < 1e-9:
        hint = (
            "This is the mean over the attacks: an attacker takes for each text the one that works, so it has to hold "
        )
        hint += "under every attack."
    exact = torch.tensor(_wilson(int(every.sum()), of), dtype=torch.float64)
    expect_close(got, exact, "The share and its interval", tolerance=1e-5, mistakes=mistakes, hint=hint)
    for some, held in ((attacked[:1], right & holds[0]), ([], right)):
        got = _three(answer(labels, clean, some))
        exact = torch.tensor(_wilson(int(held.sum()), of), dtype=torch.float64)
        expect_close(got, exact, f"The share and its interval with {len(some)} attacks", tolerance=1e-5)
