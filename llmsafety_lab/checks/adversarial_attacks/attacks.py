"""Exercise 3: one step."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_tensor, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.adversarial_attacks.geometry import (
    NORMS,
    by_embeddings,
    guesses,
    shrunk,
    sizes,
    small_model,
)

IN_PLACE = "You changed the embeddings in place: whoever called you still needs them. Make a new tensor."
PADDING = "Where the mask is False nothing may be changed, but padding or a special token is perturbed"


def draw(dice: Dice) -> tuple[VectorClassifier, Tensor, Tensor, Tensor]:
    """Draw a small model, embeddings, the model's own answers as labels, and a mask as padding makes it.

    The first example has two tokens that may change at the least: with one in each, a token's length is the example's.
    Gradients are long enough for `length + 1e-8` in a denominator; some are shorter than 1 and some longer.
    """
    for _ in range(200):
        batch, tokens, width, classes = dice.integer(5, 6), dice.integer(4, 5), dice.integer(4, 6), dice.integer(3, 4)
        model = small_model(dice, width, classes)
        x = dice.normal(batch, tokens, width)
        ends = dice.integers(2, tokens - 1, batch, 1)
        ends[0] = tokens - 1
        mask = torch.arange(tokens) < ends
        mask[:, 0] = False
        labels = guesses(model, x)
        length = sizes(by_embeddings(model, x, labels) * mask[..., None], 2)
        if 0.03 < length.min() < 0.8 and length.max() > 1.2:
            break
    return model, x, labels, mask


def unit(gradient: Tensor, norm: float, more: float = 0.0) -> Tensor:
    if norm == math.inf:
        return gradient.sign()
    length = sizes(gradient, 2)[:, None, None] + more
    return gradient / length.masked_fill(length == 0, 1)


def into(delta: Tensor, eps: float, norm: float) -> Tensor:
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
        Mutant("not divided", "gradient / length.masked_fill(length == 0, 1)", "gradient", "divide it by its length"),
        Mutant("the batch's length", "length = lengths(gradient)", "length = gradient.norm()", "whole batch"),
        Mutant("squared length", "length = lengths(gradient)", "length = lengths(gradient) ** 2", "squared length"),
        Mutant("mask demanded", "masked(gradient, mask)", "gradient * mask[..., None]", "NoneType"),
        Mutant("left in evaluation mode", "    _, gradient", "    model.eval()\n    _, gradient", "another mode"),
        Mutant("2-norm by default", "norm: float = math.inf", "norm: float = 2", "by default"),
        Mutant(
            "gradients left",
            "    _, gradient = loss_gradient(model, embeddings, labels)",
            "    x = embeddings.detach().requires_grad_()\n    cross_entropy(logits_of(model, x), labels).backward()\n"
            "    gradient = x.grad",
            "left gradients",
        ),
        Mutant("in place", "return project(eps", "embeddings += 1\n    return project(eps", "in place"),
    ),
)
def check_fgsm(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = draw(dice)
    eps = 0.1 + 0.2 * float(dice.uniform(1))
    whole = by_embeddings(model, x, labels)
    gradient = whole * mask[..., None]
    for norm, when in NORMS:
        exact = eps * unit(gradient, norm)
        token = gradient / torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
        missing = (
            "The sign is missing" if norm == math.inf else "The gradient has another length: divide it by its length"
        )
        mistakes = {
            f"{missing}. This is eps times the gradient.": eps * gradient,
            f"{missing}. This is eps times the gradient, limited to the budget.": into(eps * gradient, eps, norm),
            "This step goes downhill: it lowers the loss. An attack raises it.": -exact,
            "You return the perturbed embeddings: return delta alone.": x + exact,
            "Mask the gradient before you divide by its length: what is masked must not count in it.": (
                eps * unit(whole, norm) * mask[..., None]
            ),
            "You divided each token by its own length: under 2 the budget is one for all of an example's tokens.": (
                eps * token.nan_to_num(0)
            ),
            "You divided each token by its own length and shrank the whole to the budget: the direction is no longer "
            "the gradient's.": into(eps * token.nan_to_num(0), eps, norm),
            "This is the step under the other norm.": eps * unit(gradient, 2 if norm == math.inf else math.inf),
            "This has length 1: multiply by eps.": unit(gradient, norm),
            "This is twice eps.": 2 * exact,
            "This is eps squared: multiply by eps.": eps * exact,
            "These are signs under 2: divide the gradient by its length.": (
                eps * gradient.sign() / math.sqrt(gradient[0].numel())
            ),
            "You divided by the length of the whole batch: each example has its own.": eps * gradient / gradient.norm(),
            "You divided by the squared length: divide by the length.": (
                into(eps * gradient / sizes(gradient, 2)[:, None, None] ** 2, eps, norm)
            ),
            "You divided by the largest coordinate: under infinity take the sign.": (
                eps * gradient / sizes(gradient, math.inf)[:, None, None]
            ),
            "This is the step on what the mask leaves out: True is where a token may be changed.": (
                eps * unit(whole * ~mask[..., None], norm)
            ),
        }
        called = answer.trace(model, x, labels, eps, norm, mask)
        got = expect_tensor(called.value, x.shape, f"The perturbation {when}")
        returned = torch.allclose(got, x + exact)
        expect(returned or not got[~mask].any() or bool(got.isnan().any()), f"{PADDING} {when}.")
        hint = "eps times the step of size 1, steepest(gradient, norm), from the masked gradient of the label's loss."
        if got.isnan().any():
            hint = "0 / 0 is NaN: where a token or an example has no gradient, its step is 0."
        expect_close(got, exact, f"The perturbation {when}", mistakes=mistakes, hint=hint)
        expect_unchanged(called, message=IN_PLACE)
        expect(not called.left, "You left gradients: ask loss_gradient for the gradient.")
        expect(not called.modes and not called.flags, "You left the model or an argument otherwise than it came.")
    called = answer.trace(replace(model, training=True), x, labels, eps, 2, mask)
    what, hint = "The perturbation of a model that came in train mode", "Take the gradient from your loss_gradient."
    expect_close(called.value, eps * unit(gradient, 2), what, hint=hint)
    expect(not called.modes, "You left the model in another mode than it came in.", hint=hint)
    got = answer(model, x, labels, eps, 2, torch.zeros_like(mask))
    hint = "Nothing may be changed here, the masked gradient is 0, and 0 / 0 is NaN."
    expect_close(got, torch.zeros_like(x), "The perturbation where the mask is False everywhere", hint=hint)
    hint = "Without a mask every token may change, and the norm is infinity by default."
    expect_close(answer(model, x, labels, eps), eps * whole.sign(), "The perturbation without a mask", hint=hint)
