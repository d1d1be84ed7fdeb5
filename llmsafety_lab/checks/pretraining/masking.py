"""Exercise 4: masked tokens, by what may never happen and by chi-square."""

from __future__ import annotations

from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_tensor

CHANCE = 1e-6
"""What a right answer would show less often than this is taken for a mistake."""


def unlikely(seen: list[int], expected: list[float]) -> bool:
    """Say whether counts are too far from what was expected, by chi-square."""
    from scipy.stats import chisquare

    total = sum(expected)
    return bool(chisquare(seen, [sum(seen) * share / total for share in expected]).pvalue < CHANCE)


@exercise(
    "pretraining.mask",
    "Hide tokens as BERT does",
    points=4,
    difficulty=3,
    importance=5,
    minutes=14,
    answer="mask_tokens",
    forbid=("transformers.DataCollatorForLanguageModeling",),
    mutants=(
        Mutant("specials masked", " & ~torch.isin(ids, special)", "", "special"),
        Mutant(
            "loss on unmasked tokens", "labels = torch.where(chosen, ids, -100)", "labels = ids.clone()", "unmasked"
        ),
        Mutant("80/10/10 swapped", "fate < 0.8", "fate < 0.1", "swapped"),
        Mutant("none stay", "fate >= 0.9", "fate >= 0.8", "none stays"),
        Mutant(
            "all become the mask",
            "inputs = torch.where(chosen & (fate < 0.8), mask, ids)\n"
            "    inputs = torch.where(chosen & (fate >= 0.9), drawn, inputs)",
            "inputs = torch.where(chosen, mask, ids)",
            "all chosen",
        ),
        Mutant(
            "labels read after masking",
            "return inputs, labels",
            "return inputs, torch.where(chosen, inputs, -100)",
            "after",
        ),
        Mutant(
            "one mask for the batch",
            "torch.rand(ids.shape, generator=generator) < rate",
            "torch.rand(ids.shape[1], generator=generator) < rate",
            "same positions",
        ),
        Mutant("rate ignored", "< rate)", "< 0.15)", "rate"),
        Mutant("seed ignored", "manual_seed(seed)", "manual_seed(0)", "seed"),
        Mutant("mask not used", "(fate < 0.8), mask, ids", "(fate < 0.8), vocabulary, ids", "the argument mask"),
        Mutant("first id never drawn", "torch.randint(vocabulary,", "torch.randint(1, vocabulary,", "evenly"),
        Mutant("last id never drawn", "torch.randint(vocabulary,", "torch.randint(vocabulary - 1,", "evenly"),
        Mutant("one id too many", "torch.randint(vocabulary,", "torch.randint(vocabulary + 1,", "outside"),
        Mutant(
            "two special ids",
            "~torch.isin(ids, special)",
            "(ids != special[0]) & (ids != special[1])",
            "special tokens are chosen",
        ),
        Mutant("thresholds of one rate", "fate < 0.8", "fate < 0.12 / rate", "at a rate of 1.0"),
        Mutant("in place", "return inputs, labels", "return ids.copy_(inputs), labels", "in place"),
        Mutant("floats", "return inputs, labels", "return inputs.float(), labels", "no integers"),
        Mutant("swapped", "return inputs, labels", "return labels, inputs", "the other way round"),
    ),
)
def check_mask(answer: Answer, dice: Dice) -> None:
    import torch

    vocabulary = dice.integer(24, 30)
    mask, special = vocabulary + dice.integer(1, 9), dice.integer(3, 18) + torch.arange(3)
    ids = dice.integers(0, vocabulary - 1, 60, 150)
    seed = dice.integer(0, 10**6)
    called = answer.trace(ids, special, mask, vocabulary, seed)
    inputs, labels = _both(called.value, ids)
    chosen = _chosen(ids, inputs, labels, special, 0.15)
    expect(
        float(chosen.any(0).double().mean()) > 0.5,
        "The same positions are chosen in each text.",
        expected="a draw for each token of each text",
        got=f"{int(chosen.any(0).sum())} of {ids.shape[1]} positions are ever chosen",
        hint="Draw random numbers of the shape of ids, not one row for all.",
    )
    _rates(ids, inputs, chosen, special, mask, vocabulary, 0.15)
    expect(not called.changed, "You have changed ids in place.", hint="Make a new tensor first: ids.clone().")
    again, other = (_both(answer(ids, special, mask, vocabulary, s), ids) for s in (seed, seed + 1))
    expect(
        bool((again[0] == inputs).all() and (again[1] == labels).all()),
        "Two calls with the same seed differ.",
        hint="Draw from torch.Generator().manual_seed(seed).",
    )
    expect(not bool((other[1] == labels).all()), "Two seeds give the same mask: the seed is not used.")
    nothing = special[:0]
    inputs, labels = _both(answer(ids, nothing, mask, vocabulary, seed, 1.0), ids)
    _rates(ids, inputs, _chosen(ids, inputs, labels, nothing, 1.0), nothing, mask, vocabulary, 1.0)


