"""Which tokens of a conversation are learnt, and how likely a model finds an answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.pretraining.objectives import IGNORE

Model = Callable[[Int[Tensor, "rows tokens"]], Float[Tensor, "rows tokens vocabulary"]]


def assistant_labels(
    ids: Int[Tensor, "rows tokens"], user: int, assistant: int, end: int
) -> Int[Tensor, "rows tokens"]:
    """Return the labels of conversations: the assistant's tokens and the ends of its turns, `IGNORE` elsewhere.

    A turn begins after a mark, `user` or `assistant`, and goes to the next `end`; what comes after an end and before
    the next mark is padding. Label t is the token t itself: whoever computes the loss shifts by one.

    Parameters
    ----------
    ids : integer Tensor, shape (rows, tokens)
    user, assistant, end : int
        The ids of the two marks and of a turn's end. A user's turn needs no end: the assistant's mark ends it, too.

    Raises
    ------
    ValueError
        If two of the three are one, or a row has no mark of the assistant: nothing would be learnt from it.
    """
    if len({user, assistant, end}) < 3:
        raise ValueError(f"the marks and the end are three different tokens; got {user}, {assistant}, {end}")
    if not bool((ids == assistant).any(1).all()):
        raise ValueError("a row has no turn of the assistant, so nothing would be learnt from it: leave it out")
    labels = torch.full_like(ids, IGNORE)
    speaking = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for t, token in enumerate(ids.T):
        mark = (token == user) | (token == assistant)
        labels[:, t] = torch.where(speaking & ~mark, token, IGNORE)
        speaking = (token == assistant) | (speaking & ~mark & (token != end))
    return labels


def answer_log_probs(
    logits: Float[Tensor, "rows tokens vocabulary"], labels: Int[Tensor, "rows tokens"]
) -> Float[Tensor, " rows"]:
    """Return the log-probability of each row's labelled tokens, summed: what preferences and policies compare.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} are not of the same tokens")
    losses = cross_entropy(logits[:, :-1].mT, labels[:, 1:], ignore_index=IGNORE, reduction="none")
    return -losses.sum(1)


def after_prompt(rows: Int[Tensor, "rows tokens"], prompt: int, end: int) -> Bool[Tensor, "rows tokens"]:
    """Say which tokens are the answer: those after the prompt's length, up to and with the first end."""
    answer = torch.zeros_like(rows, dtype=torch.bool)
    ended = (rows[:, prompt:] == end).cumsum(1)
    answer[:, prompt:] = (ended - (rows[:, prompt:] == end).long()) == 0
    return answer


@torch.no_grad()
def sample(
    model: Model,
    prompts: Int[Tensor, "rows tokens"],
    length: int,
    end: int,
    generator: torch.Generator | None = None,
    prefix: Int[Tensor, "rows begun"] | None = None,
) -> Int[Tensor, "rows length"]:
    """Draw an answer to each prompt, token by token; after its end it is filled up with the end.

    Parameters
    ----------
    model : callable
    prompts : integer Tensor, shape (rows, tokens)
    length, end : int
    generator : torch.Generator, optional
        Without one the likeliest token is taken.
    prefix : integer Tensor, shape (rows, begun), optional
        The answer's beginning, where somebody else writes it. It is part of what comes back.
    """
    rows = prompts if prefix is None else torch.cat([prompts, prefix], dim=1)
    done = torch.zeros(len(rows), dtype=torch.bool)
    while rows.shape[1] < prompts.shape[1] + length:
        logits = model(rows)[:, -1].float()
        drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0] if generator else logits.argmax(-1)
        rows = torch.cat([rows, drawn.masked_fill(done, end)[:, None]], dim=1)
        done |= drawn == end
    return rows[:, prompts.shape[1] :]
