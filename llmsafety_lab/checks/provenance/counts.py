"""Exercises 2 and 3: green tokens counted once, and what the count proves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number, expect_pair
from llmsafety_lab.checks.provenance.lists import refused, shuffled


def _green(before: int, vocabulary: int, gamma: float, key: int) -> set[int]:
    return set(shuffled(key * before, vocabulary)[: int(vocabulary * gamma)])


def _count(ids: Sequence[int], vocabulary: int, gamma: float, key: int, slip: str = "") -> tuple[int, int]:
    pairs = list(pairwise(ids))
    if slip == "again":
        looked = pairs
    elif slip == "tokens":
        looked = list({token: (before, token) for before, token in reversed(pairs)}.values())
    elif slip == "runs":
        looked = [pair for number, pair in enumerate(pairs) if not number or pair != pairs[number - 1]]
    else:
        looked = list(dict.fromkeys(pairs))
    if slip == "gamma":
        gamma = 0.25
    if slip == "key":
        key = 15_485_863
    if slip == "itself":
        green = sum(token in _green(token, vocabulary, gamma, key) for _, token in looked)
    elif slip == "backwards":
        green = sum(before in _green(token, vocabulary, gamma, key) for before, token in looked)
    elif slip == "first":
        green = sum(token in _green(ids[0], vocabulary, gamma, key) for _, token in looked)
    else:
        green = sum(token in _green(before, vocabulary, gamma, key) for before, token in looked)
    if slip == "red":
        green = len(looked) - green
    return green, {"all": len(looked) + 1, "looked again": len(pairs)}.get(slip, len(looked))


SLIPS = {
    "again": "Pairs that are repeated are counted again. They are no new evidence: count each different pair once.",
    "looked again": "Repeated pairs are left out of the green ones, but counted again among those looked at.",
    "tokens": "You count each different token once. A token after another one has another list: count pairs.",
    "runs": "A pair is left out only where it directly follows itself. Wherever it comes again, it counts once.",
    "itself": "You look a token up in the list that follows it, not in the list of the token before.",
    "backwards": "The two of a pair have changed places: the first seeds the list, the second is looked up in it.",
    "first": "Every token is looked up in the list of the text's first token.",
    "red": "These are the red tokens.",
    "gamma": "gamma is not passed on to green_list.",
    "key": "The key is not passed on to green_list.",
    "all": "The first token has none before it: nothing can be looked up, and it is not looked at.",
}


@exercise(
    "provenance.count",
    "Evidence counts once",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="count_green",
    mutants=(
        Mutant("repeated n-grams counted again", "sorted(set(pairs)) if once else pairs", "pairs", "counted again"),
        Mutant(
            "looked at again",
            "for before, token in looked), len(looked)",
            "for before, token in looked), len(pairs)",
            "left out of the green",
        ),
        Mutant("always once", "sorted(set(pairs)) if once else pairs", "sorted(set(pairs))", "once=False"),
        Mutant(
            "the wrong way round",
            "sorted(set(pairs)) if once else pairs",
            "pairs if once else sorted(set(pairs))",
            "counted again",
        ),
        Mutant(
            "tokens, not pairs",
            "sorted(set(pairs)) if once else pairs",
            "list({t: (b, t) for b, t in reversed(pairs)}.values()) if once else pairs",
            "count pairs",
        ),
        Mutant(
            "gamma forgotten",
            "green_list(before, vocabulary, gamma, key)",
            "green_list(before, vocabulary, 0.25, key)",
            "gamma is not passed",
        ),
        Mutant(
            "key forgotten",
            "green_list(before, vocabulary, gamma, key)",
            "green_list(before, vocabulary, gamma)",
            "key is not passed",
        ),
        Mutant(
            "pairs backwards",
            "pairs = list(pairwise(ids))",
            "pairs = [(b, a) for a, b in pairwise(ids)]",
            "changed places",
        ),
        Mutant(
            "the list of the first",
            "green_list(before, vocabulary, gamma, key)",
            "green_list(ids[0], vocabulary, gamma, key)",
            "first token",
        ),
        Mutant("red ones", "sum(token in green[before]", "sum(token not in green[before]", "red tokens"),
        Mutant("the first, too", "in looked), len(looked)", "in looked), len(looked) + 1", "none before it"),
        Mutant("nothing to look at", "if not pairs:", "if pairs is None:", "ValueError"),
    ),
)
def check_count(answer: Answer, dice: Dice) -> None:
    for turn in range(3):
        vocabulary, gamma, key = dice.integer(40, 60), (0.4, 0.6, 0.5)[turn], dice.integer(10**6, 10**8)
        ids: list[int] = []
        exact = (0, 0)
        for _ in range(200):
            few = [1 + int(number) for number in dice.integers(1, 6, 40)]
            ids = [*few, *few[5:14], few[-1], few[-1], few[-1]]
            exact = _count(ids, vocabulary, gamma, key)
            if all(_count(ids, vocabulary, gamma, key, slip) != exact for slip in SLIPS):
                break
        _compared(answer, ids, vocabulary, gamma, key, exact)
    all_pairs = _count(ids, vocabulary, gamma, key, "again")
    got = _pair(answer(ids, vocabulary, gamma, key, False))
    if got != all_pairs:
        raise Failed(
            "With once=False every pair counts, as often as it comes.",
            expected=f"{all_pairs[0]} green of {all_pairs[1]}",
            got=f"{got[0]} green of {got[1]}",
        )
    refused(lambda: answer([4], 50, 0.5, key), "A text of one token has no pair of neighbours: expected a ValueError.")


def _pair(got: object) -> tuple[float, float]:
    green, looked = expect_pair(got, "The result", expected="(green, looked at)")
    return expect_number(green, "The number of green tokens"), expect_number(looked, "The number of those looked at")


def _compared(answer: Answer, ids: list[int], vocabulary: int, gamma: float, key: int, exact: tuple[int, int]) -> None:
    got = _pair(answer(ids, vocabulary, gamma, key))
    if got == exact:
        return
    hint = next((words for slip, words in SLIPS.items() if _count(ids, vocabulary, gamma, key, slip) == got), "")
    raise Failed(
        f"The counts are wrong for a text of {len(ids)} tokens with {len(set(pairwise(ids)))} different pairs.",
        expected=f"{exact[0]} green of {exact[1]}",
        got=f"{got[0]:g} green of {got[1]:g}",
        hint=hint or "Look each token up in the green list of the token before it, each different pair once.",
    )


def _z_slips(green: int, looked: int, gamma: float) -> dict[str, float]:
    above, share = green - gamma * looked, green / looked
    return {
        "This is z with the wrong gamma: gamma = 0.25 whatever was asked for.": (green - 0.25 * looked)
        / math.sqrt(looked * 0.1875),
        "This is z with the wrong gamma: gamma = 0.5 whatever was asked for.": (green - 0.5 * looked)
        / math.sqrt(looked * 0.25),
        "This is z with the wrong gamma: 1 - gamma in place of gamma.": (green - (1 - gamma) * looked)
        / math.sqrt(looked * gamma * (1 - gamma)),
        "You divide by the variance. Divide by its square root, the standard deviation.": above
        / (looked * gamma * (1 - gamma)),
        "The variance lacks 1 - gamma: a count of yes and no is binomial.": above / math.sqrt(looked * gamma),
        "The spread is that of the share observed. Without a watermark it is gamma's.": above
        / math.sqrt(max(looked * share * (1 - share), 1e-9)),
        "This is a share's z with the count's spread: one of the two was not divided by the number of tokens.": (
            share - gamma
        )
        / math.sqrt(looked * gamma * (1 - gamma)),
        "The spread does not grow with the number of tokens.": above / math.sqrt(gamma * (1 - gamma)),
        "The expected number is not subtracted.": green / math.sqrt(looked * gamma * (1 - gamma)),
        "z has lost its sign: fewer green tokens than expected are no sign of a watermark.": abs(above)
        / math.sqrt(looked * gamma * (1 - gamma)),
        "The sign is turned: more green tokens than expected are a positive z.": -above
        / math.sqrt(looked * gamma * (1 - gamma)),
    }


SPREAD = "math.sqrt(looked * gamma * (1 - gamma))"


@exercise(
    "provenance.z",
    "How surprising is that?",
    points=2,
    difficulty=2,
    importance=4,
    minutes=6,
    answer="z_score",
    mutants=(
        Mutant(
            "z with the wrong gamma",
            "(green - gamma * looked)",
            "(green - 0.5 * looked)",
            "wrong gamma",
        ),
        Mutant("no root", SPREAD, "(looked * gamma * (1 - gamma))", "variance"),
        Mutant("no 1 - gamma", SPREAD, "math.sqrt(looked * gamma)", "lacks 1 - gamma"),
        Mutant("spread of the share observed", SPREAD, "math.sqrt(green * (1 - green / looked) + 1e-12)", "observed"),
        Mutant("nothing subtracted", "(green - gamma * looked)", "green", "not subtracted"),
        Mutant("no sign", "(green - gamma * looked)", "abs(green - gamma * looked)", "lost its sign"),
        Mutant("one minus gamma", "(green - gamma * looked)", "(green - (1 - gamma) * looked)", "1 - gamma in place"),
        Mutant("a share over a count", "(green - gamma * looked)", "(green / looked - gamma)", "divided by the number"),
        Mutant("nothing looked at", "looked < 1 or", "False or", "ValueError"),
        Mutant("any gamma", "or not 0 < gamma < 1", "", "gamma = 1"),
    ),
)
def check_z(answer: Answer, dice: Dice) -> None:
    for turn in range(4):
        looked, gamma = dice.integer(60, 200), (0.4, 0.35, 0.6, 0.3)[turn] + 0.02 * float(dice.uniform(1))
        green = (
            dice.integer(5, int(gamma * looked) - 8) if turn == 1 else dice.integer(int(gamma * looked) + 6, looked - 4)
        )
        expected = (green - gamma * looked) / math.sqrt(looked * gamma * (1 - gamma))
        got = expect_number(answer(green, looked, gamma), "z")
        if math.isclose(got, expected, rel_tol=1e-6):
            continue
        slips = _z_slips(green, looked, gamma)
        slips["This is z with the wrong gamma: gamma = 0.5 for what is expected, and another one for the spread."] = (
            green - 0.5 * looked
        ) / math.sqrt(looked * gamma * (1 - gamma))
        hint = next((words for words, value in slips.items() if math.isclose(got, value, rel_tol=1e-5)), "")
        raise Failed(
            f"z is wrong for {green} green tokens of {looked}, with gamma = {gamma:.3f}.",
            expected=expected,
            got=got,
            hint=hint or "From the green tokens subtract gamma times those looked at; divide by the binomial spread.",
        )
    refused(lambda: answer(0, 0, 0.5), "No token was looked at: nothing can be said. Expected a ValueError.")
    refused(lambda: answer(3, 5, 1.0), "With gamma = 1 every token is green. Expected a ValueError.")
