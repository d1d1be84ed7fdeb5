"""Exercises 3 and 4: a record read off a gradient, and the vectors that a gradient spans."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_unchanged
from llmsafety_lab.checks.federated_learning.refusals import as_tensor, refused


@exercise(
    "federated_learning.invert",
    "Read a record off an update",
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
    answer="invert_linear",
    mutants=(
        Mutant("always the first output", "row = int(bias.abs().argmax())", "row = 0", "first output"),
        Mutant("the smallest", "bias.abs().argmax()", "bias.abs().argmin()", "smallest"),
        Mutant("largest with sign", "bias.abs().argmax()", "bias.argmax()", "sign"),
        Mutant("not divided", "weight[row] / bias[row]", "weight[row]", "divide"),
        Mutant("multiplied", "weight[row] / bias[row]", "weight[row] * bias[row]", "multiplied"),
        Mutant("sum over the outputs", "return weight[row] / bias[row]", "return weight.sum(0) / bias.sum()", "sum to"),
        Mutant("its length alone", "weight[row] / bias[row]", "weight[row] / weight[row].norm()", "length 1"),
        Mutant("sign lost", "weight[row] / bias[row]", "weight[row] / bias[row].abs()", "sign"),
        Mutant("nothing refused", "    if not bias[row]:\n", "    if bias is None:\n", "was not refused"),
    ),
)
def check_invert(answer: Answer, dice: Dice) -> None:
    for turn in range(4):
        outputs, features = dice.integer(4, 6), dice.integer(5, 8)
        x = dice.normal(features) + 0.5
        slopes = dice.normal(outputs)
        if turn == 1:
            slopes = slopes - slopes.mean()  # as behind a softmax: they sum to 0
        slopes[1] = -(3 + float(dice.uniform(1)))  # the largest is negative
        if turn == 1:
            slopes[2] -= slopes.sum()
        if turn == 2:
            slopes[0] = 0  # a unit that was not active
        if turn == 3:
            slopes = torch.where(torch.arange(outputs) == 1, slopes, -slopes.abs())
        factor = (-0.1 if turn else 0.1) * dice.integer(1, 9)  # an update in place of a gradient
        weight, bias = factor * slopes[:, None] * x, factor * slopes
        row = int(bias.abs().argmax())
        mistakes = {
            "This divides by the first output's bias, which may be 0. Take the output with the largest gradient.": (
                weight[0] / bias[0]
            ),
            "This takes the output with the smallest gradient, where the quotient is least exact.": weight[
                int(bias.abs().argmin())
            ]
            / bias[int(bias.abs().argmin())],
            "The row is taken and not divided: divide it by the gradient of its bias.": weight[row],
            "The row is multiplied by the gradient of its bias: divide.": weight[row] * bias[row],
            "This is the record with length 1. Its length is known, too: divide by the gradient of the bias.": (
                weight[row] / weight[row].norm()
            ),
            "The sign is wrong: divide by the gradient of the bias with its sign.": -x,
        }
        try:
            called = answer.trace(weight, bias)
        except Failed as failed:
            if "ValueError" not in failed.message:
                raise
            raise Failed(
                "The gradients were refused, though one of the bias's is not 0.",
                expected=x,
                got=failed.message,
                hint="Take the output with the largest in magnitude, whatever its sign: not the first output, "
                "and not the smallest.",
            ) from None
        got = as_tensor(called.value)
        sums = weight.sum(0) / bias.sum()
        if isinstance(got, Tensor) and got.shape == x.shape:
            off = not torch.allclose(got.double(), x, atol=1e-6)
            if off and turn == 1 and torch.allclose(got.double(), sums, rtol=1e-2, equal_nan=True):
                mistakes = {"The slopes of a softmax sum to 0: do not divide by their sum.": got.double()}
            elif off and not torch.isfinite(got).all() and turn == 1:
                mistakes = {}
        hint = "Each row of the weight's gradient is the slope of its output times the record; the bias's is the slope."
        if turn == 1:
            hint += " Behind a softmax the slopes sum to 0, so their sum is no divisor."
        if turn == 2:
            hint += " The first output has slope 0 here: a unit that was not active. Take the largest."
        expect_close(got, x, "The record", mistakes=mistakes, hint=hint, tolerance=1e-6)
        expect_unchanged(called, 0, 1)
    tiny = dice.normal(5)
    slopes = torch.tensor([1e-13, -0.7, -0.2, 1e-14], dtype=torch.float64)
    weight = slopes[:, None] * tiny + 1e-12 * dice.normal(4, 5)
    expect_close(
        as_tensor(answer(weight, slopes)),
        tiny,
        "The record of gradients with rounding errors",
        tolerance=1e-6,
        hint="A quotient of two tiny numbers is rounding error: take the output of largest gradient in magnitude, "
        "whatever its sign; not the smallest, and not the first output.",
    )
    nothing = torch.zeros(3, dtype=torch.float64)
    refused(lambda: answer(torch.zeros(3, 4, dtype=torch.float64), nothing), "A gradient of 0 was not refused.")


def _basis(gradient: Tensor, tolerance: float) -> Tensor:
    values, rows = torch.linalg.svd(gradient, full_matrices=False)[1:]
    return rows[values > tolerance * values[0]]


def _far(basis: Tensor, candidates: Tensor) -> Tensor:
    return (candidates - candidates @ basis.T @ basis).norm(dim=1)


@exercise(
    "federated_learning.span",
    "Which words does an update span?",
    points=4,
    difficulty=4,
    importance=4,
    minutes=16,
    answer="outside_span",
    mutants=(
        Mutant("every direction kept", "basis[values > tolerance * values[0]]", "basis", "everything"),
        Mutant("columns for rows", "torch.linalg.svd(gradient,", "torch.linalg.svd(gradient.T,", "columns"),
        Mutant("share inside", "candidates - candidates @ basis.T @ basis", "candidates @ basis.T @ basis", "inside"),
        Mutant("not divided", " / candidates.norm(dim=1)", "", "length"),
        Mutant(
            "squared",
            "outside.norm(dim=1) / candidates.norm(dim=1)",
            "(outside.norm(dim=1) / candidates.norm(dim=1)) ** 2",
            "squared",
        ),
        Mutant(
            "rows taken as they are", "basis = basis[values > tolerance * values[0]]", "basis = gradient", "orthogonal"
        ),
        Mutant(
            "rows of length 1",
            "basis = basis[values > tolerance * values[0]]",
            "basis = gradient / gradient.norm(dim=1, keepdim=True)",
            "orthogonal",
        ),
        Mutant("tolerance by itself", "values > tolerance * values[0]", "values > tolerance", "largest"),
        Mutant("tolerance not used", "values > tolerance * values[0]", "values > 2e-6 * values[0]", "given tolerance"),
        Mutant(
            "squares compared",
            "values > tolerance * values[0]",
            "values**2 > tolerance * values[0] ** 2",
            "given tolerance",
        ),
        Mutant("one direction", "basis[values > tolerance * values[0]]", "basis[:1]", "one direction"),
        Mutant("nothing refused", "    if not values[0]:\n", "    if values is None:\n", "was not refused"),
    ),
)
def check_span(answer: Answer, dice: Dice) -> None:
    for scale, outputs in ((1.0, 9), (1e-6, 9), (1e3, 6)):
        features, inputs, tolerance = 9, dice.integer(3, 4), 1e-5
        seen = dice.normal(inputs, features)
        gradient = scale * dice.normal(outputs, inputs) @ seen
        noise = dice.normal(outputs, features)
        gradient = gradient + 1e-9 * gradient.norm() / noise.norm() * noise  # as rounding leaves it
        others = dice.normal(3, features)
        mixed = dice.normal(1, inputs) @ seen
        candidates = torch.cat([seen, others, mixed, 5 * others[:1]])
        lengths = candidates.norm(dim=1)
        basis = _basis(gradient, tolerance)
        outside = _far(basis, candidates)
        right = outside / lengths
        inside = (candidates @ basis.T).norm(dim=1)
        rows = gradient / gradient.norm(dim=1, keepdim=True)
        full = torch.linalg.svd(gradient, full_matrices=False)[2]
        absolute = torch.linalg.svd(gradient, full_matrices=False)
        mistakes = {
            "Singular values count as 0 below the tolerance times the largest one; you compare with the tolerance "
            "itself.": _far(absolute[2][absolute[1] > tolerance], candidates) / lengths,
            "This is the part inside of the span: return the part outside.": inside / lengths,
            "Divide by the candidate's length: a vector twice as long lies no further out.": outside,
            "This is squared: return the length.": right**2,
            "Only one direction of the gradient is used: all whose singular value is not nearly 0 span it.": (
                _far(full[:1], candidates) / lengths
            ),
            "The rows are not orthogonal: projections on them cannot be added up. Take the singular vectors.": (
                _far(gradient, candidates) / lengths
            ),
            "The rows, of length 1 each, are not orthogonal: take the singular vectors.": _far(rows, candidates)
            / lengths,
        }
        if outputs == features:
            mistakes["These are the columns of the gradient. Its rows are sums of inputs."] = (
                _far(_basis(gradient.T, tolerance), candidates) / lengths
            )
            mistakes["Every direction is kept, also those that rounding made: then everything lies inside."] = (
                _far(full, candidates) / lengths
            )
        called = answer.trace(gradient, candidates, tolerance)
        hint = (
            "Singular value decomposition; keep the right singular vectors whose value is above tolerance times the "
            "largest; take from each candidate its projection on them; its length, divided by the candidate's."
        )
        expect_close(
            as_tensor(called.value),
            right,
            "How far the candidates lie outside",
            tolerance=1e-4,
            mistakes=mistakes,
            hint=hint,
        )
        expect_unchanged(called, 0, 1)
    rows, values = torch.linalg.qr(dice.normal(5, 3)).Q.T, torch.tensor([1.0, 0.7, 0.03], dtype=torch.float64)
    weak = torch.linalg.qr(dice.normal(4, 3)).Q * values @ rows
    for tolerance, beyond in ((0.2, 1.0), (0.01, 0.0)):
        got = as_tensor(answer(weak, rows[2:], tolerance))
        expected = torch.tensor([beyond], dtype=torch.float64)
        what = f"With tolerance {tolerance}, how far a direction of singular value 0.03 (the largest is 1) lies outside"
        hint = "A direction counts if its singular value is above the given tolerance times the largest."
        expect_close(got, expected, what, tolerance=1e-4, hint=hint)
    refused(
        lambda: answer(torch.zeros(4, 5, dtype=torch.float64), torch.ones(2, 5, dtype=torch.float64), 1e-6),
        "A gradient of 0 spans nothing, and was not refused.",
    )
