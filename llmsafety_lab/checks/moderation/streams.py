"""Exercise 2: a threshold for texts that are looked at after each word."""

from __future__ import annotations

import math

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_unchanged, kind_of


def _kth(values: list[float], share: float, more: int = 1, away: int = 0) -> float:
    place = math.ceil(round((len(values) + more) * (1 - share), 9)) + away
    return sorted(values)[place - 1] if 1 <= place <= len(values) else math.inf


def _slips(streams: list[list[float]], share: float) -> dict[str, float]:
    highest = [max(stream) for stream in streams]
    return {
        "You took all prefixes together. A text is stopped by the worst of "
        "its prefixes: take each text's highest score.": _kth([score for stream in streams for score in stream], share),
        "You looked at whole texts alone, the last prefix. A stream is "
        "stopped half-way: take each text's highest score.": _kth([stream[-1] for stream in streams], share),
        "You took the mean of a text's prefixes. One prefix above the threshold stops it: take the highest.": _kth(
            [sum(stream) / len(stream) for stream in streams], share
        ),
        "You took the first prefix of each text. Any prefix can stop it: take the highest.": _kth(
            [stream[0] for stream in streams], share
        ),
        "You left the new text out of the count, or rounded down: there "
        "are n + 1 texts, and the rank is rounded up.": _kth(highest, share, more=0),
        "Your rank is one too low: there are more false alarms than promised.": _kth(highest, share, away=-1),
        "Your rank is one too high: it gives alarms away. Was (n + 1)(1 - share) "
        "rounded to nine digits before the ceiling?": _kth(highest, share, away=1),
        "You took the share of false alarms for that of texts that may pass.": _kth(highest, 1 - share),
        "No text of the sample is ever stopped: that is the largest score, whatever the share.": max(highest),
    }


@exercise(
    "moderation.stream",
    "Looked at after every word",
    points=3,
    difficulty=2,
    importance=4,
    minutes=10,
    answer="stream_threshold",
    mutants=(
        Mutant(
            "prefixes pooled",
            "max(stream) for stream in harmless",
            "one for stream in harmless for one in stream",
            "all prefixes",
        ),
        Mutant("whole texts", "max(stream) for", "stream[-1] for", "whole texts"),
        Mutant("mean of the prefixes", "max(stream) for", "sum(stream) / len(stream) for", "the mean"),
        Mutant("first prefix", "max(stream) for", "stream[0] for", "first prefix"),
        Mutant("without the new text", "(len(highest) + 1)", "(len(highest))", "new text out of the count"),
        Mutant("one too low", "highest[place - 1]", "highest[place - 2]", "one too low"),
        Mutant("one too high", "highest[place - 1]", "(highest + [math.inf])[place]", "one too high"),
        Mutant("share turned round", "+ 1) * (1 - share)", "+ 1) * share", "that may pass"),
        Mutant("the largest", "highest[place - 1]", "highest[-1]", "whatever the share"),
        Mutant(
            "largest for infinity",
            "if place <= len(highest) else math.inf",
            "if place <= len(highest) else float(highest[-1])",
            "too few",
        ),
        Mutant("rounded", "math.ceil(round(", "int(round(", "rounded up"),
        Mutant(
            "not rounded",
            "math.ceil(round((len(highest) + 1) * (1 - share), 9))",
            "math.ceil((len(highest) + 1) * (1 - share))",
            "one too high",
        ),
        Mutant(
            "sorts in place",
            "highest = sorted(max(stream) for stream in harmless)",
            "[stream.sort() for stream in harmless]\n    highest = sorted(max(stream) for stream in harmless)",
            "in place",
        ),
    ),
)
def check_stream_threshold(answer: Answer, dice: Dice) -> None:
    cases = [
        (19, 0.05),
        (dice.integer(33, 37), 0.1),
        (dice.integer(41, 46), 0.25),
        (dice.integer(21, 28), 0.4),
        (19, 0.7),
    ]
    for count, share in cases:
        streams = [
            [round(float(score), 4) for score in dice.uniform(dice.integer(2, 7)).tolist()] for _ in range(count)
        ]
        called = answer.trace(streams, share)
        _expect(called.value, streams, share)
        expect_unchanged(
            called, 0, message="You changed the streams in place, and whoever called you needs their order."
        )
    few = [[float(score)] for score in dice.uniform(dice.integer(5, 17)).tolist()]
    got = answer(few, 0.05)
    expect(
        got == math.inf,
        f"{len(few)} texts are too few to promise 5% of false alarms: only an infinite threshold keeps that promise.",
        expected=math.inf,
        got=got,
        hint="The rank k is larger than the number of texts.",
    )


def _expect(got: object, streams: list[list[float]], share: float) -> None:
    right = _kth([max(stream) for stream in streams], share)
    expect(type(got) in (int, float), "The threshold is not a number.", expected=right, got=kind_of(got))
    assert isinstance(got, int | float)
    if abs(got - right) < 1e-9 or got == right:
        return
    hint = next((words for words, slip in _slips(streams, share).items() if abs(got - slip) < 1e-9 or got == slip), "")
    raise Failed(
        f"The threshold for {len(streams)} texts and a share of {share} is wrong.",
        expected=right,
        got=got,
        hint=hint or "Sort the texts' highest scores, and take the k-th smallest, k = ceil((n + 1)(1 - share)).",
    )
