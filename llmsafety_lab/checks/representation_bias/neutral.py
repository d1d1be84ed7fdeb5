"""Exercise 4: hard debiasing, its two steps."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_list, expect_unchanged
from llmsafety_lab.checks.representation_bias.associations import _unit
from llmsafety_lab.checks.representation_bias.shapes import tensor


def _rest(vectors: Tensor, along: Tensor) -> Tensor:
    return vectors - (vectors @ along)[:, None] * along


def _equal(first: Tensor, second: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    rest = _rest((first + second) / 2, along)
    left = (1 - (rest**2).sum(1)).sqrt()[:, None] * along
    sign = ((first - second) @ along).sign()[:, None]
    return rest + sign * left, rest - sign * left


@exercise(
    "representation_bias.hard_debias",
    "Take a direction out",
    points=4,
    difficulty=3,
    importance=4,
    minutes=13,
    answer="hard_debias",
    mutants=(
        Mutant(
            "direction of any length",
            "    along = direction / np.linalg.norm(direction)\n",
            "    along = direction\n",
            "length of the direction",
        ),
        Mutant(
            "not of length 1 again",
            "neutral / np.linalg.norm(neutral, axis=1, keepdims=True)",
            "neutral",
            "length 1 again",
        ),
        Mutant(
            "only the direction is left",
            "neutral = words - (words @ along)[:, None] * along",
            "neutral = (words @ along)[:, None] * along",
            "all but the direction",
        ),
        Mutant(
            "added",
            "neutral = words - (words @ along)[:, None] * along",
            "neutral = words + (words @ along)[:, None] * along",
            "once more",
        ),
        Mutant(
            "the whole direction subtracted",
            "neutral = words - (words @ along)[:, None] * along",
            "neutral = words - along",
            "as far as",
        ),
        Mutant("pair not neutral", "rest = mean - (mean @ along)[:, None] * along", "rest = mean", "pair's mean"),
        Mutant("equal in all", "rest + side", "rest", "the same"),
        Mutant("sign of the first", "np.sign((first - second) @ along)", "np.sign(first @ along)", "of the first word"),
        Mutant("sign lost", "np.sign((first - second) @ along)[:, None]", "1", "other side"),
        Mutant(
            "not of length 1",
            "np.sqrt(1 - (rest**2).sum(axis=1))[:, None]",
            "np.linalg.norm(first - second, axis=1)[:, None] / 2",
            "missing to length 1",
        ),
        Mutant(
            "no root",
            "np.sqrt(1 - (rest**2).sum(axis=1))[:, None]",
            "(1 - (rest**2).sum(axis=1))[:, None]",
            "root",
        ),
        Mutant(
            "one direction each",
            "(words @ along)[:, None] * along",
            "(words @ along).mean() * along",
            "each word",
        ),
    ),
)
def check_hard_debias(answer: Answer, dice: Dice) -> None:
    width, pairs = dice.integer(5, 7), 4
    words = _unit(dice.normal(dice.integer(5, 6), width))
    along = _unit(dice.normal(1, width))[0]
    direction = (1.5 + float(dice.uniform(1))) * along
    # Both words of a pair may lie on one side of 0: which of them goes further is what counts.
    far = torch.tensor([[0.2, 0.55], [0.1, -0.4], [0.7, 0.3], [-0.7, -0.3]]).double() + 0.1 * dice.uniform(pairs, 1)
    first, second = (
        (1 - side**2).sqrt()[:, None] * _unit(_rest(dice.normal(pairs, width), along)) + side[:, None] * along
        for side in far.T
    )
    called = answer.trace(words.numpy(), first.numpy(), second.numpy(), direction.numpy())
    asked = "(words, first, second)"
    came = expect_list(called.value, "The answer", length=3, expected=asked)
    neutral, one, other = (
        tensor(got, given.shape, what)
        for got, given, what in zip(
            came, (words, first, second), ("The neutral words", "The first words", "The second words"), strict=True
        )
    )
    hint = "Subtract from each word its projection on the unit vector of the direction, then divide by the length."
    projected = words @ along
    mistakes = {
        "The answer depends on the length of the direction: divide it by its length first.": _unit(
            words - (words @ direction)[:, None] * direction
        ),
        "The neutral words have lost length: divide, so that each has length 1 again.": _rest(words, along),
        "This is the projection alone. Keep all but the direction.": projected[:, None] * along,
        "This is the projection alone. Keep all but the direction. ": _unit(projected[:, None] * along),
        "You added the projection once more: subtract it.": _unit(words + projected[:, None] * along),
        "Subtract the direction only as far as the word goes along it: the projection, not the whole unit vector.": (
            _unit(words - along)
        ),
        "Subtract the direction only as far as the word goes along it: the projection, not the whole vector.": (
            _unit(words - direction)
        ),
        "The neutral words are unchanged.": words,
        "Subtract from each word its own projection, not the mean of all.": _unit(words - projected.mean() * along),
    }
    expect_close(
        neutral,
        _rest(words, along) / _rest(words, along).norm(dim=1, keepdim=True),
        "The neutral words",
        tolerance=1e-5,
        mistakes=mistakes,
        hint=hint,
    )
    exact = _equal(first, second, along)
    mean = (first + second) / 2
    rest = _rest(mean, along)
    sign = ((first - second) @ along).sign()[:, None]
    size = (1 - (rest**2).sum(1))[:, None]
    apart = (first - second).norm(dim=1, keepdim=True) / 2
    kept = (1 - (mean**2).sum(1)).sqrt()[:, None]
    wrong = {
        "The pair's mean still goes along the direction: take its projection out first.": mean + sign * kept * along,
        "The pair's mean still goes along the direction: take its projection out of it first.": (
            mean + sign * size.sqrt() * along
        ),
        "The two words of a pair are now the same. They may differ, along the direction alone.": rest,
        "Some pairs have changed sides: a word that lay on the other side of its pair's mean has to stay there.": (
            rest + size.sqrt() * along
        ),
        "The vectors have another length: what is missing to length 1 belongs along the direction.": (
            rest + sign * apart * along
        ),
        "The sign is not that of the first word: look at which of the two goes further along the direction.": (
            rest + (first @ along).sign()[:, None] * size.sqrt() * along
        ),
        "Take the root: the squares of the rest and of the part along the direction sum to 1.": rest
        + sign * size * along,
        "The pairs are unchanged.": first,
        "You neutralised the pairs: they have to differ, and along the direction alone.": (_unit(_rest(first, along))),
        "Some pairs have changed sides: look at which of the two goes further along the direction.": exact[1],
    }
    hint = (
        "A pair's mean without the direction, plus for the first and minus for the second what is missing to length 1."
    )
    expect_close(one, exact[0], "The pairs' first words", tolerance=1e-5, mistakes=wrong, hint=hint)
    mirrored = {"The second word is the first: it lies on the other side.": exact[0], "It is unchanged.": second}
    expect_close(other, exact[1], "The pairs' second words", tolerance=1e-5, mistakes=mirrored, hint=hint)
    expect_unchanged(called, message="You changed an argument in place: make new arrays.")
