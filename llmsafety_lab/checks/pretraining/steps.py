"""Exercise 6: a step made orthogonal by products alone, against the same polynomial of the singular values."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close

QUINTIC = (3.4445, -4.7750, 2.0315)


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
    ),
)
def check_orthogonalise(answer: Answer, dice: Dice) -> None:
    import torch

    def polynomial(values: torch.Tensor, steps: int, quintic: tuple[float, float, float] = QUINTIC) -> torch.Tensor:
        a, b, c = quintic
        for _ in range(steps):
            values = a * values + b * values**3 + c * values**5
        return values

    for shape, steps in (((2, 5, 12), 1), ((2, 5, 12), 2), ((3, 6, 6), 5)):
        matrices = dice.normal(*shape) * torch.tensor([1.0, 3.0, 0.2]).double()[: shape[0], None, None]
        u, values, vh = torch.linalg.svd(matrices, full_matrices=False)
        own = matrices.norm(dim=(1, 2))[:, None]

        def lifted(scaled: torch.Tensor, u: torch.Tensor = u, vh: torch.Tensor = vh) -> torch.Tensor:
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
            "The coefficients are in the wrong order: b belongs to (XX')X, c to (XX')(XX')X.": lifted(
                polynomial(values / own, steps, (a, c, b))
            ),
            "That is the exact orthogonal factor: compute the iteration.": u @ vh,
        }
        mistakes = {words: value for words, value in mistakes.items() if not torch.allclose(value, exact, atol=1e-3)}
        expect_close(
            answer(matrices, steps),
            exact,
            f"The result for shape {shape} after {steps} steps",
            mistakes=mistakes,
            tolerance=1e-5,
            hint="X <- aX + b(XX')X + c(XX')(XX')X, for each matrix of the stack.",
        )
