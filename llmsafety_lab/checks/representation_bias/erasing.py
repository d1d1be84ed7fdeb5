"""Exercise 5: the smallest change after which no linear classifier finds the label."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_pair
from llmsafety_lab.checks.representation_bias.shapes import tensor


def _oblique(x: Tensor, labels: Tensor) -> Tensor:
    """Solve for the map by least squares: the label's linear regression, times how each coordinate goes with it."""
    centred = x - x.mean(0)
    z = (labels - labels.double().mean()).double()
    weights = torch.linalg.pinv(centred, rtol=1e-8) @ z  # the regression of the label
    cross = centred.T @ z
    return torch.outer(cross, weights) / (cross @ weights)


def _draw(dice: Dice, width: int) -> tuple[Tensor, Tensor]:
    labels = torch.tensor([i % 2 for i in range(3 * (width + 5))])
    labels[: width // 2] = 1
    stretch = torch.linspace(0.5, 2.5, width, dtype=torch.float64)
    mix = dice.normal(width, width) / width**0.5 + torch.eye(width, dtype=torch.float64)
    x = (dice.normal(len(labels), width) * stretch) @ mix + 2 * dice.normal(1, width)
    return x + labels[:, None] * (1 + dice.uniform(1, width)), labels


@exercise(
    "representation_bias.leace",
    "Erase, and move as little as you can",
    points=5,
    difficulty=4,
    importance=4,
    minutes=18,
    answer="leace",
    forbid=("concept_erasure.LeaceFitter", "concept_erasure.LeaceEraser", "concept_erasure.leace.LeaceFitter"),
    mutants=(
        Mutant("plain projection", "weights = np.linalg.pinv(covariance) @ gap", "weights = gap", "least-squares"),
        Mutant(
            "regression direction out",
            "return np.outer(gap, weights) / (gap @ weights), mean",
            "return np.outer(weights, weights) / (weights @ weights), mean",
            "means of the two labels",
        ),
        Mutant(
            "transposed",
            "np.outer(gap, weights)",
            "np.outer(weights, gap)",
            "transposed",
        ),
        Mutant("not scaled", "np.outer(gap, weights) / (gap @ weights)", "np.outer(gap, weights)", "divide"),
        Mutant(
            "covariance around 0",
            "np.cov(x.T, bias=True)",
            "x.T @ x / len(x)",
            "around the mean",
        ),
        Mutant(
            "inverse",
            "np.linalg.pinv(covariance)",
            "np.linalg.inv(covariance)",
            "pseudo-inverse",
        ),
        Mutant(
            "covariance of one label",
            "np.cov(x.T, bias=True)",
            "np.cov(x[labels == 0].T, bias=True)",
            "all rows",
        ),
        Mutant("mean of one label", "mean = x.mean(axis=0)", "mean = x[labels == 1].mean(axis=0)", "mean of all rows"),
        Mutant("mean left out", "mean = x.mean(axis=0)", "mean = np.zeros(x.shape[1])", "mean of all rows"),
        Mutant(
            "what is kept",
            "return np.outer(gap, weights) / (gap @ weights), mean",
            "return np.eye(len(gap)) - np.outer(gap, weights) / (gap @ weights), mean",
            "what is taken out",
        ),
        Mutant(
            "variances alone",
            "np.cov(x.T, bias=True)",
            "np.diag(x.var(axis=0))",
            "least-squares",
        ),
    ),
)
def check_leace(answer: Answer, dice: Dice) -> None:
    width = dice.integer(4, 6)
    x, labels = _draw(dice, width)
    hint = "The outer product of the gap between the means and the regression's weights, divided by their dot product."
    for singular in (False, True):
        if singular:
            x = torch.cat([x, x[:, :1] + x[:, 1:2]], dim=1)
        when = " for vectors whose last number is the sum of two others" if singular else ""
        try:
            came = answer(x.numpy(), labels.numpy())
        except Failed as failure:
            if singular:
                failure.hint = "The covariance has no inverse here, and yet there is a smallest change: pseudo-inverse."
            raise
        matrix, mean = expect_pair(came, "The answer", expected="(matrix, mean)")
        matrix = tensor(matrix, (x.shape[1], x.shape[1]), "The matrix", hint=hint)
        mean = tensor(mean.reshape(-1) if hasattr(mean, "reshape") else mean, (x.shape[1],), "The mean")
        exact, centre = _oblique(x, labels), x.mean(0)
        _expect_erased(x, labels, matrix, mean, exact, when)
        moved, least = (float((((x - centre) @ m.T) ** 2).sum(1).mean()) for m in (matrix, exact))
        more = (
            "The means agree, but you moved the vectors further than you had to. The least-squares solution weighs the "
            "directions by the inverse of the covariance of all rows around the mean; for a covariance without an "
            "inverse take the pseudo-inverse."
        )
        expect(
            moved <= least * (1 + 1e-6) + 1e-9,
            f"The vectors move too far{when}.",
            expected=least,
            got=moved,
            hint=more,
        )
        expect_close(
            ((x - centre) @ matrix.T), (x - centre) @ exact.T, f"What is taken out{when}", tolerance=1e-5, hint=hint
        )
        expect_close(mean, centre, "The mean", tolerance=1e-6, hint="Take the mean of all rows: it stays where it is.")


def _expect_erased(x: Tensor, labels: Tensor, matrix: Tensor, mean: Tensor, exact: Tensor, when: str) -> None:
    after = x - (x - mean) @ matrix.T
    gap = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    left = after[labels == 1].mean(0) - after[labels == 0].mean(0)
    kept = torch.eye(len(matrix), dtype=torch.float64) - exact
    shifted = x.T @ x / len(x)
    around_zero = torch.outer(gap, torch.linalg.pinv(shifted) @ gap)
    within = x[labels == 0]
    of_one = torch.outer(gap, torch.linalg.pinv(torch.cov(within.T, correction=0)) @ gap)
    weights = torch.linalg.pinv(torch.cov(x.T, correction=0)) @ gap
    hints = {
        "This is what is kept. The matrix is what is taken out: x - (x - mean) @ matrix.T.": kept,
        "The matrix is transposed: the gap between the means comes first, the weights second.": exact.T,
        "Divide by the dot product of the gap and the weights: else you take out too little or too much.": torch.outer(
            gap, weights
        ),
    }
    words = next((words for words, value in hints.items() if torch.allclose(matrix, value, atol=1e-6)), "")
    expect(
        float(left.abs().max()) < 1e-6 * (1 + float(gap.abs().max())),
        f"The means of the two labels still differ{when}, so a linear classifier still finds the label.",
        expected="no difference",
        got=left,
        hint=words
        or "The matrix has to take out the whole gap between the means of the two labels: matrix @ gap is gap.",
    )
    for about, value in (("around the mean, not around 0", around_zero), ("of all rows, not of one label's", of_one)):
        scaled = value / torch.trace(value)
        expect(
            torch.allclose(scaled, exact, atol=1e-7) or not torch.allclose(matrix, scaled, atol=1e-6),
            f"The vectors move too far{when}.",
            hint=f"Take the covariance {about}.",
        )
    centre = after.mean(0) - x.mean(0)
    expect(
        float(centre.abs().max()) < 1e-6 * (1 + float(x.abs().max())),
        f"The mean of the vectors moves{when}.",
        expected="no change",
        got=centre,
        hint="The second value is the mean of all rows: the map leaves it in its place, and so moves the rows least.",
    )
