"""Exercise 3: the exact permutation test, over all ways to divide the words."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number

_SLACK = 1e-10


def _gaps(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Return the difference of the means for all divisions, by one product with a table of who is in the first set."""
    every = np.concatenate([x, y])
    chosen = np.array([[i in those for i in range(len(every))] for those in combinations(range(len(every)), size)])
    return chosen @ every / size - ~chosen @ every / (len(every) - size)


def _mistakes(x: np.ndarray, y: np.ndarray, gaps: np.ndarray) -> dict[str, float]:
    seen = x.mean() - y.mean()
    every = np.concatenate([x, y])
    sums = np.array([every[list(those)].sum() for those in combinations(range(len(every)), len(x))])
    of_sums = 2 * sums - every.sum()
    as_far = np.abs(gaps) >= abs(seen) - _SLACK
    return {
        "One-sided: you count differences of the observed sign only. Those of the other sign are as far apart.": float(
            (gaps * np.sign(seen) >= abs(seen) - _SLACK).mean()
        ),
        "One-sided, and to the other side: compare the absolute values of the differences.": float(
            (gaps * np.sign(seen) <= abs(seen) + _SLACK).mean()
        ),
        "You count only divisions that are further apart. Those that are equally far count, too, the observed one "
        "among them: no p-value is 0. Allow for rounding when you compare.": float(
            (np.abs(gaps) > abs(seen) + _SLACK).mean()
        ),
        "This is one minus the p-value: count the divisions that are at least as far apart.": float(
            (np.abs(gaps) < abs(seen) - _SLACK).mean()
        ),
        "The sets may differ in size: compare differences of means, not of sums.": float(
            (np.abs(of_sums) >= abs(x.sum() - y.sum()) - _SLACK).mean()
        ),
        "This is the count. Divide it by the number of divisions.": float(as_far.sum()),
        "You add 1 above and below, as for drawn divisions. Here all are counted, the observed one among them.": float(
            (as_far.sum() + 1) / (len(gaps) + 1)
        ),
        "Divide into halves only where x and y are as large: the first set has as many words as x.": float(
            (np.abs(_gaps(x, y, len(every) // 2)) >= abs(seen) - _SLACK).mean()
        ),
        "This is half of the p-value. Both directions count, each in full.": float(as_far.mean()) / 2,
        "You doubled a one-sided p-value. The two tails need not be equally large: count both.": min(
            1.0, 2 * float((gaps * np.sign(seen) >= abs(seen) - _SLACK).mean())
        ),
    }


@exercise(
    "representation_bias.p_value",
    "Could it be chance?",
    points=4,
    difficulty=3,
    importance=4,
    minutes=14,
    answer="p_value",
    forbid=("scipy.stats.permutation_test", "scipy.stats.mannwhitneyu", "scipy.stats.ttest_ind"),
    mutants=(
        Mutant(
            "one-sided for two-sided",
            "abs(first.mean() - second.mean()) >= abs(observed) - 1e-12",
            "first.mean() - second.mean() >= observed - 1e-12",
            "One-sided",
        ),
        Mutant("equally far left out", ">= abs(observed) - 1e-12", "> abs(observed) + 1e-12", "equally far"),
        Mutant(
            "rounding loses the observed one",
            ">= abs(observed) - 1e-12",
            ">= abs(observed) * (1 + 1e-9)",
            "no p-value is 0",
        ),
        Mutant("one minus", "return count / total", "return 1 - count / total", "one minus"),
        Mutant("a count", "return count / total", "return count", "number of divisions"),
        Mutant(
            "differences of sums",
            "abs(first.mean() - second.mean()) >= abs(observed) - 1e-12",
            "abs(first.sum() - second.sum()) >= abs(of_x.sum() - of_y.sum()) - 1e-12",
            "not of sums",
        ),
        Mutant(
            "with replacement",
            "for chosen in combinations(range(len(every)), len(of_x)):",
            "for chosen in np.random.default_rng(0).choice(len(every), (2000, len(of_x))):",
            "no word twice",
        ),
        Mutant(
            "drawn",
            "for chosen in combinations(range(len(every)), len(of_x)):",
            "for chosen in (r.permutation(len(every))[: len(of_x)] for r in 300 * [np.random.default_rng(0)]):",
            "of all divisions",
        ),
        Mutant(
            "halves of any size",
            "range(len(every)), len(of_x))",
            "range(len(every)), len(every) // 2)",
            "as many words",
        ),
        Mutant("one added", "return count / total", "return (count + 1) / (total + 1)", "as for drawn"),
        Mutant(
            "doubled",
            "abs(first.mean() - second.mean()) >= abs(observed) - 1e-12",
            "2 * ((first.mean() - second.mean()) * np.sign(observed) >= abs(observed) - 1e-12)",
            "doubled",
        ),
    ),
)
def check_p_value(answer: Answer, dice: Dice) -> None:
    hint = "The share of all divisions in which the means are at least as far apart, in either direction."
    for sizes in ((3, 6), (5, 3)):
        for _ in range(400):
            x = dice.normal(sizes[0]).numpy() + 0.7
            y = dice.normal(sizes[1]).numpy() ** 2
            gaps = _gaps(x, y, sizes[0])
            p = float((np.abs(gaps) >= abs(x.mean() - y.mean()) - _SLACK).mean())
            wrong = _mistakes(x, y, gaps)
            if 0.05 < p < 0.6 and len({round(value, 9) for value in (p, *wrong.values())}) == len(wrong) + 1:
                break
        got = expect_number(answer(x, y), "The p-value", hint=hint)
        expect(got > 0, "The p-value is 0.", expected=p, got=got, hint=next(w for w in wrong if "no p-value is 0" in w))
        if abs(got - p) < 1e-9:
            continue
        words = next((words for words, value in wrong.items() if abs(got - value) < 1e-9), "")
        if not words:
            words = (
                "Is this the share of all divisions, with as many words in the first set as in x, and no word twice? "
                "Draw nothing at random: so few can be listed, with itertools.combinations."
            )
        raise Failed(
            f"The p-value of {sizes[0]} and {sizes[1]} associations is wrong.", expected=p, got=got, hint=words
        )
    ties = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 1.0, 2.0])
    got = expect_number(answer(*ties), "The p-value of two equal sets", hint=hint)
    equal = "Two sets with the same mean: every division is at least as far apart as they are."
    expect(
        abs(got - 1) < 1e-9, "The p-value of two sets with the same mean is wrong.", expected=1.0, got=got, hint=equal
    )
    far = np.array([1.0, 1.1, 1.2, 1.3]), np.array([0.1, 0.2, 0.3, 0.4])
    got = expect_number(answer(*far), "The p-value of two sets that do not overlap", hint=hint)
    least = (
        "Two divisions of 70 are as far apart: the observed one and its mirror image. If one is not counted, rounding "
        "is why: a mean may come out a last digit smaller. Compare with a little slack, such as 1e-12."
    )
    expect(abs(got - 2 / 70) < 1e-9, "The smallest p-value is wrong.", expected=2 / 70, got=got, hint=least)
