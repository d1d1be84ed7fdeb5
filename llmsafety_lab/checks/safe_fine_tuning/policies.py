"""Exercises 3 and 5: REINFORCE with the baseline of the others, and the distance from the reference."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_number, expect_tensor
from llmsafety_lab.checks.safe_fine_tuning.common import PACKAGE, by, reaches, refuses


def _advantages(scores: Tensor, slip: str = "") -> Tensor:
    samples = scores.shape[1]
    centred = scores - scores.mean(1, keepdim=True)
    if slip == "none":
        return scores
    if slip == "own":
        return centred
    if slip == "batch":
        return scores - scores.mean()
    if slip == "batch others":
        return (scores - scores.mean()) * scores.numel() / (scores.numel() - 1)
    if slip == "of all":
        return scores - (scores.sum(1, keepdim=True) - scores) / samples
    if slip == "sum of all":
        return scores - scores.sum(1, keepdim=True) / (samples - 1)
    if slip == "first":
        return scores - scores[:, :1]
    if slip == "spread":
        return centred / scores.std(1, keepdim=True)
    return centred * samples / (samples - 1)


def _reinforce(logs: Tensor, scores: Tensor, slip: str = "") -> Tensor:
    return -(_advantages(scores, slip) * logs).mean()


PLAIN = {
    "own": "Your baseline is the mean of all answers to the question, this one's own score in it. Take the others'.",
    "none": "There is no baseline in it.",
    "batch": "Your baseline is the mean of the whole batch: easy questions then look good, hard ones bad.",
    "batch others": "Your baseline is over the whole batch. Take the other answers to the same question.",
    "of all": "You divide the others' sum by the number of all answers. The others are one fewer.",
    "sum of all": "You divide the sum of all by the number of the others: this one's own score is still in it.",
    "first": "Your baseline is the first answer's score. Take the mean of the others.",
    "spread": "You divide by the deviation, as GRPO does. REINFORCE does not.",
}


@exercise(
    "safe_fine_tuning.policy_gradient",
    "A step without a gradient of the score",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="reinforce_loss",
    forbid=(f"{PACKAGE}.policy_gradient.reinforce_loss", f"{PACKAGE}.policy_gradient.group_advantages"),
    mutants=(
        Mutant(
            "its own score in the baseline",
            "(advantage.sum(1, keepdim=True) - advantage) / (samples - 1)",
            "advantage.mean(1, keepdim=True)",
            "own score",
        ),
        Mutant(
            "the batch's mean",
            "(advantage.sum(1, keepdim=True) - advantage) / (samples - 1)",
            "advantage.mean()",
            "whole batch",
        ),
        Mutant(
            "the other questions'",
            "(advantage.sum(1, keepdim=True) - advantage) / (samples - 1)",
            "(advantage.sum() - advantage) / (advantage.numel() - 1)",
            "whole batch",
        ),
        Mutant("away from good answers", "return -(advantage", "return (advantage", "away from"),
        Mutant("gradient into the scores", "advantage = scores.detach()", "advantage = scores", "into the scores"),
        Mutant("no baseline", "    if baseline:", "    if False:", "no baseline"),
        Mutant("always a baseline", "    if baseline:", "    if True:", "baseline=False"),
        Mutant("summed", ").mean()", ").sum()", "you sum"),
        Mutant("probabilities", "(advantage * log_probs)", "(advantage * log_probs.exp())", "log-probabilities"),
        Mutant("cut off", "(advantage * log_probs)", "(advantage * log_probs.detach())", "no gradient"),
        Mutant(
            "GRPO's advantage",
            "    return -(advantage",
            "    if baseline:\n        advantage = scores - scores.mean(1, keepdim=True)\n"
            "        advantage = advantage / scores.std(1, keepdim=True)\n"
            "    return -(advantage",
            "deviation",
        ),
        Mutant(
            "one sample never allowed",
            "    if baseline:",
            "    if samples < 2:\n        raise ValueError('two')\n    if baseline:",
            "for baseline=True alone",
        ),
        Mutant("divided by all", "/ (samples - 1)", "/ samples", "one fewer"),
        Mutant("one sample allowed", "if samples < 2:", "if False:", "two"),
    ),
)
def check_policy_gradient(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        prompts, samples = dice.integer(3, 5), dice.integer(3, 5)
        logs = -4 * dice.uniform(prompts, samples)
        scores = dice.normal(prompts, samples) + 3 * dice.normal(prompts, 1)
        for flag, slip in ((True, ""), (False, "none")):
            words = f"with baseline={flag}"
            called = answer.trace(logs, scores, flag, by=by([0, 1]))
            got = expect_number(called.value, f"The loss {words}")
            leaf = logs.clone().requires_grad_()
            right = _reinforce(leaf, scores, slip)
            wrong = {text: float(_reinforce(logs, scores, other)) for other, text in PLAIN.items() if other != slip}
            if not flag:
                wrong = {"With baseline=False the scores count as they are.": float(_reinforce(logs, scores))}
            wrong["The sign is turned round: a step would go away from good answers."] = -float(right)
            wrong["You sum over the answers; take the mean."] = float(right) * logs.numel()
            wrong["You sum over a question's answers; take the mean over these, too."] = float(right) * samples
            wrong["You sum over the questions; take the mean over these, too."] = float(right) * prompts
            advantage = _advantages(scores, slip)
            wrong["The score multiplies log-probabilities, not probabilities."] = -float(
                (advantage * logs.exp()).mean()
            )
            if abs(got - float(right)) > 1e-8:
                hint = next((text for text, value in wrong.items() if abs(got - value) < 1e-8), "")
                raise Failed(f"The loss {words} is wrong.", expected=float(right), got=got, hint=hint)
            (gradient,) = torch.autograd.grad(right, leaf)
            reaches(
                called,
                {0: ("the log-probabilities", gradient)},
                {1: "A gradient goes into the scores. They judge finished answers: no step may change them."},
            )
    refuses(answer, logs[:, :1], scores[:, :1], because="The others' mean needs two answers to a question at least.")
    try:
        got = expect_number(answer(logs[:, :1], scores[:, :1], False), "The loss of one answer to a question")
    except Failed as failed:
        failed.hint = "Without a baseline one answer to a question is enough: raise for baseline=True alone."
        raise
    alone = float(_reinforce(logs[:, :1], scores[:, :1], "none"))
    expect(abs(got - alone) < 1e-8, "The loss of one answer to a question is wrong.", expected=alone, got=got)


def _kl(logits: Tensor, reference: Tensor, answer: Tensor, slip: str = "") -> Tensor:
    p, q = logits.log_softmax(-1), reference.log_softmax(-1)
    if slip == "turned":
        p, q = q, p
    each = (p.exp() * (p - q)).sum(-1)
    if slip == "crossed":
        each = -(p.exp() * q).sum(-1)
    if slip == "both":
        each = ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2
    if slip == "bits":
        each = each / math.log(2)
    if slip == "last left out":
        return (each[:, :-2] * answer[:, 1:-1]).sum(1)
    if slip == "all":
        return each[:, :-1].sum(1)
    if slip == "not shifted":
        return (each * answer).sum(1)
    if slip == "not shifted, cut":
        return (each * answer)[:, :-1].sum(1)
    total = (each[:, :-1] * answer[:, 1:]).sum(1)
    if slip == "mean":
        return total / answer[:, 1:].sum(1)
    if slip == "mean over padding":
        return total / (answer.shape[1] - 1)
    return -total if slip == "sign" else total


DISTANCES = {
    "turned": "This is KL(reference | policy), the other direction. The policy's probabilities weigh the differences.",
    "all": "You count prompt and padding, too. Only the answer's tokens count.",
    "not shifted": "Token t is predicted at position t - 1: shift the answer's mask by one.",
    "not shifted, cut": "Token t is predicted at position t - 1: shift the answer's mask by one, not the logits alone.",
    "crossed": "This is the cross-entropy. The divergence takes the policy's own entropy off.",
    "both": "This is the mean of both directions. Take KL(policy | reference) alone.",
    "bits": "This is in bits. Nats are asked for: the natural logarithm.",
    "last left out": "The last token of the answer is left out.",
    "mean": "This is the mean over the answer's tokens. The divergence of a whole answer is their sum.",
    "mean over padding": "This is a mean over all positions, padding among them. Sum over the answer's tokens.",
    "sign": "The sign is turned round: a divergence is never below 0.",
}


@exercise(
    "safe_fine_tuning.kl",
    "How far from the reference?",
    points=2,
    difficulty=3,
    importance=4,
    minutes=9,
    answer="kl_to_reference",
    forbid=(f"{PACKAGE}.policy_gradient.kl_to_reference",),
    mutants=(
        Mutant("the other direction", "log_policy.exp() *", "log_reference.exp() *", "wrong"),
        Mutant(
            "turned round whole",
            "(log_policy.exp() * (log_policy - log_reference))",
            "(log_reference.exp() * (log_reference - log_policy))",
            "other direction",
        ),
        Mutant("prompt and padding counted", "(each * answer[:, 1:])", "each", "padding"),
        Mutant("mask not shifted", "answer[:, 1:]", "answer[:, :-1]", "shift"),
        Mutant("mean over padding", ").sum(1)", ").mean(1)", "padding"),
        Mutant("mean over the answer", ".sum(1)", ".sum(1) / answer[:, 1:].sum(1)", "their sum"),
        Mutant("reference trained too", "reference[:, :-1].detach()", "reference[:, :-1]", "reference is trained"),
        Mutant("policy cut off", "logits[:, :-1].log_softmax", "logits[:, :-1].detach().log_softmax", "no gradient"),
        Mutant("the last token left out", ".sum(1)", "[:, :-1].sum(1)", "last token"),
        Mutant("cross-entropy", "(log_policy - log_reference)", "(-log_reference)", "own entropy"),
        Mutant("sign", "(log_policy - log_reference)", "(log_reference - log_policy)", "sign"),
        Mutant("half of the gradient", "log_policy.exp() *", "log_policy.exp().detach() *", "gradient"),
    ),
)
def check_kl(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        rows, tokens, vocabulary = dice.integer(3, 4), dice.integer(6, 8), dice.integer(4, 6)
        logits, reference = 2 * dice.normal(rows, tokens, vocabulary), 2 * dice.normal(rows, tokens, vocabulary)
        places = torch.arange(tokens)
        start, length = dice.integers(1, 2, rows, 1), dice.integers(2, 3, rows, 1)
        length[0] = tokens
        mask = (places >= start) & (places < start + length)
        along = 1 + dice.uniform(rows)
        called = answer.trace(logits, reference, mask, by=by([0, 1]), along=along)
        leaf = logits.clone().requires_grad_()
        right = _kl(leaf, reference, mask)
        wrong = {words: _kl(logits, reference, mask, slip) for slip, words in DISTANCES.items()}
        expect_close(called.value, right.detach(), "The divergence of each answer", mistakes=wrong)
        (gradient,) = torch.autograd.grad(right @ along, leaf)
        reaches(
            called,
            {0: ("the policy's logits", gradient)},
            {1: "A gradient goes into the reference: then the reference is trained, too, and the leash moves along."},
        )
    same = expect_tensor(answer(logits, logits, mask), (rows,), "The divergence from itself")
    expect_close(same, torch.zeros(rows), "The divergence of a policy from itself")
