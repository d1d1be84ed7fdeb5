"""Exercise 6: does the model know the order in which a benchmark was published?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_number, expect_unchanged
from llmsafety_lab.checks.evaluation.uncertainty import PACKAGE

SLIPS = {
    "zero": "The published order is one of the orders: add 1 above and below. Of 19 shuffled orders none can give a "
    "p-value below 1/20, and never 0.",
    "above": "The published order is counted above, and not below: divide by the number of shuffled orders plus 1.",
    "below": "The published order is counted below, and not above: add 1 to the count, too.",
    "strict": "A shuffled order that is exactly as likely counts, too: at least as likely, not likelier.",
    "turned": "It is turned round: count the shuffled orders that are at least as likely as the published one.",
    "two-sided": "You count both sides. A model that saw the order finds it likelier, so one side is asked for.",
    "shards": "You compare shard by shard and average. Sum over the shards first: many small gains are one large one.",
    "t": "This is the p-value of a t test over shards. It trusts a distribution; the rank of the sum needs none.",
    "first": "You compare the first shard alone. Sum over all shards.",
}


def _p(published: np.ndarray, shuffled: np.ndarray, slip: str = "") -> float:
    one, totals = published.sum(), shuffled.sum(0)
    draws = len(totals)
    above, strictly = int((totals >= one).sum()), int((totals > one).sum())
    middle = np.r_[totals, one].mean()
    far = int((np.abs(totals - middle) >= abs(one - middle) - 1e-9).sum())
    return {
        "zero": above / draws,
        "above": (1 + above) / draws,
        "below": above / (1 + draws),
        "strict": (1 + strictly) / (1 + draws),
        "turned": (1 + int((totals <= one).sum())) / (1 + draws),
        "two-sided": (1 + far) / (1 + draws),
        "shards": float(((1 + (shuffled >= published[:, None]).sum(1)) / (1 + draws)).mean()),
        "t": float(stats.ttest_1samp(published - shuffled.mean(1), 0.0, alternative="greater").pvalue),
        "first": (1 + int((shuffled[0] >= published[0]).sum())) / (1 + draws),
    }.get(slip, (1 + above) / (1 + draws))


def _drawn(dice: Dice, place: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw log-probabilities, two orders exactly as likely among them, where mistakes differ."""
    while True:
        shards, draws = dice.integer(4, 7), dice.integer(19, 39)
        shuffled = dice.integers(-60, -20, shards, draws).numpy().astype(float)
        order = np.argsort(-shuffled.sum(0))
        at = int(place * draws)
        published = dice.integers(-60, -20, shards).numpy().astype(float)
        published[-1] += shuffled[:, order[at]].sum() - published.sum()
        shuffled[-1, order[at + 1]] += published.sum() - shuffled[:, order[at + 1]].sum()
        found = [round(_p(published, shuffled, slip), 6) for slip in ("", *SLIPS)]
        if found.count(found[-1]) == 1 and found.count(found[1 + list(SLIPS).index("turned")]) == 1:
            return published, shuffled


@exercise(
    "evaluation.order",
    "A test with no assumption but one",
    points=2,
    difficulty=2,
    importance=3,
    minutes=8,
    answer="order_test",
    forbid=(f"{PACKAGE}.contamination.order_test",),
    mutants=(
        Mutant(
            "never counted itself",
            "(1 + (totals >= one.sum() - 1e-9).sum()) / (1 + len(totals))",
            "(totals >= one.sum() - 1e-9).sum() / len(totals)",
            "add 1 above and below",
        ),
        Mutant("itself above alone", "/ (1 + len(totals))", "/ len(totals)", "not below"),
        Mutant("itself below alone", "(1 + (totals", "(0 + (totals", "not above"),
        Mutant("likelier only", ">= one.sum() - 1e-9", "> one.sum() + 1e-9", "exactly as likely"),
        Mutant("turned round", ">= one.sum() - 1e-9", "<= one.sum() + 1e-9", "turned round"),
        Mutant(
            "shard by shard",
            "(1 + (totals >= one.sum() - 1e-9).sum())",
            "(1 + (others >= one[:, None]).sum(1)).mean()",
            "Sum over the shards",
        ),
        Mutant("the first shard", "totals = others.sum(0)", "totals, one = others[0], one[:1]", "first shard alone"),
        Mutant(
            "t test",
            "float((1 + (totals >= one.sum() - 1e-9).sum()) / (1 + len(totals)))",
            "float(__import__('scipy.stats').stats.ttest_1samp(one - others.mean(1), 0, alternative='greater').pvalue)",
            "t test",
        ),
    ),
)
def check_order(answer: Answer, dice: Dice) -> None:
    for place in (0.15, 0.5, 0.75):
        published, shuffled = _drawn(dice, place)
        shards, draws = shuffled.shape
        called = answer.trace(published, shuffled)
        got, exact = expect_number(called.value, "The p-value"), _p(published, shuffled)
        hint = next(
            (words for slip, words in SLIPS.items() if abs(got - _p(published, shuffled, slip)) < 1e-6),
            "Sum over shards, count the shuffled orders that are at least as likely, and the published one itself.",
        )
        said = f"The p-value of {shards} shards and {draws} shuffled orders is wrong."
        expect(abs(got - exact) < 1e-6, said, expected=exact, got=got, hint=hint)
        expect_unchanged(called)
    shuffled = dice.normal(3, 9).numpy()
    published = np.full(3, 50.0 + dice.integer(0, 9))
    got = expect_number(answer(published, shuffled), "The p-value")
    expect(
        abs(got - 0.1) < 1e-9,
        "No shuffled order is as likely: of ten orders, one.",
        expected=0.1,
        got=got,
        hint=SLIPS["zero"],
    )
