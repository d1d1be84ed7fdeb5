"""Exercise 6: a step made orthogonal by products alone, against the same polynomial of the singular values."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_unchanged

QUINTIC = (3.4445, -4.7750, 2.0315)


def _iterated(x: Tensor, steps: int) -> Tensor:
    a, b, c = QUINTIC
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


@exercise(
    "pretraining.orthogonalise",
    "A step with no favourite direction",
    points=4,
    difficulty=4,
    importance=2,
    minutes=14,
    answer="orthogonalise",
    forbid=(
        *(f"torch.linalg.{name}" for name in ("svd", "qr", "eig", "eigh")),
        *(f"numpy.linalg.{name}" for name in ("svd", "qr", "eig", "eigh")),
        *(f"scipy.linalg.{name}" for name in ("svd", "qr", "eig", "eigh", "polar", "sqrtm")),
        *(f"torch.{name}" for name in ("svd", "qr", "svd_lowrank", "pca_lowrank", "optim.Muon")),
        *(f"aten::{name}" for name in ("_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_qr")),
    ),
    mutants=(
        Mutant("not normalised", " / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)", "", "divide"),
        Mutant("one norm for the stack", "matrices.norm(dim=(1, 2), keepdim=True)", "matrices.norm()", "its own norm"),
        Mutant("one step", "for _ in range(steps):", "for _ in range(1):", "steps"),
        Mutant("five steps", "for _ in range(steps):", "for _ in range(5):", "takes five"),
        Mutant("coefficients swapped", "a, b, c = QUINTIC", "a, c, b = QUINTIC", "order"),
        Mutant("wrong side", "square = x @ x.mT", "square = x.mT @ x", "stopped with"),
        Mutant("one step more", "for _ in range(steps):", "for _ in range(steps + 1):", "one step too many"),
        Mutant("one step less", "for _ in range(steps):", "for _ in range(steps - 1):", "one step is missing"),
        Mutant("three by default", "steps: int = 5", "steps: int = 3", "without steps"),
        Mutant(
            "in place",
            "    x = matrices / (",
            "    matrices /= matrices.norm(dim=(1, 2), keepdim=True)\n    x = matrices / (",
            "in place",
        ),
        Mutant("cubic alone", "a, b, c = QUINTIC", "a, b, c = (*QUINTIC[:2], 0.0)", "last term"),
        Mutant("rows normalised", "dim=(1, 2), keepdim", "dim=2, keepdim", "each row"),
        Mutant("norm put back", "    return x", "    return x * matrices.norm(dim=(1, 2), keepdim=True)", "norm back"),
        Mutant(
            "elementwise",
            "        square = ",
            "        x = a * x + b * x**3 + c * x**5\n        continue\n        square = ",
            "each number by itself",
        ),
    ),
)
def check_orthogonalise(answer: Answer, dice: Dice) -> None:
    def polynomial(values: Tensor, steps: int, quintic: tuple[float, float, float] = QUINTIC) -> Tensor:
        a, b, c = quintic
        for _ in range(steps):
            values = a * values + b * values**3 + c * values**5
        return values

    for shape, steps in (((2, 5, 12), 1), ((2, 5, 12), 2), ((3, 6, 6), 5)):
        matrices = dice.normal(*shape) * torch.tensor([1.0, 3.0, 0.2]).double()[: shape[0], None, None]
        u, values, vh = torch.linalg.svd(matrices, full_matrices=False)
        own = matrices.norm(dim=(1, 2))[:, None]

        def lifted(scaled: Tensor, u: Tensor = u, vh: Tensor = vh) -> Tensor:
            return u @ torch.diag_embed(scaled) @ vh

        exact = lifted(polynomial(values / own, steps))
        a, b, c = QUINTIC
        mistakes = {
            "Divide each matrix by its norm first: the polynomial is made for values from 0 to 1.": lifted(
                polynomial(values, steps)
            ),
            "Each matrix is divided by its own norm, not the stack by one.": lifted(
                polynomial(values / matrices.norm(), steps)
            ),
            "The number of steps is an argument: repeat as often as it says.": lifted(polynomial(values / own, 1)),
            "The number of steps is an argument: yours takes five, whatever it says.": lifted(
                polynomial(values / own, 5)
            ),
            "That is one step too many.": lifted(polynomial(values / own, steps + 1)),
            "Yours takes one step too few: one step is missing.": lifted(polynomial(values / own, steps - 1)),
            "The last term, c(XX')(XX')X, is missing.": lifted(polynomial(values / own, steps, (a, b, 0.0))),
            "The first term, aX, is missing its coefficient a.": lifted(polynomial(values / own, steps, (1.0, b, c))),
            "You put the norm back at the end: leave it divided out.": own[..., None] * exact,
            "You divided each row by its norm: each matrix has one, that of all its numbers.": _iterated(
                matrices / matrices.norm(dim=2, keepdim=True), steps
            ),
            "You divided by the squared norm: divide by the norm.": lifted(polynomial(values / own**2, steps)),
            "You took the powers of each number by itself: XX' is a product of matrices.": polynomial(
                matrices / own[..., None], steps
            ),
            "The coefficients are in the wrong order: b belongs to (XX')X, c to (XX')(XX')X.": lifted(
                polynomial(values / own, steps, (a, c, b))
            ),
            "That is the exact orthogonal factor: compute the iteration.": u @ vh,
        }
        mistakes = {words: value for words, value in mistakes.items() if not torch.allclose(value, exact, atol=1e-3)}
        called = answer.trace(matrices, steps)
        expect_close(
            called.value,
            exact,
            f"The result for shape {shape} after {steps} steps",
            mistakes=mistakes,
            tolerance=1e-5,
            hint="X <- aX + b(XX')X + c(XX')(XX')X, for each matrix of the stack.",
        )
        expect_unchanged(called, message="You changed the matrices in place: the optimiser still needs them.")
    what = "The result of a call without steps"
    expect_close(
        answer(matrices), exact, what, tolerance=1e-5, hint="Where none are given there are five, as in the stub."
    )
