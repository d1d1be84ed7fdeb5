"""Constrained decoding: words that are banned, and what a text may be as an automaton over tokens."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.decoding.filters import Filter

Automaton = Mapping[Hashable, Mapping[Any, Hashable]]
"""For each state the symbols that may come next and the state that each leads to."""


def ban(
    logits: Float[Tensor, "batch vocabulary"], ids: Int[Tensor, "batch tokens"], words: Iterable[Sequence[int]]
) -> Float[Tensor, "batch vocabulary"]:
    """Forbid sequences of tokens: where a text ends in all but the last of one, its last token is forbidden.

    Raises
    ------
    ValueError
        If a word has no token.
    """
    logits = logits.clone()
    for word in words:
        if len(word) == 0:
            raise ValueError("a banned word has at least one token")
        start = torch.tensor(list(word[:-1]), dtype=ids.dtype, device=ids.device)
        if len(start) <= ids.shape[1]:
            about_to = (ids[:, ids.shape[1] - len(start) :] == start).all(dim=-1)
            logits[about_to, word[-1]] = -math.inf
    return logits


def trie(sequences: Iterable[Sequence[int]]) -> tuple[dict[Hashable, dict[Any, Hashable]], set[Hashable]]:
    """Return the automaton that accepts exactly these sequences, and its final states; it starts in the state ().

    Returns
    -------
    automaton : dict
        A state is the tuple of symbols read so far.
    final : set
        The states in which a sequence may end.
    """
    automaton: dict[Hashable, dict[Any, Hashable]] = {(): {}}
    final: set[Hashable] = set()
    for sequence in sequences:
        for i, symbol in enumerate(sequence):
            read = tuple(sequence[: i + 1])
            automaton[tuple(sequence[:i])][symbol] = read
            automaton.setdefault(read, {})
        final.add(tuple(sequence))
    return automaton, final


def follow(automaton: Automaton, final: Iterable[Hashable], start: Hashable, prompt: int, end: int) -> Filter:
    """Return a filter that lets only those tokens pass that an automaton over tokens allows.

    Parameters
    ----------
    automaton : mapping
        As `trie` or `lift` make it.
    final : iterable of states
        Where the text may end: there the end token is allowed, too.
    start : state
    prompt : int
        How many tokens the prompt has, which the automaton does not read.
    end : int
        The end token.
    """
    final = set(final)

    def allow(ids: Tensor, logits: Tensor) -> Tensor:
        mask = torch.ones_like(logits, dtype=torch.bool)
        for row, written in enumerate(ids[:, prompt:].tolist()):
            state = start
            for token in written:
                state = state if token == end else automaton[state][token]
            allowed = [*automaton[state], end] if state in final else [*automaton[state]]
            mask[row, allowed] = False
        return logits.masked_fill(mask, -math.inf)

    return allow


def lift(automaton: Automaton, vocabulary: Mapping[int, str]) -> dict[Hashable, dict[int, Hashable]]:
    """Turn an automaton that reads characters into one that reads tokens (Willard and Louf 2023).

    Parameters
    ----------
    automaton : mapping
        For each state the characters that may come next and where they lead.
    vocabulary : mapping of int to str
        Each token's text.

    Returns
    -------
    dict
        For each state the tokens all of whose characters may come next, and the state after the last of them. A token
        without text is left out.
    """
    lifted: dict[Hashable, dict[int, Hashable]] = {}
    for start in automaton:
        lifted[start] = {}
        for token, text in vocabulary.items():
            state: Hashable = start
            for character in text:
                state = automaton.get(state, {}).get(character)
                if state is None:
                    break
            if text and state is not None:
                lifted[start][token] = state
    return lifted
