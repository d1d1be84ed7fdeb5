"""Exercise 2: the way back into the budget."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_unchanged
from llmsafety_lab.checks.adversarial_attacks.geometry import NORMS, shrunk, sizes


@exercise(
    "adversarial_attacks.project",
    "Back into the budget",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="project",
    mutants=(
        Mutant(
            "wrong axis", "delta.flatten(1).norm(dim=1)[:, None, None]", "delta.norm(dim=-1, keepdim=True)", "token"
        ),
        Mutant("whole batch", "delta.flatten(1).norm(dim=1)[:, None, None]", "delta.norm()", "whole batch"),
        Mutant("always outward", ".clamp(max=1)", "", "were inside"),
        Mutant("pixel range", "delta.clamp(-eps, eps)", "delta.clamp(0, 1)", "range of a pixel"),
        Mutant("one side only", "delta.clamp(-eps, eps)", "delta.clamp(max=eps)", "negative"),
        Mutant(
            "norms swapped",
            "    if norm == math.inf:",
            "    norm = 2 if norm == math.inf else math.inf\n    if norm == math.inf:",
            "other norm",
        ),
        Mutant("zero by zero", "eps / length.masked_fill(length == 0, 1)", "eps / length", "0 / 0"),
        Mutant(
            "nothing under 2",
            "delta * (eps / length.masked_fill(length == 0, 1)).clamp(max=1)",
            "delta",
            "Nothing is limited",
        ),
        Mutant(
            "each dimension",
            "delta.flatten(1).norm(dim=1)[:, None, None]",
            "delta.norm(dim=1, keepdim=True)",
            "each dimension",
        ),
        Mutant(
            "outside dropped",
            "delta * (eps / length.masked_fill(length == 0, 1)).clamp(max=1)",
            "delta * (length <= eps)",
            "became 0",
        ),
        Mutant(
            "squared length", "delta.flatten(1).norm(dim=1)", "delta.flatten(1).square().sum(dim=1)", "squared length"
        ),
        Mutant(
            "sum of absolute values",
            "delta.flatten(1).norm(dim=1)",
            "delta.flatten(1).norm(p=1, dim=1)",
            "absolute values",
        ),
        Mutant(
            "root of a mean",
            "delta.flatten(1).norm(dim=1)",
            "delta.flatten(1).square().mean(dim=1).sqrt()",
            "root of a mean",
        ),
        Mutant("eps times the sign", "delta.clamp(-eps, eps)", "eps * delta.sign()", "times the sign"),
        Mutant("in place", "delta.clamp(-eps, eps)", "delta.clamp_(-eps, eps)", "in place"),
    ),
)
def check_project(answer: Answer, dice: Dice) -> None:
    batch, tokens, width = dice.integer(4, 5), dice.integer(3, 4), dice.integer(3, 5)
    delta = dice.normal(batch, tokens, width)
    delta[0] = delta[0] / 100  # inside under both norms
    delta[1] = 0
    for norm, when in NORMS:
        share = (0.6 if norm == math.inf else 0.15) + 0.2 * float(dice.uniform(1))
        eps = float(sizes(delta, norm)[2:].min()) * share
        length = torch.linalg.vector_norm(delta.flatten(1), dim=1)[:, None, None]
        clipped, scaled = delta.clamp(-eps, eps), shrunk(delta, length, eps)
        exact, other = (clipped, scaled) if norm == math.inf else (scaled, clipped)
        mistakes = {
            "Nothing is limited: perturbations outside of the budget came back as they were.": delta,
            "You measured each token by itself: the length is over all tokens and dimensions of an example.": (
                shrunk(delta, torch.linalg.vector_norm(delta, dim=-1, keepdim=True), eps)
            ),
            "You measured each dimension by itself: the length is over all tokens and dimensions of an example.": (
                shrunk(delta, torch.linalg.vector_norm(delta, dim=1, keepdim=True), eps)
            ),
            "Under 2 no coordinate is clamped: the whole perturbation shrinks.": shrunk(
                delta.clamp(-eps, eps),
                torch.linalg.vector_norm(delta.clamp(-eps, eps).flatten(1), dim=1)[:, None, None],
                eps,
            ),
            "You measured the whole batch: every example has a budget of its own.": (
                shrunk(delta, torch.linalg.vector_norm(delta), eps)
            ),
            "Perturbations that were inside of the budget were pushed out to its edge. They stay as they are.": (
                delta * (eps / length)
            ),
            "Clamping to [0, 1], the range of a pixel, has no meaning here: from -eps to eps.": delta.clamp(0, 1),
            "The negative side is not limited: from -eps to eps.": delta.clamp(max=eps),
            "This is the projection under the other norm.": other,
            "Perturbations that were outside became 0: bring them back to the edge.": delta * (length <= eps),
            "Perturbations that were outside have length 1 now: their length is eps.": (
                torch.where(length > eps, delta / length, delta)
            ),
            "You compared with the squared length: take the root.": shrunk(delta, length**2, eps),
            "This is eps times the sign: under infinity only what is outside moves.": eps * delta.sign(),
            "The length is a sum of absolute values: take the Euclidean one.": (
                shrunk(delta, delta.abs().sum((1, 2), keepdim=True), eps)
            ),
            "The length is a root of a mean: take the root of the sum of squares.": (
                shrunk(delta, length / math.sqrt(tokens * width), eps)
            ),
            "You divided by the largest coordinate: under infinity the nearest point is found coordinate by "
            "coordinate, with clamp.": shrunk(delta, delta.abs().amax((1, 2), keepdim=True), eps),
        }
        called = answer.trace(delta, eps, norm)
        got = called.value
        inside = isinstance(got, Tensor) and got.shape == delta.shape and bool((got[0] != delta[0]).any())
        fitting = {words: value for words, value in mistakes.items() if not value.isnan().any()}
        hint = "Perturbations that were inside of the budget have to stay as they are."
        if not inside:
            hint = (
                "Each coordinate from -eps to eps."
                if norm == math.inf
                else "Where the length is above eps: eps / length."
            )
        if isinstance(got, Tensor) and bool(got.isnan().any()):
            hint = "A perturbation of zeros has length 0; 0 / 0 and 0 * inf are NaN."
        expect_close(got, exact, f"The projection {when}", mistakes=fitting, hint=hint)
        expect_unchanged(called, message="You changed the argument in place: return a new tensor.")
    got = answer(delta, 0.0, 2)
    hint = "With a budget of 0 everything becomes 0. Mind 0 / 0, which is NaN."
    expect_close(got, torch.zeros_like(delta), "The projection with a budget of 0", hint=hint)
