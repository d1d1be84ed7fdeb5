"""Texts written token by token with a scheme, and read back with its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llmsafety_lab.provenance.green_lists import KEY, green_list
from llmsafety_lab.provenance.gumbel import gumbel_choice, keyed_uniforms
from llmsafety_lab.provenance.tournaments import g_values, tournament

Choose = Callable[[Float[Tensor, " vocabulary"], Sequence[int], torch.Generator], int]
"""Chooses a token from the model's probabilities, the tokens before, and chance that no key can repeat."""


def unmarked(probabilities: Float[Tensor, " vocabulary"], before: Sequence[int], dice: torch.Generator) -> int:
    """Draw a token from the model's probabilities."""
    return int(torch.multinomial(probabilities, 1, generator=dice))


def by_green_lists(gamma: float = 0.25, delta: float = 2.0, key: int = KEY) -> Choose:
    """Return the scheme of green lists: their tokens' logits are raised by delta."""

    def choose(probabilities: Float[Tensor, " vocabulary"], before: Sequence[int], dice: torch.Generator) -> int:
        pushed = torch.ones_like(probabilities)
        pushed[green_list(before[-1], len(probabilities), gamma, key)] = torch.tensor(delta).exp().to(pushed.dtype)
        return unmarked(probabilities * pushed, before, dice)

    return choose


def by_gumbel(key: int = KEY, width: int = 3) -> Choose:
    """Return the scheme of Gumbel: the key's chance in place of the dice, seeded with the last tokens."""

    def choose(probabilities: Float[Tensor, " vocabulary"], before: Sequence[int], dice: torch.Generator) -> int:
        if _again(before, width):
            return unmarked(probabilities, before, dice)
        return gumbel_choice(probabilities, keyed_uniforms(before[-width:], len(probabilities), key))

    return choose


def by_tournaments(keys: Sequence[int], width: int = 3) -> Choose:
    """Return the scheme of tournaments, one round for each key."""

    def choose(probabilities: Float[Tensor, " vocabulary"], before: Sequence[int], dice: torch.Generator) -> int:
        if _again(before, width):
            return unmarked(probabilities, before, dice)
        [candidates] = probabilities.nonzero(as_tuple=True)
        marks = g_values(before[-width:], candidates, keys)
        won = tournament(probabilities[candidates].double() / probabilities.double().sum(), marks)
        return int(candidates[unmarked(won.clamp_min(0), before, dice)])

    return choose


def _again(before: Sequence[int], width: int) -> bool:
    """Say whether the last tokens stood in this order before: chance that is used twice distorts the text."""
    last = tuple(before[-width:])
    return any(tuple(before[place : place + width]) == last for place in range(len(before) - width))


def fresh_places(ids: Sequence[int], width: int) -> list[int]:
    """Return the places of tokens whose last `width` tokens come for the first time, the places that are marked."""
    seen: set[tuple[int, ...]] = set()
    places = []
    for place in range(width, len(ids)):
        context = tuple(ids[place - width : place])
        if context not in seen:
            places.append(place)
        seen.add(context)
    return places


def gumbel_numbers(ids: Sequence[int], vocabulary: int, key: int = KEY, width: int = 3) -> Float[Tensor, " places"]:
    """Return the key's number of each token of a text, at places with a fresh context."""
    found = [float(keyed_uniforms(ids[p - width : p], vocabulary, key)[ids[p]]) for p in fresh_places(ids, width)]
    return torch.tensor(found, dtype=torch.float64)


def tournament_marks(ids: Sequence[int], keys: Sequence[int], width: int = 3) -> Float[Tensor, "places rounds"]:
    """Return the marks of each token of a text, at places with a fresh context."""
    rows = [g_values(ids[p - width : p], torch.tensor([ids[p]]), keys)[0] for p in fresh_places(ids, width)]
    return torch.stack(rows).double() if rows else torch.zeros(0, len(keys), dtype=torch.float64)


def write(
    next_probabilities: Callable[[list[list[int]]], Float[Tensor, "texts vocabulary"]],
    starts: Sequence[Sequence[int]],
    tokens: int,
    choose: Choose,
    seed: int = 0,
) -> list[list[int]]:
    """Continue texts side by side, and return what was added to each.

    Parameters
    ----------
    next_probabilities : callable
        Takes the texts so far; returns a row of probabilities for each.
    starts : sequence of sequences of int
    tokens : int
        How many tokens are added to each.
    choose : callable
        A scheme: `unmarked`, or what `by_green_lists`, `by_gumbel` and `by_tournaments` return.
    seed : int

    Raises
    ------
    ValueError
        If a start is empty: the first marked token needs one before it.
    """
    if not all(map(len, starts)):
        raise ValueError("each text starts with at least one token: the watermark looks at what comes before")
    dice = torch.Generator().manual_seed(seed)
    texts = [list(start) for start in starts]
    for _ in range(tokens):
        rows = next_probabilities(texts)
        for text, row in zip(texts, rows, strict=True):
            text.append(choose(row, text, dice))
    return [text[len(start) :] for text, start in zip(texts, starts, strict=True)]
