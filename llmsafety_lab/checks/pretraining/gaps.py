"""What the check of masked tokens looks at: what may never happen, and what chance allows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from llmsafety_lab.checking.expect import expect, expect_pair, expect_tensor
from llmsafety_lab.checks.pretraining.chance import unlikely


def both(reply: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and labels that a student sent."""
    pair = expect_pair(reply, "The answer", expected="(inputs, labels)")
    for part, name in zip(pair, ("inputs", "labels"), strict=True):
        expect_tensor(part, ids.shape, name)
        expect(not part.is_floating_point(), f"{name} holds no integers.", expected=ids.dtype, got=part.dtype)
    return pair[0].long(), pair[1].long()


def chosen_of(ids: Tensor, inputs: Tensor, labels: Tensor, special: Tensor, rate: float) -> Tensor:
    """Return where tokens are chosen; fail on what may never happen."""
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


def expect_rates(
    ids: Tensor, inputs: Tensor, chosen: Tensor, special: Tensor, mask: int, vocabulary: int, rate: float
) -> None:
    """Fail unless so many tokens are chosen, and become what they should, as chance allows."""
    count = int(chosen.sum())
    share = count / int((~torch.isin(ids, special)).sum())
    hidden, same = int((inputs[chosen] == mask).sum()), int((inputs[chosen] == ids[chosen]).sum())
    expect(
        abs(share - rate) < 0.02,
        f"The share of chosen tokens is not the rate, {rate}.",
        expected=rate,
        got=share,
        hint="Each ordinary token is chosen with the chance rate."
        if same
        else "A chosen token that stays as it was is chosen, too: it has a label.",
    )
    shares = [hidden / count, 1 - (hidden + same) / count, same / count]
    names = f"{shares[0]:.0%} masked, {shares[1]:.0%} another token, {shares[2]:.0%} as it was"
    if hidden == 0:
        hint = "No input is the id of the argument mask, which need not be the number behind the vocabulary."
    elif rate == 1:
        hint = "Whether a token is chosen is one draw and what becomes of it another: 80, 10 and 10% at any rate."
    elif vocabulary < 9:
        hint = (
            "A random token may be the one that was there: draw it from all ids."
            if shares[2] < 0.12
            else "Draw the random tokens evenly from all ids of the vocabulary, not from those of the text."
        )
    elif shares[0] > 0.99:
        hint = "All chosen tokens become the mask. The model would then never see a chosen token that looks like text."
    elif max(shares) != shares[0]:
        hint = "The 80% are swapped: 80% become the mask, 10% a random token, 10% stay."
    elif shares[2] < 0.03:
        hint = "None stays as it was: 10% do, so that a model cannot take an ordinary token for a wrong one."
    else:
        hint = "Draw one number for each chosen token: below 0.8 the mask, from 0.9 on a random token."
    if 0.5 < shares[0] < 0.99 and rate < 0.3:
        _expect_fates_of_their_own(inputs == mask, chosen)
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


def _expect_fates_of_their_own(hidden: Tensor, chosen: Tensor) -> None:
    for dim, where in ((1, "of a text"), (0, "at a place")):
        mixed = (hidden & chosen).any(dim) & (~hidden & chosen).any(dim)
        expect(
            float(mixed.double().mean()) > 0.5,
            f"All chosen tokens {where} have one fate: all become the mask, or none does.",
            expected="a draw for each token",
            got=f"tokens of more than one fate in {int(mixed.sum())} of {len(mixed)}",
            hint="Draw random numbers of the shape of ids for what becomes of them, too.",
        )
