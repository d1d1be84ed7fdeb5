"""Exercise 5: who wins a tournament, without playing it."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_tensor
from llmsafety_lab.checks.provenance.lists import refused


def _won(p: Tensor, marks: Tensor, slip: str = "") -> Tensor:
    marks = marks.to(p.dtype)
    if slip == "at once":
        share = marks.T @ p
        return p * (1 + marks - share).prod(1)
    if slip == "first":
        marks = marks[:, :1]
    if slip == "last":
        marks = marks[:, -1:]
    if slip == "mean":
        return p * (1 + marks.mean(1) - marks.mean(1) @ p)
    for mark in marks if slip == "rows" else marks.T:
        if slip == "reversed":
            mark = 1 - mark
        if slip == "no loss":
            p = p * (1 + mark)
        elif slip == "scaled":
            p = p * (1 + mark)
            p = p / p.sum()
        elif slip == "green only":
            p = p * mark / (mark @ p) if float(mark @ p) > 0 else p
        elif slip == "plain mean":
            p = p * (1 + mark - mark.mean())
        elif slip == "no coin":
            p = p * (mark * (2 - mark @ p) + (1 - mark) * (1 - mark @ p) / 2)
        else:
            p = p * (1 + mark - mark @ p)
    return p


SLIPS = {
    "at once": "All rounds are computed from the first distribution. After a round the next one begins with its "
    "winners: use the new probabilities.",
    "rows": "A round takes a row of marks, which belongs to one token. Take a column: all tokens' marks in it.",
    "first": "Only the first round is played.",
    "last": "Only the last round is played, from the model's distribution.",
    "mean": "The marks of all rounds are averaged first. Play the rounds one after the other.",
    "reversed": "The token with the smaller mark goes on. It is the larger one.",
    "no loss": "Tokens with mark 1 gain, and nobody loses: the probabilities do not sum to 1.",
    "scaled": "This is a push by a factor of 2 and a division by the sum, as green lists do it. In a match a token "
    "gains only as often as it meets one with mark 0.",
    "green only": "Tokens with mark 0 are thrown out. Two of them may meet, and one goes on.",
    "plain mean": "You subtract the share of the tokens with mark 1, each counted alike. Weigh them with their "
    "probabilities.",
    "no coin": "Between two of mark 0 a coin decides, and one of them goes on for sure.",
}


@exercise(
    "provenance.tournament",
    "A tournament that nobody plays",
    points=4,
    difficulty=4,
    importance=3,
    minutes=14,
    answer="tournament",
    mutants=(
        Mutant(
            "all rounds at once",
            "        probabilities = probabilities * (1 + mark - mark @ probabilities)\n    return probabilities",
            "        pass\n    marks = marks.to(probabilities.dtype)\n"
            "    return probabilities * (1 + marks - marks.T @ probabilities).prod(1)",
            "new probabilities",
        ),
        Mutant("only the first round", "in marks.T.to(", "in marks.T[:1].to(", "first round"),
        Mutant("only the last round", "in marks.T.to(", "in marks.T[-1:].to(", "last round"),
        Mutant(
            "the smaller mark", "(1 + mark - mark @ probabilities)", "(1 - mark + mark @ probabilities)", "smaller mark"
        ),
        Mutant("nobody loses", "(1 + mark - mark @ probabilities)", "(1 + mark)", "nobody loses"),
        Mutant(
            "a push", "(1 + mark - mark @ probabilities)", "(1 + mark) / (1 + mark @ probabilities)", "as green lists"
        ),
        Mutant("thrown out", "(1 + mark - mark @ probabilities)", "mark / (mark @ probabilities)", "thrown out"),
        Mutant("each alike", "mark @ probabilities", "mark.mean()", "each counted alike"),
        Mutant("rows", "in marks.T.to(", "in marks.to(", "Take a column"),
        Mutant("too few rows", "len(marks) != len(probabilities)", "False", "row of marks for each token"),
        Mutant("in place", "        probabilities = probabilities * (1", "        probabilities *= (1", "in place"),
    ),
)
def check_tournament(answer: Answer, dice: Dice) -> None:
    for tokens, rounds in ((4, 4), (6, 3), (5, 1)):
        p, marks = torch.zeros(1), torch.zeros(1, 1, dtype=torch.long)
        for _ in range(200):
            p = dice.normal(tokens).softmax(0)
            marks = dice.integers(0, 1, tokens, rounds)
            marks[dice.integer(0, tokens - 1)] = 1
            first, last = marks.T[0].tolist(), marks.T[-1].tolist()
            if all(int(mark.sum()) < tokens for mark in marks.T) and (first != last or rounds == 1):
                break
        called = answer.trace(p, marks)
        expect(0 not in called.changed, "You changed the probabilities in place: whoever called still needs them.")
        got = expect_tensor(called.value, (tokens,), "The winner's distribution")
        expected = _won(p, marks)
        if torch.allclose(got, expected, atol=1e-6):
            continue
        slips = {slip: words for slip, words in SLIPS.items() if slip != "rows" or tokens == rounds}
        hint = next(
            (words for slip, words in slips.items() if torch.allclose(got, _won(p, marks, slip), atol=1e-6)), ""
        )
        raise Failed(
            f"The winner's distribution is wrong, after {rounds} round{'s' * (rounds > 1)} with {tokens} tokens; "
            f"it sums to {float(got.sum()):.3f}.",
            expected=expected,
            got=got,
            hint=hint or "A token wins a match when its mark is larger, and half of the matches between equals.",
        )
    refused(
        lambda: answer(torch.ones(3, dtype=torch.float64) / 3, torch.zeros(1, 2, dtype=torch.long)),
        "There must be a row of marks for each token. Expected a ValueError.",
    )
