"""Exercises 5 and 6: how sure a score is, and what a redactor leaves standing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number, expect_pair
from llmsafety_lab.checks.named_entities.spans import draw_tags, read_spans


def _interval(reply: Any) -> tuple[float, float]:
    if isinstance(reply, np.ndarray | torch.Tensor):
        reply = reply.tolist()
    low, high = expect_pair(reply, "The interval", expected="two numbers, low and high")
    return expect_number(low, "The lower end"), expect_number(high, "The upper end")


@exercise(
    "named_entities.interval",
    "How sure is a score?",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="bootstrap_interval",
    forbid=("scipy.stats.bootstrap",),
    mutants=(
        Mutant(
            "without replacement",
            "rng.integers(0, len(counts), len(counts))",
            "rng.permutation(len(counts))",
            "with replacement",
        ),
        Mutant("tails too wide", "[(1 - level) / 2, (1 + level) / 2]", "[1 - level, level]", "both ends"),
        Mutant(
            "mean of the sentences' F1",
            "        drawn[i] = 2 * correct / max(predicted + expected, 1)\n",
            "        some = counts[rng.integers(0, len(counts), len(counts))]\n"
            "        drawn[i] = (2 * some[:, 0] / np.maximum(some[:, 1] + some[:, 2], 1)).mean()\n",
            "mean of the sentences",
        ),
        Mutant("seed not used", "np.random.default_rng(seed)", "np.random.default_rng()", "same seed"),
        Mutant(
            "precision drawn", "2 * correct / max(predicted + expected, 1)", "correct / max(predicted, 1)", "precision"
        ),
        Mutant("always 95%", "[(1 - level) / 2, (1 + level) / 2]", "[0.025, 0.975]", "whatever it says"),
        Mutant("upper end first", "float(low), float(high)", "float(high), float(low)", "lower end first"),
        Mutant("recall drawn", "2 * correct / max(predicted + expected, 1)", "correct / max(expected, 1)", "recall"),
        Mutant("last sentence left out", "integers(0, len(counts), ", "integers(0, len(counts) - 1, ", "never drawn"),
        Mutant("other draws", "np.empty(draws)", "np.empty(draws := 1000)", "as often as draws"),
        Mutant(
            "normal curve",
            "low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])",
            "from statistics import NormalDist\n"
            "    low, high = drawn.mean() + drawn.std() * NormalDist().inv_cdf((1 + level) / 2) * np.array([-1, 1])",
            "quantiles of the draws",
        ),
        Mutant(
            "reflected",
            "    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])",
            "    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])\n"
            "    middle = 2 * counts[:, 0].sum() / counts[:, 1:].sum()\n"
            "    low, high = 2 * middle - high, 2 * middle - low",
            "quantiles of the draws",
        ),
        Mutant("nothing divided", "max(predicted + expected, 1)", "(predicted + expected)", "without a span"),
    ),
)
def check_interval(answer: Answer, dice: Dice) -> None:
    draws, seed = 4000, dice.integer(0, 10_000)
    small = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1]])
    got = _interval(answer(small, draws, seed, 0.99))
    hint = "The ends are quantiles of the draws, nothing else: some draws hold no hit, and some hits alone."
    if got == (1.0, 1.0):
        hint = "The last sentence is never drawn: rng.integers leaves its upper end out."
    elif got[0] > got[1]:
        hint = "Return the lower end first."
    elif got[1] - got[0] < 1e-9:
        hint = "All your draws are the same set: draw sentences with replacement."
    expect(
        max(abs(got[0]), abs(got[1] - 1)) < 1e-9,
        "The 99% interval of three sentences, two with their only span found and one without, is wrong.",
        expected=[0.0, 1.0],
        got=list(got),
        hint=hint,
    )
    rng = np.random.default_rng(dice.integer(0, 2**31))
    expected = rng.integers(0, 5, 70)
    correct = rng.binomial(expected, 0.65)
    counts = np.stack([correct, correct + rng.integers(0, 4, 70), expected], 1)
    drawn = counts[rng.integers(0, 70, (8000, 70))]
    sums = drawn.sum(1)
    exact = 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2])
    means = (2 * drawn[..., 0] / np.maximum(drawn[..., 1] + drawn[..., 2], 1)).mean(1)
    recalls = sums[:, 0] / sums[:, 2]
    low, high = _interval(answer(counts, 1, seed, 0.9))
    expect(low == high, "With draws=1 the two ends differ.", got=[low, high], hint="Draw as often as draws says.")
    for level in (0.8, 0.95):
        got = _interval(answer(counts, draws, seed, level))
        right = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2])
        near = 0.2 * exact.std()

        def close(values: np.ndarray, reach: float = near, got: tuple[float, float] = got) -> bool:
            return bool(np.abs(np.array(got) - values).max() < reach)

        if close(right):
            continue
        hint = "Draw as many sentences as there are, with replacement, take their F1, and repeat."
        if close(np.quantile(exact, [1 - level, level])):
            hint = "What lies outside is split between both ends: half of 1 - level at each."
        elif close(np.quantile(means, [(1 - level) / 2, (1 + level) / 2])):
            hint = "You took the mean of the sentences' F1. Add the counts of the drawn sentences, then take F1 once."
        elif close(np.quantile(recalls, [(1 - level) / 2, (1 + level) / 2]), 0.3 * recalls.std()):
            hint = "You drew the recall. F1 is 2 * correct / (predicted + expected)."
        elif close(np.quantile(sums[:, 0] / sums[:, 1], [(1 - level) / 2, (1 + level) / 2])):
            hint = "You drew the precision. F1 is 2 * correct / (predicted + expected)."
        elif close(np.quantile(exact, [0.025, 0.975])):
            hint = "How much the interval holds is an argument, level: yours holds 95% whatever it says."
        elif close(np.quantile(exact, [0, level])):
            hint = "What lies outside is split between both ends: half of 1 - level at each, and not all above."
        raise Failed(f"The {level:.0%} interval is wrong.", expected=right.tolist(), got=list(got), hint=hint)
    one, two, three = (_interval(answer(counts, 50, s, 0.9)) for s in (seed, seed, seed + 20_000))
    expect(
        one == two,
        "The same call gives two intervals.",
        expected=list(one),
        got=list(two),
        hint="The same seed must give the same draws: make your generator from it.",
    )
    expect(one != three, "Two seeds give the same draws.", hint="Make your generator from the seed.")
    sparse = np.array([[0, 0, 0]] * 5 + [[1, 1, 1]])
    try:
        got = _interval(answer(sparse, 300, seed, 0.9))
    except Failed as failure:
        failure.hint = failure.hint or "A draw without a span, predicted or expected, has an F1 of 0."
        raise
    expect(
        got == (0.0, 1.0),
        "The interval of six sentences, five of them without a span, is wrong.",
        expected=[0.0, 1.0],
        got=list(got),
        hint="A draw without a span, predicted or expected, has an F1 of 0.",
    )


def _recall(truth: list[list[str]], found: list[list[str]], kinds: Any, hides: Any) -> float:
    hidden = [
        hides(guess[start:end], kind)
        for true, guess in zip(truth, found, strict=True)
        for kind, start, end in read_spans(true)
        if kinds is None or kind in kinds
    ]
    return sum(hidden) / len(hidden)


def _whole(tags: list[str], kind: str) -> bool:
    return "O" not in tags


def _wrong_recalls(truth: list[list[str]], found: list[list[str]], kinds: list[str]) -> dict[str, float]:
    return {
        "You count a part of a name as hidden. What is left may be the family name.": _recall(
            truth, found, kinds, lambda tags, kind: tags != ["O"] * len(tags)
        ),
        "Every word of a name has to be hidden, not its first and last alone.": _recall(
            truth, found, kinds, lambda tags, kind: tags[0] != "O" != tags[-1]
        ),
        "A name that is hidden under the wrong type is hidden: any tag but O will do.": _recall(
            truth, found, kinds, lambda tags, kind: all(tag[2:] == kind for tag in tags)
        ),
        "Count the types that were asked for only.": _recall(truth, found, None, _whole),
        "Compare whole types: PER is another type than PER-FICTION.": _recall(
            truth, found, [*kinds, "PER-FICTION"], _whole
        ),
        "Ask whether the type is one of the list, not whether its name is a part of one text.": _recall(
            truth, found, [*kinds, "PE"], _whole
        ),
        "This starts from the predicted spans, which is a precision: start from the true ones.": _recall(
            found, truth, kinds, _whole
        ),
    }


@exercise(
    "named_entities.redaction",
    "What the redactor missed",
    points=2,
    difficulty=3,
    importance=5,
    minutes=8,
    answer="redaction_recall",
    mutants=(
        Mutant("half a name is enough", "all(tag", "any(tag", "part of a name"),
        Mutant("type demanded", 'tag != "O" for', "tag[2:] == kind for", "under the wrong type"),
        Mutant("all types", "        if kind in kinds\n", "", "asked for"),
        Mutant("a part of the type", "if kind in kinds\n", "if any(k in kind for k in kinds)\n", "whole types"),
        Mutant("a part of a text", "if kind in kinds\n", "if kind in ' '.join(kinds)\n", "one of the list"),
        Mutant(
            "precision",
            "for kind, start, end in bio_to_spans(true)",
            "for true, found in [(found, true)]\n        for kind, start, end in bio_to_spans(true)",
            "precision",
        ),
        Mutant("first and last", "found[start:end]", "(found[start], found[end - 1])", "every word of a name"),
    ),
)
def check_redaction(answer: Answer, dice: Dice) -> None:
    for kinds in (["PER"], ["PER", "GEO-LOC"]):
        for _ in range(60):
            truth = [draw_tags(dice, 10) for _ in range(8)]
            found = [draw_tags(dice, 0, tags) for tags in truth]
            truth += [["B-PER", "I-PER", "O", "B-GEO-LOC", "O", "B-ORG"], ["B-PER", "I-PER", "I-PER"]]
            found += [["B-PER", "O", "O", "B-ORG", "B-PER", "O"], ["B-PER", "O", "I-PER"]]
            truth += [["B-PER-FICTION", "O", "B-PE", "B-PE"]]
            found += [["O", "O", "O", "O"]]
            right, mistakes = _recall(truth, found, kinds, _whole), _wrong_recalls(truth, found, kinds)
            if len({round(value, 9) for value in (right, *mistakes.values())}) == 1 + len(mistakes):
                break
        got = expect_number(answer(truth, found, list(kinds)), "The answer")
        slips = [says for says, value in mistakes.items() if abs(got - value) < 1e-9]
        expect(
            abs(got - right) < 1e-9,
            f"The share of hidden spans of {' and '.join(kinds)} is wrong.",
            expected=right,
            got=got,
            hint=slips[0]
            if slips
            else "Of all true spans of these types, the share without an O among the predicted tags.",
        )
