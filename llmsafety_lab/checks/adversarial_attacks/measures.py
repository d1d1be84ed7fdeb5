"""Exercises 5 and 6: how often an attack succeeds, and which tokens the perturbed vectors are next to."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import (
    expect,
    expect_close,
    expect_list,
    expect_number,
    expect_tensor,
    expect_unchanged,
)

_Z = 1.959964


def _ends(count: int, of: int, z: float = _Z) -> tuple[float, float, float]:
    """Return the share and the two p at which it lies 1.96 standard errors away: the roots of Wilson's equation."""
    share = count / of
    a, b, c = 1 + z**2 / of, -(2 * share + z**2 / of), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return share, (-b - root) / (2 * a), (-b + root) / (2 * a)


def _three(reply: Any) -> Tensor:
    three = expect_list(reply, "The answer", length=3, expected="(share, low, high), plain numbers")
    return torch.tensor([expect_number(value, "Each of the three") for value in three], dtype=torch.float64)


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
        Mutant("middle for share", "return p, max(", "return middle, max(", "not the middle"),
        Mutant(
            "around the share",
            "return p, max(0.0, middle - half), min(1.0, middle + half)",
            "return p, p - half, p + half",
            "not around the share",
        ),
        Mutant(
            "lower end first",
            "return p, max(0.0, middle - half), min(1.0, middle + half)",
            "return max(0.0, middle - half), p, min(1.0, middle + half)",
            "share comes first",
        ),
        Mutant("what changed", "right & (attacked != labels)", "clean != attacked", "answers that changed"),
        Mutant("90%", "z: float = 1.959964", "z: float = 1.645", "for 90%"),
        Mutant(
            "difference of accuracies",
            "int((right & (attacked != labels)).sum())",
            "max(0, int(right.sum()) - int((attacked == labels).sum()))",
            "difference of two",
        ),
        Mutant(
            "percents",
            "return p, max(0.0, middle - half), min(1.0, middle + half)",
            "return 100 * p, 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)",
            "percents",
        ),
        Mutant("no return", "    return p, max", "    p, max", "return statement"),
        Mutant("answers changed", "    return wilson", "    attacked[~right] = -1\n    return wilson", "in place"),
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
        share, low, high = _ends(turned, right)
        half, middle = (high - low) / 2, (high + low) / 2
        wrongly |= {
            "The first of the three is the share itself, not the middle of its interval.": (middle, low, high),
            "The interval lies around its middle, (p + z²/2n) / (1 + z²/n), and not around the share.": (
                (share, share - half, share + half)
            ),
            "This is the share that held: the share that was turned is asked for.": (1 - share, low, high),
            "This is the accuracy under attack, among all texts.": _ends(of - errors, of),
            "You counted answers that changed: some were wrong before and are wrong or right now.": (
                _ends(turned + lucky, right) if turned + lucky <= right else [math.nan] * 3
            ),
            "The share comes first, then the lower end, then the upper one.": (low, share, high),
            "These are percents: return shares from 0 to 1.": (100 * share, 100 * low, 100 * high),
            "An attack may put texts right that were wrong: count those that were right and are wrong now, not the "
            "difference of two accuracies.": _ends(max(0, turned - lucky), right),
            "z is 1.96 for 95%: yours is 1.": _ends(turned, right, 1.0),
            "z is 1.96 for 95%: yours is 2.": _ends(turned, right, 2.0),
            "z is 1.96 for 95%: 1.645 is for 90%.": _ends(turned, right, 1.645),
            "z is 1.96 for 95%: 2.576 is for 99%.": _ends(turned, right, 2.576),
        }
        exact = torch.tensor([share, low, high], dtype=torch.float64)
        mistakes = {words: torch.tensor(value, dtype=torch.float64) for words, value in wrongly.items()}
        called = answer.trace(labels, clean, attacked)
        got = _three(called.value)
        hint = "The middle is (p + z²/2n) / (1 + z²/n), and z is 1.96." if abs(got[0] - exact[0]) < 1e-6 else ""
        if not hint and errors > right:
            hint = "Count only texts that the model had right; those that were wrong before the attack are no success."
        hint = hint or "Of the texts with clean == labels, the share with attacked != labels; then Wilson's interval."
        what = f"The share and its interval, where the attack turned {kind} of the {right} texts that were right,"
        expect_close(got, exact, what, tolerance=1e-5, mistakes=mistakes, hint=hint)
        expect_unchanged(called)


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
        Mutant("lengths not squared", "(table**2).sum(-1) / 2", "(table**2).sum(-1).sqrt() / 2", "not squared"),
        Mutant("sign turned", "/ 2 - embeddings", "/ 2 + embeddings", "sign of e"),
        Mutant(
            "absolute values",
            "((table**2).sum(-1) / 2 - embeddings @ table.T).argmin(-1)",
            "torch.cdist(embeddings, table[None], p=1).argmin(-1)",
            "absolute values",
        ),
        Mutant("second nearest", ".argmin(-1)", ".topk(2, largest=False).indices[..., 1]", "second nearest"),
        Mutant("last row left out", ".argmin(-1)", "[..., :-1].argmin(-1)", "last row"),
        Mutant("table changed", "    return (", "    table /= 2\n    embeddings /= 2\n    return (", "in place"),
        Mutant("ids that are no integers", ".argmin(-1)", ".argmin(-1).double()", "integers"),
    ),
)
def check_tokens(answer: Answer, dice: Dice) -> None:
    for _ in range(300):
        batch, tokens, width, rows = dice.integer(4, 5), dice.integer(8, 9), dice.integer(3, 4), dice.integer(20, 30)
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
            "The lengths are not squared: it is |t|² / 2 - e·t.": (table.norm(dim=-1) / 2 - products).argmin(-1),
            "The sign of e·t is wrong: |e - t|² = |e|² - 2 e·t + |t|².": (
                ((table**2).sum(-1) / 2 + products).argmin(-1)
            ),
            "You took the distance as a sum of absolute values: nearest is by Euclidean distance.": (
                torch.cdist(x.flatten(0, 1), table, p=1).view(batch, tokens, rows).argmin(-1)
            ),
            "You took the largest difference of a coordinate: nearest is by Euclidean distance.": (
                torch.cdist(x.flatten(0, 1), table, p=math.inf).view(batch, tokens, rows).argmin(-1)
            ),
            "You took the second nearest row.": distances.topk(2, largest=False).indices[..., 1],
            "The table's last row is a token like any other.": distances[..., :-1].argmin(-1),
            "You took the row that is farthest away.": distances.argmax(-1),
            "The table's first row is a token like any other: its id is 0.": distances[..., 1:].argmin(-1) + 1,
            "Ids count from 0, and the first row's id is 0.": exact + 1,
        }
        if all(bool((value != exact).any()) for value in mistakes.values()):
            break
    called = answer.trace(x, table)
    reply = called.value
    got = expect_tensor(reply, exact.shape, "The answer", hint="One id for each token, found over the rows.")
    expect(not reply.is_floating_point(), "The ids are no integers.", expected="integers", got=str(reply.dtype))
    found = {words: value.double() for words, value in mistakes.items()}
    hint = "The row whose |t|² / 2 - e·t is smallest."
    expect_close(got, exact.double(), "The table of ids", mistakes=found, hint=hint)
    expect_unchanged(called, message="You changed the embeddings or the table in place: the model still needs them.")
