"""Exercises 5 and 6: how often an attack succeeds, and which tokens the perturbed vectors are next to."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor

_Z = 1.959964


def _ends(count: int, of: int) -> tuple[float, float, float]:
    """Return the share and the two p at which it lies 1.96 standard errors away: the roots of Wilson's equation."""
    share = count / of
    a, b, c = 1 + _Z**2 / of, -(2 * share + _Z**2 / of), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return share, (-b - root) / (2 * a), (-b + root) / (2 * a)


def _three(reply: Any) -> Tensor:
    numbers = isinstance(reply, tuple | list) and len(reply) == 3 and all(type(x) in (int, float) for x in reply)
    if numbers:
        return torch.tensor([float(x) for x in reply], dtype=torch.float64)
    kind = "None: is there a return statement?" if reply is None else f"{reply!r}"[:200]
    raise Failed("The answer is not three numbers.", expected="(share, low, high), plain numbers", got=kind)


def _wald(count: int, of: int) -> tuple[float, float, float]:
    p = count / of
    half = _Z * math.sqrt(p * (1 - p) / of)
    return p, p - half, p + half


@exercise(
    "adversarial_attacks.success",
    "A rate, and how sure it is",
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
    answer="attack_success_rate",
    mutants=(
        Mutant(
            "old errors counted", "(right & (attacked != labels)).sum()", "(attacked != labels).sum()", "wrong before"
        ),
        Mutant("all in the denominator", "int(right.sum()))", "len(labels))", "among all texts"),
        Mutant("counts what held", "(attacked != labels)", "(attacked == labels)", "accuracy"),
        Mutant(
            "normal approximation",
            "    return p, max(0.0, middle - half), min(1.0, middle + half)",
            "    half = z * math.sqrt(p * (1 - p) / of)\n    return p, p - half, p + half",
            "normal approximation",
        ),
        Mutant("one standard error", "half = z / shrink", "half = 1 / shrink", "1.96"),
    ),
)
def check_success(answer: Answer, dice: Dice) -> None:
    for kind in ("some", "all", "none"):
        of = dice.integer(22, 30)
        labels = dice.integers(0, 2, of)
        clean, attacked = labels.clone(), labels.clone()
        wrong, turned, lucky = dice.integer(4, 6), dice.integer(3, 5), 2
        clean[:wrong] = (labels[:wrong] + 1) % 3
        attacked[lucky:wrong] = clean[lucky:wrong]  # and the first were put right by the attack
        turned = {"some": turned, "all": of - wrong, "none": 0}[kind]
        attacked[wrong : wrong + turned] = (labels[wrong : wrong + turned] + dice.integer(1, 2)) % 3
        order = torch.argsort(dice.uniform(of))
        labels, clean, attacked = labels[order], clean[order], attacked[order]
        right, errors = of - wrong, turned + wrong - lucky
        wrongly: dict[str, tuple[float, float, float] | list[float]] = {
            "You counted texts that were wrong before the attack: they are no success of the attack.": (
                _ends(errors, right) if errors <= right else [math.nan] * 3
            ),
            "You took the share among all texts. The attack can only turn those that the model had right.": (
                _ends(turned, of)
            ),
            "This is the error under attack among all texts: texts that were wrong before count as successes.": (
                _ends(errors, of)
            ),
            "You counted the texts that held: this is an accuracy under attack and not its success.": (
                _ends(right - turned, right)
            ),
            "The interval is the normal approximation, which is wrong for few texts, and of width 0 for 0 of n. "
            "Use Wilson's.": _wald(turned, right),
        }
        exact = torch.tensor(_ends(turned, right), dtype=torch.float64)
        mistakes = {words: torch.tensor(value, dtype=torch.float64) for words, value in wrongly.items()}
        got = _three(answer(labels, clean, attacked))
        hint = "The middle is (p + z²/2n) / (1 + z²/n), and z is 1.96." if abs(got[0] - exact[0]) < 1e-6 else ""
        if not hint and errors > right:
            hint = "Count only texts that the model had right; those that were wrong before the attack are no success."
        what = f"The share and its interval, where the attack turned {kind} of the {right} texts that were right,"
        expect_close(got, exact, what, tolerance=1e-5, mistakes=mistakes, hint=hint)


@exercise(
    "adversarial_attacks.tokens",
    "Which words would that be?",
    points=2,
    difficulty=2,
    importance=3,
    minutes=6,
    answer="nearest_tokens",
    mutants=(
        Mutant("largest dot product", "(table**2).sum(-1) / 2 - embeddings", "-embeddings", "dot product"),
        Mutant("half forgotten", ".sum(-1) / 2", ".sum(-1)", "half"),
        Mutant("farthest", "argmin", "argmax", "farthest"),
        Mutant("over the wrong axis", "argmin(-1)", "argmin(1)", "shape"),
        Mutant("first row left out", ".argmin(-1)", "[..., 1:].argmin(-1) + 1", "first row"),
        Mutant("ids that are no integers", ".argmin(-1)", ".argmin(-1).double()", "integers"),
    ),
)
def check_tokens(answer: Answer, dice: Dice) -> None:
    for _ in range(100):
        batch, tokens, width, rows = dice.integer(2, 3), dice.integer(5, 7), dice.integer(3, 4), dice.integer(20, 30)
        table = dice.normal(rows, width) * (0.3 + 2 * dice.uniform(rows, 1))
        x = table[dice.integers(0, rows - 1, batch, tokens)] + 0.7 * dice.normal(batch, tokens, width)
        distances = torch.cdist(x.flatten(0, 1), table).view(batch, tokens, rows)
        products = x @ table.T
        exact = distances.argmin(-1)
        mistakes = {
            "You took the row with the largest dot product, which favours long rows. Nearest is by distance.": (
                products.argmax(-1)
            ),
            "In |t|² / 2 - e·t the half is missing: |e - t|² = |e|² - 2 e·t + |t|².": (
                ((table**2).sum(-1) - products).argmin(-1)
            ),
            "You took the row of the smallest angle (cosine). Nearest is by Euclidean distance.": (
                (products / table.norm(dim=-1)).argmax(-1)
            ),
            "You took the row that is farthest away.": distances.argmax(-1),
            "The table's first row is a token like any other: its id is 0.": distances[..., 1:].argmin(-1) + 1,
            "Ids count from 0, and the first row's id is 0.": exact + 1,
        }
        if all(bool((value != exact).any()) for value in mistakes.values()):
            break
    reply = answer(x, table)
    got = expect_tensor(reply, exact.shape, "The answer", hint="One id for each token, found over the rows.")
    expect(not reply.is_floating_point(), "The ids are no integers.", expected="integers", got=str(reply.dtype))
    found = {words: value.double() for words, value in mistakes.items()}
    expect_close(got, exact.double(), "The table of ids", mistakes=found)
