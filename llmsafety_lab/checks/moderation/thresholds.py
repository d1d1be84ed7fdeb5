"""Exercise 1: a threshold by costs and base rate, chosen on some texts and paid for on others."""

from __future__ import annotations

import math
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number, expect_pair

Texts = tuple[list[float], list[int]]
Terms = tuple[float, float, float]  # miss, false alarm, base rate


def cost_at(texts: Texts, threshold: float, terms: Terms, slip: str = "") -> float:
    """Return the cost by counting; a slip names the mistake that is made on the way."""
    (scores, harmful), (miss, false_alarm, rate) = texts, terms
    missed = let = blocked = free = 0
    for score, bad in zip(scores, harmful, strict=True):
        stopped = score > threshold if slip == "above" else score >= threshold
        missed, let = missed + (bad and not stopped), let + bad
        blocked, free = blocked + (not bad and stopped), free + (not bad)
    if slip == "sample's rate":
        rate = let / (let + free)
    if slip == "swapped":
        miss, false_alarm = false_alarm, miss
    if slip == "no rate":
        return miss * missed / let + false_alarm * blocked / free
    if slip == "sum":
        return rate * miss * missed + (1 - rate) * false_alarm * blocked
    if slip == "no costs":
        return rate * missed / let + (1 - rate) * blocked / free
    return rate * miss * missed / let + (1 - rate) * false_alarm * blocked / free


def best_of(texts: Texts, terms: Terms, slip: str = "") -> float:
    """Return the cheapest threshold, the highest of equally cheap ones."""
    tried = sorted({*texts[0], *([] if slip == "never nothing" else [math.inf])}, reverse=slip != "lowest")
    inner = "" if slip in ("never nothing", "lowest") else slip
    return min(tried, key=lambda one: round(cost_at(texts, one, terms, slip=inner), 10))


SLIPS = {
    "above": "A text whose score equals the threshold is blocked, too.",
    "sample's rate": "You let the sample say how rare harm is. In the traffic it is as rare as base_rate says.",
    "swapped": "The two costs changed places: miss is the cost of a harmful text that got through.",
    "no rate": "The base rate has no effect: weigh the share of missed harm "
    "by it, and that of false alarms by the rest.",
    "sum": "You count the mistakes instead of taking their shares among the harmful and among the harmless texts.",
    "no costs": "The costs have no effect: a miss costs `miss`, a false alarm `false_alarm`.",
    "never nothing": "To block nothing, a threshold of infinity, is allowed, and here it is the cheapest.",
    "lowest": "Of equally cheap thresholds the highest is asked for: it blocks the fewest texts.",
}


def _drawn(dice: Dice, count: int) -> Texts:
    """Return texts of which the harmful ones have somewhat higher scores, with ties."""
    harmful = [1, 1, 0, 0, *(int(x < 0.4) for x in dice.uniform(count - 4).tolist())]
    raw = dice.normal(count).tolist()
    return [round(1 / (1 + math.exp(-x - 1.2 * bad + 0.6)), 2) for x, bad in zip(raw, harmful, strict=True)], harmful


