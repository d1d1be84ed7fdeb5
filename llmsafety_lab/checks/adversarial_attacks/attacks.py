"""Exercises 3 and 4: one step, and many steps from several starts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checks.adversarial_attacks.geometry import (
    NORMS,
    by_embeddings,
    guesses,
    logits,
    shrunk,
    sizes,
    small_model,
)
from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Mutant, exercise, expect, expect_close, expect_tensor

_PADDING = "Where the mask is False nothing may be changed, but padding or a special token is perturbed"


def _draw(dice: Dice) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
    """Draw a small model, embeddings, the model's own answers as labels, and a mask as padding makes it."""
    batch, tokens, width, classes = dice.integer(5, 6), dice.integer(4, 5), dice.integer(4, 6), dice.integer(3, 4)
    model = small_model(dice, width, classes)
    x = dice.normal(batch, tokens, width)
    mask = torch.arange(tokens) < dice.integers(2, tokens - 1, batch, 1)
    mask[:, 0] = False
    return model, x, guesses(model, x), mask


def _unit(gradient: Tensor, norm: float) -> Tensor:
    if norm == math.inf:
        return gradient.sign()
    length = sizes(gradient, 2)[:, None, None]
    return gradient / length.masked_fill(length == 0, 1)


def _into(delta: Tensor, eps: float, norm: float) -> Tensor:
    return delta.clamp(-eps, eps) if norm == math.inf else shrunk(delta, sizes(delta, 2)[:, None, None], eps)


