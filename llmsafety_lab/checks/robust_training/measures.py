"""Exercise 6: the accuracy that is reported."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_list, expect_number, expect_unchanged

_Z = 1.959964


def _wilson(count: int, of: int) -> list[float]:
    """Return the share and the two p at which it lies 1.96 standard errors away: the roots of Wilson's equation."""
    share = count / of
    a, b, c = 1 + _Z**2 / of, -(2 * share + _Z**2 / of), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return [share, (-b - root) / (2 * a), (-b + root) / (2 * a)]


def _three(reply: Any) -> Tensor:
    numbers = expect_list(reply, "The answer", length=3, expected="(share, low, high), plain numbers")
    return torch.tensor([expect_number(value, "Each of the three") for value in numbers], dtype=torch.float64)


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
        Mutant(
            "plain mean",
            "    return wilson(int(held.sum()), len(labels))",
            "    each = [((clean == labels) & (predicted == labels)).sum() for predicted in attacked]\n"
            "    return wilson(int(sum(each) / len(each)), len(labels)) if each else (0.0, 0.0, 0.0)",
            "mean over the attacks",
        ),
        Mutant("attacks not used", "held &= predicted == labels", "pass", "attacks are not used"),
        Mutant(
            "always three",
            "for predicted in attacked:",
            "for predicted in (attacked[0], attacked[1], attacked[2]):",
            "IndexError",
        ),
        Mutant("first two attacks", "for predicted in attacked:", "for predicted in attacked[:2]:", "first two"),
        Mutant(
            "clean answers changed",
            "    held = clean == labels",
            "    held = clean == labels\n    clean[~held] = -1",
            "in place",
        ),
        Mutant("list emptied", "    return wilson", "    attacked.clear()\n    return wilson", "in place"),
        Mutant(
            "percents",
            "return wilson(int(held.sum()), len(labels))",
            "return tuple(100 * x for x in wilson(int(held.sum()), len(labels)))",
            "percents",
        ),
        Mutant(
            "the strongest attack",
            "    return wilson(int(held.sum()), len(labels))",
            "    held = min((predicted == labels for predicted in attacked), key=sum)\n"
            "    return wilson(int(held.sum()), len(labels))",
            "strongest attack alone",
        ),
    ),
)
def check_report(answer: Answer, dice: Dice) -> None:
    for _ in range(1_000):
        of = dice.integer(150, 200)
        labels = dice.integers(0, 1, of)
        flipped = [dice.uniform(of) < share for share in (0.3, 0.3, 0.3, 0.2)]
        clean, *attacked = [torch.where(flip, 1 - labels, labels) for flip in flipped]
        right = clean == labels
        holds = torch.stack([predicted == labels for predicted in attacked])
        stood = int((right & holds.all(0)).sum())
        shares = _shares(labels, clean, attacked)
        if stood and not any(abs(value * of - stood) < 2 for value in shares.values()) and _apart(shares, of):
            break
    called = answer.trace(labels, clean, attacked)
    got = _three(called.value)
    shares |= _more_shares(labels, clean, attacked)
    hints = [words for words, value in shares.items() if abs(float(got[0]) - value) < 1 / of]
    exact = torch.tensor(_wilson(stood, of), dtype=torch.float64)
    hint = "The share of all texts that are right as they are and under every attack: wilson(count, of)."
    hint = hints[0] if hints else hint
    mistakes = {
        "The share comes first, then the lower end, then the upper one.": exact[[1, 0, 2]],
        "These are percents: return shares from 0 to 1.": 100 * exact,
    }
    expect_close(got, exact, "The share and its interval", tolerance=1e-5, mistakes=mistakes, hint=hint)
    expect_unchanged(called)
    for some, held in ((attacked[:1], right & holds[0]), ([], right)):
        got = _three(answer(labels, clean, some))
        exact = torch.tensor(_wilson(int(held.sum()), of), dtype=torch.float64)
        expect_close(got, exact, f"The share and its interval with {len(some)} attacks", tolerance=1e-5)


def _shares(labels: Tensor, clean: Tensor, attacked: list[Tensor]) -> dict[str, float]:
    """Return the share that each mistake gives."""
    right, holds = clean == labels, torch.stack([predicted == labels for predicted in attacked])
    every = right & holds.all(0)
    one = (
        "A text that fell to one attack counts as lost, whatever the others did to it: it has to hold under every "
        "attack."
    )
    mean = (
        "This is the mean over the attacks: an attacker takes for each text the one that works, so it has to hold "
        "under every attack."
    )
    masks = {
        one: right & holds.any(0),
        "It has to hold under every attack, and as it is.": right | holds.any(0),
        "A text has to be right without any attack, too: doing nothing is within the budget.": holds.all(0),
        "This is the accuracy without any attack: the attacks are not used.": right,
        "Only the last attack was counted.": right & holds[-1],
        "Only the first attack was counted.": right & holds[0],
        "This counts texts whose answer stayed the same, wrong ones among them.": (
            torch.stack([clean == predicted for predicted in attacked]).all(0)
        ),
        "This is the share that fell.": ~every,
    }
    among = "The denominator is all texts: robust accuracy is compared with clean accuracy, which counts them all."
    found = {words: float(mask.double().mean()) for words, mask in masks.items()}
    found |= {
        among: float(every.sum()) / max(1, int(right.sum())),
        mean: float((right & holds).double().mean()),
        f"{mean} And it has to be right as it is.": float(holds.double().mean()),
        f"{mean} The clean answers are one more condition, not one more attack.": float(
            torch.cat([right[None], holds]).double().mean()
        ),
    }
    return found


def _more_shares(labels: Tensor, clean: Tensor, attacked: list[Tensor]) -> dict[str, float]:
    """Return the shares of mistakes that may be taken for others."""
    holds = torch.stack([clean, *attacked]) == labels
    each = holds.double().mean(1)
    return {
        "Only the first two attacks were counted.": float(holds[:3].all(0).double().mean()),
        "The first attack was left out.": float(holds[[0, *range(2, len(holds))]].all(0).double().mean()),
        "This is the accuracy under the strongest attack alone: another attack fells other texts.": float(
            each[1:].min()
        ),
        "You multiplied the accuracies, as if the attacks fell on texts by chance: count the texts.": float(
            each.prod()
        ),
        "The denominator is the number of texts, not of texts times attacks.": (
            float(holds.all(0).double().mean()) / len(attacked)
        ),
    }


def _apart(shares: dict[str, float], of: int) -> bool:
    """Say whether no two mistakes can be taken for each other."""
    ranked = sorted(shares.values())
    return all(later - earlier > 2 / of for earlier, later in itertools.pairwise(ranked))
