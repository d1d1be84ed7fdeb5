"""Exercise 4: many steps, from several starts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_tensor, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.adversarial_attacks.attacks import IN_PLACE, PADDING, draw, into, unit
from llmsafety_lab.checks.adversarial_attacks.geometry import (
    NORMS,
    by_embeddings,
    clean_hands,
    guesses,
    logits,
    network,
    sizes,
)


def _pgd(
    model: VectorClassifier,
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
        z = logits(model, at, slip == "train" and i == steps)
        right = labels[:, None]
        margin = z.scatter(1, right, -math.inf).amax(1) - z.gather(1, right)[:, 0]
        margin = cross_entropy(z, labels, reduction="none") if slip == "loss" else margin
        better = margin > worst if slip != "last" else torch.ones_like(labels, dtype=torch.bool)
        better = (margin.mean() > worst.mean()).expand_as(better) if slip == "batch" else better
        better = better & (i < steps if slip == "early" else True)
        worst, best = torch.where(better, margin, worst), torch.where(better[:, None, None], delta, best)
        gradient = by_embeddings(model, at, labels) * mask[..., None]
        stride = eps if i == 0 and slip != "short" else step
        stride = 2.5 * eps / steps if slip == "stride" and i else stride
        move = stride * unit(gradient, math.inf if slip == "signs" else norm, 1e-8 if slip == "soft" else 0)
        move = stride * gradient if slip == "sign" else -move if slip == "down" else move
        delta = delta + move if slip == "free" else into(delta + move, eps, norm)
    return into(best, eps, norm)


_SLIPS = {
    "down": "Your steps go downhill: they lower the loss. An attack raises it. (Or you look at the margin of the clean "
    "embeddings in every step.)",
    "stale": "You take the gradient at the clean embeddings in every step. Take it where you are, at x + delta.",
    "short": "The first step of the first run is too short: weaker than FGSM. Its length is eps, the others' is step.",
    "last": "You return where the run ended, or the last of the runs. Keep, for each example, the point with the "
    "largest margin of all that were visited.",
    "early": "You never look at the last point: after the last step its margin has to be compared, too.",
    "loss": "You keep the point with the largest loss. Keep that with the largest margin: they differ where several "
    "classes compete.",
    "sign": "Each step is a multiple of the gradient itself. Take steepest(gradient, norm), which has size 1.",
}


_MORE = {
    "batch": "You keep one point for the whole batch: keep the best point for each example by itself.",
    "stride": "`step` is given here: use it as the size of a step.",
    "signs": "These are steps of the sign under 2: take steepest(gradient, norm).",
    "free": "You project once, at the end: project after every step, so that each gradient is taken in the budget.",
}
"""Slips that need not show in each case."""


def _telling(dice: Dice, norm: float) -> tuple[tuple[Any, ...], Tensor, dict[str, Tensor]]:
    """Draw a case in which every slip shows, and `length + 1e-8` in a denominator does not."""
    for _ in range(400):
        model, x, labels, mask = draw(dice)
        eps = (0.25 if norm == math.inf else 0.8) * (1 + float(dice.uniform(1)))
        case = (model, x, labels, eps, norm, dice.integer(4, 5), eps * 0.4, mask)
        exact = _pgd(*case)
        slips = {slip: _pgd(*case, slip=slip) for slip in (*_SLIPS, "train")}
        soft = (_pgd(*case, slip="soft") - exact).abs().max() < 3e-7
        pairs = [(exact, value) for value in slips.values()]
        if norm == math.inf:  # under 2 the loss rises with almost every step, and the two ends are one
            pairs.append((slips["loss"], slips["last"]))
        if soft and all((one - other).abs().max() > 1e-3 for one, other in pairs):
            break
    found = {_SLIPS[slip]: value for slip, value in slips.items() if slip in _SLIPS}
    return case, exact, found | {words: _pgd(*case, slip=slip) for slip, words in _MORE.items()}


def _by_default(dice: Dice) -> tuple[tuple[Any, ...], int, Tensor, dict[str, Tensor]]:
    """Draw a case without a mask whose steps have their default size."""
    for _ in range(200):
        model, x, labels, mask = draw(dice)
        eps, steps = 1.5 * (1 + float(dice.uniform(1))), 3
        case, every = (model, x, labels, eps, math.inf, steps), torch.ones_like(mask)
        size = 2.5 * eps / steps
        exact = _pgd(*case, size, every)
        hint = "Where no `step` is given, its size is 2.5 * eps / steps."
        wrong = {
            f"{hint} Yours is 2.5 * eps.": _pgd(*case, 2.5 * eps, every),
            f"{hint} Yours is eps / steps.": _pgd(*case, eps / steps, every),
            f"{hint} Yours is eps.": _pgd(*case, eps, every),
        }
        if all((value - exact).abs().max() > 1e-3 for value in wrong.values()):
            break
    return (model, x, labels, eps), steps, exact, wrong


def _bump(dice: Dice) -> tuple[VectorClassifier, Tensor, Tensor]:
    """Return a model that errs most in a narrow place, and embeddings that stand in it: a step leads out."""
    model = network(
        torch.tensor([[10.0, 0.5], [10.0, -0.5]]).double(), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).double()
    )
    x = torch.tensor([[[0.02, 4.0]]]) * (1 + dice.uniform(3, 1, 1) / 4)
    return model, x, torch.zeros(3).long()


def _flat(dice: Dice, width: int = 3) -> tuple[VectorClassifier, Tensor, Tensor, Tensor]:
    """Return a model whose gradient is exactly 0 at each first token, though it can be fooled not far from it.

    The second token is padding.
    """
    model = network(torch.full((1, width), 10.0).double(), torch.tensor([[1.0], [-1.0]]).double())
    x = torch.zeros(6, 2, width, dtype=torch.float64)
    x[:, :1] = 2.5 / width + dice.uniform(6, 1, width) / 100
    return model, x, torch.zeros(6, dtype=torch.long), torch.tensor([[True, False]] * 6)


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
        Mutant("each run's first step", "run == i == 0", "i == 0", "too far"),
        Mutant("always a random start", "if run > 0 else", "if run >= 0 else", "from call to call"),
        Mutant("last point unseen", "range(steps + 1)", "range(steps)", "last point"),
        Mutant("one start for all", "if run > 0 else", "if run < 0 else", "same point"),
        Mutant(
            "padding at the start",
            "random_start(embeddings, eps, norm, mask) if run",
            "random_start(embeddings, eps, norm) if run",
            "padding",
        ),
        Mutant(
            "start outside",
            "random_start(embeddings, eps, norm, mask) if run",
            "2 * random_start(embeddings, eps, norm, mask) if run",
            "leaves the budget",
        ),
        Mutant(
            "start under infinity",
            "random_start(embeddings, eps, norm, mask) if run",
            "random_start(embeddings, eps, mask=mask) if run",
            "leaves the budget",
        ),
        Mutant("start unseen", "better = margin > worst", "better = (margin > worst) & (i > 0)", "A run's start"),
        Mutant("steps too long", "2.5 * eps / steps if step", "2.5 * eps if step", "Where no `step` is given"),
        Mutant("mask demanded", "masked(gradient, mask)", "gradient * mask[..., None]", "NoneType"),
        Mutant(
            "looks in train mode", "with evaluating(model), torch.no_grad():", "with torch.no_grad():", "train mode"
        ),
        Mutant("in place", "    return best", "    embeddings += best\n    return best", "in place"),
        Mutant(
            "largest loss",
            "margin = margins(logits, labels)",
            'margin = cross_entropy(logits, labels, reduction="none")',
            "largest loss",
        ),
        Mutant("two runs by default", "restarts: int = 1", "restarts: int = 20", "there is one run, which"),
        Mutant(
            "projected at the end",
            "project(delta + stride * steepest(masked(gradient, mask), norm), eps, norm)\n    return best",
            "delta + stride * steepest(masked(gradient, mask), norm)\n    return project(best, eps, norm)",
            "project after every step",
        ),
        Mutant(
            "sign under 2",
            "steepest(masked(gradient, mask), norm)",
            "steepest(masked(gradient, mask), math.inf)",
            "sign under 2",
        ),
        Mutant("step ignored", "2.5 * eps / steps if step is None else step", "2.5 * eps / steps", "`step` is given"),
        Mutant(
            "runs forget each other",
            "    for run in range(restarts):",
            "    for run in range(restarts):\n        worst = torch.full_like(embeddings[:, 0, 0], -math.inf)",
            "keep the largest margin",
        ),
        Mutant(
            "gradients left",
            "            margin = margins",
            "            cross_entropy(logits_of(model, embeddings + delta), labels).backward()\n"
            "            margin = margins",
            "left gradients",
        ),
    ),
)
def check_pgd(answer: Answer, dice: Dice) -> None:
    for norm, when in NORMS:
        (model, x, labels, eps, _, steps, step, mask), exact, slips = _telling(dice, norm)
        asked = {"norm": norm, "steps": steps, "restarts": 1, "step": step, "mask": mask}
        called = answer.trace(model, x, labels, eps, **asked)
        got = expect_tensor(called.value, x.shape, f"The perturbation {when}")
        expect(not torch.allclose(got, x + exact), "You return the perturbed embeddings: return delta alone.")
        expect(not got[~mask].any(), f"{PADDING} {when}.")
        largest = float(sizes(got, norm).max())
        expect(
            largest <= eps * (1 + 1e-6),
            f"The perturbation leaves the budget {when}.",
            expected=f"at most {eps:.4g}",
            got=largest,
            hint="Project after every step.",
        )
        hint = "The first run begins at zeros: it has no chance in it."
        again = expect_tensor(answer(model, x, labels, eps, **asked), x.shape, "The perturbation")
        same = torch.equal(got.nan_to_num(), again.nan_to_num())
        expect(same, f"The perturbation of one run {when} differs from call to call.", hint=hint)
        hint = "Zeros, a step of eps, then steps of `step`, each projected: keep the point of the largest margin."
        expect_close(got, exact, f"The perturbation of one run {when}", mistakes=slips, hint=hint)
        expect_unchanged(called, message=IN_PLACE)
        hint = "Hold the model in evaluation mode where you look at margins, too: with evaluating(model)."
        called = answer.trace(replace(model, training=True), x, labels, eps, **asked)
        expect_close(called.value, exact, f"The perturbation {when} of a model that was left in train mode", hint=hint)
        clean_hands(called)

    case, steps, exact, mistakes = _by_default(dice)
    got = answer(*case, steps=steps)
    hint = "Where they are not given there is one run, which begins at zeros, and the norm is infinity, as in the stub."
    expect_close(got, exact, "The perturbation without mask, norm and step", mistakes=mistakes, hint=hint)
    model, x, labels, eps = case
    exact = _pgd(model, x, labels, eps, math.inf, 10, eps / 4, torch.ones(x.shape[:2], dtype=torch.bool))
    hint = "Where they are not given there are 10 steps and one run, as in the stub."
    expect_close(answer(*case), exact, "The perturbation without any option", hint=hint)
    model, x, labels = _bump(dice)
    got = answer(model, x, labels, 1.0, steps=1)
    hint = "A run's start is one of its points: look at its margin, too."
    expect_close(got, torch.zeros_like(x), "The perturbation where the only step lowers the margin", hint=hint)

    model, x, labels, mask = _flat(dice)
    for restarts in (1, 60):
        for norm, when in NORMS:
            eps = 1.2 if norm == math.inf else 2.0
            got = answer(model, x, labels, eps, norm=norm, steps=5, restarts=restarts, mask=mask)
            got = expect_tensor(got, x.shape, f"The perturbation {when}")
            hint = "Where the gradient is 0 its length is 0, and 0 / 0 is NaN: steepest has to give 0 there."
            expect(not bool(got.isnan().any()), f"The perturbation {when} holds NaN.", hint=hint)
            of = f"{when} of {restarts} run{'s' * (restarts > 1)}"
            expect(not got[~mask].any(), f"{PADDING} {of}.", hint="Give random_start the mask, too.")
            expect(
                float(sizes(got, norm).max()) <= eps * (1 + 1e-6),
                f"The perturbation leaves the budget {of}.",
                expected=f"at most {eps:.4g}",
                got=float(sizes(got, norm).max()),
                hint="A start is visited, too: it has to be inside. Give random_start the norm.",
            )
            fooled = int((guesses(model, x + got) != labels).sum())
            expect(
                restarts == 1 or fooled == len(x),
                f"Where the gradient is 0 at the clean embeddings, {restarts} runs {when} fooled {fooled} of {len(x)}.",
                expected=f"all {len(x)}",
                got=fooled,
                hint="Your runs seem to begin at the same point, or a later run replaces a better one: begin every run "
                "after the first at random_start, and keep the largest margin of all runs.",
            )
    model, x, labels, mask = _flat(dice, 8)  # a start as good as never fools it, and a step of eps from one often does
    got = expect_tensor(answer(model, x, labels, 0.34, steps=1, restarts=60, step=1e-9, mask=mask), x.shape, "It")
    fooled = int((guesses(model, x + got) != labels).sum())
    hint = "The first step of the first run has the size eps. All other steps have the size `step`, here 1e-9."
    expect(fooled == 0, "A run after the first goes too far in its first step.", expected=0, got=fooled, hint=hint)
