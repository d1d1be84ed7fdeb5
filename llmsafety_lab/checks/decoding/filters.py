"""Exercises 1 and 2: temperature and the nucleus, on plain logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_tensor, expect_unchanged


def _winners(logits: Tensor, best: Tensor, others: float) -> Tensor:
    return torch.full_like(logits, others).scatter(-1, best, logits.gather(-1, best))


def expect_logits_kept(called: Called) -> None:
    hint = "Leave the logits as they are and return new ones: whoever gave them may need them again."
    expect_unchanged(called, message="Your answer changes its arguments.", hint=hint)


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
        Mutant("a large number", "torch.full_like(logits, -math.inf)", "torch.full_like(logits, -1e9)", "-math.inf"),
        Mutant("a small temperature", "if tau == 0:", "tau = max(tau, 1e-9)\n    if tau == 0:", "-math.inf"),
        Mutant("in place", "return logits / tau", "logits /= tau\n    return logits", "changes its arguments"),
        Mutant("rows only", "logits.argmax(dim=-1, keepdim", "logits.argmax(dim=1, keepdim", "leading dimensions"),
        Mutant("probabilities", "return logits / tau", "return (logits / tau).softmax(-1)", "return probabilities"),
        Mutant(
            "log-probabilities", "return logits / tau", "return (logits / tau).log_softmax(-1)", "log-probabilities"
        ),
    ),
)
def check_temperature(answer: Answer, dice: Dice) -> None:
    batch, vocabulary = dice.integer(2, 4), dice.integer(6, 9)
    logits = 2 * dice.normal(batch, vocabulary)
    tau = 0.3 + 0.4 * float(dice.uniform(1))
    hint = "Divide the logits, each by the same temperature, and return logits."
    for value, when in ((tau, f"temperature {tau:.2f}"), (3 * tau + 1, f"temperature {3 * tau + 1:.2f}")):
        called = answer.trace(logits, value)
        got = expect_tensor(called.value, logits.shape, f"The answer at {when}", hint=hint)
        mistakes = {
            "You multiplied: a low temperature then flattens the distribution.": (logits * value).softmax(-1),
            "You divided the probabilities. Divide the logits; the softmax comes after all filters.": (
                (logits.softmax(-1) / value).softmax(-1)
            ),
            "The distribution is that of the logits unchanged (a number added or subtracted changes nothing): divide "
            "them by the temperature.": logits.softmax(-1),
            "You raised probabilities to a power and return them. Return logits: divide those.": (
                (logits.softmax(-1) ** (1 / value)).softmax(-1)
            ),
            "Your softmax runs over the rows. Return the logits, divided by the temperature.": (
                (logits / value).log_softmax(0).softmax(-1)
            ),
            "You return probabilities. Return logits; the softmax comes after all filters.": (
                (logits / value).softmax(-1).softmax(-1)
            ),
        }
        expect_close(
            got.softmax(-1), (logits / value).softmax(-1), f"The softmax at {when}", mistakes=mistakes, hint=hint
        )
        expect_logits_kept(called)
    while torch.equal(logits.mean(0).argmax().expand(batch), logits.argmax(-1)):
        logits = 2 * dice.normal(batch, vocabulary)
    best = logits.argmax(-1, keepdim=True)
    together = logits.mean(0, keepdim=True).argmax(-1, keepdim=True).expand(batch, 1)
    called = answer.trace(logits, 0)
    hint = "At 0 each row's largest logit stays as it is, and all others become minus infinity."
    got = expect_tensor(called.value, logits.shape, "The answer at temperature 0", hint=hint)
    mistakes = {
        "Your answer divides by zero. Temperature 0 is a case of its own: only the largest logit is left.": (
            logits / 0.0
        ),
        "You keep one token for all texts: take the largest logit of each row.": _winners(logits, together, -math.inf),
        "A logit of 0 is not a probability of 0: set the others to minus infinity.": _winners(logits, best, 0.0),
        "You keep one logit of the whole tensor: keep the largest of each row.": (
            logits.masked_fill(logits < logits.max(), -math.inf)
        ),
        "You keep the smallest logit of each row: keep the largest.": (
            _winners(logits, logits.argmin(-1, keepdim=True), -math.inf)
        ),
        "You return probabilities, 0 and 1. Return logits: minus infinity in place of 0, the logit itself in place "
        "of 1.": torch.zeros_like(logits).scatter(-1, best, 1.0),
        "You return the logits unchanged at 0: all but the largest of each row must become minus infinity.": logits,
    }
    if bool(got.isfinite().all()):
        hint += " That is -math.inf: with any other number a token that is forbidden keeps a chance."
    exact = _winners(logits, best, -math.inf)
    expect_close(got, exact, "The answer at temperature 0", mistakes=mistakes, hint=hint)
    expect_logits_kept(called)
    many = 2 * dice.normal(2, 3, vocabulary)
    exact = _winners(many, many.argmax(-1, keepdim=True), -math.inf)
    for value, right in ((tau, many / tau), (0, exact)):
        hint = "There may be any number of leading dimensions: the vocabulary is the last, -1."
        divided = many / (value or 1)
        logs = {
            "You return log-probabilities: return the logits, divided.": divided.log_softmax(-1),
            "You subtracted the largest logit. The softmax stays the same, but the logits do not: only divide.": (
                divided - divided.amax(-1, keepdim=True)
            ),
        }
        what = "The answer for logits of three dimensions"
        expect_close(answer(many, value), right, what, mistakes=logs, hint=hint)


def _kept(logits: Tensor, p: float) -> Tensor:
    """Find the nucleus row by row, taking the most probable token left until p is reached."""
    every = logits.softmax(-1)
    chosen = torch.zeros_like(every, dtype=torch.bool)
    for row, probable in zip(chosen.flatten(0, -2), every.flatten(0, -2), strict=True):
        held = 0.0
        for token in probable.argsort(descending=True).tolist():
            row[token] = True
            held += float(probable[token])
            if held >= p:
                break
    return chosen


def _nucleus(logits: Tensor, p: float) -> Tensor:
    held = logits.softmax(-1) * _kept(logits, p)
    return held / held.sum(-1, keepdim=True)


def _min_p(every: Tensor, share: float) -> Tensor:
    held = every * (every >= share * every.amax(-1, keepdim=True))
    return held / held.sum(-1, keepdim=True)


def _wrong_nuclei(logits: Tensor, p: float) -> dict[str, Tensor]:
    every = logits.softmax(-1)
    held = every * _kept(logits, p)
    ranked, order = every.sort(dim=-1, descending=True)
    short = ranked * (ranked.cumsum(-1) <= p)
    rising, upwards = every.sort(dim=-1)
    least = rising * (rising.cumsum(-1) - rising < p)
    sums = torch.zeros_like(every).scatter(-1, upwards, least / least.sum(-1, keepdim=True))
    sizes = _kept(logits, p).sum(-1, keepdim=True)
    places = torch.arange(logits.shape[-1])

    def first(count: Tensor) -> Tensor:
        """Return the distribution over the most probable tokens, as many as ``count`` says for each row."""
        some = ranked * (places < count)
        return torch.zeros_like(every).scatter(-1, order, some / some.sum(-1, keepdim=True))

    return {
        "You keep a token more than it takes: the set is complete with the token that crosses p.": first(sizes + 1),
        "Each row has its own nucleus: you keep as many tokens in every row as in the largest.": first(sizes.max()),
        "Each row has its own nucleus: you keep as many tokens in every row as in the first.": first(sizes[:1]),
        "You keep too little: the probabilities (not logits) that stay have to sum to p, and not to 1 - p.": _nucleus(
            logits, 1 - p
        ),
        "You keep what lies outside the nucleus, and give 0 to the nucleus.": (
            (every - held) / (every - held).sum(-1, keepdim=True)
        ),
        "You compare each token's own probability with p. It is their sum, from the largest on, that has to reach p.": (
            every * (every >= p) / (every * (every >= p)).sum(-1, keepdim=True)
        ),
        "You compare each token's own probability with 1 - p. It is the sum of those kept that has to reach p.": (
            every * (every >= 1 - p) / (every * (every >= 1 - p)).sum(-1, keepdim=True)
        ),
        "gather with the order of the sort does not undo the sort: scatter with it does.": (
            (held / held.sum(-1, keepdim=True)).sort(-1, descending=True).values.gather(-1, order)
        ),
        "You return logits, minus infinity outside the nucleus: take their softmax, and return probabilities.": (
            logits.masked_fill(held == 0, -math.inf)
        ),
        "You divide by p. The nucleus holds a little more than p: divide by what it holds.": held / p,
        "You divide by the sum of all rows: each row has to sum to 1.": held / held.sum(),
        "All tokens of your nucleus are equally probable: keep their probabilities, and divide by the sum.": (
            (held > 0).double() / sizes
        ),
        "Minus infinity belongs into logits. You put it into probabilities, and took a softmax of those.": (
            every.masked_fill(held == 0, -math.inf).softmax(-1)
        ),
        "The probabilities do not sum to 1: divide by what the nucleus holds.": held,
        "You leave out the token that crosses p: with it the set holds at least p, without it less.": (
            torch.zeros_like(every).scatter(-1, order, short / short.sum(-1, keepdim=True))
        ),
        "Your probabilities are sorted. Put them back into the order of the vocabulary.": (
            (held / held.sum(-1, keepdim=True)).sort(-1, descending=True).values
        ),
        "You keep too much: sum over the vocabulary, from the most and not from the least probable token on.": sums,
        "A softmax of probabilities gives tokens outside the nucleus a chance: divide by the sum.": held.softmax(-1),
        "You cut at p times the largest probability: that is min-p. Here the probabilities kept have to sum to p.": (
            _min_p(every, p)
        ),
        "You cut at 1 - p times the largest probability: that is min-p. Here those that are kept have to sum to p.": (
            _min_p(every, 1 - p)
        ),
    }


@exercise(
    "decoding.nucleus",
    "Cut off the tail",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="nucleus",
    forbid=("transformers.TopPLogitsWarper", "transformers.generation.logits_process.TopPLogitsWarper"),
    mutants=(
        Mutant("not renormalised", "kept = kept / kept.sum(dim=-1, keepdim=True)", "kept = kept * 1", "sum to 1"),
        Mutant("crossing token left out", "before >= p", "before + ranked > p", "crosses p"),
        Mutant("one more than enough", "before >= p", "before > p", "holds at least p"),
        Mutant(
            "a floor for all",
            "return torch.zeros_like(kept).scatter(-1, order, kept)",
            "return torch.zeros_like(kept).scatter(-1, order, kept).clamp(min=1e-9)",
            "exactly 0",
        ),
        Mutant("left sorted", "return torch.zeros_like(kept).scatter(-1, order, kept)", "return kept", "are sorted"),
        Mutant("least probable first", "descending=True", "descending=False", "least probable"),
        Mutant(
            "p never crossed",
            "ranked.masked_fill(before >= p, 0)",
            "ranked * (torch.arange(ranked.shape[-1]) <= (before + ranked >= p).int().argmax(-1, keepdim=True))",
            "every token stays",
        ),
        Mutant("min-p", "before >= p", "ranked < (1 - p) * ranked[..., :1]", "min-p"),
        Mutant(
            "cut by value",
            "ranked.masked_fill(before >= p, 0)",
            "ranked * (ranked >= ranked.masked_fill(before >= p, 2).amin(-1, keepdim=True))",
            "as probable as the last one",
        ),
        Mutant("two dimensions only", "sort(dim=-1", "sort(dim=1", "leading dimensions"),
        Mutant(
            "softmax of probabilities",
            "kept = kept / kept.sum(dim=-1, keepdim=True)",
            "kept = kept.softmax(dim=-1)",
            "A softmax of probabilities",
        ),
    ),
)
def check_nucleus(answer: Answer, dice: Dice) -> None:
    for _ in range(500):
        logits = 1.5 * dice.normal(dice.integer(2, 4), dice.integer(7, 11))
        p = 0.6 + 0.3 * float(dice.uniform(1))
        sizes = _kept(logits, p).sum(-1)
        wrong = _wrong_nuclei(logits, p)
        sums = logits.softmax(-1).sort(-1, descending=True).values.cumsum(-1)[:, -1]
        if (
            int(sizes.min()) >= 2
            and int(sizes.max()) < logits.shape[1] - 1
            and int(sizes.min()) < int(sizes.max())
            and bool((sums < 1).any())
            and not any(torch.allclose(_nucleus(logits, p), one, rtol=0, atol=0.001) for one in wrong.values())
        ):
            break
    hint = "Keep the most probable tokens until they hold at least p, and divide by what they hold."
    whole = "At p = 1 every token stays. Rounding may leave the sum of all just below 1, so that nothing crosses p."
    deep = "There may be any number of leading dimensions: the vocabulary is the last, -1."
    got = answer(logits, p)
    expect_close(got, _nucleus(logits, p), f"The distribution for p = {p:.2f}", mistakes=wrong, hint=hint)
    expect(
        not bool(got[~_kept(logits, p)].any()),
        "Tokens outside the nucleus keep a small probability.",
        expected=0.0,
        got=float(got[~_kept(logits, p)].abs().max()),
        hint="Give them exactly 0: drawn often enough, any other number comes up.",
    )
    equal = torch.zeros(1, 8, dtype=torch.float64)
    kept = int((expect_tensor(answer(equal, 0.5), (1, 8), "The distribution of equal logits") > 0).sum())
    expect(
        kept == 4,
        "Of eight tokens of probability 1/8, four hold exactly p = 0.5, and you keep another number.",
        expected=4,
        got=kept,
        hint="The smallest set has four of the eight: do not keep all that are as probable as the last one kept."
        if kept == 8
        else "The set is complete as soon as it holds at least p: where the sum is p, no more token is needed.",
    )
    expect_close(answer(logits, 1.0), logits.softmax(-1), "The distribution for p = 1", hint=whole)
    expect_close(answer(logits, 0.01), _nucleus(logits, 0.01), "The distribution for p = 0.01", hint=hint)
    many = torch.stack([logits, -logits, 0.5 * logits])
    expect_close(answer(many, p), _nucleus(many, p), "The distribution for logits of three dimensions", hint=deep)