def _both(reply: Any, ids: Any) -> tuple[Any, Any]:
    if not isinstance(reply, list | tuple) or len(reply) != 2:
        raise Failed("Two tensors are asked for.", expected="(inputs, labels)", got=type(reply).__name__)
    for part, name in zip(reply, ("inputs", "labels"), strict=True):
        expect_tensor(part, ids.shape, name)
        expect(not part.is_floating_point(), f"{name} holds no integers.", expected=ids.dtype, got=part.dtype)
    return reply[0].long(), reply[1].long()


def _chosen(ids: Any, inputs: Any, labels: Any, special: Any, rate: float) -> Any:
    import torch

    chosen = labels != -100
    expect(
        not bool((inputs == -100).any()),
        "The inputs hold -100, which is no token.",
        hint="Return (inputs, labels), not the other way round; -100 belongs into the labels.",
    )
    expect(
        bool(chosen.any()), "Nothing is chosen: all labels are -100.", hint="15% of the tokens keep their id as label."
    )
    share = float(chosen.double().mean())
    expect(
        share <= max(0.9, rate),
        "The loss would be on unmasked tokens, too: nearly every position has a label.",
        expected="-100 where a token was not chosen",
        got=f"labels at {share:.0%} of the positions",
        hint="At an unmasked position the answer is in plain sight, so the model would learn to copy.",
    )
    expect(
        bool((inputs[~chosen] == ids[~chosen]).all()),
        "A token that was not chosen has changed.",
        hint="Where the label is -100 the input is as it was.",
    )
    hit = chosen & torch.isin(ids, special)
    expect(
        not bool(hit.any()),
        f"{int(hit.sum())} special tokens are chosen.",
        expected="[CLS], [SEP] and padding, the ids in special, are never chosen",
        hint="They are no text: exclude them before you draw, or from what was drawn.",
    )
    wrong = chosen & (labels != ids)
    read_late = bool((labels[wrong] == inputs[wrong]).all())
    expect(
        not bool(wrong.any()),
        "A label is not the token that was there.",
        hint="You read the labels after the masking: take them from ids."
        if read_late
        else "The label of a chosen position is its id in ids.",
    )
    return chosen


def _rates(ids: Any, inputs: Any, chosen: Any, special: Any, mask: int, vocabulary: int, rate: float) -> None:
    import torch

    count = int(chosen.sum())
    share = count / int((~torch.isin(ids, special)).sum())
    expect(
        abs(share - rate) < 0.02,
        f"The share of chosen tokens is not the rate, {rate}.",
        expected=rate,
        got=share,
        hint="Each ordinary token is chosen with the chance rate.",
    )
    hidden = int((inputs[chosen] == mask).sum())
    same = int((inputs[chosen] == ids[chosen]).sum())
    shares = [hidden / count, 1 - (hidden + same) / count, same / count]
    names = f"{shares[0]:.0%} masked, {shares[1]:.0%} another token, {shares[2]:.0%} as it was"
    if hidden == 0:
        hint = "No input is the id of the argument mask, which need not be the number behind the vocabulary."
    elif rate == 1:
        hint = "Whether a token is chosen is one draw and what becomes of it another: 80, 10 and 10% at any rate."
    elif shares[0] > 0.99:
        hint = "All chosen tokens become the mask. The model would then never see a chosen token that looks like text."
    elif max(shares) != shares[0]:
        hint = "The 80% are swapped: 80% become the mask, 10% a random token, 10% stay."
    elif shares[2] < 0.03:
        hint = "None stays as it was: 10% do, so that a model cannot take an ordinary token for a wrong one."
    else:
        hint = "Draw one number for each chosen token: below 0.8 the mask, from 0.9 on a random token."
    drawn_same = 1 / vocabulary
    expected = [0.8, 0.1 * (1 - drawn_same), 0.1 * (1 + drawn_same)]
    expect(
        not unlikely([hidden, count - hidden - same, same], expected),
        f"What becomes of the chosen tokens is wrong, at a rate of {rate}.",
        expected="80% masked, 10% random, 10% as it was",
        got=names,
        hint=hint,
    )
    changed = chosen & (inputs != mask) & (inputs != ids)
    drawn, lost = (
        torch.bincount(side[changed].clamp(0, vocabulary), minlength=vocabulary + 1) for side in (inputs, ids)
    )
    expect(
        int(drawn[vocabulary]) == 0 and int(inputs.min()) >= 0,
        "A random token is outside the vocabulary.",
        expected=f"ids from 0 to {vocabulary - 1}",
        got=inputs[changed].unique(),
        hint="torch.randint(vocabulary, ids.shape, generator=...) ends before vocabulary.",
    )
    even = [float(lost.sum() - there) for there in lost[:vocabulary]]
    seen = drawn[:vocabulary].tolist()
    expect(
        not unlikely(seen, even) and (rate < 1 or min(seen) > 0),
        "The random tokens are not drawn evenly from the vocabulary.",
        expected="each id from 0 to vocabulary - 1 with the same chance",
        got=f"{seen} times each",
        hint="torch.randint(vocabulary, ids.shape, generator=...).",
    )
