"""Exercise 3: the repetition penalty, on plain logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close
from llmsafety_lab.checks.decoding.filters import expect_logits_kept


def _text(dice: Dice, low: int, high: int) -> Tensor:
    """Draw a text whose first and last tokens occur once, and another one twice."""
    shuffled = low + torch.randperm(high - low + 1, generator=dice.generator)
    middle = shuffled[dice.integers(2, high - low, 3)]
    return torch.cat([shuffled[:1], middle, middle[1:2], shuffled[1:2]])


def _seen(ids: Tensor, vocabulary: int) -> Tensor:
    return ids[:, :, None] == torch.arange(vocabulary)


@exercise(
    "decoding.repetition",
    "Penalise what stands there already",
    points=3,
    difficulty=2,
    importance=3,
    minutes=8,
    answer="repetition_penalty",
    forbid=(
        "transformers.RepetitionPenaltyLogitsProcessor",
        "transformers.generation.logits_process.RepetitionPenaltyLogitsProcessor",
    ),
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
        Mutant("last token left out", ".scatter(-1, ids, True)", ".scatter(-1, ids[:, :-1], True)", "last token"),
        Mutant("first token left out", ".scatter(-1, ids, True)", ".scatter(-1, ids[:, 1:], True)", "first token"),
        Mutant("squeezed", "scatter(-1, ids, True)", "scatter(-1, ids.squeeze(), True)", "stopped with"),
        Mutant("first text", "scatter(-1, ids, True)", "scatter(-1, ids[:1].expand_as(ids), True)", "first row's text"),
        Mutant(
            "in place",
            "return torch.where(seen, penalised, logits)",
            "return logits.copy_(torch.where(seen, penalised, logits))",
            "changes its arguments",
        ),
    ),
)
def check_repetition(answer: Answer, dice: Dice) -> None:
    vocabulary, penalty = dice.integer(8, 12), 1.2 + float(dice.uniform(1))
    half = vocabulary // 2
    signs = torch.arange(vocabulary) % 2 * 2 - 1.0
    for _ in range(100):
        ids = torch.stack([_text(dice, 0, half), _text(dice, half + 1, vocabulary - 1)])
        if all(set(signs[row].tolist()) == {-1.0, 1.0} for row in ids):
            break
    logits = (2 * dice.normal(2, vocabulary).abs() + 0.1) * signs
    seen, times = _seen(ids, vocabulary).any(1), _seen(ids, vocabulary).sum(1)
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
        "Each row has its own text: you take the first row's text for all.": torch.where(seen[:1], pulled, logits),
        "You penalised the tokens that are not in the text.": torch.where(seen, logits, pulled),
        "You subtracted the penalty. That is the presence penalty; this one scales.": (
            torch.where(seen, logits - penalty, logits)
        ),
        "You penalised every token: look at which ones stand in the text.": pulled,
        "You left out the last token of the text.": torch.where(_seen(ids[:, :-1], vocabulary).any(1), pulled, logits),
        "You left out the first token of the text.": torch.where(_seen(ids[:, 1:], vocabulary).any(1), pulled, logits),
        "You leave negative logits as they are: multiply those by the penalty.": torch.where(
            seen & (logits > 0), pulled, logits
        ),
        "You have it the wrong way round: divide a positive logit, multiply a negative one.": (
            torch.where(seen, torch.where(logits < 0, logits / penalty, logits * penalty), logits)
        ),
        "You forbid what is in the text. The penalty makes it less probable, and not impossible.": (
            logits.masked_fill(seen, -math.inf)
        ),
        "Tokens that are not in the text keep their logits: yours became 0.": torch.where(seen, pulled, 0),
        "You penalised the last token of the text only.": torch.where(
            _seen(ids[:, -1:], vocabulary).any(1), pulled, logits
        ),
        "You penalised only tokens that occur more than once: once is enough.": torch.where(times > 1, pulled, logits),
        "You subtracted the penalty for each time. That is the frequency penalty; this one scales, and once.": (
            logits - penalty * times
        ),
        "You penalised the first tokens of the vocabulary: the ids say which ones are in the text, and not how many.": (
            torch.where(torch.arange(vocabulary) < ids.shape[1], pulled, logits)
        ),
        "You made log-probabilities of the logits first: scale the logits themselves.": (
            torch.where(seen, logits.log_softmax(-1) * penalty, logits)
        ),
        "You set what became negative to 0: a negative logit is multiplied by the penalty.": (
            torch.where(seen, (logits / penalty).clamp(min=0), logits)
        ),
        "The logits are unchanged.": logits,
    }
    hint = "For each token in the text: a positive logit is divided by the penalty, a negative one multiplied by it."
    exact = torch.where(seen, pulled, logits)
    called = answer.trace(logits, ids, penalty)
    expect_close(called.value, exact, "The answer", mistakes=mistakes, hint=hint)
    expect_logits_kept(called)
    expect_close(answer(logits[1:], ids[1:], penalty), exact[1:], "The answer for a batch of one text", hint=hint)
    expect_close(answer(logits, ids, 1.0), logits, "The answer for a penalty of 1, which changes nothing", hint=hint)
