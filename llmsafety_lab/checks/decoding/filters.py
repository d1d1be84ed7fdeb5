"""Exercises 1 to 3: temperature, the nucleus, and the repetition penalty, on plain logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Mutant, exercise, expect_close, expect_tensor


def _one_hot(logits: Tensor, best: Tensor) -> Tensor:
    return torch.zeros_like(logits).scatter(-1, best, 1.0)


@exercise(
    "decoding.temperature",
    "Turn the temperature",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    answer="temperature",
    mutants=(
        Mutant("multiplied", "return logits / tau", "return logits * tau", "multiplied"),
        Mutant("probabilities divided", "return logits / tau", "return logits.softmax(-1) / tau", "probabilities"),
        Mutant("division by zero", "if tau == 0:", "if tau is None:", "divides by zero"),
        Mutant(
            "one winner for all rows",
            "best = logits.argmax(dim=-1, keepdim=True)",
            "best = logits.mean(0, keepdim=True).argmax(dim=-1, keepdim=True).expand(*logits.shape[:-1], 1)",
            "each row",
        ),
        Mutant("the others at zero", "torch.full_like(logits, -math.inf)", "torch.zeros_like(logits)", "logit of 0"),
    ),
)
def check_temperature(answer: Answer, dice: Dice) -> None:
    batch, vocabulary = dice.integer(2, 4), dice.integer(6, 9)
    logits = 2 * dice.normal(batch, vocabulary)
    tau = 0.3 + 0.4 * float(dice.uniform(1))
    hint = "Divide the logits, each by the same temperature, and return logits."
    for value, when in ((tau, f"temperature {tau:.2f}"), (3 * tau + 1, f"temperature {3 * tau + 1:.2f}")):
        got = expect_tensor(answer(logits, value), logits.shape, f"The answer at {when}", hint=hint)
        mistakes = {
            "You multiplied by the temperature: a low one then flattens the distribution.": (logits * value).softmax(
                -1
            ),
            "You divided the probabilities. Divide the logits; the softmax comes after all filters.": (
                (logits.softmax(-1) / value).softmax(-1)
            ),
            "These are the logits unchanged: divide them by the temperature.": logits.softmax(-1),
        }
        expect_close(
            got.softmax(-1), (logits / value).softmax(-1), f"The softmax at {when}", mistakes=mistakes, hint=hint
        )
    while torch.equal(logits.mean(0).argmax().expand(batch), logits.argmax(-1)):
        logits = 2 * dice.normal(batch, vocabulary)
    got = expect_tensor(answer(logits, 0), logits.shape, "The answer at temperature 0")
    best = logits.argmax(-1, keepdim=True)
    together = logits.mean(0, keepdim=True).argmax(-1, keepdim=True).expand(batch, 1)
    zeros = torch.zeros_like(logits).scatter(-1, best, logits.gather(-1, best)).softmax(-1)
    mistakes = {
        "Your answer divides by zero. Temperature 0 is a case of its own: only the largest logit is left.": (
            torch.full_like(logits, math.nan)
        ),
        "You keep one token for all texts: take the largest logit of each row.": _one_hot(logits, together),
        "A logit of 0 is not a probability of 0: set the others to minus infinity.": zeros,
    }
    hint = "At 0 keep each row's largest logit and set all others to minus infinity."
    expect_close(got.softmax(-1), _one_hot(logits, best), "The softmax at temperature 0", mistakes=mistakes, hint=hint)


def _kept(logits: Tensor, p: float) -> Tensor:
    """Find the nucleus row by row, taking the most probable token left until p is reached."""
    every = logits.softmax(-1)
    chosen = torch.zeros_like(every, dtype=torch.bool)
    for row, probable in enumerate(every):
        held = 0.0
        for token in probable.argsort(descending=True).tolist():
            chosen[row, token] = True
            held += float(probable[token])
            if held >= p:
                break
    return chosen


def _wrong_nuclei(logits: Tensor, p: float) -> dict[str, Tensor]:
    every, kept = logits.softmax(-1), _kept(logits, p)
    held = every * kept
    ranked, order = every.sort(dim=-1, descending=True)
    short = ranked * (ranked.cumsum(-1) <= p)
    rising, upwards = every.sort(dim=-1)
    least = rising * (rising.cumsum(-1) - rising < p)
    return {
        "The probabilities do not sum to 1: divide by what the nucleus holds.": held,
        "You leave out the token that crosses p: with it the set holds at least p, without it less.": (
            torch.zeros_like(every).scatter(-1, order, short / short.sum(-1, keepdim=True))
        ),
        "Your probabilities are sorted. Put them back into the order of the vocabulary.": (
            (held / held.sum(-1, keepdim=True)).sort(-1, descending=True).values
        ),
        "You started from the least probable token: sort in descending order.": torch.zeros_like(every).scatter(
            -1, upwards, least / least.sum(-1, keepdim=True)
        ),
        "A softmax of probabilities gives tokens outside the nucleus a chance: divide by the sum.": held.softmax(-1),
    }


@exercise(
    "decoding.nucleus",
    "Cut off the tail",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="nucleus",
    forbid=("transformers.TopPLogitsWarper",),
    mutants=(
        Mutant("not renormalised", "kept = kept / kept.sum(dim=-1, keepdim=True)", "kept = kept * 1", "sum to 1"),
        Mutant("crossing token left out", "before >= p", "before + ranked > p", "crosses p"),
        Mutant("left sorted", "return torch.zeros_like(kept).scatter(-1, order, kept)", "return kept", "are sorted"),
        Mutant("least probable first", "descending=True", "descending=False", "least probable"),
        Mutant(
            "softmax of probabilities",
            "kept = kept / kept.sum(dim=-1, keepdim=True)",
            "kept = kept.softmax(dim=-1)",
            "A softmax of probabilities",
        ),
    ),
)
def check_nucleus(answer: Answer, dice: Dice) -> None:
    for _ in range(200):
        logits = 1.5 * dice.normal(dice.integer(2, 4), dice.integer(7, 11))
        p = 0.6 + 0.3 * float(dice.uniform(1))
        sizes = _kept(logits, p).sum(-1)
        if int(sizes.min()) >= 2 and int(sizes.max()) < logits.shape[1] - 1 and int(sizes.min()) < int(sizes.max()):
            break
    hint = "Keep the most probable tokens until they hold at least p, and divide by what they hold."
    for asked, when in ((p, f"for p = {p:.2f}"), (1.0, "for p = 1"), (0.01, "for p = 0.01")):
        kept = _kept(logits, asked)
        exact = logits.softmax(-1) * kept
        exact = exact / exact.sum(-1, keepdim=True)
        mistakes = _wrong_nuclei(logits, asked) if asked == p else None
        expect_close(answer(logits, asked), exact, f"The distribution {when}", mistakes=mistakes, hint=hint)


@exercise(
    "decoding.repetition",
    "Penalise what stands there already",
    points=3,
    difficulty=2,
    importance=3,
    minutes=8,
    answer="repetition_penalty",
    forbid=("transformers.RepetitionPenaltyLogitsProcessor",),
    mutants=(
        Mutant(
            "negative logits rewarded",
            "torch.where(logits < 0, logits * penalty, logits / penalty)",
            "logits / penalty",
            "more probable",
        ),
        Mutant(
            "once for each time",
            "    seen = ",
            "    times = torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))\n"
            "    penalty = penalty**times\n"
            "    seen = ",
            "how often",
        ),
        Mutant("other texts' tokens", ".scatter(-1, ids, True)", ".index_fill(-1, ids.flatten(), True)", "own text"),
        Mutant(
            "the wrong tokens", "torch.where(seen, penalised, logits)", "torch.where(seen, logits, penalised)", "not"
        ),
        Mutant(
            "subtracted",
            "torch.where(seen, penalised, logits)",
            "torch.where(seen, logits - penalty, logits)",
            "presence",
        ),
    ),
)
def check_repetition(answer: Answer, dice: Dice) -> None:
    vocabulary, penalty = dice.integer(8, 12), 1.2 + float(dice.uniform(1))
    ids = torch.stack([dice.integers(0, vocabulary // 2, 5), dice.integers(vocabulary // 2 + 1, vocabulary - 1, 5)])
    ids = torch.cat([ids, ids[:, :1]], dim=1)
    logits = 2 * dice.normal(2, vocabulary)
    signs = torch.arange(vocabulary) % 2 * 2 - 1.0
    logits = logits.abs() * signs
    logits[:, 0], logits[:, -1] = -1.0, 1.5
    seen = (ids[:, :, None] == torch.arange(vocabulary)).any(1)
    times = (ids[:, :, None] == torch.arange(vocabulary)).sum(1)
    pulled = torch.where(logits < 0, logits * penalty, logits / penalty)
    often = penalty**times
    mistakes = {
        "Dividing a negative logit makes the token more probable: multiply those instead.": (
            torch.where(seen, logits / penalty, logits)
        ),
        "Multiplying a positive logit makes the token more probable: divide those instead.": (
            torch.where(seen, logits * penalty, logits)
        ),
        "A token is penalised once, no matter how often it stands in the text.": (
            torch.where(logits < 0, logits * often, logits / often)
        ),
        "Each row has its own text: penalise in a row only what stands in its own text.": (
            torch.where(seen.any(0), pulled, logits)
        ),
        "You penalised the tokens that are not in the text.": torch.where(seen, logits, pulled),
        "You subtracted the penalty. That is the presence penalty; this one scales.": (
            torch.where(seen, logits - penalty, logits)
        ),
        "You penalised every token: look at which ones stand in the text.": pulled,
        "The logits are unchanged.": logits,
    }
    hint = "For each token in the text: a positive logit is divided by the penalty, a negative one multiplied by it."
    exact = torch.where(seen, pulled, logits)
    expect_close(answer(logits, ids, penalty), exact, "The answer", mistakes=mistakes, hint=hint)
    expect_close(answer(logits, ids, 1.0), logits, "The answer for a penalty of 1, which changes nothing", hint=hint)
