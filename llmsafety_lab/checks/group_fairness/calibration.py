"""Exercise 5: what a score means in each group, in bins that are the same for all."""

from __future__ import annotations

from itertools import pairwise

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_list, expect_number, expect_pair
from llmsafety_lab.checks.group_fairness.shared import by_group, expect_share


def _place(score: float, edges: list[float]) -> int:
    inside = [i for i, (low, high) in enumerate(pairwise(edges)) if low <= score < high]
    return inside[0] if inside else len(edges) - 2


@exercise(
    "group_fairness.calibration",
    "What a score means in each group",
    points=2,
    difficulty=3,
    importance=4,
    minutes=8,
    answer="calibration",
    forbid=("sklearn.calibration.calibration_curve",),
    mutants=(
        Mutant(
            "quantiles of all",
            "    last = len(edges) - 2\n",
            "    edges = [float(q) for q in np.quantile(scores, np.linspace(0, 1, len(edges)))]\n"
            "    last = len(edges) - 2\n",
            "quantiles",
        ),
        Mutant(
            "upper end in the bin",
            "score >= edge for edge in edges[1:]",
            "score > edge for edge in edges[1:]",
            "lower end",
        ),
        Mutant(
            "edges of its own",
            "    last = len(edges) - 2\n",
            "    edges = [0.0, 0.2, 0.5, 0.6, 1.0]\n    last = len(edges) - 2\n",
            "n of the bins",
        ),
        Mutant("empty bin is 0", "ones / n if n else None", "ones / n if n else 0.0", "nobody"),
        Mutant("empty bin divides", "ones / n if n else None", "ones / n", "stopped with"),
        Mutant(
            "last end lost",
            "min(sum(score >= edge for edge in edges[1:]), last)",
            "sum(score >= edge for edge in edges[1:])",
            "stopped with",
        ),
        Mutant("mean score for the rate", "cell[1] += y", "cell[1] += score", "mean score"),
        Mutant(
            "share of all outcomes",
            "ones / n if n else None",
            "ones / max(sum(y_true), 1) if n else None",
            "of the bin",
        ),
        Mutant(
            "all groups together",
            "zip(y_true, scores, groups, strict=True):",
            "((y, s, h) for y, s in zip(y_true, scores, strict=True) for h in set(groups)):",
            "n of",
        ),
    ),
)
def check_calibration(answer: Answer, dice: Dice) -> None:
    first = round(0.22 + 0.1 * float(dice.uniform(1)), 2)
    edges = [0.0, first, round(first + 0.3, 2), round(first + 0.4, 2), 1.0]
    truth: list[int] = []
    scores: list[float] = []
    group: list[str] = []
    for name, count in (("north", dice.integer(50, 70)), ("south", dice.integer(20, 30)), ("east", 6)):
        for i in range(count):
            drawn = round(float(dice.uniform(1)) ** 1.5, 3)
            score = (*edges[1:], 0.0)[i] if i < 5 and name != "east" else drawn * 0.45 if name == "east" else drawn
            truth.append(int(float(dice.uniform(1)) < (0.2 + 0.6 * score if i >= 5 else 0.5)))
            scores.append(score)
            group.append(name)
    order = sorted(range(len(truth)), key=lambda _: float(dice.uniform(1)))
    truth, scores, group = ([column[i] for i in order] for column in (truth, scores, group))  # type: ignore[assignment]
    got = by_group(answer(truth, scores, group, edges), ["north", "south", "east"], "The answer")
    cut = sorted(scores)
    quantiles = [cut[round(q * (len(cut) - 1) / 4)] for q in range(5)]
    for name in ("north", "south", "east"):
        bins = expect_list(got[name], f"The entry of {name!r}", length=4, expected="4 pairs (n, rate), one a bin")
        pairs = [expect_pair(one, f"Bin {i} of {name!r}", expected="(n, rate)") for i, one in enumerate(bins)]
        rows = [(y, s) for y, s, g in zip(truth, scores, group, strict=True) if g == name]
        counts = [expect_number(n, f"n of bin {i} of {name!r}") for i, (n, _) in enumerate(pairs)]
        exact = [sum(_place(s, edges) == i for _, s in rows) for i in range(4)]
        if counts != exact:
            by_quantile = [sum(_place(s, quantiles) == i for _, s in rows) for i in range(4)]
            of_all = [sum(_place(s, edges) == i for s in scores) for i in range(4)]
            apart = sum(abs(a - b) for a, b in zip(counts, by_quantile, strict=True))
            hint = "A bin holds its lower end and not its upper one; the last bin holds both."
            if apart <= 4:
                hint = "These are bins by quantiles: elsewhere they mean other scores. Take the edges that are given."
            if counts == of_all:
                hint = "You count the rows of all groups."
            raise Failed(f"n of the bins of {name!r} is wrong, edges {edges}.", expected=exact, got=counts, hint=hint)
        for i, (_, rate) in enumerate(pairs):
            mine = [(y, s) for y, s in rows if _place(s, edges) == i]
            ones, n = sum(y for y, _ in mine), len(mine)
            wrong = {
                "This is the mean score of the bin. The rate is the share with the outcome 1.": (
                    sum(s for _, s in mine) / n if n else None
                ),
                "Divide by the rows of the bin: a rate is a share of the bin.": ones / sum(truth),
                "This is a count. Divide by n: a rate is a share of the bin.": float(ones),
            }
            where = f"bin {i}, from {edges[i]} to {edges[i + 1]}, of {name!r}"
            right = ones / n if n else None
            expect_share(rate, right, f"The rate of {where}", wrong, "The share of the bin with the outcome 1.")
