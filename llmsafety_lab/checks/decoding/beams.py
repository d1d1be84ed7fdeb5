"""Exercise 5: beam search, on small models, against a search with lists of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, either, expect
from llmsafety_lab.checking.handles import SmallModel

Think = Callable[[list[tuple[int, ...]]], list[Tensor]]
Case = tuple[list[int], int, int, float, int]


def _search(
    think: Think, prompt: list[int], beams: int, steps: int, penalty: float, end: int, slip: str = ""
) -> list[int]:
    """Search with lists of tokens; ``think`` returns the log-probabilities after each of some texts."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, tuple(prompt))]
    done: list[tuple[float, tuple[int, ...]]] = []
    read = [tuple(prompt)]
    beams = 2 if slip == "two" else beams
    for step in range(1, steps + 1):
        ways = [
            ((0 if slip == "forgot" else score) + (math.exp(p) if slip == "softmax" else p), (*text, t), parent)
            for parent, ((score, text), row) in enumerate(zip(live, think(read), strict=True))
            for t, p in enumerate(row.tolist())
        ]
        ways = sorted(ways, key=lambda way: -way[0])[: beams if slip == "narrow" else 2 * beams]
        for score, text, _ in ways if slip == "every" else ways[:beams]:
            if text[-1] == end or (step == steps and (slip != "dropped" or not done)):
                length = {"none": 1, "whole": len(text), "next": step + 1, "less": max(step - 1, 1)}.get(slip, step)
                power = {"linear": 1, "times": -penalty}.get(slip, penalty)
                done.append((score / length**power, text))
        done = done if slip == "first" else sorted(done, key=lambda one: -one[0])
        done = done if slip == "over" else done[:beams]
        going_on = [way for way in ways if way[1][-1] != end or slip == "past"][: None if slip == "wide" else beams]
        live = [(score / step**penalty if slip == "inside" else score, text) for score, text, _ in going_on]
        if (len(done) == (1 if slip == "stop" else beams) and slip != "late") or not live:
            break
        parents = {"cache": [0] * len(live), "unsorted": [way[2] for way in ways[: len(live)]]}
        chosen = parents.get(slip, [way[2] for way in going_on])
        read = [(*read[parent], text[-1]) for parent, (_, text) in zip(chosen, live, strict=True)]
    if slip == "live":
        return list(live[0][1])
    return list(done[-1 if slip == "worst" else 0][1])


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
    "unsorted": "Your cache belongs to another beam: reorder it by the parents of the ways that go on, without those "
    "that have ended.",
    "over": "Keep the best `beams` finished texts at each step: with more of them you miss when to stop.",
}
_MORE = {
    "forgot": "The score of a beam is the sum over all of its tokens: you begin anew at each step.",
    "worst": "Return the best finished text, the one with the highest score: you return the worst.",
    "first": "Return the best finished text by its score, and not the one that has finished first.",
    "times": "You multiply by the length: the scores are negative, so that long texts lose. Divide.",
    "stop": "You stop at the first finished text: go on until there are `beams`.",
    "less": "Your count of the new tokens is one too small: the end token is counted, too.",
    "inside": "The length penalty is for finished texts only: beams go on with their log-probabilities.",
    "wide": "Go on with the best `beams` ways that do not end, and no more.",
    "live": "Return the best finished text, and not the best beam that has not ended.",
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
        Mutant(
            "cache of the wrong parents",
            "cache.reorder_cache(parents[going_on])",
            "cache.reorder_cache(parents[: len(going_on)])",
            "parents of the ways that go on",
        ),
        Mutant("all finished kept", "one[0])[:beams]", "one[0])", "miss when to stop"),
        Mutant("squeezed", "texts[going_on], scores", "texts[going_on].squeeze(), scores", "stopped with"),
        Mutant("another default", "length_penalty: float = 1.0", "length_penalty: float = 0.0", "by default"),
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
        _expect_edges(answer, small, think, dice)
        return
    first = next(i for i, (got, right) in enumerate(zip(came, exact, strict=True)) if got != right)
    prompt, beams, steps, penalty, end = cases[first]
    slipped |= {slip: [_search(think, *case, slip=slip) for case in cases] for slip in _MORE}
    hint = either(((_SLIPS | _MORE)[slip] for slip, texts in slipped.items() if texts == came), _ELSE)
    if came == [text[:-1] if text[-1] == case[-1] else text for text, case in zip(exact, cases, strict=True)]:
        hint = "The end token belongs to the text: do not cut it off."
    if came[first][: len(prompt)] != prompt:
        hint = "Return the prompt and the new tokens."
    raise Failed(
        f"The text for {beams} beams, {steps} steps, length penalty {penalty:.2f} and end token {end} is wrong.",
        expected=exact[first],
        got=came[first],
        hint=hint,
    )


def _expect_edges(answer: Answer, small: SmallModel, think: Think, dice: Dice) -> None:
    """Fail unless one beam, one step and the defaults of the arguments work, too."""
    beams, steps = 2, 5
    for _ in range(200):
        prompt = dice.integers(0, small.vocabulary - 1, 3).tolist()
        end = _search(think, prompt, beams, steps, 1.0, -1)[3 + dice.integer(0, 3)]
        case = (prompt, beams, steps, 1.0, end)
        if _search(think, *case) != _search(think, *case, slip="none"):
            break
    hint = "length_penalty is 1 by default, and without an end token all texts get as long as `steps` says."
    for what, width, depth, last in (
        ("one beam, which is greedy decoding,", 1, 4, None),
        ("three beams and one step", 3, 1, None),
        (f"{beams} beams, {steps} steps, the end token {end} and no other argument", beams, steps, end),
    ):
        right = _search(think, prompt, width, depth, 1.0, -1 if last is None else last)
        named = {} if last is None else {"end": last}
        got = _text(answer(small, torch.tensor(prompt), width, depth, **named))
        expect(got == right, f"The text for {what} is wrong.", expected=right, got=got, hint=hint)


def _text(reply: Any) -> list[int]:
    if isinstance(reply, Tensor) and reply.dim() == 1:
        return reply.long().tolist()
    raise Failed(
        "The text has the wrong form.", expected="a tensor of shape (tokens,), the prompt in it", got=came(reply)
    )


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
