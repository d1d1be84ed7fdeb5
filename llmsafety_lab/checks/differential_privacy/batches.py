"""Exercise 4: batches by lottery."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, kind_of
from llmsafety_lab.checks.differential_privacy.mean import refuses

DRAW = "        batches.append(np.flatnonzero(generator.random(records) < rate).tolist())"
SIGMAS = 6.0


def _places(batch: Any, records: int) -> list[int]:
    if isinstance(batch, np.ndarray | torch.Tensor):
        batch = batch.tolist()
    if not isinstance(batch, list | tuple) or not all(type(i) is int for i in batch):
        raise Failed("A batch is not a list of row numbers.", expected="such as [0, 4, 7]", got=kind_of(batch))
    expect(all(0 <= i < records for i in batch), "A batch holds a number that is no row.", got=list(batch))
    twice = "The same record is in a batch twice: it was drawn with replacement. A coin for each gives it once or not."
    expect(len(set(batch)) == len(batch), "A record is in one batch twice.", got=sorted(batch), hint=twice)
    return list(batch)


def _table(reply: Any, records: int, steps: int) -> np.ndarray:
    if isinstance(reply, np.ndarray | torch.Tensor):
        reply = list(reply)
    batches = [_places(one, records) for one in expect_list(reply, "The batches", length=steps)]
    inside = np.zeros((steps, records))
    for row, places in zip(inside, batches, strict=True):
        row[places] = 1
    return inside


def _near(found: float, expected: float, error: float) -> bool:
    return abs(found - expected) <= SIGMAS * error


def _check_lottery(answer: Answer, records: int, rate: float, steps: int, seed: int) -> None:
    inside = _table(answer(records, rate, steps, seed), records, steps)
    sizes, mean = inside.sum(1), records * rate
    same = "Draw anew in each step: one generator for all steps, made once."
    repeated = float((inside[1:] == inside[:-1]).all(1).mean())
    expect(repeated < 0.5, "Step after step has the same batch.", hint=same)
    overlap = float((inside[1:] * inside[:-1]).sum(1).mean())
    shuffled = (
        "That is a shuffle: whoever was in a batch is out until the next epoch. It has a guarantee of its own, and a "
        "weaker one. Throw a coin for each record in each step, whatever came before."
    )
    error = mean * rate * np.sqrt(3 / steps / mean / rate)
    expect(
        overlap > records * rate**2 - SIGMAS * error,
        "A record that was in a batch is too rarely in the next one.",
        expected=f"about {records * rate**2:.1f} records in common",
        got=f"{overlap:.1f}",
        hint=shuffled,
    )
    fixed = "All batches have the same size, so records do not decide by themselves. With a coin for each, sizes vary."
    expect(sizes.std() > 0, "All batches have the same size.", got=int(sizes[0]), hint=fixed)
    most = "Is each record in with the probability `rate`?"
    word = "often" if sizes.mean() > mean else "rarely"
    expect(
        _near(sizes.mean(), mean, np.sqrt(mean * (1 - rate) / steps)),
        f"Records are in a batch too {word}.",
        expected=f"{mean:.1f} in the mean",
        got=f"{sizes.mean():.1f}",
        hint=most,
    )
    apart = np.abs(np.corrcoef(inside.T)[np.triu_indices(records, 1)])
    expect(
        apart.max() < 0.2,
        "Two records are in the same batches: they are not independent.",
        hint="A coin of its own for each record.",
    )
    variance = mean * (1 - rate)
    spread = float(sizes.var(ddof=1))
    wide = "too much" if spread > variance else "too little"
    expect(
        _near(spread, variance, variance * np.sqrt(2 / steps)),
        f"The batches' sizes vary {wide}.",
        expected=f"variance {variance:.1f}, that of as many coins",
        got=f"{spread:.1f}",
        hint='"Poisson sampling" is the name of the lottery, not of the distribution of sizes, which is binomial.',
    )
    shares = inside.mean(0)
    expect(
        bool((np.abs(shares - rate) <= SIGMAS * np.sqrt(rate * (1 - rate) / steps)).all()),
        "Some record is drawn more often than others.",
        expected=f"each in about {rate:.0%} of the batches",
        got=f"from {shares.min():.0%} to {shares.max():.0%}",
    )
    again = _table(answer(records, rate, steps, seed), records, steps)
    expect(bool((again == inside).all()), "The same seed gives other batches.", hint="np.random.default_rng(seed)")
    other = _table(answer(records, rate, steps, seed + 1), records, steps)
    expect(bool((other != inside).any()), "Another seed gives the same batches: your function ignores the seed.")


@exercise(
    "differential_privacy.poisson",
    "Who is in this batch",
    points=3,
    difficulty=2,
    importance=4,
    minutes=9,
    answer="poisson_batches",
    forbid=("llmsafety_lab.differential_privacy.sgd.poisson_batch",),
    mutants=(
        Mutant(
            "shuffled, called Poisson",
            DRAW,
            "        size = max(round(records * rate), 1)\n"
            "        left = left if step and len(left) >= size else generator.permutation(records)\n"
            "        batches.append(left[:size].tolist())\n"
            "        left = left[size:]",
            "shuffle",
        ),
        Mutant(
            "a batch of fixed size",
            DRAW,
            "        batches.append(generator.permutation(records)[: max(round(records * rate), 1)].tolist())",
            "same size",
        ),
        Mutant(
            "with replacement",
            DRAW,
            "        batches.append(generator.integers(0, records, generator.binomial(records, rate)).tolist())",
            "replacement",
        ),
        Mutant(
            "sizes of a Poisson distribution",
            DRAW,
            "        size = min(int(generator.poisson(records * rate)), records)\n"
            "        batches.append(generator.permutation(records)[:size].tolist())",
            "vary too much",
        ),
        Mutant("the same batch again", DRAW, DRAW.replace("generator.", "np.random.default_rng(seed)."), "same batch"),
        Mutant("the seed ignored", "default_rng(seed)", "default_rng(0)", "seed"),
        Mutant("no seed", "default_rng(seed)", "default_rng()", "same seed"),
        Mutant("the others", "(records) < rate", "(records) >= rate", "too often"),
        Mutant(
            "never empty",
            DRAW,
            DRAW + "\n        batches[-1] = batches[-1] or [int(generator.integers(records))]",
            "empty",
        ),
        Mutant(
            "neighbours together",
            "generator.random(records) < rate",
            "np.repeat(generator.random(-(-records // 2)), 2)[:records] < rate",
            "independent",
        ),
        Mutant("any rate", "not 0 < rate <= 1", "rate == 17", "rate"),
    ),
)
def check_poisson(answer: Answer, dice: Dice) -> None:
    seed = dice.integer(1, 10**6)
    for _ in range(2):
        records, rate = dice.integer(40, 140), 0.35 + 0.1 * float(dice.uniform(1))
        _check_lottery(answer, records, rate, 1000, seed)
    few = _table(answer(4, 0.1, 200, seed), 4, 200)
    expect(
        bool((few.sum(1) == 0).any()),
        "With 4 records and a rate of 10% no batch is empty, and two in three should be.",
        hint="An empty batch is a result like any other: keep it, and let the step be all noise.",
    )
    refuses(answer, 10, 0.0, 3, seed, because="A rate of 0 draws nobody ever: refuse it.")
    refuses(answer, 10, 1.5, 3, seed, because="A rate is a probability, at most 1.")
