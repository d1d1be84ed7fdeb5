"""Exercises 3 and 4: a score with a shape, and the likelihood ratio."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_unchanged
from llmsafety_lab.checks.membership_inference.measures import PACKAGE, numbers, refuses


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=float))


@exercise(
    "membership_inference.logit",
    "A score with a shape",
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
    answer="logit_scaled",
    forbid=(f"{PACKAGE}.scores.logit_scaled", f"{PACKAGE}.scores.losses"),
    mutants=(
        Mutant("its own class among the others", "np.where(own, -np.inf, rows)", "rows", "log-probability"),
        Mutant(
            "probability", "return label - ", "return np.exp(label - logsumexp(rows, axis=-1)) + 0 * ", "probability"
        ),
        Mutant(
            "through the probability",
            "    return label - ",
            "    p = np.exp(label - logsumexp(rows, axis=-1))\n    return np.log(p / (1 - p)) + 0 * ",
            "not finite",
        ),
        Mutant(
            "the best other class",
            "logsumexp(np.where(own, -np.inf, rows), axis=-1)",
            "np.where(own, -np.inf, rows).max(axis=-1)",
            "best of the other classes",
        ),
        Mutant("logit alone", "return label - ", "return label - 0 * ", "logit alone"),
        Mutant("the predicted class", "truth[:, None]", "rows.argmax(-1)[..., None]", "wrong"),
        Mutant("a sign", "return label - ", "return -label + ", "turned round"),
    ),
)
def check_logit(answer: Answer, dice: Dice) -> None:
    for classes, shape in ((2, (7,)), (5, (3, 6))):
        logits = 2 * dice.normal(*shape, classes).numpy()
        labels = dice.integers(0, classes - 1, shape[-1]).numpy()
        rows = np.arange(len(labels))
        label, every = logits[..., rows, labels], logsumexp(logits, axis=-1)
        others = np.where(np.arange(classes) == labels[:, None], -np.inf, logits)
        exact = label - logsumexp(others, axis=-1)
        mistakes = {
            "This is the log-probability of the label. Leave the label's own class out of the sum.": label - every,
            "This is the probability of the label; its logarithm of odds is asked for.": np.exp(label - every),
            "This is the label's logit minus the best of the other classes. All count: sum their exponentials.": (
                label - others.max(-1)
            ),
            "This is the label's logit alone. A logit says nothing until it is compared with the others.": label,
            "The sign is turned round: high where the model fits the record.": -exact,
            "This is log(1 - p) or the loss; log(p / (1 - p)) is asked for.": every - label,
        }
        what = f"The scores for {classes} classes"
        got = numbers(answer(logits, labels), tuple(shape), what)
        hint = "For the label y: z_y minus the logarithm of the summed exponentials of the other logits."
        expect_close(
            got, tensor(exact), what, tolerance=1e-4, mistakes={k: tensor(v) for k, v in mistakes.items()}, hint=hint
        )
    sure = np.array([[800.0, 0.0, 1.0], [0.0, 800.0, 1.0], [45.0, 0.0, 0.0]])
    exact = np.array([800 - np.logaddexp(0, 1), -800.0, 45 - np.log(2)])
    got = numbers(answer(sure, np.array([0, 0, 0])), (3,), "The scores of a model that is sure")
    hint = (
        "The probability rounds to 1, and log(1 / 0) is not finite or cut off. Never go through the probability: "
        "subtract logarithms."
    )
    if not bool(got.isfinite().all()):
        expect_close(torch.nan_to_num(got, nan=0.0), tensor(exact), "A score is not finite. The scores", hint=hint)
    expect_close(got, tensor(exact), "The scores of a model that is sure", tolerance=1e-3, hint=hint)


def _lira(
    target: np.ndarray, shadow: np.ndarray, members: np.ndarray, online: bool, variance: str, slip: str = ""
) -> np.ndarray:
    freedom = 0 if slip == "count" else 1
    found = []
    for kind in (False, True) if slip == "swapped" else (True, False):
        picked = [shadow[:, r] if slip == "ignored" else shadow[members[:, r] == kind, r] for r in range(len(target))]
        middle = np.array([np.median(v) if slip == "median" else v.mean() for v in picked])
        spread = np.array([v.std(ddof=freedom) for v in picked])
        if variance == "fixed":
            apart = np.concatenate([v - v.mean() for v in picked])
            spread = np.full_like(spread, np.sqrt((apart**2).sum() / (len(apart) - freedom * len(picked))))
            if slip == "pooled":
                spread[:] = np.concatenate(picked).std()
            if slip == "mean":
                spread[:] = np.mean([v.std(ddof=1) for v in picked])
        found.append((middle, spread))
    (mean_in, sd_in), (mean_out, sd_out) = found
    if slip == "one":
        sd_in = sd_out
    if slip == "in's":
        sd_out = sd_in
    if slip == "variance":
        sd_in, sd_out = sd_in**2, sd_out**2
    if not online:
        if slip == "below":
            return -stats.norm.logcdf(target, mean_out, sd_out)
        if slip == "from in":
            return -stats.norm.logsf(target, mean_in, sd_in)
        return -stats.norm.logsf(target, mean_out, sd_out)
    if slip == "only in":
        return stats.norm.logpdf(target, mean_in, sd_in)
    if slip == "ratio":
        return stats.norm.pdf(target, mean_in, sd_in) / stats.norm.pdf(target, mean_out, sd_out)
    return stats.norm.logpdf(target, mean_in, sd_in) - stats.norm.logpdf(target, mean_out, sd_out)


SLIPS = {
    "swapped": "In and out are swapped: `members` is True where the model was trained on the record.",
    "count": "Your deviations divide by the count. A deviation estimated from a sample divides by the count minus one.",
    "ignored": "You use all shadow models for both distributions: `members` says which belong to which.",
    "median": "The means are medians. A normal distribution's likelihood is largest at the mean.",
    "one": "Both distributions have the deviation of the models without the record. Each has its own.",
    "in's": "Both distributions have the deviation of the models with the record. Each has its own.",
    "variance": "You give the variance where the standard deviation belongs.",
    "only in": "That is the likelihood under the models with the record alone. Easy records have it high anyway: "
    "divide by the one without, which is a difference of logarithms.",
    "ratio": "This is the ratio itself. Return its logarithm: the ratio overflows.",
    "pooled": "Your shared deviation is that of all scores together. It holds how records differ from each other. "
    "Take each record's own mean away first.",
    "mean": "Your shared deviation is the mean of the deviations. Pool the squares: the sum of all squared distances "
    "from the records' own means, divided by the sum of the counts minus one.",
    "below": "Offline: the probability to score at least as high, which is the survival function, not the one below.",
    "from in": "Offline no model that was trained on the record may be used.",
}


def drawn(dice: Dice, models: int, records: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = torch.stack([torch.randperm(models, generator=dice.generator) for _ in range(records)], dim=1).numpy()
    members = order < dice.integers(3, models - 3, records).numpy()
    level, gain = 4 * dice.normal(records).numpy(), 2 * dice.uniform(records).numpy()
    wide = 0.5 + 1.5 * dice.uniform(records).numpy()
    shadow = level + gain * members + wide * (1 + 0.5 * members) * dice.normal(models, records).numpy()
    return level + dice.normal(records).numpy(), shadow, members


@exercise(
    "membership_inference.lira",
    "The likelihood ratio",
    points=4,
    difficulty=4,
    importance=5,
    minutes=18,
    answer="lira_attack",
    forbid=(f"{PACKAGE}.attacks.lira_attack",),
    mutants=(
        Mutant("in and out swapped", "_spread(many, ~inside,", "_spread(many, inside,", "wrong"),
        Mutant("one deviation for both", "one, mean_in, sd_in)", "one, mean_in, sd_out)", "Each has its own"),
        Mutant(
            "deviation of all scores",
            "    if not online:",
            '    if variance == "fixed":\n'
            "        sd_out = np.full_like(mean_out, many[~inside].std())\n"
            "        sd_in = np.full_like(mean_in, many[inside].std()) if online else sd_out\n"
            "    if not online:",
            "own mean away",
        ),
        Mutant("membership ignored", "_spread(many, ~inside,", "_spread(many, np.ones_like(inside),", "wrong"),
        Mutant("no calibration", " - stats.norm.logpdf(one, mean_out, sd_out)", "", "Easy records"),
        Mutant(
            "no logarithm",
            "return stats.norm.logpdf(one, mean_in, sd_in) - stats.norm.logpdf(one, mean_out, sd_out)",
            "return stats.norm.pdf(one, mean_in, sd_in) / stats.norm.pdf(one, mean_out, sd_out)",
            "logarithm",
        ),
        Mutant(
            "quotient of densities",
            "return stats.norm.logpdf(one, mean_in, sd_in) - stats.norm.logpdf(one, mean_out, sd_out)",
            "in_, out = stats.norm.pdf(one, mean_in, sd_in), stats.norm.pdf(one, mean_out, sd_out)\n"
            "    return np.log((in_ + 1e-30) / (out + 1e-30))",
            "logarithms of densities",
        ),
        Mutant("refuses what it does not need", "2 if online else 0", "2", "no reason to refuse"),
        Mutant("the wrong tail", "stats.norm.logsf", "stats.norm.logcdf", "survival"),
        Mutant("offline like online", "    if not online:\n", "    if False:\n", "wrong"),
        Mutant("always a deviation each", 'variance == "fixed")\n    mean_in', "False)\n    mean_in", "fixed"),
        Mutant("variances", "one, mean_in, sd_in)", "one, mean_in, sd_in**2)", "wrong"),
        Mutant("by default fixed", '] = "record"', '] = "fixed"', "by default"),
        Mutant("changes its arguments", "    if not online:\n", "    shadow -= 0.5\n    if not online:\n", "in place"),
    ),
)
def check_lira(answer: Answer, dice: Dice) -> None:
    target, shadow, members = drawn(dice, dice.integer(13, 17), dice.integer(7, 10))
    hint = "For each record: the models with it, the models without it, a mean and a deviation of each."
    for online, variance in ((True, "record"), (False, "record"), (True, "fixed"), (False, "fixed")):
        exact = tensor(_lira(target, shadow, members, online, variance))
        mistakes = {words: tensor(_lira(target, shadow, members, online, variance, s)) for s, words in SLIPS.items()}
        mistakes["Return the logarithm of the tail's probability with a minus: small probabilities, high scores."] = (
            tensor(stats.norm.sf(target, *_parts(shadow, members, variance)))
        )
        mistakes = {words: value for words, value in mistakes.items() if not torch.allclose(value, exact)}
        what = f'The scores with online={online} and variance="{variance}"'
        called = answer.trace(target, shadow, members, online=online, variance=variance)
        got = numbers(called.value, target.shape, what)
        expect_close(got, exact, what, mistakes=mistakes, tolerance=1e-3, hint=hint)
        expect_unchanged(called)
    exact = tensor(_lira(target, shadow, members, True, "record"))
    got = numbers(answer(target, shadow, members), target.shape, "The scores by default")
    hint = 'By default the attack is online and variance is "record".'
    expect_close(got, exact, "The answer by default, without online and variance,", tolerance=1e-3, hint=hint)
    far = target.copy()
    far[0] = shadow[:, 0].max() + 40
    for online, hint in (
        (False, "1 minus the probability below rounds to 0 far out. scipy has the logarithm of the tail: norm.logsf."),
        (True, "Far out both densities round to 0. Subtract logarithms of densities: norm.logpdf."),
    ):
        exact = tensor(_lira(far, shadow, members, online, "record"))
        what = f"The scores with online={online} of a record far above the others"
        got = numbers(answer(far, shadow, members, online=online), target.shape, what)
        expect_close(
            got / exact.abs(), exact / exact.abs(), f"{what}, divided by what is expected,", tolerance=1e-3, hint=hint
        )
    alone = members.copy()
    alone[:, 0] = False
    alone[0, 0] = True
    refuses(answer, target, shadow, alone, because="A record with one model that was trained on it has no deviation.")
    exact = tensor(_lira(target, shadow, alone, False, "record"))
    hint = "Offline no model that was trained on the record is needed, so one of them is no reason to refuse."
    try:
        came = answer(target, shadow, alone, online=False)
    except Failed as failed:
        raise Failed(failed.message, expected="scores", got=failed.got, hint=hint) from None
    got = numbers(came, target.shape, "The scores offline")
    expect_close(
        got, exact, "Offline, where one model was trained on the first record, the scores", tolerance=1e-3, hint=hint
    )


def _parts(shadow: np.ndarray, members: np.ndarray, variance: str) -> tuple[np.ndarray, np.ndarray]:
    picked = [shadow[~members[:, r], r] for r in range(shadow.shape[1])]
    spread = np.array([v.std(ddof=1) for v in picked])
    if variance == "fixed":
        apart = np.concatenate([v - v.mean() for v in picked])
        spread[:] = np.sqrt((apart**2).sum() / (len(apart) - len(picked)))
    return np.array([v.mean() for v in picked]), spread