@exercise(
    "adversarial_attacks.fgsm",
    "One step",
    points=3,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="fgsm",
    mutants=(
        Mutant("sign dropped", "return gradient.sign()", "return gradient", "sign"),
        Mutant("descent for ascent", "project(eps * steepest", "project(-eps * steepest", "downhill"),
        Mutant("padding perturbed", "steepest(masked(gradient, mask), norm)", "steepest(gradient, norm)", "padding"),
        Mutant(
            "masked too late",
            "steepest(masked(gradient, mask), norm)",
            "masked(steepest(gradient, norm), mask)",
            "before you divide",
        ),
        Mutant("returns the embeddings", "return project(eps", "return embeddings + project(eps", "delta alone"),
        Mutant(
            "length of each token",
            "length = lengths(gradient)",
            "length = gradient.norm(dim=-1, keepdim=True)",
            "each token",
        ),
        Mutant("zero by zero", "gradient / length.masked_fill(length == 0, 1)", "gradient / length", "0 / 0"),
    ),
)
def check_fgsm(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = _draw(dice)
    eps = 0.1 + 0.2 * float(dice.uniform(1))
    whole = by_embeddings(model, x, labels)
    gradient = whole * mask[..., None]
    for norm, when in NORMS:
        exact = eps * _unit(gradient, norm)
        token = gradient / torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
        mistakes = {
            "The sign is missing: this is eps times the gradient.": eps * gradient,
            "The sign is missing: this is the gradient, limited to the budget.": _into(eps * gradient, eps, norm),
            "This step goes downhill: it lowers the loss. An attack raises it.": -exact,
            "You return the perturbed embeddings: return delta alone.": x + exact,
            "Mask the gradient before you divide by its length: what is masked must not count in it.": (
                eps * _unit(whole, norm) * mask[..., None]
            ),
            "You divided each token by its own length: under 2 the budget is one for all of an example's tokens.": (
                eps * token.nan_to_num(0)
            ),
            "You divided each token by its own length and shrank the whole to the budget: the direction is no longer "
            "the gradient's.": _into(eps * token.nan_to_num(0), eps, norm),
            "This is the step under the other norm.": eps * _unit(gradient, 2 if norm == math.inf else math.inf),
            "This has length 1: multiply by eps.": _unit(gradient, norm),
        }
        got = expect_tensor(answer(model, x, labels, eps, norm, mask), x.shape, f"The perturbation {when}")
        returned = torch.allclose(got, x + exact)
        expect(returned or not got[~mask].any() or bool(got.isnan().any()), f"{_PADDING} {when}.")
        hint = "0 / 0 is NaN: where a token or an example has no gradient, its step is 0."
        expect_close(got, exact, f"The perturbation {when}", mistakes=mistakes, hint=hint if got.isnan().any() else "")
    got = answer(model, x, labels, eps, 2, torch.zeros_like(mask))
    hint = "Nothing may be changed here, the masked gradient is 0, and 0 / 0 is NaN."
    expect_close(got, torch.zeros_like(x), "The perturbation where the mask is False everywhere", hint=hint)
    expect_close(answer(model, x, labels, eps), eps * whole.sign(), "The perturbation without a mask")


def _pgd(
    model: dict[str, Any],
    x: Tensor,
    labels: Tensor,
    eps: float,
    norm: float,
    steps: int,
    step: float,
    mask: Tensor,
    slip: str = "",
) -> Tensor:
    """Return the first run's result, or what a slip makes of it."""
    delta = best = torch.zeros_like(x)
    worst = torch.full((len(x),), -math.inf, dtype=x.dtype)
    for i in range(steps + 1):
        at = x if slip == "stale" and i < steps else x + delta
        z = logits(model, at)
        right = labels[:, None]
        margin = z.scatter(1, right, -math.inf).amax(1) - z.gather(1, right)[:, 0]
        better = margin > worst if slip != "last" else torch.ones_like(labels, dtype=torch.bool)
        better = better & (i < steps if slip == "early" else True)
        worst, best = torch.where(better, margin, worst), torch.where(better[:, None, None], delta, best)
        gradient = by_embeddings(model, at, labels) * mask[..., None]
        stride = eps if i == 0 and slip != "short" else step
        move = stride * _unit(gradient, norm)
        move = stride * gradient if slip == "sign" else -move if slip == "down" else move
        delta = _into(delta + move, eps, norm)
    return best


_SLIPS = {
    "down": "Your steps go downhill: they lower the loss. An attack raises it.",
    "stale": "You take the gradient at the clean embeddings in every step. Take it where you are, at x + delta.",
    "short": "The first step of the first run is too short: weaker than FGSM. Its length is eps, the others' is step.",
    "last": "You return where the run ended, or the last of the runs. Keep, for each example, the point with the "
    "largest margin of all that were visited.",
    "early": "You never look at the last point: after the last step its margin has to be compared, too.",
    "sign": "Each step is a multiple of the gradient itself. Take steepest(gradient, norm), which has size 1.",
}


def _telling(dice: Dice, norm: float) -> tuple[tuple[Any, ...], Tensor, dict[str, Tensor]]:
    """Draw a case in which every slip shows."""
    for _ in range(200):
        model, x, labels, mask = _draw(dice)
        eps = (0.25 if norm == math.inf else 0.8) * (1 + float(dice.uniform(1)))
        case = (model, x, labels, eps, norm, dice.integer(4, 5), eps * 0.4, mask)
        exact = _pgd(*case)
        slips = {slip: _pgd(*case, slip=slip) for slip in _SLIPS}
        if all((value - exact).abs().max() > 1e-3 for value in slips.values()):
            break
    return case, exact, {_SLIPS[slip]: value for slip, value in slips.items()}


def _flat(dice: Dice) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Return a model whose gradient is exactly 0 at the clean embeddings, though it can be fooled not far from them."""
    model = {"first": torch.full((3, 1), 10.0).double(), "second": torch.tensor([[1.0, -1.0]]).double()}
    x = torch.full((3, 1, 3), 25 / 30).double() + dice.uniform(3, 1, 3) / 100
    return {**model, "training": False}, x, torch.zeros(3, dtype=torch.long)


@exercise(
    "adversarial_attacks.pgd",
    "Many steps, several starts",
    points=4,
    difficulty=4,
    importance=5,
    minutes=15,
    answer="pgd",
    mutants=(
        Mutant("descent for ascent", "delta + stride * steepest", "delta - stride * steepest", "downhill"),
        Mutant(
            "no projection",
            "project(delta + stride * steepest(masked(gradient, mask), norm), eps, norm)",
            "delta + stride * steepest(masked(gradient, mask), norm)",
            "leaves the budget",
        ),
        Mutant("padding perturbed", "steepest(masked(gradient, mask), norm)", "steepest(gradient, norm)", "padding"),
        Mutant(
            "stale gradient", "loss_gradient(model, embeddings + delta, ", "loss_gradient(model, embeddings, ", "clean"
        ),
        Mutant("last point wins", "better = margin > worst", "better = margin > -math.inf", "of all that were visited"),
        Mutant("short first step", "eps if run == i == 0 else size", "size", "weaker than FGSM"),
        Mutant("last point unseen", "range(steps + 1)", "range(steps)", "last point"),
        Mutant("one start for all", "if run > 0 else", "if run < 0 else", "same point"),
    ),
)
def check_pgd(answer: Answer, dice: Dice) -> None:
    for norm, when in NORMS:
        (model, x, labels, eps, _, steps, step, mask), exact, slips = _telling(dice, norm)
        asked = {"norm": norm, "steps": steps, "restarts": 1, "step": step, "mask": mask}
        got = expect_tensor(answer(model, x, labels, eps, **asked), x.shape, f"The perturbation {when}")
        expect(not torch.allclose(got, x + exact), "You return the perturbed embeddings: return delta alone.")
        expect(not got[~mask].any(), f"{_PADDING} {when}.")
        largest = float(sizes(got, norm).max())
        expect(
            largest <= eps * (1 + 1e-6),
            f"The perturbation leaves the budget {when}.",
            expected=f"at most {eps:.4g}",
            got=largest,
            hint="Project after every step.",
        )
        expect_close(got, exact, f"The perturbation of one run {when}", mistakes=slips)

    model, x, labels = _flat(dice)
    for restarts in (1, 60):
        for norm, when in NORMS:
            eps = 1.2 if norm == math.inf else 2.0
            got = answer(model, x, labels, eps, norm=norm, steps=5, restarts=restarts, mask=torch.ones(3, 1).bool())
            got = expect_tensor(got, x.shape, f"The perturbation {when}")
            hint = "Where the gradient is 0 its length is 0, and 0 / 0 is NaN: steepest has to give 0 there."
            expect(not bool(got.isnan().any()), f"The perturbation {when} holds NaN.", hint=hint)
            fooled = int((guesses(model, x + got) != labels).sum())
            expect(
                restarts == 1 or fooled == len(x),
                f"Where the gradient is 0 at the clean embeddings, {restarts} runs {when} fooled {fooled} of {len(x)}.",
                expected=f"all {len(x)}",
                got=fooled,
                hint="Your runs seem to begin at the same point, or a later run replaces a better one: begin every run "
                "after the first at random_start, and keep the largest margin of all runs.",
            )
