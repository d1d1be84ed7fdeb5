"""Exercises 4 and 5: one step of beam search on plain numbers, and the whole search on small models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor
from llmsafety_lab.checking.handles import SmallModel


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
        Mutant("normalised over beams", "log_softmax(dim=-1)", "log_softmax(dim=0)", "over the vocabulary"),
        Mutant("count ignored", "min(count, every.numel())", "min(2 * len(scores), every.numel())", "as many as count"),
        Mutant("one beam's ways", "every.numel()", "every.shape[1]", "as many as count"),
    ),
)
def check_extend(answer: Answer, dice: Dice) -> None:
    beams, vocabulary = dice.integer(3, 4), dice.integer(7, 9)
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
                "Add the scores: a beam that was improbable so far stays improbable.": logits.log_softmax(-1),
                "Your softmax runs over the beams: it has to run over the vocabulary.": (
                    scores[:, None] + logits.log_softmax(0)
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
                hint="A product of many probabilities underflows to 0. Add logarithms, never go back to probabilities.",
            )
        mistakes = {words: _scores(_best(one, count)) for words, one in wrong.items()}
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
            else "A place in the flat list is beam * vocabulary + token.",
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
    if not isinstance(reply, list | tuple) or len(reply) != 3:
        got = "None: is there a return statement?" if reply is None else reply
        raise Failed("The answer has the wrong form.", expected="three tensors: scores, beams, tokens", got=got)
    names = ("scores", "beams", "tokens")
    return [
        expect_tensor(one, (count,), f"The tensor of {what}", hint=hint) for one, what in zip(reply, names, strict=True)
    ]


Think = Callable[[list[tuple[int, ...]]], list[Tensor]]
Case = tuple[list[int], int, int, float, int]


def _search(
    think: Think, prompt: list[int], beams: int, steps: int, penalty: float, end: int, slip: str = ""
) -> list[int]:
    """Search with lists of tokens; ``think`` returns the log-probabilities after each of some texts."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, tuple(prompt))]
    done: list[tuple[float, tuple[int, ...]]] = []
    fed = tuple(prompt)
    beams = 2 if slip == "two" else beams
    for step in range(1, steps + 1):
        stale = slip == "cache" and step > 1
        after = think([(*fed, text[-1]) if stale else text for _, text in live])
        fed = (*fed, live[0][1][-1]) if step > 1 else fed
        ways = [
            (score + (math.exp(p) if slip == "softmax" else p), (*text, t))
            for (score, text), row in zip(live, after, strict=True)
            for t, p in enumerate(row.tolist())
        ]
        ways = sorted(ways, key=lambda way: -way[0])[: beams if slip == "narrow" else 2 * beams]
        for score, text in ways if slip == "every" else ways[:beams]:
            if text[-1] == end or (step == steps and (slip != "dropped" or not done)):
                length = {"none": 1, "whole": len(text), "next": step + 1}.get(slip, step)
                done.append((score / length ** (1 if slip == "linear" else penalty), text))
        done = sorted(done, key=lambda one: -one[0])[:beams]
        live = [way for way in ways if way[1][-1] != end or slip == "past"][:beams]
        if (len(done) == beams and slip != "late") or not live:
            break
    return list(done[0][1])


_SLIPS = {
    "none": "Divide by the length: without the penalty short texts win, since each token costs probability.",
    "whole": "Count the new tokens only: the prompt's length is the same for all and must not enter.",
    "past": "A text that has ended goes on in your search: take it out of the beams.",
    "narrow": "Too few beams go on: take twice as many candidates as beams, since some of them may end.",
    "cache": "Your cache belongs to another beam: reorder it by the beam that each text comes from.",
    "dropped": "At the last step all of the best `beams` texts are finished, also those without the end token.",
    "two": "You go on with two beams, whatever `beams` says.",
    "every": "Only an end among the best `beams` ways is finished: those behind them are candidates to go on.",
    "next": "Your count of the new tokens is one too many: at step 1 a text has one.",
    "linear": "Raise the number of new tokens to the power of length_penalty.",
    "late": "Stop as soon as `beams` texts are finished: your search goes on and finds others.",
    "softmax": "Add log-probabilities: you added probabilities.",
}
_ELSE = (
    "Compare step by step with pencil and paper. If you use a cache, it has to follow its beam: "
    "`cache.reorder_cache(...)` with the beam that each text comes from."
)


