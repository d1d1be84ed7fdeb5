"""Exercise 4: one step of beam search, on plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_list, expect_tensor


def _best(every: Tensor, count: int) -> list[tuple[float, int, int]]:
    """Return the largest entries with their rows and columns."""
    found = [(float(every[b, t]), b, t) for b in range(every.shape[0]) for t in range(every.shape[1])]
    return sorted(found, key=lambda one: -one[0])[:count]


@exercise(
    "decoding.extend",
    "One step of many beams",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="extend",
    mutants=(
        Mutant(
            "product of probabilities",
            "scores[:, None] + logits.log_softmax(dim=-1)",
            "(scores.exp()[:, None] * logits.softmax(dim=-1)).log()",
            "underflows",
        ),
        Mutant(
            "logarithm of the softmax", "logits.log_softmax(dim=-1)", "logits.softmax(dim=-1).log()", "rounded to 0"
        ),
        Mutant(
            "the largest not subtracted",
            "logits.log_softmax(dim=-1)",
            "logits - logits.exp().sum(dim=-1, keepdim=True).log()",
            "in the thousands",
        ),
        Mutant(
            "a small number added",
            "logits.log_softmax(dim=-1)",
            "(logits.softmax(dim=-1) + 1e-9).log()",
            "in the thousands",
        ),
        Mutant("not normalised", "logits.log_softmax(dim=-1)", "logits", "normalise"),
        Mutant("softmax added", "logits.log_softmax(dim=-1)", "logits.softmax(dim=-1)", "logarithm"),
        Mutant("the past forgotten", "scores[:, None] + logits", "0 * scores[:, None] + logits", "so far"),
        Mutant(
            "beam and token swapped",
            "return best, places // every.shape[1], places % every.shape[1]",
            "return best, places % every.shape[1], places // every.shape[1]",
            "swapped",
        ),
        Mutant(
            "divided by count",
            "places // every.shape[1], places % every.shape[1]",
            "places // count, places % count",
            "size of the vocabulary",
        ),
        Mutant("the best beam only", "every.flatten().topk", "every[scores.argmax()].topk", "only the best beam"),
        Mutant("normalised over beams", "log_softmax(dim=-1)", "log_softmax(dim=0)", "over the vocabulary"),
        Mutant("count ignored", "min(count, every.numel())", "min(2 * len(scores), every.numel())", "as many as count"),
        Mutant("one beam's ways", "every.numel()", "every.shape[1]", "as many as count"),
        Mutant("divided with a remainder", "places // every.shape[1], ", "places / every.shape[1], ", "whole numbers"),
        Mutant(
            "worst first",
            "return best, places //",
            "best, places = best.flip(0), places.flip(0)\n    return best, places //",
            "best first",
        ),
    ),
)
def check_extend(answer: Answer, dice: Dice) -> None:
    beams, vocabulary = dice.integer(3, 4), dice.integer(9, 11)
    count = 2 * beams
    many = "Return as many as count says, of all beams together; fewer only where there are fewer ways."
    long_ago = -2000 - 100 * float(dice.uniform(1))
    for past, when, near in (
        (-5.0, "", 1e-4),
        (long_ago, ", after a long text of log-probability near -2000", 1e-2),
    ):
        for _ in range(500):
            logits = 2 * dice.normal(beams, vocabulary) + 3 * dice.normal(beams, 1)
            scores = past - 2 * dice.uniform(beams)
            wrong = {
                "Normalise: logits of different beams cannot be compared before a log-softmax.": (
                    scores[:, None] + logits
                ),
                "You added probabilities to log-probabilities: take the logarithm of the softmax.": (
                    scores[:, None] + logits.softmax(-1)
                ),
                "Add the scores, after the log-softmax: a beam improbable so far stays so.": logits.log_softmax(-1),
                "Your softmax runs over the beams: it has to run over the vocabulary.": (
                    scores[:, None] + logits.log_softmax(0)
                ),
                "Your softmax runs over all beams together. Each beam has its own; the scores are added after it.": (
                    (scores[:, None] + logits).flatten().log_softmax(0).view_as(logits)
                ),
                "You subtract the scores: add them. They are logarithms of probabilities, and so negative.": (
                    logits.log_softmax(-1) - scores[:, None]
                ),
                "You multiply logarithms: the product of probabilities is the sum of their logarithms.": (
                    scores[:, None] * logits.log_softmax(-1)
                ),
            }
            every = scores[:, None] + logits.log_softmax(-1)
            *exact, after = _best(every, count + 1)
            places = [one[1:] for one in exact]
            gaps = [a[0] - b[0] for a, b in zip(exact, [*exact[1:], after], strict=True)]
            if len({b for b, _ in places}) > 1 and places[0][0] != places[0][1] and min(gaps) > 2e-2:
                break
        hint = "Log-probabilities add: score of the beam plus log-softmax of its logits; then the largest of all."
        got = _ways(answer(scores, logits, count), count, many)
        if not bool(got[0].isfinite().all()):
            raise Failed(
                f"The scores are not finite{when}.",
                expected=exact[0][0],
                got=float(got[0][0]),
                hint="The scores are logarithms already, and negative: they have no logarithm."
                if bool(got[0].isnan().any())
                else "A product of many probabilities underflows to 0. Add logarithms, never go back to probabilities.",
            )
        mistakes = {words: _scores(_best(one, count)) for words, one in wrong.items()}
        if torch.allclose(got[0].sort(descending=True).values, _scores(exact), rtol=0, atol=near):
            mistakes["These are the right ways in the wrong order: the best first."] = got[0]
        mistakes["These are the worst ways: take the largest scores."] = -_scores(_best(-every, count))
        alone = scores.argmax()
        mistakes["You extend only the best beam: another beam's token may be better than its second."] = _scores(
            _best(every[alone, None], count)
        )
        mistakes["These are the log-probabilities of the tokens alone: return them with the beams' scores added."] = (
            _scores([(score - float(scores[b]), b, t) for score, b, t in exact])
        )
        mistakes["You return probabilities: return their logarithms."] = _scores(exact).exp()
        expect_close(got[0], _scores(exact), f"The scores{when}", tolerance=near, mistakes=mistakes, hint=hint)
        came = list(zip(got[1].long().tolist(), got[2].long().tolist(), strict=True))
        swapped = came == [(token, beam) for beam, token in places]
        expect(
            came == places,
            f"The beams and tokens are wrong{when}.",
            expected=f"(beam, token): {places}",
            got=f"{came}",
            hint="Beams and tokens are swapped."
            if swapped
            else "A place in the flat list is beam * vocabulary + token: // and % by the size of the vocabulary give "
            "the two. (So it is if the list has all ways of all beams, row after row: not turned, and not cut before.)",
        )
    more = _ways(answer(scores, logits, vocabulary + 2), vocabulary + 2, many)
    expect_close(more[0], _scores(_best(every, vocabulary + 2)), "The scores of more ways", tolerance=1e-2, hint=many)
    _ways(answer(scores[:1], logits[:1], 10 * vocabulary), vocabulary, many)
    deep = 1500 - 1000.0 * torch.randperm(vocabulary, generator=dice.generator)[None]
    got = _ways(answer(scores[:1], deep, vocabulary), vocabulary, "")
    exact_deep = _scores(_best(scores[:1, None] + deep.log_softmax(-1), vocabulary))
    expect(
        bool(((got[0] - exact_deep).abs() < 0.1).all()),
        "The scores are wrong for logits in the thousands.",
        expected=exact_deep,
        got=got[0],
        hint="exp of a large logit is infinite, and a probability of exp(-1000) is rounded to 0: take the log-softmax "
        "of the logits (their largest subtracted first), and not the logarithm of a softmax.",
    )


def _scores(ways: list[tuple[float, int, int]]) -> Tensor:
    return torch.tensor([score for score, _, _ in ways], dtype=torch.float64)


def _ways(reply: Any, count: int, hint: str) -> list[Tensor]:
    """Return scores, beams and tokens, or fail."""
    three = expect_list(reply, "The answer", length=3, expected="three tensors: scores, beams, tokens")
    ways = [torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in three]
    for one, what in zip(ways[1:], ("beams", "tokens"), strict=True):
        expect(
            not isinstance(one, Tensor) or not one.is_floating_point(),
            f"The {what} are no whole numbers, so they cannot be used as places.",
            expected="a tensor of integers",
            got=one,
            hint="/ gives a fraction; // and % give whole numbers.",
        )
    names = ("scores", "beams", "tokens")
    return [
        expect_tensor(one, (count,), f"The tensor of {what}", hint=hint if isinstance(one, Tensor) else "")
        for one, what in zip(ways, names, strict=True)
    ]
