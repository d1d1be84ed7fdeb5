"""Exercise 4: the choice that the key makes, with the model's own probabilities."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number
from llmsafety_lab.checks.provenance.lists import refused


def _choices(p: Tensor, u: Tensor) -> dict[str, int]:
    safe = p.clamp_min(1e-300)
    gumbel = -torch.log(-torch.log(u))
    return {
        "This is the largest u * p, which prefers probable tokens too much: over many keys the model's distribution "
        "is not kept.": int((u * p).argmax()),
        "This is the largest u ** p: it prefers improbable tokens. The exponent is 1 / p.": int(
            torch.where(p > 0, u**p, 0.0).argmax()
        ),
        "This is the smallest u ** (1 / p). Take the largest.": int(torch.where(p > 0, u ** (1 / safe), 2.0).argmin()),
        "This is the largest u, whatever the probabilities are.": int(u.argmax()),
        "This is the most probable token, whatever u is: no key could be found in it.": int(p.argmax()),
        "The Gumbel noise is added to the probabilities. Add it to their logarithms.": int((gumbel + p).argmax()),
        "The sign of the noise is turned: -log(-log(u)) has two minus signs.": int((torch.log(p) - gumbel).argmax()),
        "This is the token at which the cumulative probability passes one number of u: it is drawn, too, but not by "
        "the rule asked for.": int((p.cumsum(0) > u[0]).int().argmax()),
    }


@exercise(
    "provenance.gumbel",
    "Chance that a key can repeat",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="gumbel_choice",
    mutants=(
        Mutant(
            "u times p",
            "-uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities",
            "-uniforms * probabilities",
            "u * p",
        ),
        Mutant("u to the p", ".log() / probabilities", ".log() * probabilities", "u ** p"),
        Mutant(
            "the smallest", ".argmin()", ".masked_fill(probabilities == 0, -torch.inf).argmax()", "Take the largest"
        ),
        Mutant(
            "the largest u",
            "-uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities",
            "-uniforms",
            "largest u,",
        ),
        Mutant(
            "the most probable",
            "-uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities",
            "-probabilities",
            "most probable",
        ),
        Mutant(
            "noise on probabilities",
            "-uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities",
            "(-uniforms.log()).log() - probabilities",
            "Add it to their logarithms",
        ),
        Mutant(
            "the impossible",
            "waits.masked_fill(probabilities == 0, torch.inf)",
            "waits.masked_fill(probabilities == 0, 0)",
            "probability 0",
        ),
        Mutant(
            "powers vanish",
            "-uniforms.clamp_min(torch.finfo(torch.float64).tiny).log() / probabilities",
            "-(uniforms ** (1 / probabilities))",
            "too small",
        ),
        Mutant("u of nought", ".clamp_min(torch.finfo(torch.float64).tiny)", "", "u = 0"),
        Mutant("nothing possible", "or not bool(probabilities.any())", "", "no token can be chosen"),
        Mutant("negative", "not bool((probabilities >= 0).all()) or", "", "negative"),
    ),
)
def check_choice(answer: Answer, dice: Dice) -> None:
    for _ in range(12):
        p, u = torch.zeros(6), torch.zeros(6)
        for _ in range(300):
            p = (1.2 * dice.normal(6)).softmax(0)
            p[dice.integer(0, 5)] = 0
            p, u = p / p.sum(), dice.uniform(6).clamp(0.02, 0.98)
            expected = int(torch.where(p > 0, u ** (1 / p.clamp_min(1e-300)), -1.0).argmax())
            choices = _choices(p, u)
            if sum(choice != expected for choice in choices.values()) >= len(choices) - 1:
                break
        got = expect_number(answer(p, u), "The token")
        if got == expected:
            continue
        if 0 <= got < 6 and p[int(got)] == 0:
            raise Failed(
                f"Token {got:g} has probability 0 and was chosen.",
                expected=expected,
                got=got,
                hint="What is impossible loses, whatever its u: watch what becomes of a division by 0.",
            )
        found = [words for words, choice in choices.items() if choice == got]
        raise Failed(
            f"The wrong token, for p = {_few(p)} and u = {_few(u)}.",
            expected=expected,
            got=got,
            hint=_likeliest(answer, dice, found) or "Take the token with the largest u ** (1 / p).",
        )
    tiny = torch.tensor([1e-5, 2e-5, 3e-5, 4e-5], dtype=torch.float64) * (0.5 + float(dice.uniform(1)))
    u = dice.uniform(4).clamp(0.01, 0.9)
    expected = int((u.log() / tiny).argmax())
    order = [expected, *[i for i in range(4) if i != expected]]
    place = dice.integer(1, 3)
    order[0], order[place] = order[place], order[0]
    got = expect_number(answer(tiny[order], u[order]), "The token")
    if got != place:
        raise Failed(
            "With small probabilities the wrong token is chosen: a number to the power 100,000 is too small for the "
            "machine, and all become 0.",
            expected=place,
            got=got,
            hint="Compare logarithms: log(u) / p grows as u ** (1 / p) does.",
        )
    zero = torch.zeros(3, dtype=torch.float64)
    p = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    got = expect_number(answer(p, zero), "The token where every u is 0")
    if got not in (1, 2):
        raise Failed("Where u = 0 for all, an impossible token is chosen.", expected="1 or 2", got=got)
    nearly = torch.tensor([1 - 1e-13, 0.3, 0.2], dtype=torch.float64)
    got = expect_number(answer(p, nearly), "The token where an impossible one has a u of nearly 1")
    if got != 1:
        raise Failed("An impossible token is chosen when its u is nearly 1.", expected=1, got=got)
    refused(
        lambda: answer(zero, dice.uniform(3)), "All probabilities are 0: no token can be chosen. Expected a ValueError."
    )
    refused(
        lambda: answer(torch.tensor([-0.1, 0.6, 0.5], dtype=torch.float64), dice.uniform(3)),
        "A negative probability is none. Expected a ValueError.",
    )


def _few(values: Tensor) -> list[float]:
    return [round(value, 3) for value in values.tolist()]


def _likeliest(answer: Answer, dice: Dice, found: list[str]) -> str:
    """Return the slip that fits more calls, too."""
    left = list(found)
    for _ in range(40):
        if len(left) <= 1:
            break
        p, u = (1.2 * dice.normal(6)).softmax(0), dice.uniform(6).clamp(0.02, 0.98)
        choices, got = _choices(p, u), answer(p, u)
        left = [
            words for words in left if choices[words] == (got.item() if isinstance(got, Tensor | np.ndarray) else got)
        ]
    return left[0] if left else ""
