"""Exercise 6: one threshold a group, with the fewest errors among those whose false positive rates are close."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number
from llmsafety_lab.checks.group_fairness.shared import by_group

Counts = dict[str, list[tuple[int, int, int]]]


def _errors(rows: list[tuple[int, int, int]], cut: float) -> tuple[int, float]:
    """Return the errors of a threshold and its false positive rate."""
    fp = sum(zeros for score, zeros, _ in rows if score >= cut)
    fn = sum(ones for score, _, ones in rows if score < cut)
    return fp + fn, fp / sum(zeros for _, zeros, _ in rows)


def _drawn(dice: Dice, groups: int) -> Counts:
    names = ("south", "north", "east")[:groups]
    made: Counts = {}
    for number, name in enumerate(names):
        shift = (6, 0, 3)[number]
        made[name] = [
            (
                score,
                dice.integer(2, 10) + max(0, 14 - 3 * score) + shift * (score < 3) // 2,
                dice.integer(1, 5) + (2 + shift // 2) * score,
            )
            for score in range(1, 6)
        ]
    return made


def _best(counts: Counts, cuts: list[int], limit: float) -> tuple[float, dict[str, int]]:
    best: tuple[float, dict[str, int]] = (float("inf"), {})
    for chosen in product(cuts, repeat=len(counts)):
        found = [_errors(rows, cut) for rows, cut in zip(counts.values(), chosen, strict=True)]
        if max(f for _, f in found) - min(f for _, f in found) <= limit + 1e-9:
            best = min(best, (sum(e for e, _ in found), dict(zip(counts, chosen, strict=True))), key=lambda one: one[0])
    return best


@exercise(
    "group_fairness.thresholds",
    "A threshold for each group, and its price",
    points=4,
    difficulty=4,
    importance=4,
    minutes=14,
    answer="fair_thresholds",
    forbid=("fairlearn.postprocessing.ThresholdOptimizer",),
    mutants=(
        Mutant(
            "difference without absolute value",
            "max(fprs) - min(fprs)",
            "fprs[0] - fprs[-1]",
            "largest minus the smallest",
        ),
        Mutant("first two groups", "max(fprs) - min(fprs)", "abs(fprs[0] - fprs[1])", "any two groups"),
        Mutant(
            "neighbours only",
            "max(fprs) - min(fprs)",
            "max(abs(a - b) for a, b in zip(fprs, fprs[1:]))",
            "any two groups",
        ),
        Mutant(
            "shares of errors added",
            "return fp + fn,",
            "return (fp + fn) / sum(z + o for _, z, o in rows),",
            "fewer errors",
        ),
        Mutant("gap ignored", "if gap <= limit + 1e-9", "if True", "more than the limit"),
        Mutant(
            "one threshold for all",
            "product(cuts, repeat=len(counts))",
            "((cut,) * len(counts) for cut in cuts)",
            "fewer errors",
        ),
        Mutant(
            "false positives over all",
            "fp / sum(zeros for _, zeros, _ in rows)",
            "fp / sum(z + o for _, z, o in rows)",
            "outcome 0",
        ),
        Mutant("threshold itself not selected", "if score >= cut)", "if score > cut)", "at least its threshold"),
        Mutant("false positives only", "return fp + fn,", "return fp,", "both kinds"),
        Mutant("nobody is harmed", "if score < cut)", "if score > cut)", "fewer errors"),
        Mutant("smallest gap", "key=lambda one: one[0]", "key=lambda one: one[2]", "fewer errors"),
        Mutant("first that fits", "best = min(allowed, key=lambda one: one[0])", "best = allowed[0]", "fewer errors"),
    ),
)
def check_thresholds(answer: Answer, dice: Dice) -> None:
    cuts = [1, 2, 3, 4, 5, 6]
    for groups, limit in ((2, 1.0), (2, 0.05), (2, 0.12), (3, 0.1), (3, 0.2)):
        counts = _drawn(dice, groups)
        for reverse in (False, True):
            given = dict(reversed(counts.items())) if reverse else counts
            _one(answer, given, cuts, limit)
    for slip in (_weighted, _neighbours):
        counts, limit = _telling(dice, cuts, slip)
        _one(answer, counts, cuts, limit)


def _neighbours(rows: list[tuple[int, float, int]]) -> tuple[float, float]:
    """Return the errors, and the largest gap between a group and the next: not that between any two."""
    rates = [rate for _, rate, _ in rows]
    return sum(errors for errors, _, _ in rows), max(abs(a - b) for a, b in pairwise(rates))


def _weighted(rows: list[tuple[int, float, int]]) -> tuple[float, float]:
    """Return the sum of the shares of errors, in which a small group counts as much as a large one, and the gap."""
    rates = [rate for _, rate, _ in rows]
    return sum(errors / size for errors, _, size in rows), max(rates) - min(rates)


def _telling(
    dice: Dice, cuts: list[int], slip: Callable[[list[tuple[int, float, int]]], tuple[float, float]]
) -> tuple[Counts, float]:
    """Draw counts on which this mistake gives a wrong answer."""
    for _ in range(200):
        counts, limit = _drawn(dice, 3), round(0.1 + 0.1 * float(dice.uniform(1)), 2)
        names = list(counts)
        counts[names[0]] = [(score, 4 * zeros, 4 * ones) for score, zeros, ones in counts[names[0]]]
        counts = {names[i]: counts[names[i]] for i in sorted(range(3), key=lambda _: float(dice.uniform(1)))}
        least, _ = _best(counts, cuts, limit)
        of = {
            name: {cut: (*_errors(rows, cut), sum(z + o for _, z, o in rows)) for cut in cuts}
            for name, rows in counts.items()
        }
        found = []
        for chosen in product(cuts, repeat=3):
            rows = [of[name][cut] for name, cut in zip(counts, chosen, strict=True)]
            errors, gap = slip(rows)
            if gap <= limit + 1e-9:
                found.append((errors, sum(e for e, _, _ in rows)))
        if min(found)[1] != least:
            break
    return counts, limit


def _one(answer: Answer, counts: Counts, cuts: list[int], limit: float) -> None:
    least, best = _best(counts, cuts, limit)
    reply = answer({name: [list(row) for row in rows] for name, rows in counts.items()}, list(cuts), limit)
    got = by_group(reply, list(counts), "The answer")
    chosen = {name: expect_number(got[name], f"The threshold of {name!r}") for name in counts}
    strange = {name: cut for name, cut in chosen.items() if cut not in cuts}
    expect(not strange, "A threshold is not one of the cuts.", expected=cuts, got=strange)
    found = {name: _errors(counts[name], cut) for name, cut in chosen.items()}
    rates = {name: round(rate, 3) for name, (_, rate) in found.items()}
    gap = max(rate for _, rate in found.values()) - min(rate for _, rate in found.values())
    shown = f"with {len(counts)} groups and a limit of {limit}"
    if gap > limit + 1e-9:
        if len(counts) > 2:
            hint = "The gap is between any two groups: the largest minus the smallest rate."
        else:
            hint = (
                "A gap has no sign: take the largest minus the smallest. And a false positive rate is a share of those "
                "with the outcome 0, who are selected if their score is at least its threshold."
            )
        raise Failed(
            f"The gap is more than the limit, {shown}.",
            expected=f"at most {limit}",
            got=f"{gap:.3f}, rates {rates}",
            hint=hint,
        )
    errors = sum(number for number, _ in found.values())
    if errors > least:
        hint = (
            "There are thresholds with fewer errors and an allowed gap. Count both kinds of error, false positives "
            "and false negatives; try every combination; select those whose score is at least its threshold; and take "
            "the false positive rate as a share of those with the outcome 0."
        )
        raise Failed(
            f"The errors are not the fewest, {shown}.",
            expected=f"{least:.0f}, with {best}",
            got=f"{errors}, with {chosen}",
            hint=hint,
        )
