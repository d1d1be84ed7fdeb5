"""Exercises 3 and 4: a judge against people, and people's mean from few labels and many verdicts."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_number, expect_unchanged
from llmsafety_lab.checks.evaluation.uncertainty import PACKAGE, refuses, tensor, three


def _kappa(first: list[str], second: list[str], slip: str = "") -> float:
    labels = sorted({*first, *second})
    one = np.array([first.count(label) / len(first) for label in labels])
    other = np.array([second.count(label) / len(second) for label in labels])
    agreed = float(np.mean([a == b for a, b in zip(first, second, strict=True)]))
    chance = {
        "labels": 1 / len(labels),
        "coin": 0.5,
        "pooled": float((((one + other) / 2) ** 2).sum()),
        "first": float((one**2).sum()),
        "second": float((other**2).sum()),
    }.get(slip, float((one * other).sum()))
    if slip == "agreement":
        return agreed
    if slip == "undivided":
        return agreed - chance
    if slip == "chance":
        return chance
    return (agreed - chance) / (1 - chance)


KAPPAS = {
    "agreement": "This is the share of items on which they agree. Two raters who say 'refused' to nearly everything "
    "agree by chance: take that off.",
    "labels": "Chance is not one over the number of labels: it depends on how often each rater uses each label.",
    "coin": "Chance is not one half: it depends on how often each rater uses each label.",
    "pooled": "You pool the raters' shares before you square (Scott's pi). For Cohen's kappa each rater has its own.",
    "first": "Chance is the first rater's share times the second's, not the first's squared.",
    "second": "Chance is the first rater's share times the second's, not the second's squared.",
    "undivided": "Divide by 1 minus chance: the most that agreement can exceed chance.",
    "chance": "This is the agreement by chance alone.",
}


def _labels(dice: Dice, words: list[str]) -> tuple[list[str], list[str]]:
    count = dice.integer(40, 60)
    first = [words[min(i, len(words) - 1)] for i in (dice.uniform(count).numpy() ** 2 * len(words)).astype(int)]
    other = [words[i] for i in dice.integers(0, len(words) - 1, count).tolist()]
    keep = dice.uniform(count).numpy() < 0.55
    second = [a if k else b for a, b, k in zip(first, other, keep, strict=True)]
    return [*first, *words], [*second, *reversed(words)]


@exercise(
    "evaluation.kappa",
    "Agreement beyond chance",
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
    answer="kappa",
    forbid=(f"{PACKAGE}.agreement.kappa", "sklearn.metrics.cohen_kappa_score"),
    mutants=(
        Mutant(
            "agreement", "((one == other).mean() - chance) / (1 - chance)", "(one == other).mean()", "share of items"
        ),
        Mutant(
            "a coin's chance",
            "    if chance > 1 - 1e-12",
            "    chance = 0.5\n    if chance > 1 - 1e-12",
            "not one half",
        ),
        Mutant(
            "one over the labels",
            "    if chance > 1 - 1e-12",
            "    chance = 1 / len(np.union1d(one, other))\n    if chance > 1 - 1e-12",
            "number of labels",
        ),
        Mutant(
            "the first rater's shares",
            "(one == label).mean() * (other == label).mean()",
            "(one == label).mean() ** 2",
            "squared",
        ),
        Mutant(
            "pooled shares",
            "(one == label).mean() * (other == label).mean()",
            "((one == label).mean() + (other == label).mean()) ** 2 / 4",
            "Scott",
        ),
        Mutant("not divided", " / (1 - chance)", "", "Divide by 1 minus chance"),
        Mutant(
            "0 / 0 is 0",
            'raise ValueError("both raters gave one and the same label to every item: kappa is 0 / 0")',
            "return 0.0",
            "chance explains everything",
        ),
        Mutant(
            "refuses a constant rater",
            "    if chance > 1 - 1e-12",
            "    if min(len(set(one.tolist())), len(set(other.tolist()))) < 2",
            "One of them says the same",
        ),
        Mutant(
            "0 / 0 is 1",
            'raise ValueError("both raters gave one and the same label to every item: kappa is 0 / 0")',
            "return 1.0",
            "chance explains everything",
        ),
    ),
)
def check_kappa(answer: Answer, dice: Dice) -> None:
    for words in (["no", "partly", "yes"], ["no", "yes"]):
        first, second = _labels(dice, words)
        got = expect_number(answer(first, second), "Kappa")
        exact = _kappa(first, second)
        hint = next(
            (text for slip, text in KAPPAS.items() if abs(got - _kappa(first, second, slip)) < 1e-6),
            "Agreement minus chance, divided by 1 minus chance.",
        )
        said = f"Kappa of {len(first)} items with {len(words)} labels is wrong."
        expect(abs(got - exact) < 1e-6, said, expected=exact, got=got, hint=hint)
    one, other = dice.integers(0, 1, 30).numpy(), dice.integers(0, 1, 30).numpy()
    one[:2], other[:2] = (0, 1), (1, 0)
    got = expect_number(answer(one, other), "Kappa of arrays of numbers")
    exact = _kappa([str(v) for v in one], [str(v) for v in other])
    expect(abs(got - exact) < 1e-6, "Kappa of arrays of numbers is wrong.", expected=exact, got=got)
    mixed = [["no", "yes", "partly"][i] for i in dice.integers(0, 2, 12).tolist()] + ["yes", "no"]
    for pair in ((["no"] * len(mixed), mixed), (mixed, ["no"] * len(mixed))):
        try:
            got = expect_number(answer(*pair), "Kappa where one rater is constant")
        except Failed as failed:
            said = "One of them says the same to all items, the other does not: kappa is 0, no error."
            raise Failed(said, expected=0.0, got=failed.got or failed.message) from None
        said = "One of them says the same to all items, so they agree as often as chance."
        expect(abs(got) < 1e-6, said, expected=0.0, got=got)
    refuses(
        answer, ["no"] * 9, ["no"] * 9, because="Both say the same to all items: chance explains everything, 0 / 0."
    )


def _powered(
    people: np.ndarray, judged: np.ndarray, rest: np.ndarray, weight: float, level: float, slip: str = ""
) -> list[float]:
    gap = people - weight * judged
    mean = weight * rest.mean() + gap.mean()
    variance = weight**2 * rest.var(ddof=1) / len(rest) + gap.var(ddof=1) / len(gap)
    if slip == "judge":
        mean, variance = rest.mean(), rest.var(ddof=1) / len(rest)
    if slip == "judge's error":
        variance = weight**2 * rest.var(ddof=1) / len(rest)
    if slip == "people":
        mean, variance = people.mean(), people.var(ddof=1) / len(people)
    if slip == "sign":
        mean = weight * rest.mean() - gap.mean()
    if slip == "rest":
        variance = gap.var(ddof=1) / len(gap)
    if slip == "unpaired":
        variance = weight**2 * (rest.var(ddof=1) / len(rest) + judged.var(ddof=1) / len(gap)) + people.var(
            ddof=1
        ) / len(gap)
    if slip == "all":
        every = np.concatenate([people, rest])
        mean, variance = every.mean(), every.var(ddof=1) / len(every)
    if slip == "weight":
        return _powered(people, judged, rest, 1.0, level)
    if slip == "weight once":
        variance = weight * rest.var(ddof=1) / len(rest) + gap.var(ddof=1) / len(gap)
    if slip == "biased":
        variance = weight**2 * rest.var() / len(rest) + gap.var() / len(gap)
    if slip == "spread":
        variance = weight**2 * rest.var(ddof=1) + gap.var(ddof=1)
    if slip == "every":
        every = np.concatenate([judged, rest])
        mean = weight * every.mean() + gap.mean()
        variance = weight**2 * every.var(ddof=1) / len(every) + gap.var(ddof=1) / len(gap)
    if slip == "errors":
        variance = (weight * rest.std(ddof=1) / len(rest) ** 0.5 + gap.std(ddof=1) / len(gap) ** 0.5) ** 2
    quantile = stats.norm.ppf(level if slip == "one side" else 0.975 if slip == "0.95" else (1 + level) / 2)
    if slip == "t":
        quantile = stats.t.ppf((1 + level) / 2, len(people) - 1)
    if slip == "order":
        return [mean - quantile * variance**0.5, mean, mean + quantile * variance**0.5]
    return [mean, mean - quantile * variance**0.5, mean + quantile * variance**0.5]


POWERED = {
    "judge": "This is the judge's mean and its error alone. It is as wrong as the judge is: add the mean of people "
    "minus judge on the items that both scored.",
    "judge's error": "Your error has the judge's part alone. The correction comes from few items: its variance counts.",
    "people": "The judge is left out: this is the mean of the few items that people scored.",
    "sign": "The correction has the wrong sign: add the mean of people minus judge.",
    "rest": "The judge's mean over the rest has an error, too: add weight squared times its variance over its count.",
    "unpaired": "People and judge scored the same items. Take the variance of their differences, item by item.",
    "all": "You mix people's scores with the judge's. The judge's are biased; correct them first.",
    "weight": "The weight is ignored: it multiplies the judge in the mean of the rest and in the correction.",
    "weight once": "In the variance the weight is squared.",
    "biased": "Your variances divide by the count. From a sample they divide by the count minus one.",
    "spread": "These are variances of single items. A mean's variance is that divided by the number of items.",
    "errors": "You add standard errors. Variances of independent means add.",
    "every": "You average the judge over all items. Take the rest alone: the items that people scored are used in the "
    "correction already.",
    "t": "You use Student's t. The quantile of the normal distribution is asked for.",
    "order": "The order is (estimate, lower end, upper end).",
    "one side": "Your quantile leaves 1 - level on one side; half of that is left on each side.",
    "0.95": "The level is ignored: your interval is always the one of 0.95.",
}


@exercise(
    "evaluation.powered",
    "Few people, many verdicts",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="prediction_powered",
    forbid=(f"{PACKAGE}.agreement.prediction_powered",),
    mutants=(
        Mutant(
            "the judge alone",
            "    half = ",
            "    mean, error = float(more.mean()), math.sqrt(more.var(ddof=1) / len(more))\n    half = ",
            "as wrong as the judge",
        ),
        Mutant(
            "the wrong sign",
            "weight * more.mean() + corrected.mean()",
            "weight * more.mean() - corrected.mean()",
            "wrong sign",
        ),
        Mutant("the rest is exact", "weight**2 * more.var(ddof=1) / len(more) + ", "", "has an error, too"),
        Mutant("the correction is exact", " + corrected.var(ddof=1) / len(human)", "", "its variance counts"),
        Mutant(
            "not paired",
            "corrected.var(ddof=1) / len(human)",
            "(human.var(ddof=1) + weight**2 * same.var(ddof=1)) / len(human)",
            "item by item",
        ),
        Mutant(
            "all in one pot",
            "    half = ",
            "    every = np.concatenate([human, more])\n"
            "    mean, error = float(every.mean()), math.sqrt(every.var(ddof=1) / len(every))\n    half = ",
            "You mix",
        ),
        Mutant("weight ignored", "    corrected = ", "    weight = 1.0\n    corrected = ", "weight is ignored"),
        Mutant("weight not squared", "weight**2 *", "weight *", "squared"),
        Mutant(
            "errors added",
            "math.sqrt(weight**2 * more.var(ddof=1) / len(more) + corrected.var(ddof=1) / len(human))",
            "weight * more.std(ddof=1) / len(more) ** 0.5 + corrected.std(ddof=1) / len(human) ** 0.5",
            "Variances of independent",
        ),
        Mutant("one-sided", "(1 + level) / 2", "level", "on one side"),
        Mutant(
            "the judge over all items",
            "    corrected = ",
            "    more = np.concatenate([same, more])\n    corrected = ",
            "over all items",
        ),
        Mutant(
            "Student's t",
            "stats.norm.ppf((1 + level) / 2)",
            "stats.t.ppf((1 + level) / 2, len(human) - 1)",
            "normal distribution is asked",
        ),
        Mutant("people left alone", "    corrected = ", "    weight = 0.0\n    corrected = ", "left out"),
    ),
)
def check_powered(answer: Answer, dice: Dice) -> None:
    for weight, level in ((1.0, 0.95), (0.6, 0.9)):
        count, more = dice.integer(12, 20), dice.integer(40, 60)
        truth = dice.normal(count + more).numpy()
        verdict = 0.7 * truth + 0.5 * dice.normal(count + more).numpy() + 0.4
        people, judged, rest = truth[:count], verdict[:count], verdict[count:]
        exact = tensor(_powered(people, judged, rest, weight, level))
        mistakes = {
            words: tensor(_powered(people, judged, rest, weight, level, slip)) for slip, words in POWERED.items()
        }
        mistakes = {words: value for words, value in mistakes.items() if not torch.allclose(value, exact)}
        called = answer.trace(people, judged, rest, weight=weight, level=level)
        what = f"the interval with the weight {weight} at the level {level}"
        hint = "Correct each of the few items by people minus weight times judge; two means, two variances."
        expect_close(three(called.value, what), exact, what.capitalize(), mistakes=mistakes, hint=hint)
        expect_unchanged(called)
    exact = tensor(_powered(people, judged, rest, 1.0, 0.95))
    what = "The interval of lists, by default,"
    got = answer(people.tolist(), judged.tolist(), rest.tolist())
    expect_close(
        three(got, "the interval by default"), exact, what, hint="By default the weight is 1 and the level 0.95."
    )
