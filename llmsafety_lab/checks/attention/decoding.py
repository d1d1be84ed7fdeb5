"""Exercises 3 and 4: who sees the future, and a cache, on small models that the check builds for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor
from llmsafety_lab.checking.handles import SmallModel
from llmsafety_lab.checking.remote import Reader


@exercise(
    "attention.causality",
    "Prove that the future is out of sight",
    points=3,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="influence",
    mutants=(
        Mutant("changes pile up", "ids.clone()", "ids", "pile up"),
        Mutant("turned round", "stack(columns, dim=1)", "stack(columns, dim=0)", "turned round"),
        Mutant("sign kept", ".abs().amax(dim=-1)", ".amax(dim=-1)", "without its sign"),
        Mutant("mean instead of largest", ".abs().amax(dim=-1)", ".abs().mean(dim=-1)", "mean"),
        Mutant(
            "predictions compared",
            "(after - before).abs().amax(dim=-1)",
            "(after.argmax(dim=-1) != before.argmax(dim=-1)).double()",
            "predicted token",
        ),
        Mutant("future assumed away", "torch.stack(columns, dim=1)", "torch.stack(columns, dim=1).tril()", "cut off"),
    ),
)
def check_causality(answer: Answer, dice: Dice) -> None:
    tokens, vocabulary = dice.integer(6, 9), dice.integer(40, 99)
    changed, past = torch.eye(tokens, dtype=torch.bool), torch.ones(tokens, tokens, dtype=torch.bool).tril()
    for ahead, kind in (
        (0, "a causal model"),
        (dice.integer(1, 2), "a model whose mask lets it peek ahead"),
        (tokens, "a model without a mask"),
    ):
        seed, layers = dice.integer(0, 2**31), dice.integer(1, 2)
        small = SmallModel(seed, layers=layers, heads=2, width=32, vocabulary=vocabulary, ahead=ahead)
        ids = dice.integers(0, vocabulary - 1, tokens)
        other = (ids + dice.integers(1, vocabulary - 1, tokens)) % vocabulary
        model = small.build()
        before = model(ids[None])[0]
        after = model(torch.where(changed, other, ids))[0]
        change = (after - before).transpose(0, 1)  # (position, changed token, vocabulary)
        exact = change.abs().amax(-1)
        piled = (model(torch.where(past, other, ids))[0] - before).transpose(0, 1).abs().amax(-1)
        mistakes = {
            "Your changes pile up: each time start again from the unchanged text (`ids.clone()`).": piled,
            "Your matrix is turned round: rows are the positions that look, columns the tokens that change.": exact.mT,
            "Take each change without its sign before you look for the largest.": change.amax(-1),
            "You took the mean over the outputs: a small leak drowns in it. Take the largest.": change.abs().mean(-1),
            "You compared the predicted token only: a leak can be too small to change that.": (
                (after.argmax(-1) != before.argmax(-1)).mT
            ),
            "You cut off what lies above the diagonal, so no leak can ever show: measure it.": exact.tril(),
        }
        hint = "Row i, column j: the largest change of position i's outputs when token j alone becomes other[j]."
        expect_close(
            answer(small, ids, other), exact, f"The influence in {kind}", tolerance=1e-4, mistakes=mistakes, hint=hint
        )


Feed = Callable[[Tensor, Any], tuple[Tensor, Any]]
_SLIPS: dict[str, Feed] = {
    "You feed the newest token without the cache, so the model sees only the newest token of the text.": (
        lambda ids, cache: (ids if cache is None else ids[-1:], None)
    ),
    "You feed the whole text on top of a cache that holds it already: the model reads it twice.": (
        lambda ids, cache: (ids, cache)
    ),
    "Your cache is off by one: it has the token that you feed, and waits for the newest.": (
        lambda ids, cache: (ids if cache is None else ids[-2:-1], cache)
    ),
    "The model reads the prompt's last token twice: after the whole prompt feed the token that it has just chosen.": (
        lambda ids, cache: (torch.cat([ids, ids[-1:]]) if cache is None else ids[-1:], cache)
    ),
}


def _decode(model: Any, ids: Tensor, steps: int, feed: Feed) -> Tensor:
    """Choose tokens greedily, feeding the model what ``feed`` says."""
    cache = None
    for _ in range(steps):
        tokens, past = feed(ids, cache)
        out = model(tokens[None], past_key_values=past, use_cache=True)
        cache = out.past_key_values
        ids = torch.cat([ids, out.logits[0, -1].argmax()[None]])
    return ids


def _right(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
    return (ids if cache is None else ids[-1:]), cache


def _telling(small: SmallModel, dice: Dice, tokens: int, steps: int) -> Tensor:
    """Draw a text after which a right answer and every slip write tokens of their own, where there are enough."""
    model = small.build()
    for _ in range(60 if steps > 1 else 1):
        ids = dice.integers(0, small.vocabulary - 1, tokens)
        texts = {str(_decode(model, ids, steps, feed)) for feed in (_right, *_SLIPS.values())}
        best = model(ids[None], use_cache=False).logits[0].argmax(-1)
        if len(texts) == 1 + len(_SLIPS) and best[0] != best[-1]:
            break
    return ids


def _expect_greedy(model: Any, ids: Tensor, steps: int, reply: Any) -> None:
    """Fail unless each new token is the most probable one after those before it: one forward pass shows all."""
    given, vocabulary = len(ids), model.config.vocab_size
    hint = "Return the tokens given, followed by exactly as many new ones as were asked for."
    got = expect_tensor(reply, (given + steps,), "The text", hint=hint)
    text = got.nan_to_num(-1).clamp(-1, vocabulary).long()
    expect(torch.equal(text[:given], ids), "The text begins with other tokens.", expected=ids, got=got, hint=hint)
    tokens = (text >= 0) & (text < vocabulary) & (text == got)
    expect(bool(tokens.all()), "The text holds what is no token.", expected=f"integers below {vocabulary}", got=got)
    logits = model(text[None, :-1], use_cache=False).logits[0, given - 1 :]
    chosen = logits.gather(-1, text[given:, None])[:, 0]
    wrong = (chosen < logits.amax(-1) - 1e-6).nonzero()
    if len(wrong) == 0:
        return
    hint = "At each step take the token with the largest logit at the last position."
    first = int(wrong[0])
    for words, feed in _SLIPS.items():
        if torch.equal(_decode(model, ids, steps, feed), text):
            hint = words
            break
    raise Failed(
        f"New token {first + 1} of {steps} is not the model's most probable one.",
        expected=int(logits[first].argmax()),
        got=int(text[given + first]),
        hint=hint,
    )


@exercise(
    "attention.cache",
    "A cache that changes nothing but the time",
    points=4,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="generate_with_cache",
    forbid=(
        "transformers.GenerationMixin.generate",
        "transformers.GenerationMixin._sample",
        "llmsafety_lab.decoding.generate",
        "llmsafety_lab.decoding.beam_search",
    ),
    mutants=(
        Mutant(
            "no cache", "model(new[None], past_key_values=cache, use_cache=True)", "model(ids[None])", "read before"
        ),
        Mutant("cache dropped", "past_key_values=cache", "past_key_values=None", "only the newest token"),
        Mutant("read twice", "model(new[None],", "model(ids[None],", "reads it twice"),
        Mutant("off by one", "model(new[None],", "model((new if cache is None else ids[-2:-1])[None],", "off by one"),
        Mutant(
            "last token twice",
            "new, cache = ids, None",
            "new, cache = torch.cat([ids, ids[-1:]]), None",
            "last token twice",
        ),
        Mutant("one at least", "range(steps)", "range(max(steps, 1))", "exactly as many"),
        Mutant("one too few", "range(steps)", "range(steps - 1)", "exactly as many"),
        Mutant("first position", "logits[0, -1]", "logits[0, 0]", "at the last position"),
    ),
)
def check_cache(answer: Answer, dice: Dice) -> None:
    vocabulary = dice.integer(80, 120)
    small = SmallModel(dice.integer(0, 2**31), layers=2, heads=4, width=64, vocabulary=vocabulary)
    for tokens, steps in ((dice.integer(8, 12), dice.integer(10, 14)), (1, 1), (3, 0)):
        ids = _telling(small, dice, tokens, steps)
        reader = Reader(small, most=2 * (steps + 1) * (tokens + steps))
        _expect_greedy(reader.model, ids, steps, answer.reading(reader, ids, steps))
        expect(
            sum(reader.passes) <= tokens + steps,
            "The tokens are right, but the model reads tokens that it has read before.",
            expected=f"{tokens + steps - 1} tokens read: {tokens} given, and {steps} new ones, of which the last need "
            "not be read",
            got=f"{sum(reader.passes)} tokens read in {len(reader.passes)} forward passes",
            hint="After the first step feed the model its newest token alone, with `past_key_values` from the step "
            "before.",
        )
