"""Exercise 3: which of the texts that a model wrote it wrote from memory."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list
from llmsafety_lab.checks.extraction.bits import PACKAGE, refuses

SYLLABLES = ("ka", "lo", "mi", "ne", "pu", "ra", "si", "to", "ve", "wu")


def _texts(dice: Dice, count: int) -> list[str]:
    """Draw texts of a few syllables, some of them the same syllable again and again, and some twice."""
    texts = []
    for i in range(count):
        if i % 4 == 0:
            texts.append((SYLLABLES[dice.integer(0, 9)] + " ") * dice.integer(4, 12))
        else:
            texts.append("".join(SYLLABLES[k] for k in dice.integers(0, 9, dice.integer(5, 16)).tolist()))
    places = dice.integers(0, count - 1, count // 2).tolist()
    texts += [texts[k] for k in places]
    order = torch.randperm(len(texts), generator=dice.generator).tolist()
    return [texts[k] for k in order]


def _order(texts: list[str], own: np.ndarray, below: np.ndarray, slip: str = "") -> list[int]:
    scores = own * below if slip == "product" else below / own if slip == "inverse" else own / below
    if slip == "alone":
        scores = own
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if slip == "last" or text not in first:
            first[text] = i
    places = list(range(len(texts))) if slip == "twice" else sorted(first.values())
    return sorted(places, key=lambda i: -scores[i] if slip == "turned" else scores[i])


WORDS = {
    "turned": "It is turned round, or the ratio is upside down: the text of the lowest score is the surest.",
    "inverse": "The ratio is upside down: divide the model's own loss by the other number.",
    "product": "Divide by the other number, where you multiply.",
    "alone": "This is the order of the loss alone, whatever `by` says.",
    "twice": "A text that came several times is named several times: an attacker claims it once.",
    "last": "Of a text that came several times name the first place, not the last.",
}


@exercise(
    "extraction.rank",
    "Which of these did it know?",
    points=3,
    difficulty=2,
    importance=4,
    minutes=12,
    answer="rank_candidates",
    forbid=(f"{PACKAGE}.candidates.rank_candidates",),
    mutants=(
        Mutant(
            "the least sure first",
            'return first[np.argsort((own / beside[by])[first], kind="stable")]',
            'return first[np.argsort(-(own / beside[by])[first], kind="stable")]',
            "turned round",
        ),
        Mutant("ratio upside down", "own / beside[by]", "beside[by] / own", "upside down"),
        Mutant("product", "own / beside[by]", "own * beside[by]", "multiply"),
        Mutant("perplexity whatever is asked", "(own / beside[by])[first]", "own[first]", "loss alone"),
        Mutant(
            "the same text many times",
            "first = np.unique(np.asarray(texts), return_index=True)[1]",
            "first = np.arange(len(texts))",
            "several times",
        ),
        Mutant(
            "the last of the same",
            "first = np.unique(np.asarray(texts), return_index=True)[1]",
            "first = len(texts) - 1 - np.unique(np.asarray(texts)[::-1], return_index=True)[1]",
            "first place",
        ),
        Mutant("characters, not compressed bytes", "len(zlib.compress(text.encode()))", "len(text)", "compress"),
        Mutant(
            "places among the distinct",
            'return first[np.argsort((own / beside[by])[first], kind="stable")]',
            'return np.argsort((own / beside[by])[first], kind="stable")',
            "places in the list",
        ),
        Mutant("ties in any order", "first.sort()", "first[::-1].sort()", "equal scores"),
        Mutant(
            "no refusal of an unknown score",
            "    if by not in beside:",
            '    by = by if by in beside else "perplexity"\n    if False:',
            "no such score",
        ),
        Mutant("no refusal of missing losses", "(own, beside[by])):", "(own,)[:0]):", "not finite"),
    ),
)
def check_rank(answer: Answer, dice: Dice) -> None:
    for by in ("ratio", "zlib", "perplexity"):
        texts = _texts(dice, dice.integer(20, 28))
        values = {
            text: float(value) for text, value in zip(texts, 0.5 + 2 * dice.uniform(len(texts)).numpy(), strict=True)
        }
        noise = 1 + 0.01 * dice.uniform(len(texts)).numpy() * (by != "zlib")
        own = np.array([values[text] for text in texts]) * noise
        other = 0.5 + 2 * dice.uniform(len(texts)).numpy()
        sizes = np.array([len(zlib.compress(text.encode())) for text in texts], dtype=float)
        below = {"perplexity": np.ones(len(texts)), "zlib": sizes, "ratio": other}[by]
        got = _places(answer(texts, own, by, other) if by == "ratio" else answer(texts, own, by), len(texts))
        right = _order(texts, own, below)
        if got == right:
            continue
        fits = [words for slip, words in WORDS.items() if got == _order(texts, own, below, slip)]
        if by == "zlib" and got == _order(texts, own, np.array([len(text) for text in texts], dtype=float)):
            fits = ["Divide by the number of bytes after `zlib.compress`, not by the length of the text."]
        if sorted(got) == list(range(len(right))) and len(right) < len(texts):
            fits = ["These are places among the distinct texts. Return places in the list that came."]
        if len(got) > len(right):
            fits = [WORDS["twice"]]
        raise Failed(
            f'The order by "{by}" is wrong.',
            expected=right[:8],
            got=got[:8],
            hint=(fits or ["Distinct texts by their first place; the lowest score first."])[0],
        )
    texts = [f"{SYLLABLES[k % 10]}{SYLLABLES[k // 10]}" for k in dice.integers(0, 99, 40).tolist()]
    own = np.round(1 + dice.uniform(len(texts)).numpy() * 2) / 2
    got = _places(answer(texts, own, "perplexity"), len(texts))
    expect(
        got == _order(texts, own, np.ones(len(texts))),
        "Of equal scores the text that came first is first.",
        expected=_order(texts, own, np.ones(len(texts)))[:8],
        got=got[:8],
        hint="Texts of equal scores keep their order: `np.argsort(..., kind='stable')` on places that are in order.",
    )
    refuses(answer, texts, own, "luck", because='There is no such score as "luck", and your function takes it.')
    broken = own.copy()
    broken[dice.integer(0, len(own) - 1)] = np.nan
    refuses(
        answer, texts, broken, "perplexity", because="A loss that is not finite is taken: it would be sorted anywhere."
    )


def _places(got: Any, count: int) -> list[int]:
    if isinstance(got, np.ndarray | torch.Tensor):
        got = got.tolist()
    found = expect_list(got, "The order", expected="places of the texts, the surest first")
    for place in found:
        if (
            isinstance(place, bool)
            or not isinstance(place, int | float)
            or place != int(place)
            or not 0 <= place < count
        ):
            raise Failed(
                "The order holds something that is no place.", expected=f"whole numbers below {count}", got=place
            )
    return [int(place) for place in found]