@exercise(
    "decoding.beam_search",
    "Search with beams",
    points=4,
    difficulty=4,
    importance=4,
    minutes=15,
    answer="beam_search",
    forbid=("transformers.GenerationMixin.generate", "transformers.GenerationMixin._beam_search"),
    mutants=(
        Mutant("no length penalty", " / step**length_penalty", " / 1", "divide by the length"),
        Mutant("the prompt counted", "step**length_penalty", "texts.shape[1] ** length_penalty", "the prompt's length"),
        Mutant(
            "ended texts go on",
            "going_on = (~ends).nonzero()[:beams, 0]",
            "going_on = torch.arange(len(ends))[:beams]",
            "has ended goes on",
        ),
        Mutant("too few candidates", ".double(), 2 * beams)", ".double(), beams)", "too few beams"),
        Mutant(
            "cache left behind",
            "cache.reorder_cache(parents[going_on])",
            "cache.reorder_cache(parents[going_on] * 0)",
            "cache",
        ),
        Mutant(
            "unfinished dropped", "| (step == steps)", "| (step == steps and not finished)", "without the end token"
        ),
        Mutant(
            "always two beams", "    texts, scores = ids[None]", "    beams = 2\n    texts, scores = ids[None]", "two"
        ),
        Mutant("every end finishes", "ends[:beams].nonzero()", "ends.nonzero()", "candidates to go on"),
        Mutant("one token too many", " / step**length_penalty", " / (step + 1) ** length_penalty", "one too many"),
        Mutant("the exponent ignored", " / step**length_penalty", " / step", "to the power"),
        Mutant("no early stop", "if len(finished) == beams:", "if step == steps:", "stop as soon as"),
    ),
)
def check_beam_search(answer: Answer, dice: Dice) -> None:
    vocabulary = dice.integer(9, 14)
    small = SmallModel(dice.integer(0, 2**31), layers=1, heads=4, width=256, vocabulary=vocabulary)
    think = _thinker(small)
    cases: list[Case] = []
    exact: list[list[int]] = []
    slipped: dict[str, list[list[int]]] = {slip: [] for slip in _SLIPS}
    for turn in range(300):
        if turn % 20 == 0:
            prompts = [dice.integers(0, vocabulary - 1, length).tolist() for length in (2, 4)]
        prompt, steps, beams = prompts[turn % 2], 5, 2 + turn // 2 % 2
        likely = _search(think, prompt, beams, steps, 1.0, -1)[len(prompt) :]
        end = likely[dice.integer(0, 3)] if turn % 3 else dice.integer(0, vocabulary - 1)
        case = (prompt, beams, steps, 0.5 + 2.5 * float(dice.uniform(1)), end)
        right = _search(think, *case)
        wrong = {slip: _search(think, *case, slip=slip) for slip in _SLIPS}
        columns = [exact, *slipped.values()]
        apart = len({str(column) for column in columns})
        new = [str([*column, one]) for column, one in zip(columns, [right, *wrong.values()], strict=True)]
        if len(set(new)) > apart or len(cases) < 6:
            cases.append(case)
            exact.append(right)
            for slip, text in wrong.items():
                slipped[slip].append(text)
        if len(cases) >= 6 and len({str(column) for column in (exact, *slipped.values())}) == 1 + len(_SLIPS):
            break
    came = [_text(answer(small, torch.tensor(prompt), *facts)) for prompt, *facts in cases]
    if came == exact:
        return
    first = next(i for i, (got, right) in enumerate(zip(came, exact, strict=True)) if got != right)
    prompt, beams, steps, penalty, end = cases[first]
    hint = next((_SLIPS[slip] for slip, texts in slipped.items() if texts == came), _ELSE)
    if came[first][: len(prompt)] != prompt:
        hint = "Return the prompt and the new tokens."
    raise Failed(
        f"The text for {beams} beams, {steps} steps, length penalty {penalty:.2f} and end token {end} is wrong.",
        expected=exact[first],
        got=came[first],
        hint=hint,
    )


def _text(reply: Any) -> list[int]:
    if isinstance(reply, Tensor) and reply.dim() == 1:
        return reply.long().tolist()
    got = "None: is there a return statement?" if reply is None else reply
    raise Failed("The text has the wrong form.", expected="a tensor of shape (tokens,), the prompt in it", got=got)


def _thinker(small: SmallModel) -> Think:
    model = small.build()
    known: dict[tuple[int, ...], Tensor] = {}

    def think(texts: list[tuple[int, ...]]) -> list[Tensor]:
        new = [text for text in texts if text not in known]
        if new:
            with torch.no_grad():
                rows = model(torch.tensor(new), use_cache=False).logits[:, -1].log_softmax(-1)
            known.update(zip(new, rows, strict=True))
        return [known[text] for text in texts]

    return think
