"""Exercises 1 and 2: exposure by the rank among all candidates, and by a fit to some."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number

PACKAGE = "llmsafety_lab.extraction"


def refuses(answer: Answer, *arguments: Any, because: str) -> None:
    """Fail unless the answer raises a ValueError for these arguments."""
    try:
        got = answer(*arguments)
    except Failed as failed:
        got = f"{failed.message} {failed.got}"
        if "ValueError" in got:
            return
    raise Failed(because, expected="a ValueError", got=got)


def agree(got: float, right: float, message: str, mistakes: dict[str, list[float]], hint: str) -> None:
    """Fail with the hint of the mistake that gives the same number, unless the number is right."""
    if abs(got - right) <= 1e-6 + 1e-6 * abs(right):
        return
    fits = [words for words, values in mistakes.items() for v in values if np.isclose(got, v, rtol=1e-6, atol=1e-6)]
    raise Failed(message, expected=right, got=got, hint=(fits or [hint])[0])


@exercise(
    "extraction.exposure",
    "How many bits are out",
    points=2,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="exposure",
    forbid=(f"{PACKAGE}.ranks.exposure", f"{PACKAGE}.ranks.mean_rank", f"{PACKAGE}.setting.exposures"),
    mutants=(
        Mutant("rank from zero", "+ (equal + 1) / 2", "+ (equal - 1) / 2", "counts from 1"),
        Mutant("natural logarithm", "np.log2(len(candidates)) - np.log2", "np.log(len(candidates)) - np.log", "bits"),
        Mutant(
            "logarithm to base ten",
            "np.log2(len(candidates)) - np.log2",
            "np.log10(len(candidates)) - np.log10",
            "bits",
        ),
        Mutant("ties flatter the model", "(equal + 1) / 2", "1", "best place"),
        Mutant("ties at the worst place", "(equal + 1) / 2", "equal", "worst place"),
        Mutant("the most probable last", "losses < secret", "losses > secret", "low loss"),
        Mutant(
            "canary space too small",
            "    losses = np.asarray(candidates, dtype=float)",
            "    candidates = candidates[:64]\n    losses = np.append(np.asarray(candidates, dtype=float), secret)",
            "part of the candidates",
        ),
        Mutant(
            "distinct losses as the space",
            "np.log2(len(candidates))",
            "np.log2(len(np.unique(candidates)))",
            "distinct",
        ),
        Mutant(
            "the rank alone",
            "np.log2(len(candidates)) - np.log2(mean_rank(secret, candidates))",
            "np.log2(mean_rank(secret, candidates))",
            "rank alone",
        ),
        Mutant("no refusal", "    if not equal:", "    if False:", "not among"),
    ),
)
def check_exposure(answer: Answer, dice: Dice) -> None:
    for digits, step in ((3, 0.0), (3, 0.5), (2, 0.25)):
        count = 10**digits - dice.integer(0, 9)
        losses = 6 + 2 * dice.normal(count).numpy()
        if step:
            losses = np.round(losses / step) * step
        for place in (*dice.integers(0, count - 1, 3).tolist(), int(losses.argmin())):
            secret = float(losses[place])
            hint = "The rank counts from 1: the best of all has rank 1."
            got = expect_number(answer(secret, losses), "The exposure", hint=hint)
            below, equal = int((losses < secret).sum()), int((losses == secret).sum())
            above, rank = count - below - equal, below + (equal + 1) / 2
            right = float(np.log2(count) - np.log2(rank))
            part = losses[:64]
            few = int((part < secret).sum()) + (int((part == secret).sum()) + 2) / 2
            distinct = len(np.unique(losses))
            agree(
                got,
                right,
                f"A secret of loss {secret:.3f} among {count} candidates, of which {below} have a lower loss and "
                f"{equal} the same: its exposure is wrong.",
                {
                    "The rank counts from 1: the best of all has rank 1, and all bits are out.": [
                        float(np.log2(count) - np.log2(r)) for r in (below, below + (equal - 1) / 2) if r > 0
                    ],
                    "This is in nats or decimal digits. Exposure is in bits: logarithms to base 2.": [
                        right * np.log(2),
                        right * np.log10(2),
                    ],
                    "Of equal losses you take the best place: a model that finds all codes alike "
                    "would show all bits.": [float(np.log2(count) - np.log2(below + 1))],
                    "Of equal losses you take the worst place. They share the mean of their places.": [
                        float(np.log2(count) - np.log2(below + equal))
                    ],
                    "The first guess is the candidate of low loss.": [
                        float(np.log2(count) - np.log2(above + (equal + 1) / 2))
                    ],
                    "You take the number of distinct losses for the number of candidates: those with "
                    "equal losses count, too.": [float(np.log2(distinct) - np.log2(rank))],
                    "You look at a part of the candidates: then the space is too small, and no "
                    "secret can show more bits than it has.": [float(np.log2(n) - np.log2(few)) for n in (64, 65)],
                    "This is log2 of the rank alone. Take it from log2 of the number of candidates.": [
                        float(np.log2(rank))
                    ],
                },
                "log2 of the number of candidates minus log2 of the rank. Where the rank is 1, all "
                "bits are out. The best place "
                "counts from 1; do you look at all candidates, and not at a part of the candidates?",
            )
    refuses(
        answer, 1.5, np.arange(20.0), because="The secret's loss is not among the candidates': its rank is not defined."
    )


def _fitted(secret: float, sample: np.ndarray, slip: str = "") -> float:
    third = float(stats.skew(sample))
    ratio = min(abs(third), 0.99) ** (2 / 3)
    delta = np.sqrt(np.pi / 2 * ratio / (ratio + ((4 - np.pi) / 2) ** (2 / 3))) * np.sign(third)
    if slip == "sign":
        delta = abs(delta)
    if slip == "turned":
        delta = -delta
    scale = sample.std() / np.sqrt(1 - 2 * delta**2 / np.pi)
    place = sample.mean() - scale * delta * np.sqrt(2 / np.pi)
    if slip == "mean":
        place = sample.mean()
    if slip == "deviation":
        scale = sample.std()
        place = sample.mean() - scale * delta * np.sqrt(2 / np.pi)
    if slip == "mean and deviation":
        place, scale = sample.mean(), sample.std()
    shape = delta / np.sqrt(1 - delta**2)
    if slip == "delta":
        shape = delta
    if slip == "normal":
        return float(-stats.norm.logcdf(secret, sample.mean(), sample.std()) / np.log(2))
    if slip == "tail":
        return float(-stats.skewnorm.logsf(secret, shape, place, scale) / np.log(2))
    bits = float(-stats.skewnorm.logcdf(secret, shape, place, scale) / np.log(2))
    return bits * {"nats": np.log(2), "digits": np.log10(2)}.get(slip, 1.0)


SLIPS = {
    "sign": "The skew of these losses is negative and the shape you fit is not: the root loses the sign of the skew.",
    "turned": "The sign of delta is turned round: it is that of the skew.",
    "normal": "This is a normal distribution's tail: the skew of the losses is ignored.",
    "tail": "This is the other tail: candidates of a lower loss are guessed first.",
    "nats": "This is in nats. Exposure is in bits: divide by the logarithm of 2.",
    "digits": "This is in decimal digits. Exposure is in bits.",
    "mean": "The place of a skew normal distribution is not its mean.",
    "deviation": "The scale of a skew normal distribution is not its standard deviation.",
    "mean and deviation": "Place and scale are not the mean and the standard deviation.",
    "delta": "The shape is delta / sqrt(1 - delta^2), not delta.",
}


@exercise(
    "extraction.fit",
    "A space too large to try",
    points=3,
    difficulty=3,
    importance=3,
    minutes=13,
    answer="exposure_fit",
    forbid=(f"{PACKAGE}.ranks.exposure_fit", f"{PACKAGE}.ranks.skew_normal"),
    mutants=(
        Mutant("the sign of the skew lost", "np.sign(third) * ", "", "loses the sign"),
        Mutant(
            "a normal distribution", "np.clip(skew(losses), -0.99, 0.99)", "np.clip(skew(losses), -0, 0)", "ignored"
        ),
        Mutant("the other tail", "-skewnorm.logcdf(", "-skewnorm.logsf(", "other tail"),
        Mutant("nats", " / np.log(2)", "", "nats"),
        Mutant(
            "the mean as the place",
            "losses.mean() - scale * delta * np.sqrt(2 / np.pi)",
            "losses.mean()",
            "not its mean",
        ),
        Mutant(
            "the deviation as the scale",
            "losses.std() / np.sqrt(1 - 2 * delta**2 / np.pi)",
            "losses.std()",
            "deviation",
        ),
        Mutant("delta as the shape", "delta / np.sqrt(1 - delta**2)", "delta", "not delta"),
        Mutant(
            "a logarithm of 0",
            "-skewnorm.logcdf(secret, *skew_normal(sample))",
            "-np.log(skewnorm.cdf(secret, *skew_normal(sample)) * (secret > 0))",
            "rounds to 0",
        ),
        Mutant("a skew of more than 1", "np.clip(skew(losses), -0.99, 0.99)", "skew(losses)", "0.99"),
        Mutant("no refusal", "or np.ptp(losses) == 0:", "or False:", "all equal"),
    ),
)
def check_fit(answer: Answer, dice: Dice) -> None:
    for shape in (-4.0, 3.0, -2.0):
        raw = dice.normal(400, 2).numpy()
        delta = shape / np.sqrt(1 + shape**2)
        sample = 20 + 3 * (delta * np.abs(raw[:, 0]) + np.sqrt(1 - delta**2) * raw[:, 1])
        if abs(stats.skew(sample)) > 0.97:
            sample = sample[:200]
        for secret in (float(sample.min() - 0.5), float(np.median(sample)), float(np.quantile(sample, 0.9))):
            got = expect_number(answer(secret, sample), "The exposure")
            agree(
                got,
                _fitted(secret, sample),
                f"The sample has mean {sample.mean():.2f}, deviation {sample.std():.2f}, skew "
                f"{stats.skew(sample):.2f}; "
                f"for a secret of loss {secret:.2f} the exposure is wrong.",
                {words: [_fitted(secret, sample, slip)] for slip, words in SLIPS.items()},
                "Fit shape, place and scale by the three formulas, then take -log2 of the share below the secret.",
            )
    far = float(sample.mean() - 45 * sample.std())
    try:
        got = expect_number(answer(far, sample), "The exposure of a secret far below all candidates")
    except Failed as failed:
        raise Failed(
            "The exposure of a secret far below all candidates is not a finite number.",
            got=failed.got,
            hint="The share below it rounds to 0. Use `skewnorm.logcdf`, not the logarithm of `cdf`.",
        ) from None
    agree(
        got,
        _fitted(far, sample),
        "The exposure of a secret far below all candidates is wrong.",
        {},
        "The share below it rounds to 0. Use `skewnorm.logcdf`, not the logarithm of `cdf`.",
    )
    steep = np.exp(1.2 * dice.normal(300).numpy())
    secret = float(np.quantile(steep, 0.3))
    got = answer(secret, steep)
    expect(
        isinstance(got, int | float) and bool(np.isclose(got, _fitted(secret, steep), rtol=1e-5)),
        f"The losses have a skew of {stats.skew(steep):.1f}, and the exposure is wrong.",
        expected=_fitted(secret, steep),
        got=got,
        hint="No skew normal distribution has a skew of 1 or more: cut the skew off at 0.99 and -0.99.",
    )
    refuses(answer, 1.0, np.full(9, 2.0), because="The losses are all equal: nothing can be fitted to them.")
