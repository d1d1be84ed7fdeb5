"""Exercise 6: DPO's loss, against its formula written out, and where it must not reach."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_number
from llmsafety_lab.checks.safe_fine_tuning.common import PACKAGE, by, reaches

NAMES = ("the chosen answers' log-probabilities", "the rejected answers' log-probabilities")


def _loss(parts: tuple[Tensor, ...], beta: float, slip: str = "") -> Tensor:
    chosen, rejected, first, second = parts
    if slip == "no reference":
        first, second = torch.zeros_like(first), torch.zeros_like(second)
    margin = beta * ((chosen - first) - (rejected - second))
    if slip == "turned":
        margin = -margin
    if slip == "reference turned":
        margin = beta * ((chosen + first) - (rejected + second))
    if slip == "beta outside":
        return beta * softplus(-margin / beta).mean()
    if slip == "no beta":
        margin = margin / beta
    if slip == "default beta":
        margin = margin / beta * 0.1
    if slip == "divided":
        margin = margin / beta / beta
    if slip == "apart":
        return (softplus(-beta * (chosen - first)) + softplus(beta * (rejected - second))).mean()
    if slip == "smoothed":
        return (softplus(-margin) + 0.1 * margin).mean()
    if slip == "halved":
        return softplus(-margin).mean() / 2
    if slip == "chosen alone":
        return softplus(-(beta * chosen - first - (rejected - second))).mean()
    if slip == "bits":
        return softplus(-margin).mean() / math.log(2)
    if slip == "no log, from 1":
        return (1 - margin.sigmoid()).mean()
    if slip == "mean first":
        return softplus(-margin.mean())
    if slip == "no log":
        return -margin.sigmoid().mean()
    total = softplus(-margin)
    return total.sum() if slip == "summed" else -total.mean() if slip == "sign" else total.mean()


SLIPS = {
    "turned": "The sign of the log ratio is turned round: the rejected answer is made likelier.",
    "reference turned": "The sign of the reference is turned round, or its two columns are exchanged: "
    "a log ratio is log pi minus log pi_ref of the same answer.",
    "no reference": "The reference is left out: then nothing says what the policy started from.",
    "beta outside": "Beta is inside of the sigmoid: it says how large a margin is large.",
    "no beta": "Beta is left out.",
    "default beta": "You use a beta of your own: take the argument beta.",
    "divided": "You divide by beta. The implicit reward is beta times the log ratio.",
    "apart": "You take a sigmoid of each answer alone. DPO's is one sigmoid of the difference of both.",
    "smoothed": "You smooth the labels, which was not asked for.",
    "halved": "You halve it: the mean is over pairs, not over answers.",
    "chosen alone": "Beta multiplies the whole difference; yours multiplies the chosen answer alone.",
    "bits": "This is in bits. Nats are asked for: the natural logarithm.",
    "no log, from 1": "The logarithm of the sigmoid is missing.",
    "mean first": "You take the mean of the margins first. The mean is over the pairs' losses.",
    "no log": "The logarithm of the sigmoid is missing.",
    "summed": "You sum over the pairs; take the mean.",
    "sign": "The sign is turned round: this falls as the pairs get worse.",
}


@exercise(
    "safe_fine_tuning.dpo",
    "Preferences without a reward model",
    points=3,
    difficulty=3,
    importance=5,
    minutes=9,
    answer="dpo_loss",
    forbid=(f"{PACKAGE}.preferences.dpo_loss", f"{PACKAGE}.preferences.bradley_terry_loss"),
    mutants=(
        Mutant("reference model trained too", "reference_chosen.detach()", "reference_chosen", "reference is trained"),
        Mutant(
            "the other reference trained", "reference_rejected.detach()", "reference_rejected", "reference is trained"
        ),
        Mutant("sign of the log ratio", "(ratio - other)", "(other - ratio)", "sign of the log ratio"),
        Mutant(
            "reference added",
            "chosen - reference_chosen.detach()\n    other = rejected - reference",
            "chosen + reference_chosen.detach()\n    other = rejected + reference",
            "minus log pi_ref",
        ),
        Mutant("reference left out", "(ratio - other)", "(chosen - rejected)", "left out"),
        Mutant(
            "references exchanged",
            "chosen - reference_chosen.detach()\n    other = rejected - reference_rejected",
            "chosen - reference_rejected.detach()\n    other = rejected - reference_chosen",
            "exchanged",
        ),
        Mutant("beta outside", "-logsigmoid(beta * (ratio - other))", "-beta * logsigmoid(ratio - other)", "inside"),
        Mutant("beta left out", "beta * (ratio", "(ratio", "left out"),
        Mutant("a beta of its own", "beta * (ratio", "0.1 * (ratio", "argument beta"),
        Mutant(
            "sigmoid alone", "logsigmoid(beta * (ratio - other))", "torch.sigmoid(beta * (ratio - other))", "logarithm"
        ),
        Mutant(
            "logarithm after the sigmoid",
            "logsigmoid(beta * (ratio - other))",
            "torch.sigmoid(beta * (ratio - other)).log()",
            "logsigmoid",
        ),
        Mutant(
            "a sigmoid for each answer",
            "-logsigmoid(beta * (ratio - other)).mean()",
            "-(logsigmoid(beta * ratio) + logsigmoid(-beta * other)).mean()",
            "one sigmoid of the difference",
        ),
        Mutant("mean of the margins", "(ratio - other)).mean()", "(ratio - other).mean())", "margins first"),
        Mutant("rejected cut off", "rejected - reference", "rejected.detach() - reference", "no gradient"),
        Mutant(
            "all cut off",
            "return -logsigmoid",
            "ratio, other = ratio.detach(), other.detach()\n    return -logsigmoid",
            "no gradient",
        ),
    ),
)
def check_dpo(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        pairs, beta = dice.integer(4, 7), 0.2 + 0.5 * dice.uniform(1).item()
        parts = tuple(-10 * dice.uniform(pairs) - 5 for _ in range(4))
        called = answer.trace(*parts, beta, by=by([0, 1, 2, 3]))
        got = expect_number(called.value, "The loss")
        leaves = [part.clone().requires_grad_() for part in parts[:2]]
        right = _loss((*leaves, *parts[2:]), beta)
        if abs(got - float(right)) > 1e-8:
            hints = [text for slip, text in SLIPS.items() if abs(got - float(_loss(parts, beta, slip))) < 1e-8]
            raise Failed("The loss is wrong.", expected=float(right), got=got, hint=hints[0] if hints else "")
        gradients = torch.autograd.grad(right, leaves)
        words = "A gradient goes into the reference: then the reference is trained, too, and the policy may stay bad."
        reaches(called, {i: (NAMES[i], gradients[i]) for i in (0, 1)}, {2: words, 3: words})
    far = torch.full((3,), -3000.0, dtype=torch.float64)
    near = torch.full((3,), -5.0, dtype=torch.float64)
    try:
        got = expect_number(answer(far, near, near, near, 1.0), "The loss of pairs that are very wrong")
    except Failed as failed:
        failed.hint = "A sigmoid of -2995 rounds to 0 and its logarithm is minus infinity: use logsigmoid."
        raise
    expect(
        abs(got - 2995) < 1e-6,
        "The loss of pairs that are very wrong is off.",
        expected=2995.0,
        got=got,
        hint="A sigmoid of -2995 rounds to 0: use logsigmoid.",
    )
