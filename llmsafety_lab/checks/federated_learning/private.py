"""Exercise 6: an average in which no client can be seen."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_unchanged
from llmsafety_lab.checks.federated_learning.refusals import as_tensor, refused


def _clipped(updates: Tensor, bound: float, slip: str = "") -> Tensor:
    if slip == "entries":
        return updates.clamp(-bound, bound)
    lengths = updates.norm(dim=1, keepdim=True)
    if slip == "all":
        return updates * bound / lengths
    if slip == "dropped":
        return updates * (lengths <= bound)
    return updates if slip == "none" else updates * (bound / lengths).clamp(max=1)


def _private(
    updates: Tensor, bound: float, multiplier: float, expected: float, noise: Tensor, slip: str = ""
) -> Tensor:
    total = _clipped(updates, bound, slip).sum(0)
    spread = multiplier * bound * noise
    if slip == "clip the sum":
        total = updates.sum(0) * min(1.0, bound / float(updates.sum(0).norm()))
    if slip == "clip the mean":
        total = expected * _clipped(updates.mean(0, keepdim=True), bound)[0]
    if slip == "came":
        return (total + spread) / len(updates)
    if slip == "noise whole":
        return total / expected + spread
    if slip == "without bound":
        spread = multiplier * noise
    if slip == "each":
        spread = len(updates) * spread
    if slip == "by size":
        spread = spread / expected
    if slip == "no noise":
        spread = 0 * noise
    if slip == "sum":
        return total + spread
    return (total + spread) / expected


SLIPS = {
    "entries": "The entries are cut, not the length: an update with many entries stays long. Shorten the whole vector.",
    "all": "All updates are brought to the bound. Those that are shorter stay as they are.",
    "dropped": "Updates that are longer than the bound are dropped: shorten them.",
    "none": "Nothing is clipped, so one client can move the sum as far as it likes.",
    "clip the sum": "The sum is clipped, not each update: then one client still decides alone where it points.",
    "clip the mean": "The mean is clipped, not each update: then one client still decides alone where it points.",
    "came": "You divide by the number of clients that came. Divide by the expected number: who comes is a secret, too.",
    "noise whole": "The noise is not divided: it belongs to the sum.",
    "without bound": "The noise lacks the bound: its deviation is multiplier * bound.",
    "each": "The noise is added once for each client. It is added to the sum, once.",
    "by size": "The noise is divided twice by the expected number.",
    "no noise": "There is no noise.",
    "sum": "This is the sum: divide by the expected number of clients.",
}


@exercise(
    "federated_learning.private",
    "Hide a client in the sum",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="private_average",
    mutants=(
        Mutant(
            "entries cut",
            "updates * (bound / updates.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)",
            "updates.clamp(-bound, bound)",
            "entries",
        ),
        Mutant("short ones stretched", ".clamp(max=1)", "", "shorter stay"),
        Mutant("nothing clipped", "clip(updates, bound).sum(0)", "updates.sum(0)", "nothing is clipped"),
        Mutant("who came", ") / expected", ") / max(len(updates), 1)", "expected number"),
        Mutant(
            "noise not divided",
            "(clip(updates, bound).sum(0) + multiplier * bound * noise) / expected",
            "clip(updates, bound).sum(0) / expected + multiplier * bound * noise",
            "belongs to the sum",
        ),
        Mutant("noise without the bound", "multiplier * bound * noise", "multiplier * noise", "lacks the bound"),
        Mutant(
            "noise for each client", "multiplier * bound * noise", "len(updates) * multiplier * bound * noise", "once"
        ),
        Mutant(
            "sum clipped",
            "clip(updates, bound).sum(0)",
            "clip(updates.sum(0, keepdim=True), bound)[0]",
            "sum is clipped",
        ),
        Mutant("mean for the sum", "clip(updates, bound).sum(0)", "clip(updates, bound).mean(0)", "divide"),
        Mutant("no noise", " + multiplier * bound * noise", "", "no noise"),
        Mutant("nobody came", "    if not expected > 0", "    if len(updates) == 0 or not expected > 0", "nobody"),
        Mutant("a bound of 0", "    if not bound > 0:\n", "    if bound is None:\n", "bound of 0"),
        Mutant("nobody expected", "not expected > 0 or multiplier < 0", "multiplier < 0", "expected number of 0"),
        Mutant("no noise refused", "or multiplier < 0", "or multiplier <= 0", "it is allowed"),
        Mutant("a bound below 0", "    if not bound > 0:\n", "    if bound == 0:\n", "bound below 0"),
        Mutant("fewer than nobody", "not expected > 0 or", "expected == 0 or", "number below 0"),
        Mutant("at least who came", ") / expected", ") / max(expected, len(updates))", "who comes is a secret"),
        Mutant("negative noise", "not expected > 0 or multiplier < 0", "not expected > 0", "negative"),
    ),
)
def check_private(answer: Answer, dice: Dice) -> None:
    for came in (dice.integer(3, 6), 1):
        width = dice.integer(6, 9)
        bound = 0.5 + 0.1 * dice.integer(0, 4)
        updates = dice.normal(came, width)
        lengths = (0.3 + 2.5 * torch.arange(came, dtype=torch.float64)) * bound
        lengths = lengths if came > 1 else torch.tensor([3 * bound], dtype=torch.float64)
        updates = updates / updates.norm(dim=1, keepdim=True) * lengths[:, None]
        multiplier, expected = 0.3 * dice.integer(1, 5), came + 0.5 * dice.integer(1, 4) if came > 1 else 0.5
        noise = dice.normal(width)
        right = _private(updates, bound, multiplier, expected, noise)
        mistakes = {}
        for slip, words in SLIPS.items():
            value = _private(updates, bound, multiplier, expected, noise, slip)
            if not torch.allclose(value, right, atol=1e-4):
                mistakes[words] = value
        mean = (_clipped(updates, bound).mean(0) + multiplier * bound * noise) / expected
        mistakes["The clipped updates are averaged and then divided again: add them, then divide once."] = mean
        called = answer.trace(updates, bound, multiplier, expected, noise)
        hint = "Clip each update to the bound, add them, add multiplier * bound * noise once, divide by expected."
        expect_close(as_tensor(called.value), right, "The private average", mistakes=mistakes, hint=hint)
        expect_unchanged(called, 0, 4)
    noise = dice.normal(4)
    nobody = torch.zeros(0, 4, dtype=torch.float64)
    try:
        got = answer(nobody, 1.0, 2.0, 3.0, noise)
    except Failed as failed:
        raise Failed("In a round to which nobody came the result is noise alone.", got=failed.message) from None
    expect_close(as_tensor(got), 2 * noise / 3, "The average of a round to which nobody came")
    still = torch.zeros(2, 4, dtype=torch.float64)
    got = as_tensor(answer(still, 1.0, 2.0, 3.0, noise))
    expect_close(got, 2 * noise / 3, "The average of two updates of length 0", hint="Do not divide by a length of 0.")
    try:
        got = answer(still + 0.1, 1.0, 0.0, 4.0, noise)
    except Failed as failed:
        raise Failed("A multiplier of 0 means no noise: it is allowed.", got=failed.message) from None
    expect_close(as_tensor(got), still[0] + 0.05, "The average without noise (multiplier 0)")
    refused(lambda: answer(still, 0.0, 1.0, 3.0, noise), "A bound of 0 was not refused.")
    refused(lambda: answer(still, -1.0, 1.0, 3.0, noise), "A bound below 0 was not refused.")
    refused(lambda: answer(still, 1.0, 1.0, 0.0, noise), "An expected number of 0 clients was not refused.")
    refused(lambda: answer(still, 1.0, 1.0, -2.0, noise), "An expected number below 0 was not refused.")
    refused(lambda: answer(still, 1.0, -1.0, 3.0, noise), "A negative multiplier was not refused.")
