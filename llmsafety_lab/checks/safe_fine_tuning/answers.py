"""Exercises 1 and 2: which tokens are learnt, and how likely an answer is, against a walk token by token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor, expect_unchanged
from llmsafety_lab.checks.safe_fine_tuning.common import PACKAGE, by, reaches, refuses

Token = tuple[int, str]


def _conversations(dice: Dice, padding: int) -> tuple[Tensor, list[list[str]], tuple[int, int, int]]:
    """Draw conversations of two rounds, what each of their tokens is, and the ids of user, assistant and end.

    The first one's user turns have no end, the last one's first turn of the assistant has none. The longest one has as
    much padding as is asked for.
    """
    marks = (torch.randperm(6, generator=dice.generator)[:3] + 1).tolist()
    user, assistant, end = marks
    rows: list[list[Token]] = []
    for number in range(3):
        row: list[Token] = []
        for turn in range(4):
            mine = turn % 2 == 1
            row.append((assistant if mine else user, "mark"))
            role = f"assistant {turn // 2}" if mine else "user"
            row += [(dice.integer(10, 40), role) for _ in range(dice.integer(1, 3))]
            if (mine or number) and (turn, number) != (1, 2):
                row.append((end, f"{role} end"))
        rows.append(row)
    longest = max(map(len, rows)) + padding
    full = [row + [(end, "padding")] * (longest - len(row)) for row in rows]
    return torch.tensor([[t for t, _ in row] for row in full]), [[w for _, w in row] for row in full], (*marks,)


def _kept(ids: Tensor, words: list[list[str]], which: tuple[str, ...]) -> Tensor:
    return torch.tensor(
        [
            [
                int(t) if any(w == one or (one == "assistant" and w.startswith(one)) for one in which) else -100
                for t, w in zip(row, said, strict=True)
            ]
            for row, said in zip(ids, words, strict=True)
        ]
    )


def _beyond(right: Tensor, ids: Tensor, words: list[list[str]]) -> Tensor:
    """Return the labels where an assistant's turn without an end runs on through the user's, its mark left out."""
    labels, row = right.clone(), words[2]
    after = [t for t, word in enumerate(row) if word.startswith("user") and "assistant 0" in row[:t]]
    labels[2, after] = ids[2, after]
    return labels


@exercise(
    "safe_fine_tuning.labels",
    "Learn from the assistant alone",
    points=2,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="assistant_labels",
    forbid=(f"{PACKAGE}.labels.assistant_labels",),
    mutants=(
        Mutant("loss on the prompt", "torch.where(speaking & ~mark, token", "torch.where(~mark, token", "user's"),
        Mutant(
            "the end not learnt",
            "where(speaking & ~mark, token",
            "where(speaking & ~mark & (token != end), token",
            "never learns to stop",
        ),
        Mutant("padding learnt", " & (token != end))", ")", "padding"),
        Mutant("marks learnt", "where(speaking & ~mark, token", "where(speaking | (token == assistant), token", "mark"),
        Mutant(
            "the first turn alone",
            "speaking = (token == assistant) |",
            "speaking = ((token == assistant) & ~(ids[:, :t] == assistant).any(1)) |",
            "every turn",
        ),
        Mutant(
            "the last turn alone",
            "speaking = (token == assistant) |",
            "speaking = ((token == assistant) & ~(ids[:, t + 1 :] == assistant).any(1)) |",
            "every turn",
        ),
        Mutant(
            "shifted already",
            "return labels",
            "return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORE)], 1)",
            "shift",
        ),
        Mutant("the ids overwritten", "return labels", "ids.copy_(labels)\n    return labels", "in place"),
        Mutant(
            "the assistant speaks on through the user's mark",
            "(token == assistant) | (speaking & ~mark & (token != end))",
            "(token == assistant) | (speaking & (token != end))",
            "mark ends",
        ),
        Mutant("labels that are floats", "return labels", "return labels.float()", "whole numbers"),
        Mutant(
            "the last place never learnt",
            "return labels",
            "labels[:, -1] = IGNORE\n    return labels",
            "assistant end",
        ),
        Mutant("nothing refused", "if not bool((ids == assistant).any(1).all()):", "if False:", "nothing to learn"),
        Mutant(
            "zero for what is not learnt",
            "labels = torch.full_like(ids, IGNORE)",
            "IGNORE = 0\n    labels = torch.full_like(ids, IGNORE)",
            "-100",
        ),
    ),
)
def check_labels(answer: Answer, dice: Dice) -> None:
    for padding in (2, 0, 1):
        ids, words, marks = _conversations(dice, padding)
        right = _kept(ids, words, ("assistant",))
        called = answer.trace(ids, *marks)
        expect_unchanged(called)
        got = expect_tensor(called.value, ids.shape, "The labels")
        floats = "The labels are no whole numbers, and `cross_entropy` would read them as shares of classes."
        expect(not called.value.is_floating_point(), floats, expected="integers", got=f"{called.value.dtype}")
        got = got.long()
        if torch.equal(got, right):
            continue
        first, last = "assistant 0", "assistant 1"
        mistakes = {
            "You learn the user's tokens, too: the model then learns to ask, and the loss is on the prompt.": _kept(
                ids, words, ("assistant", "user", "user end")
            ),
            "You learn the user's tokens, and the padding, too: only what the assistant says is learnt.": _kept(
                ids, words, ("assistant", "user", "user end", "padding")
            ),
            "The end of the assistant's turn is not learnt, so the model never learns to stop.": _kept(
                ids, words, (first, last)
            ),
            "You learn the padding: what comes after an end and before the next mark is nobody's.": _kept(
                ids, words, ("assistant", "padding")
            ),
            "You learn a mark: the marks are written by the template, not by the assistant.": _kept(
                ids, words, ("assistant", "mark")
            ),
            "Label t is token t. The shift by one is made where the loss is computed.": torch.cat(
                [right[:, 1:], torch.full_like(right[:, :1], -100)], 1
            ),
            "This is a single turn of the assistant. Every turn of it is learnt.": _kept(
                ids, words, (first, f"{first} end")
            ),
            "This is one turn of the assistant. Every turn of it is learnt.": _kept(ids, words, (last, f"{last} end")),
            "A mark ends the turn before it, the assistant's, too, where that has no end.": _beyond(right, ids, words),
            "What is not learnt has the label -100, which `cross_entropy` leaves out.": right.masked_fill(
                right == -100, 0
            ),
        }
        hint = next((text for text, value in mistakes.items() if torch.equal(got, value)), "")
        place = (got != right).nonzero()[0].tolist()
        what = words[place[0]][place[1]].replace(" 0", "").replace(" 1", "")
        if not hint:
            hint = {"padding": "That is padding.", "mark": "That is a mark."}.get(
                what, f"That is a token of the {what}."
            )
        raise Failed(
            f"The label at {tuple(place)} is wrong ({what}).",
            expected=int(right[place[0], place[1]]),
            got=int(got[place[0], place[1]]),
            hint=hint,
        )
    lone = torch.tensor([[marks[0], 11, 12, marks[2]], [marks[0], 13, marks[1], marks[2]]])
    refuses(answer, lone, *marks, because="A row without a turn of the assistant has nothing to learn from.")


def _case(dice: Dice) -> tuple[Tensor, Tensor]:
    rows, tokens, vocabulary = dice.integer(3, 4), dice.integer(6, 8), dice.integer(5, 7)
    labels = dice.integers(0, vocabulary - 1, rows, tokens)
    start = dice.integers(1, 2, rows, 1)
    stop = dice.integers(4, tokens - 1, rows, 1)
    stop[0] = tokens
    places = torch.arange(tokens)
    labels = labels.masked_fill((places < start) | (places >= stop), -100)
    return 2 * dice.normal(rows, tokens, vocabulary), labels


def _log_probs(logits: Tensor, labels: Tensor, slip: str = "") -> Tensor:
    """Return the sums, or what a mistake gives."""
    logs = logits.log_softmax(-1)
    if slip == "raw":
        logs = logits
    guesses, targets = (logs, labels) if slip == "not shifted" else (logs[:, :-1], labels[:, 1:])
    learnt = targets != -100
    each = guesses.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    if slip == "over positions":
        each = logits.log_softmax(1)[:, :-1].gather(2, targets.clamp(min=0)[..., None])[..., 0]
    if slip == "shifted back":
        each = (logs[:, 1:].gather(2, labels[:, :-1].clamp(min=0)[..., None])[..., 0]) * (labels[:, :-1] != -100)
        return each.sum(1)
    if slip == "last left out":
        learnt = learnt & (torch.arange(targets.shape[1]) < targets.shape[1] - 1)
    if slip == "bits":
        each = each / math.log(2)
    if slip == "token 0 left out":
        learnt = targets > 0
    if slip == "prompt counted":
        return each.sum(1)
    total = (each * learnt).sum(1)
    if slip == "mean over padding":
        return total / each.shape[1]
    if slip == "mean over padding, all":
        return total / labels.shape[1]
    if slip == "mean":
        return total / learnt.sum(1)
    return -total if slip == "sign" else total


SLIPS = {
    "not shifted": "The logits at t score the token at t + 1: shift by one.",
    "shifted back": "You shift the wrong way: the logits at t score the token at t + 1.",
    "last left out": "The last token is left out: logits lose their last position, labels their first one.",
    "over positions": "The softmax goes over the vocabulary, the last dimension; yours goes over the positions.",
    "bits": "This is in bits. Nats are asked for: the natural logarithm.",
    "token 0 left out": "Token 0 is a token like others. Only -100 is not labelled.",
    "prompt counted": "You count tokens that are not labelled (-100), as if they were token 0.",
    "mean over padding": "This is a mean over all positions, so over prompt and padding, too: an answer "
    "then weighs less the more padding it has. Take the sum over its tokens.",
    "mean over padding, all": "This is a mean over all positions, so over prompt and padding, too. Take the sum over "
    "the answer's tokens.",
    "mean": "This is the mean of the answer's tokens. The log-probability of the whole answer is their sum.",
    "sign": "This is minus the log-probability: a loss.",
    "raw": "Logits are not log-probabilities: log_softmax over the vocabulary comes first.",
}


@exercise(
    "safe_fine_tuning.log_probs",
    "How likely is this answer?",
    points=2,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="answer_log_probs",
    forbid=(f"{PACKAGE}.labels.answer_log_probs",),
    mutants=(
        Mutant("not shifted", "logits[:, :-1].mT, labels[:, 1:]", "logits.mT, labels", "shift"),
        Mutant("mean over padding", "return -losses.sum(1)", "return -losses.mean(1)", "padding"),
        Mutant(
            "mean over the answer",
            "return -losses.sum(1)",
            "return -losses.sum(1) / (labels[:, 1:] != IGNORE).sum(1)",
            "their sum",
        ),
        Mutant("a loss", "return -losses", "return losses", "minus the log"),
        Mutant("the prompt counted", "labels[:, 1:], ignore", "labels[:, 1:].clamp(min=0), ignore", "not labelled"),
        Mutant("detached", "logits[:, :-1].mT", "logits[:, :-1].mT.detach()", "no gradient"),
        Mutant(
            "under no_grad", "    losses = cross", "    with torch.no_grad():\n        losses = cross", "no gradient"
        ),
        Mutant(
            "the last token left out",
            "logits[:, :-1].mT, labels[:, 1:]",
            "logits[:, :-2].mT, labels[:, 1:-1]",
            "last token is left out",
        ),
        Mutant("one number for all", "losses.sum(1)", "losses.sum()", "shape"),
        Mutant("a probability", "return -losses.sum(1)", "return (-losses.sum(1)).exp()", "wrong"),
        Mutant(
            "the gradient of a mean",
            "return -losses.sum(1)",
            "total = -losses.sum(1)\n    return total.detach() + (total - total.detach()) / len(total)",
            "gradient",
        ),
    ),
)
def check_log_probs(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        logits, labels = _case(dice)
        along = 1 + dice.uniform(len(labels))
        called = answer.trace(logits, labels, by=by([0]), along=along)
        leaf = logits.clone().requires_grad_()
        right = _log_probs(leaf, labels)
        wrong = {words: _log_probs(logits, labels, slip) for slip, words in SLIPS.items()}
        expect_close(called.value, right.detach(), "The log-probability of each answer", mistakes=wrong)
        (gradient,) = torch.autograd.grad(right @ along, leaf)
        reaches(called, {0: ("the logits", gradient)}, {})
    longer = torch.cat([logits, dice.normal(len(logits), 3, logits.shape[2])], 1)
    padded = torch.cat([labels, torch.full((len(labels), 3), -100)], 1)
    expect(
        bool(torch.allclose(expect_tensor(answer(longer, padded), (len(labels),), "The answer"), right.detach())),
        "With more padding behind it, the same answer gets another log-probability.",
        hint="Only labelled tokens count.",
    )
