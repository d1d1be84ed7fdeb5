"""Exercises 2 and 3: a gradient for each record, and the private sum of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_tensor, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier

PACKAGE = "llmsafety_lab.differential_privacy.sgd"
VMAP = (
    "    each = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, 0, 0))(weights, x, y)\n"
    "    return torch.cat([part.flatten(1) for part in each.values()], dim=1)"
)
CLIP = "gradients * (bound / norms.clamp(min=1e-12)).clamp(max=1)"
LOOP = """    rows = []
    for one, label in zip(x, y):
        {before}cross_entropy(model(one[None]), label[None]).backward()
        rows.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]).clone())
    {after}return torch.stack(rows)"""


def _rows(weights: dict[str, Tensor], x: Tensor, y: Tensor, of_loss: bool = True) -> Tensor:
    first, second = (w.clone().requires_grad_() for w in weights.values())
    found = []
    for one, label in zip(x, y, strict=True):
        logits = torch.tanh(one @ first.T).mean(0) @ second.T
        value = cross_entropy(logits[None], label[None]) if of_loss else logits[label]
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, [first, second])]))
    return torch.stack(found)


@exercise(
    "differential_privacy.per_record",
    "A gradient for each record",
    points=4,
    difficulty=3,
    importance=5,
    minutes=13,
    answer="per_record_gradients",
    forbid=(f"{PACKAGE}.per_sample_gradients", f"{PACKAGE}.private_gradient"),
    mutants=(
        Mutant(
            "the batch's mean in each row",
            VMAP.splitlines()[1],
            "    flat = torch.cat([part.flatten(1) for part in each.values()], dim=1)\n"
            "    return flat.mean(0).expand_as(flat)",
            "of the whole batch",
        ),
        Mutant(
            "divided by the batch",
            "for part in each.values()], dim=1)",
            "for part in each.values()], dim=1) / len(x)",
            "divided by the number of records",
        ),
        Mutant("detached", "cross_entropy(logits,", "cross_entropy(logits.detach() + 0 * logits,", "0"),
        Mutant(
            "under no_grad",
            "    each = ",
            "    with torch.no_grad():\n"
            "        logs = model(x).log_softmax(1)\n"
            "    return torch.zeros(len(x), sum(w.numel() for w in weights.values()), dtype=logs.dtype)\n    each = ",
            "0",
        ),
        Mutant("gradients pile up", VMAP, LOOP.format(before="", after="model.zero_grad()\n    "), "pile up"),
        Mutant("gradients left behind", VMAP, LOOP.format(before="model.zero_grad()\n        ", after=""), "left"),
        Mutant(
            "stepped",
            VMAP,
            LOOP.format(before="model.zero_grad()\n        ", after="model.zero_grad()\n    ").replace(
                "    return",
                "    with torch.no_grad():\n        for w in model.parameters():\n            w -= 0.1 * w.sign()\n"
                "    return",
            ),
            "weights",
        ),
        Mutant(
            "of the score, not the loss",
            "return cross_entropy(logits, label[None])",
            "return logits[0, label]",
            "loss",
        ),
        Mutant("uphill", "return cross_entropy", "return -cross_entropy", "sign"),
        Mutant("weights in reverse", "in each.values()]", "in reversed(list(each.values()))]", "order"),
        Mutant(
            "rows of length 1",
            VMAP.splitlines()[1],
            "    flat = torch.cat([part.flatten(1) for part in each.values()], dim=1)\n"
            "    return flat / flat.norm(dim=1, keepdim=True)",
            "length 1",
        ),
        Mutant(
            "records in one column",
            "for part in each.values()], dim=1)",
            "for part in each.values()], dim=1).T",
            "shape",
        ),
    ),
)
def check_per_record(answer: Answer, dice: Dice) -> None:
    hint = "For each record by itself: its own loss, and the gradient of that by all weights, laid in one row."
    for _ in range(2):
        width, classes, batch = dice.integer(3, 5), dice.integer(3, 4), dice.integer(4, 6)
        weights = {"first.weight": dice.normal(6, width), "second.weight": dice.normal(classes, 6)}
        model = VectorClassifier(weights=weights, width=width, classes=classes)
        x, y = dice.normal(batch, 3, width), dice.integers(0, classes - 1, batch)
        exact = _rows(weights, x, y)
        called = answer.trace(model, x, y)
        got = expect_tensor(called.value, exact.shape, "The gradients", hint="A row for each record.")
        if not bool(got.any()):
            hint = "Everything is 0: is there a detach(), or a no_grad(), between the weights and the loss?"
        half = exact.shape[1] - weights["second.weight"].numel()
        mistakes = {
            "Each row is the mean gradient of the whole batch: it is too late to clip single records.": exact.mean(
                0
            ).expand_as(exact),
            "Each row is the sum of the whole batch's gradients: it is too late to clip single records.": exact.sum(
                0
            ).expand_as(exact),
            "Your rows are divided by the number of records. Take each record's own loss, no mean over the batch.": (
                exact / batch
            ),
            "Gradients pile up: each row holds the rows before it as well. backward() adds to .grad.": exact.cumsum(0),
            "That is the gradient of a score. Take that of the loss, the cross-entropy.": _rows(weights, x, y, False),
            "The sign is turned round: the gradient of the loss points uphill.": -exact,
            "The weights are in another order: first.weight, then second.weight, as model.parameters() gives "
            "them.": torch.cat([exact[:, half:], exact[:, :half]], 1),
            "Your rows have length 1. Here nothing is clipped yet.": exact / exact.norm(dim=1, keepdim=True),
        }
        expect_close(got, exact, "The gradients", tolerance=1e-6, mistakes=mistakes, hint=hint)
        kept = "Set .grad back, or use torch.autograd.grad or torch.func.grad, which leave nothing."
        expect(0 not in called.left, "Gradients were left in the model's weights.", hint=kept)
        expect_unchanged(called, 0, message="You changed the weights: this function only looks at them.")
        expect(0 not in called.flags, "You left `requires_grad` of the weights otherwise than it was.")
        expect(0 not in called.modes, "You left the model in another mode than it came in.")
        expect_unchanged(called)


def _private(
    gradients: Tensor, bound: float, multiplier: float, expected: float, draw: Tensor
) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    norms = gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)
    clipped = gradients * (bound / norms).clamp(max=1)
    total, noise, drawn = clipped.sum(0), multiplier * bound * draw, max(len(gradients), 1)
    mean = gradients.sum(0) / expected
    after = mean * min(1.0, bound / max(float(mean.norm()), 1e-12))
    batch_mean = gradients.sum(0) / drawn
    after_own = batch_mean * min(1.0, bound / max(float(batch_mean.norm()), 1e-12))
    whole = gradients.sum(0)
    after_sum = whole * min(1.0, bound / max(float(whole.norm()), 1e-12))
    late = "You clip after averaging. By then one record may have moved the mean by any amount: clip each first."
    mistakes: dict[str, list[Tensor]] = {
        late: [
            after + noise / expected,
            after + noise,
            after_own + noise / expected,
            after_own + noise,
            after_own + noise / drawn,
            (after_sum + noise) / expected,
        ],
        "Your noise is as large as if it was added for each record. It is added once, to the sum.": [
            (total + drawn * noise) / expected,
            (total + drawn**0.5 * noise) / expected,
        ],
        "Your noise is divided by the batch twice: the sum's noise is multiplier * bound, whatever the batch.": [
            total / expected + noise / expected**2,
            (total + noise / drawn) / expected,
            (total + noise / expected**0.5) / expected,
        ],
        "Your noise is not divided by the expected size. Add it to the sum, then divide both.": [
            total / expected + noise
        ],
        "The noise lacks the bound. One record moves the sum by up to the bound, so the noise grows with it.": [
            (total + multiplier * draw) / expected
        ],
        "You divide by the size of this batch. That size depends on who is in: divide by the expected one.": [
            (total + noise) / drawn
        ],
        "You do not divide: this is the sum.": [total + noise],
        "There is no noise.": [total / expected],
        "Short gradients are made longer. Clipping only shortens: the factor is at most 1.": [
            ((gradients * bound / norms).sum(0) + noise) / expected
        ],
        "You clip each number by itself. Then a record moves the sum by more than the bound: clip the row's norm.": [
            (gradients.clamp(-bound, bound).sum(0) + noise) / expected
        ],
        "Nothing is clipped.": [(gradients.sum(0) + noise) / expected],
        "You compare with the squared norm. The norm is its root.": [
            ((gradients * (bound / norms**2).clamp(max=1)).sum(0) + noise) / expected
        ],
        "You take the sum of absolute values for the norm. It is the Euclidean one.": [
            ((gradients * (bound / gradients.abs().sum(1, keepdim=True).clamp(min=1e-12)).clamp(max=1)).sum(0) + noise)
            / expected
        ],
    }
    right = (total + noise) / expected
    named = [(words, value) for words, values in mistakes.items() for value in values]
    return right, [(words, value) for words, value in named if not torch.allclose(value, right, atol=1e-6)]


def _expect_private(got: Any, right: Tensor, named: list[tuple[str, Tensor]], what: str, hint: str) -> None:
    vector = expect_tensor(got, right.shape, what, hint="A number for each weight.")
    fits = {words: value for words, value in named if torch.allclose(vector, value, atol=1e-6)}
    expect_close(vector, right, what, tolerance=1e-7, mistakes=fits, hint=hint)


@exercise(
    "differential_privacy.private_gradient",
    "Clip, sum, noise, divide",
    points=4,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="private_gradient",
    forbid=(f"{PACKAGE}.private_gradient", f"{PACKAGE}.clipped_sum", f"{PACKAGE}.noised"),
    mutants=(
        Mutant(
            "clips after averaging",
            "    return (clipped.sum(dim=0)",
            "    mean = gradients.sum(dim=0) / expected\n"
            "    clipped = mean[None] * min(1, bound / float(mean.norm().clamp(min=1e-12))) * expected\n"
            "    return (clipped.sum(dim=0)",
            "after averaging",
        ),
        Mutant("noise per record", "multiplier * bound * draw", "len(gradients) * multiplier * bound * draw", "once"),
        Mutant(
            "noise divided by the batch twice",
            "multiplier * bound * draw",
            "multiplier * bound / expected * draw",
            "divided by the batch twice",
        ),
        Mutant(
            "noise not divided",
            "+ multiplier * bound * draw) / expected",
            ") / expected + multiplier * bound * draw",
            "not divided",
        ),
        Mutant("noise without the bound", "multiplier * bound * draw", "multiplier * draw", "lacks the bound"),
        Mutant("divides by this batch", "/ expected", "/ max(len(gradients), 1)", "size of this batch"),
        Mutant("stretches the short", ".clamp(max=1)", "", "only shortens"),
        Mutant(
            "clips each number",
            CLIP,
            "gradients.clamp(-bound, bound)",
            "each number",
        ),
        Mutant("nothing clipped", "clipped.sum(dim=0)", "gradients.sum(dim=0)", "Nothing is clipped"),
        Mutant("no noise", " + multiplier * bound * draw", "", "no noise"),
        Mutant("0 divided by 0", CLIP, "gradients / norms * norms.clamp(max=bound)", "NaN"),
        Mutant("squared norm", "keepdim=True)\n", "keepdim=True) ** 2\n", "root"),
        Mutant(
            "no noise without records",
            "    norms =",
            "    if not len(gradients):\n        return torch.zeros_like(draw)\n    norms =",
            "empty",
        ),
        Mutant("clips in place", CLIP, "gradients.mul_((bound / norms.clamp(min=1e-12)).clamp(max=1))", "in place"),
    ),
)
def check_private(answer: Answer, dice: Dice) -> None:
    hint = "Scale each row to a norm of at most bound, sum the rows, add multiplier * bound * draw, divide by expected."
    for case in range(3):
        batch, weights = dice.integer(5, 8), dice.integer(4, 7)
        gradients = dice.normal(batch, weights) * torch.tensor([0.15, 0.3, *[3.0] * (batch - 2)])[:, None]
        bound = 0.8 + float(dice.uniform(1)) if case else 2.0
        multiplier, expected = 0.5 + float(dice.uniform(1)), float(batch + dice.integer(2, 5))
        draw = dice.normal(weights)
        right, mistakes = _private(gradients, bound, multiplier, expected, draw)
        called = answer.trace(gradients, bound, multiplier, expected, draw)
        _expect_private(called.value, right, mistakes, "The private gradient", hint)
        expect_unchanged(called)
    gradients = gradients.clone()
    gradients[1] = 0
    right, mistakes = _private(gradients, bound, multiplier, expected, draw)
    got = answer(gradients, bound, multiplier, expected, draw)
    zero = "A record's gradient can be 0. Then its norm is, too: keep the division from giving NaN."
    _expect_private(got, right, mistakes, "The private gradient where one record's gradient is 0", zero)
    right, _ = _private(gradients[:0], bound, multiplier, expected, draw)
    got = answer(gradients[:0], bound, multiplier, expected, draw)
    empty = "An empty batch has noise like any other: a silent step would tell that nobody was in it."
    _expect_private(got, right, [], "The private gradient of an empty batch", empty)
