"""Exercises 4 to 6: TRADES, the direction of VAT, and the accuracy that is reported."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checks.robust_training.losses import begin, draw, into, logits, scalar, slope, unit
from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect_close, expect_tensor


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)


@exercise(
    "robust_training.trades",
    "The same answer nearby",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="trades_loss",
    mutants=(
        Mutant(
            "divergence turned round",
            "divergence(clean, logits_of(model, embeddings + delta))",
            "divergence(logits_of(model, embeddings + delta), clean)",
            "turned round",
        ),
        Mutant(
            "starts at the clean point",
            "delta = ascend(lambda d: divergence(fixed, logits_of(model, x + d)), start,",
            "delta = ascend(lambda d: divergence(fixed, logits_of(model, x + d)), 0 * start,",
            "clean point",
        ),
        Mutant(
            "climbs on the label",
            "divergence(fixed, logits_of(model, x + d))",
            'cross_entropy(logits_of(model, x + d), labels, reduction="none")',
            "the label's loss",
        ),
        Mutant("sum for mean", ".mean()", ".sum()", "sum over the batch"),
        Mutant(
            "beta on the other term",
            "cross_entropy(clean, labels) + beta * ",
            "beta * cross_entropy(clean, labels) + ",
            "wrong term",
        ),
        Mutant("pushes apart", "+ beta * divergence", "- beta * divergence", "rewards"),
    ),
)
def check_trades(answer: Answer, dice: Dice) -> None:
    for _ in range(50):
        model, x, labels, mask = draw(dice, False)
        eps, beta, steps = 0.3 * (1 + float(dice.uniform(1))), float(dice.integer(2, 5)), 3
        start = begin(dice, x, mask, eps)
        fixed = logits(model, x)
        ends = {}
        for on in ("divergence", "label"):
            delta = start
            for _ in range(steps):
                at = delta.clone().requires_grad_()
                z = logits(model, x + at)
                value = cross_entropy(z, labels, reduction="sum") if on == "label" else _kl(fixed, z).sum()
                delta = into(delta + 0.6 * eps * unit(slope(value, at, mask), math.inf), eps, math.inf)
            ends[on] = logits(model, x + delta)
        ce, kl = cross_entropy(fixed, labels), {on: _kl(fixed, z) for on, z in ends.items()}
        if abs(float((kl["label"] - kl["divergence"]).mean())) > 1e-3:
            break
    term = kl["divergence"].mean()
    mistakes = {
        "The divergence is turned round: this is KL(p(x + delta) || p(x)). The clean prediction is the one that the "
        "other is measured against, so it comes first.": ce + beta * _kl(ends["divergence"], fixed).mean(),
        "The climb was on the label's loss. TRADES looks for the point where the prediction changes most, right or "
        "wrong.": ce + beta * kl["label"].mean(),
        "This is the sum over the batch of the divergences: take the mean, as in the cross-entropy.": (
            ce + beta * kl["divergence"].sum()
        ),
        "This divides by the number of classes as well: sum over the classes, then take the mean over the batch "
        '(`reduction="batchmean"`).': ce + beta * term / fixed.shape[1],
        "beta stands at the wrong term: it weighs the divergence.": beta * ce + term,
        "This rewards predictions that differ: the divergence is to be lowered.": ce - beta * term,
        "beta is missing.": ce + term,
        "The cross-entropy on the clean texts is missing.": beta * term,
        "The cross-entropy is on the perturbed texts: TRADES takes it on the clean ones.": (
            cross_entropy(ends["divergence"], labels) + beta * term
        ),
    }
    asked: dict[str, Any] = {
        "eps": eps,
        "norm": math.inf,
        "steps": steps,
        "step": 0.6 * eps,
        "start": start,
        "beta": beta,
    }
    got = scalar(answer(model, x, labels, mask, **asked), "The loss")
    other = scalar(answer(model, x, labels, mask, **asked | {"start": -start}), "The loss")
    ignored = bool((got - other).abs() < 1e-12)
    hint = (
        "It does not depend on `start`. At the clean point the divergence is 0 and its gradient vanishes: use `start`."
    )
    expect_close(got, ce + beta * term, "The loss", mistakes=mistakes, hint=hint if ignored else "")


@exercise(
    "robust_training.direction",
    "Where the prediction bends",
    points=3,
    difficulty=4,
    importance=3,
    minutes=12,
    answer="virtual_direction",
    mutants=(
        Mutant("asks at the clean point", "x + xi * d", "x + 0 * d", "gradient is 0"),
        Mutant(
            "length of each token",
            "d = steepest(masked(gradient, mask), 2)",
            "d = masked(torch.nn.functional.normalize(gradient, dim=-1), mask)",
            "each token",
        ),
        Mutant("no normalisation", "d = steepest(masked(gradient, mask), 2)", "d = masked(gradient, mask)", "length 1"),
        Mutant("padding perturbed", "d = steepest(masked(gradient, mask), 2)", "d = steepest(gradient, 2)", "padding"),
        Mutant("one iteration for all", "range(iterations)", "range(1)", "one iteration"),
        Mutant(
            "downhill", "d = steepest(masked(gradient, mask), 2)", "d = -steepest(masked(gradient, mask), 2)", "sign"
        ),
    ),
)
def check_direction(answer: Answer, dice: Dice) -> None:
    model, x, _, mask = draw(dice, False)
    model["second"] = model["second"] / 3
    fixed, xi = logits(model, x), 1e-2
    start = begin(dice, x, mask, 2.0)

    def once(d: Tensor, where: Tensor = mask) -> Tensor:
        at = d.clone().requires_grad_()
        return slope(_kl(fixed, logits(model, x + xi * at)).sum(), at, where)

    def turned(times: int, sign: int = 1, where: Tensor = mask) -> Tensor:
        d = start
        for _ in range(times):
            d = sign * unit(once(d, where), 2)
        return d

    for iterations in (1, 3):
        exact, last = turned(iterations), once(turned(iterations - 1))
        raw = start
        for _ in range(iterations):
            raw = once(raw)
        token = start
        for _ in range(iterations):
            token = torch.nn.functional.normalize(once(token), dim=-1)
        mistakes = {
            "You divided each token by its own length: the length is over all of an example's tokens.": token,
            "The direction has to have length 1, for each example, after every iteration.": raw,
            "The direction has to have length 1, for each example.": last,
            "Padding has a part in it: mask the gradient before you divide by its length.": (
                turned(iterations, where=torch.ones_like(mask))
            ),
            "Its sign is wrong in each iteration.": turned(iterations, -1),
            "This is the result of one iteration: each begins with the direction that the one before found.": turned(1),
            "This is the perturbation xi d: return the direction.": xi * exact,
        }
        if iterations == 1:
            mistakes.pop(
                "This is the result of one iteration: each begins with the direction that the one before found."
            )
        got = expect_tensor(answer(model, x, mask, iterations, xi, start), x.shape, "The direction")
        hint = "At the clean point the divergence has its minimum, and its gradient is 0: ask at x + xi d."
        flat = not bool(got.nan_to_num().any())
        what = f"The direction after {iterations} iteration{'s' * (iterations > 1)}"
        expect_close(got, exact, what, mistakes={} if flat else mistakes, hint=hint if flat else "")


_Z = 1.959964


def _wilson(count: int, of: int) -> list[float]:
    """Return the share and the two p at which it lies 1.96 standard errors away: the roots of Wilson's equation."""
    share = count / of
    a, b, c = 1 + _Z**2 / of, -(2 * share + _Z**2 / of), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return [share, (-b - root) / (2 * a), (-b + root) / (2 * a)]


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
    reply = answer(labels, clean, attacked)
    numbers = isinstance(reply, tuple | list) and len(reply) == 3 and all(type(x) in (int, float) for x in reply)
    if not numbers:
        kind = "None: is there a return statement?" if reply is None else f"{reply!r}"[:200]
        raise Failed("The answer is not three numbers.", expected="(share, low, high), plain numbers", got=kind)
    got = torch.tensor([float(x) for x in reply], dtype=torch.float64)
    hint = ""
    if abs(float(got[0]) - average) < 1e-9:
        hint = (
            "This is the mean over the attacks: an attacker takes for each text the one that works, so it has to hold "
        )
        hint += "under every attack."
    exact = torch.tensor(_wilson(int(every.sum()), of), dtype=torch.float64)
    expect_close(got, exact, "The share and its interval", tolerance=1e-5, mistakes=mistakes, hint=hint)
