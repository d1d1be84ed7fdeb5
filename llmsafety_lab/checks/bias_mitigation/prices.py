"""Exercise 2: one round of the game of prices."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_list, expect_unchanged
from llmsafety_lab.checks.bias_mitigation.cases import people, vector

_PRICES = (
    "prices[0] goes up by rate * (gap - slack) and prices[1] by rate * (-gap - slack); none may fall below 0. The gap "
    "is the share of decisions 1 in group 1 minus that in group 0."
)


def _gap(decisions: Tensor, groups: Tensor) -> float:
    return float(decisions[groups == 1].double().mean() - decisions[groups == 0].double().mean())


def _costs(labels: Tensor, groups: Tensor, price: float) -> Tensor:
    n, many = len(labels), int(groups.sum())
    share = torch.where(groups == 1, torch.tensor(1.0 / many), torch.tensor(-1.0 / (n - many)).double())
    return (1 - 2 * labels.double()) / n + price * share


@exercise(
    "bias_mitigation.prices",
    "The market for a gap",
    points=3,
    difficulty=3,
    importance=4,
    minutes=13,
    answer="next_round",
    forbid=("fairlearn.reductions.ExponentiatedGradient", "fairlearn.reductions.DemographicParity"),
    mutants=(
        Mutant(
            "constraint on training accuracy",
            "    gap = decisions[groups == 1].mean() - decisions[groups == 0].mean()",
            "    right = (decisions == labels).double()\n"
            "    gap = right[groups == 1].mean() - right[groups == 0].mean()",
            "accuracy",
        ),
        Mutant(
            "constraint among label 1",
            "decisions[groups == 1].mean() - decisions[groups == 0].mean()",
            "decisions[(groups == 1) & (labels == 1)].mean() - decisions[(groups == 0) & (labels == 1)].mean()",
            "label 1",
        ),
        Mutant(
            "prices may be negative",
            "max(0.0, float(prices[0] + rate * (gap - slack)))",
            "float(prices[0] + rate * (gap - slack))",
            "below 0",
        ),
        Mutant(
            "second price may be negative",
            "max(0.0, float(prices[1] + rate * (-gap - slack)))",
            "float(prices[1] + rate * (-gap - slack))",
            "below 0",
        ),
        Mutant("slack forgotten", "rate * (gap - slack)", "rate * gap", "slack"),
        Mutant("slack as a present", "rate * (-gap - slack)", "rate * (slack - gap)", "slack"),
        Mutant("prices fall where the gap is", "prices[0] + rate", "prices[0] - rate", "goes up"),
        Mutant("costs at the old prices", "(up - down) * share", "(prices[0] - prices[1]) * share", "new prices"),
        Mutant("prices added up", "(up - down) * share", "(up + down) * share", "minus"),
        Mutant("prices not used", "(up - down) * share", "0 * share", "error alone"),
        Mutant("targets inverted", "(cost < 0)", "(cost > 0)", "costs less"),
        Mutant("weights inverted", "cost.abs()", "1 / cost.abs()", "inverse"),
        Mutant("weights with a sign", "cost.abs()", "cost", "negative"),
        Mutant("everybody's size", "1 / (groups == 1).sum()", "1 / len(groups)", "own group"),
        Mutant("labels as targets", "(cost < 0).long()", "labels", "labels"),
        Mutant("all weigh the same", "cost.abs()", "torch.ones_like(cost)", "same weight"),
        Mutant("rate ignored", "prices[0] + rate * (gap", "prices[0] + (gap", "rate"),
    ),
)
def check_prices(answer: Answer, dice: Dice) -> None:
    for turn in range(4):
        _case(answer, dice, turn)


def _case(answer: Answer, dice: Dice, turn: int) -> None:
    of = dice.integer(40, 60)
    labels, groups = people(dice, of)
    high = turn % 2  # which group is decided for more often
    chance = torch.where(groups == high, 0.75, 0.25)
    decisions = (dice.uniform(of) < chance).double()
    rate, slack = 0.5 + float(dice.uniform(1)), 0.02 + 0.05 * float(dice.uniform(1))
    prices = (0.1 + 0.4 * dice.uniform(2)) * (0.02 if turn > 1 else 1.0)
    gap = _gap(decisions, groups)
    right = _gap((decisions == labels).double(), groups)
    among = labels == 1
    entitled = _gap(decisions[among], groups[among])

    def moved(size: float, less: float, by: float, floor: bool = True, old: Tensor = prices) -> Tensor:
        both = old + by * torch.tensor([size - less, -size - less], dtype=torch.float64)
        return both.clamp(min=0) if floor else both

    wanted = moved(gap, slack, rate)
    called = answer.trace(decisions, labels, groups, prices, rate, slack)
    found = expect_list(called.value, "The answer", length=3, expected="(prices, targets, weights)")
    got = vector(found[0], 2, "The prices")
    mistakes = {
        "The prices answer to a gap in accuracy: a model can be equally right in both groups and decide for one of "
        "them twice as often. The constraint is on decisions.": moved(right, slack, rate),
        "The prices answer to a gap among the people with label 1. The gap here is one of all decisions.": moved(
            entitled, slack, rate
        ),
        "A price has fallen below 0: that pays for a gap. Stop at 0.": moved(gap, slack, rate, floor=False),
        "The slack is missing: a gap of that size is free.": moved(gap, 0.0, rate),
        "The slack has the wrong sign: a price rises by the part of the gap that is above it.": moved(
            gap, -slack, rate
        ),
        "The prices go the wrong way: the price of a gap that is too large goes up.": moved(gap, slack, -rate),
        "The two prices are exchanged: prices[0] is for group 1 having more.": moved(-gap, slack, rate),
        "The rate is missing.": moved(gap, slack, 1.0),
        "The prices are as they came.": prices,
        "The old prices are forgotten: the steps add up.": moved(gap, slack, rate, old=0 * prices),
    }
    for place in (0, 1):
        mixed = {
            "The slack is missing, or has the wrong sign, in one of the two.": [
                moved(gap, s, rate) for s in (0.0, -slack)
            ],
            "A price has fallen below 0 in one of the two: stop at 0.": [moved(gap, slack, rate, floor=False)],
            "One of the prices goes the wrong way: it goes up where its gap is too large.": [moved(gap, slack, -rate)],
            "The rate is missing in one of the two.": [moved(gap, slack, 1.0)],
        }
        for words, values in mixed.items():
            for number, value in enumerate(values):
                one = wanted.clone()
                one[place] = value[place]
                if not torch.allclose(one, wanted, atol=1e-5):
                    mistakes[f"{words}{' ' * (2 * place + number)}"] = one
    expect_close(got, wanted, "The prices", tolerance=1e-5, mistakes=mistakes, hint=_PRICES)
    price = float(wanted[0] - wanted[1])
    cost = _costs(labels, groups, price)
    targets, weights = vector(found[1], of, "The targets"), vector(found[2], of, "The weights")
    n = len(labels)
    size = torch.where(groups == 1, 1.0 / n, -1.0 / n).double()
    slips = {
        "Costs are at the old prices: the next model pays the new prices.": _costs(
            labels, groups, float(prices[0] - prices[1])
        ),
        "The prices are added: a row costs prices[0] minus prices[1].": _costs(labels, groups, float(wanted.sum())),
        "The prices have the wrong sign: where group 1 has too much, a decision 1 costs more there.": _costs(
            labels, groups, -price
        ),
        "The prices are not used: this is the cost of the error alone.": _costs(labels, groups, 0.0),
        "Each row's part of a gap is one over the size of its own group, not of everybody.": (
            (1 - 2 * labels.double()) / n + price * size
        ),
        "Group 1's part of a gap is one over the size of its own group, not of everybody.": (
            (1 - 2 * labels.double()) / n
            + price * torch.where(groups == 1, 1.0 / n, -1.0 / int((groups == 0).sum())).double()
        ),
        "Group 0's part of a gap is one over the size of its own group, not of everybody.": (
            (1 - 2 * labels.double()) / n + price * torch.where(groups == 1, 1.0 / int(groups.sum()), -1.0 / n).double()
        ),
        "The error's part is the share of errors: divide by the number of everybody.": (
            _costs(labels, groups, price) - (1 - 2 * labels.double()) / n + (1 - 2 * labels.double())
        ),
        "All rows have the same weight: a row weighs as much as its decision costs or saves.": torch.ones_like(cost),
    }
    signed = {"A weight is negative: the sign is in the target, the weight is the size.": cost} | {
        words: value.abs() for words, value in slips.items()
    }
    if torch.allclose(weights * cost.abs(), torch.ones_like(cost), rtol=1e-3):
        raise Failed(
            "The weights are the inverse of the costs.", hint="What costs much counts much: the weight is |cost|."
        )
    hint = (
        "weight = |cost|, cost = (1 - 2 label) / n + (prices[0] - prices[1]) * (1 / n1 in group 1, -1 / n0 in group "
        "0), the prices being the new ones."
    )
    expect_close(weights, cost.abs(), "The weights", tolerance=1e-5, mistakes=signed, hint=hint)
    expect_close(
        targets,
        (cost < 0).double(),
        "The targets",
        mistakes={
            "The targets are turned round: the target is 1 where the decision 1 costs less than nothing.": (
                cost > 0
            ).double(),
            "The targets are the labels: where the price is higher than the error, the target turns.": labels.double(),
        },
        hint="The target of a row is 1 where its cost is below 0.",
    )
    expect_unchanged(called)