@exercise(
    "moderation.tune",
    "What a mistake costs",
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
    answer="tune",
    mutants=(
        Mutant(
            "threshold chosen on the test set",
            "cheapest_threshold(tuning_scores, tuning_harmful, miss",
            "cheapest_threshold(test_scores, test_harmful, miss",
            "chosen on the test texts",
        ),
        Mutant(
            "cost of the tuning texts",
            "expected_cost(test_scores, test_harmful, threshold",
            "expected_cost(tuning_scores, tuning_harmful, threshold",
            "cost of the tuning texts",
        ),
        Mutant(
            "chosen on both",
            "threshold = cheapest_threshold(tuning_scores, tuning_harmful,",
            "threshold = cheapest_threshold([*tuning_scores, *test_scores], [*tuning_harmful, *test_harmful],",
            "test texts",
        ),
        Mutant(
            "accuracy",
            "float(base_rate * miss * (~blocked[bad]).mean() + (1 - base_rate) * false_alarm * blocked[~bad].mean())",
            "float(base_rate * (~blocked[bad]).mean() + (1 - base_rate) * blocked[~bad].mean())",
            "costs have no effect",
        ),
        Mutant(
            "base rate of the sample",
            "    blocked = values >= threshold\n",
            "    blocked = values >= threshold\n    base_rate = bad.mean()\n",
            "sample say how rare",
        ),
        Mutant(
            "no base rate",
            "float(base_rate * miss * (~blocked[bad]).mean() + (1 - base_rate) * false_alarm",
            "float(miss * (~blocked[bad]).mean() + false_alarm",
            "base rate has no effect",
        ),
        Mutant(
            "counts",
            "(~blocked[bad]).mean() + (1 - base_rate) * false_alarm * blocked[~bad].mean()",
            "(~blocked[bad]).sum() + (1 - base_rate) * false_alarm * blocked[~bad].sum()",
            "count the mistakes",
        ),
        Mutant(
            "costs swapped",
            "    blocked = values >= threshold\n",
            "    blocked = values >= threshold\n    miss, false_alarm = false_alarm, miss\n",
            "changed places",
        ),
        Mutant("above only", "blocked = values >= threshold", "blocked = values > threshold", "equals the threshold"),
        Mutant(
            "must block", "tried = [np.inf, *np.unique(values)[::-1]]", "tried = [*np.unique(values)[::-1]]", "infinity"
        ),
        Mutant(
            "lowest of equals",
            "np.unique(values)[::-1]]",
            "np.unique(values)]\n    tried = tried[1:] + tried[:1]",
            "highest",
        ),
        Mutant(
            "one half",
            "    return float(tried[int(np.argmin(np.round(costs, 12)))])",
            "    return 0.5",
            "fixed threshold",
        ),
        Mutant(
            "order",
            "return Tuned(threshold, expected_cost(",
            "return (lambda a, b: (b, a))(threshold, expected_cost(",
            "order",
        ),
    ),
)
def check_tune(answer: Answer, dice: Dice) -> None:
    rare = round(0.02 + 0.05 * float(dice.uniform(1)), 3)
    cases = [
        (terms, _drawn(dice, 40)) for terms in ((3.0, 2.0, 0.3), (20.0, 1.0, rare), (1.0, 4.0, 0.5), (200.0, 1.0, 0.05))
    ]
    low, middle, high, top = sorted(
        round(x, 3) for x in (dice.integers(1, 240, 4) / 1000 + dice.uniform(4).sort().values).tolist()
    )
    cases.append(((1.0, 1.0, 0.5), ([top, middle, high, low], [1, 1, 0, 0])))  # two thresholds are equally cheap
    cases.append(((1.0, 1.0, 0.01), ([low, middle, high, top], [1, 1, 0, 0])))  # it is cheapest to block nothing
    for terms, tuning in cases:
        miss, false_alarm, rate = terms
        test = _drawn(dice, 34)
        threshold, cost = expect_pair(answer(*tuning, *test, *terms), "The result", expected="(threshold, cost)")
        cost = expect_number(cost, "The cost")
        best = best_of(tuning, terms)
        right = cost_at(test, best, terms)
        if _near(threshold, best) and abs(cost - right) < 1e-8:
            continue
        hint = _hint(threshold, cost, tuning, test, terms)
        what = f"For a miss that costs {miss}, a false alarm that costs {false_alarm} "
        f"and a base rate of {rate} the result is wrong."
        raise Failed(what, expected=(best, round(right, 6)), got=(threshold, round(cost, 6)), hint=hint)


def _hint(threshold: Any, cost: float, tuning: Texts, test: Texts, terms: Terms) -> str:
    both = ([*tuning[0], *test[0]], [*tuning[1], *test[1]])
    best = best_of(tuning, terms)
    cases = [
        ("The cost and the threshold are in the wrong order.", cost_at(test, best, terms), best),
        (
            "The threshold was chosen on the test texts, so its cost is too good to be true: choose on the others.",
            best_of(test, terms),
            cost_at(test, best_of(test, terms), terms),
        ),
        ("This is the cost of the tuning texts: they chose the threshold.", best, cost_at(tuning, best, terms)),
        (
            "The choice of the threshold saw the test texts, too.",
            best_of(both, terms),
            cost_at(test, best_of(both, terms), terms),
        ),
        ("A fixed threshold asks neither for costs nor for scores.", 0.5, cost_at(test, 0.5, terms)),
    ]
    for slip, words in SLIPS.items():
        own = "" if slip in ("never nothing", "lowest") else slip
        found = best_of(tuning, terms, slip=slip)
        cases.append((words, found, cost_at(test, found, terms, slip=own)))
    for words, wrong, paid in cases:
        if _near(threshold, wrong) and _near(cost, paid):
            return words
    return "Try each tuning score and infinity, take the highest of the cheapest, and pay on the test texts."


def _near(one: Any, other: float) -> bool:
    return type(one) in (int, float) and (one == other or abs(one - other) < 1e-8)
