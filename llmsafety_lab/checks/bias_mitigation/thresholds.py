"""Exercise 4: thresholds by group, fitted on the old people and used on the new."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checks.bias_mitigation.cases import people, vector


def _rule(scores: Tensor, rate: float) -> tuple[float, float]:
    """Return the threshold and the share of those right on it, so that `rate` of the people are let in."""
    for value in scores.unique(sorted=True).flip(0).tolist():
        above, at = float((scores > value).double().mean()), float((scores == value).double().mean())
        if above + at >= rate - 1e-12:
            return value, max(0.0, (rate - above) / at)
    raise AssertionError("a rate is from 0 to 1")


def _apply(rule: tuple[float, float], scores: Tensor) -> Tensor:
    return (scores > rule[0]).double() + rule[1] * (scores == rule[0]).double()


def _decided(
    scores: Tensor, groups: Tensor, rate: float, new: Tensor, new_groups: Tensor, pooled: bool = False
) -> Tensor:
    found = torch.zeros(len(new), dtype=torch.float64)
    for group in (0, 1):
        rule = _rule(scores if pooled else scores[groups == group], rate)
        found[new_groups == group] = _apply(rule, new[new_groups == group])
    return found


def _right(chances: Tensor, labels: Tensor) -> float:
    return float(torch.where(labels == 1, chances, 1 - chances).mean())


@exercise(
    "bias_mitigation.thresholds",
    "Thresholds by group",
    points=3,
    difficulty=3,
    importance=5,
    minutes=13,
    answer="fair_decisions",
    forbid=("fairlearn.postprocessing.ThresholdOptimizer",),
    mutants=(
        Mutant(
            "fitted on the test set",
            "rule_of(scores[groups == group], best)",
            "rule_of(new_scores[new_groups == group], best)",
            "new people",
        ),
        Mutant(
            "one threshold for all", "rule_of(scores[groups == group], best)", "rule_of(scores, best)", "one threshold"
        ),
        Mutant("ties all let in", "    return value, (rate - above) / at", "    return value, 1.0", "on the threshold"),
        Mutant(
            "ties all kept out", "    return value, (rate - above) / at", "    return value, 0.0", "on the threshold"
        ),
        Mutant("first rate", "best = max(rates, key=right)", "best = rates[0]", "best rate"),
        Mutant("most let in", "best = max(rates, key=right)", "best = max(rates)", "best rate"),
        Mutant("least accurate", "best = max(rates, key=right)", "best = min(rates, key=right)", "fewest"),
        Mutant(
            "rate of each group its own",
            "        rule = rule_of(scores[groups == group], best)",
            "        own = {r: right_in(r, group) for r in rates}\n"
            "        rule = rule_of(scores[groups == group], max(rates, key=own.get))",
            "both groups",
        ),
        Mutant(
            "groups count the same",
            "        return sum(right_in(rate, group) * (groups == group).sum() for group in (0, 1))",
            "        return sum(right_in(rate, group) for group in (0, 1))",
            "counts",
        ),
        Mutant(
            "scores as decisions",
            "        found[new_groups == group] = apply(rule, new_scores[new_groups == group])",
            "        found[new_groups == group] = new_scores[new_groups == group]",
            "scores",
        ),
    ),
)
def check_thresholds(answer: Answer, dice: Dice) -> None:
    for _ in range(3):
        _case(answer, dice)


def _case(answer: Answer, dice: Dice) -> None:
    for _ in range(500):
        labels, groups = people(dice, dice.integer(60, 80))
        new_labels, new_groups = people(dice, dice.integer(50, 70))
        scores = ((2.0 * labels + 1.2 * groups + 1.5 * dice.normal(len(labels))) * 2).round() / 8
        new = ((2.0 * new_labels + 0.6 + 1.5 * dice.normal(len(new_labels))) * 2).round() / 8
        rates = sorted((0.05 + 0.9 * dice.uniform(6)).tolist())
        order = torch.randperm(6, generator=dice.generator).tolist()
        rates = [rates[i] for i in order]
        right = [_right(_decided(scores, groups, rate, scores, groups), labels) for rate in rates]
        best = rates[right.index(max(right))]
        sizes = [float((groups == g).double().mean()) for g in (0, 1)]
        parts = [
            [_right(_apply(_rule(scores[groups == g], r), scores[groups == g]), labels[groups == g]) for r in rates]
            for g in (0, 1)
        ]
        own = [rates[part.index(max(part))] for part in parts]
        same = [a + b for a, b in zip(*parts, strict=True)]
        apart = best not in (rates[0], max(rates), rates[right.index(min(right))], min(rates))
        if (
            apart
            and sorted(right)[-1] - sorted(right)[-2] > 1e-3
            and own[0] != own[1]
            and rates[same.index(max(same))] != best
            and sizes[0] != sizes[1]
        ):
            break
    wanted = _decided(scores, groups, best, new, new_groups)

    def by(rule: str, rate: float = best) -> Tensor:
        found = torch.zeros(len(new), dtype=torch.float64)
        for group in (0, 1):
            value, _ = _rule(scores[groups == group], rate)
            mine = new[new_groups == group]
            found[new_groups == group] = {
                "in": (mine >= value).double(),
                "out": (mine > value).double(),
                "half": (mine > value).double() + 0.5 * (mine == value).double(),
            }[rule]
        return found

    each = torch.zeros(len(new), dtype=torch.float64)
    lowest = torch.zeros(len(new), dtype=torch.float64)
    for group in (0, 1):
        mine = new[new_groups == group]
        each[new_groups == group] = _apply(_rule(scores[groups == group], own[group]), mine)
        rule = _rule(scores[groups == group], best)
        lowest[new_groups == group] = (mine < rule[0]).double() + rule[1] * (mine == rule[0]).double()
    mistakes = {
        "The thresholds were fitted on the new people, on whom they are used. Their rates come out equal, and the "
        "report is too good: fit on the old ones.": _decided(new, new_groups, best, new, new_groups),
        "This is one threshold for all: groups whose scores differ are then let in at different rates.": _decided(
            scores, groups, best, new, new_groups, pooled=True
        ),
        "Everybody on the threshold is let in: then more than the rate are. Let in a share of them.": by("in"),
        "Nobody on the threshold is let in: then less than the rate are. Let in a share of them.": by("out"),
        "Half of those on the threshold are let in: the share is what is missing to the rate.": by("half"),
        "The lowest scores are let in.": lowest,
        "Each group has the rate that is best for it alone: the rate is to be the same in both groups.": each,
        "These are the scores: return the probability of being let in.": new,
    }
    other = {
        rates[same.index(max(same))]: "the two groups' accuracies have the best mean, but each person counts once",
        rates[right.index(min(right))]: "it has the most errors among the old people: take the fewest",
    }
    for rate in rates:
        if rate != best:
            why = other.get(rate, "there are more errors among the old people than need be")
            mistakes[f"{rate:.2f} is not the best rate: {why}."] = _decided(scores, groups, rate, new, new_groups)
            for kind, whom in (("in", "Everybody"), ("out", "Nobody")):
                words = f"{whom} on the threshold is let in, and {rate:.2f} is not the best rate."
                mistakes[words] = by(kind, rate)
    called = answer.trace(scores, labels, groups, new, new_groups, rates)
    got = vector(called.value, len(new), "The probabilities")
    expect(
        bool(((got >= -1e-6) & (got <= 1 + 1e-6)).all()) or bool(torch.allclose(got, new, atol=1e-5)),
        "These are no probabilities: they go from 0 to 1.",
        got=got,
    )
    expect_close(
        got,
        wanted,
        "The probabilities of being let in",
        tolerance=1e-5,
        mistakes=mistakes,
        hint="Above the threshold 1, below it 0, on it (rate - share above) / (share on the threshold), of the old "
        "people of "
        "the same group; the rate is the one at which the old people get the most right decisions.",
    )
    expect_unchanged(called)
