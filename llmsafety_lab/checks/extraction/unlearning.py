"""Exercises 4 and 5: a loss that forgets, and what to ask of a model that is said to have forgotten."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_gradient, expect_list, expect_number, expect_unchanged
from llmsafety_lab.checks.extraction.bits import PACKAGE, agree, refuses


def _npo(forget: Tensor, reference: Tensor, beta: float) -> Tensor:
    return -2 / beta * logsigmoid(-beta * (forget - reference)).mean()


@exercise(
    "extraction.npo",
    "A loss that stops pushing",
    points=4,
    difficulty=3,
    importance=4,
    minutes=13,
    answer="npo_loss",
    forbid=(f"{PACKAGE}.unlearning.npo_loss", f"{PACKAGE}.unlearning.npo_retain"),
    mutants=(
        Mutant("detached", "(forget - reference.detach())", "(forget.detach() - reference.detach())", "No gradient"),
        Mutant(
            "under no_grad",
            "    return 2 / beta * softplus(beta * (forget - reference.detach())).mean()",
            "    with torch.no_grad():\n        return 2 / beta * softplus(beta * (forget - "
            "reference.detach())).mean()",
            "No gradient",
        ),
        Mutant("the reference is trained", "reference.detach()", "reference", "the reference"),
        Mutant(
            "the sign", "beta * (forget - reference.detach())", "beta * (reference.detach() - forget)", "more probable"
        ),
        Mutant("without the reference", "(forget - reference.detach())", "forget", "reference is not in it"),
        Mutant("factor of 2 lost", "2 / beta *", "1 / beta *", "factor of 2"),
        Mutant("not divided by beta", "2 / beta *", "2 *", "divide by beta"),
        Mutant("beta inside alone", "beta * (forget - reference.detach())", "(forget - reference.detach())", "inside"),
        Mutant("the sum", ".mean()", ".sum()", "mean over the texts"),
        Mutant(
            "overflows",
            "softplus(beta * (forget - reference.detach()))",
            "torch.log(1 + torch.exp(beta * (forget - reference.detach())))",
            "overflows",
        ),
        Mutant(
            "gradient ascent",
            "2 / beta * softplus(beta * (forget - reference.detach())).mean()",
            "(forget - reference.detach()).mean()",
            "gradient ascent",
        ),
        Mutant("no refusal", "if not beta > 0 or", "if", "above 0"),
    ),
)
def check_npo(answer: Answer, dice: Dice) -> None:
    for beta in (0.1, 0.5, 1.7):
        count = dice.integer(5, 9)
        reference = -40 - 20 * dice.uniform(count)
        forget = reference + 3 * dice.normal(count)
        called = answer.trace(forget, reference, beta, by=[0, 1])
        got = expect_number(called.value, "The loss")
        right = float(_npo(forget, reference, beta))
        gap = forget - reference
        agree(
            got,
            right,
            f"The loss of {count} texts at beta = {beta} is wrong.",
            {
                "It falls when the texts become more probable: the loss has to fall when they are forgotten.": [
                    float(_npo(reference, forget, beta))
                ],
                "The reference is not in it: each text is compared with what it was before.": [
                    float(_npo(forget, torch.zeros_like(forget), beta))
                ],
                "A factor of 2 is missing.": [right / 2],
                "You do not divide by beta.": [right * beta],
                "Beta belongs inside, too: it multiplies the difference of the log-probabilities.": [
                    float(_npo(forget, reference, 1.0)) / beta
                ],
                "Take the mean over the texts, not the sum.": [right * count],
                "This is gradient ascent: its push never ends.": [float(gap.mean()), float(forget.mean())],
                "Factors before the logarithm are missing: 2 / beta.": [right * beta / 2],
            },
            "2 / beta times the mean of log(1 + (p / p_reference)^beta). The p are probabilities, "
            "and log-probabilities come.",
        )
        hint = "Is there a detach() or a no_grad() around `forget`?"
        expect(called.traced, "No gradient flows through the loss, so it cannot train.", hint=hint)
        gradient = called.gradients[0][""]
        expect(gradient is not None, "No gradient reaches the model's log-probabilities.", hint=hint)
        exact = 2 / count * torch.sigmoid(beta * gap)
        expect_gradient(gradient, exact, "the log-probabilities", tolerance=1e-6, hint=hint)
        other = called.gradients[1][""]
        expect(
            other is None or not bool(other.abs().max() > 0),
            "A gradient reaches the reference, which has to stay as it was.",
            hint="`reference.detach()`: the model before unlearning is not trained.",
        )
        expect_unchanged(called)
    far = reference + 2000 * torch.tensor([1.0, -1.0] * count)[:count]
    hint = "exp() overflows for a text that has become far more probable. `softplus` or `logsigmoid` do not."
    called = answer.trace(far, reference, 1.0, by=[0])
    try:
        got = expect_number(called.value, "The loss of a text that has become far more probable")
    except Failed as failed:
        raise Failed(failed.message, expected="about 2,000 for each", got=failed.got, hint=hint) from None
    agree(got, float(_npo(far, reference, 1.0)), "The loss of texts that changed much is wrong.", {}, hint)
    expect_gradient(
        called.gradients[0][""], 2 / count * torch.sigmoid(far - reference), "the log-probabilities", hint=hint
    )
    refuses(answer, forget, reference, 0.0, because="beta = 0 is taken: it is above 0.")


def _verdict(rows: list[np.ndarray], forgotten: np.ndarray, outsiders: np.ndarray, slip: str = "") -> list[float]:
    was, now, again, never, never_again = (row.mean() for row in rows)
    whole = was if slip == "zero" else was - never
    lower = ((forgotten[:, None] < outsiders) + 0.5 * (forgotten[:, None] == outsiders)).mean()
    if slip == "ratios":
        return [float(((rows[0] - rows[1]) / (rows[0] - rows[3])).mean()), 0.0, 0.0]
    back = {"control": again - now, "from never": again - never_again}.get(slip, (again - now) - (never_again - never))
    if slip == "own":
        whole_back = was - now
        return [float((was - now) / whole), float(back / whole_back), float(max(lower, 1 - lower))]
    traced = {"one side": lower, "turned": 1 - lower}.get(slip, max(lower, 1 - lower))
    return [float((was - now) / whole), float(back / whole), float(traced)]


JUDGED: dict[str, tuple[int, str]] = {
    "zero": (
        0,
        "You compare with 0 bits. A model that never saw the canaries has some exposure, too: "
        "compare with the retrained one.",
    ),
    "ratios": (0, "This is a mean of ratios: a canary with little to forget then weighs most. Take means first."),
    "control": (
        1,
        "There is no control: the short training changes the retrained model's exposure, too. Subtract that.",
    ),
    "from never": (1, "Compare each model with itself before the short training."),
    "own": (1, "Divide by all that there was to forget, not by what was forgotten."),
    "one side": (2, "The trace looks at one side. A forgotten record whose loss is too high is recognised as well."),
    "turned": (2, "The trace looks at one side. A forgotten record whose loss is too low is recognised as well."),
}


@exercise(
    "extraction.judge",
    "Is it gone?",
    points=4,
    difficulty=3,
    importance=5,
    minutes=14,
    answer="judge",
    forbid=(f"{PACKAGE}.unlearning.judge",),
    mutants=(
        Mutant(
            "compared with zero", "    forgot = (was - now) / (was - never)", "    forgot = (was - now) / was", "0 bits"
        ),
        Mutant("no control for relearning", "((again - now) - (never_again - never))", "(again - now)", "no control"),
        Mutant("one side of the trace", "max(one_sided, 1 - one_sided)", "one_sided", "one side"),
        Mutant("the other side", "max(one_sided, 1 - one_sided)", "1 - one_sided", "one side"),
        Mutant(
            "mean of ratios",
            "    forgot = (was - now) / (was - never)",
            "    forgot = float(np.mean((rows[0] - rows[1]) / (rows[0] - rows[3])))",
            "mean of ratios",
        ),
        Mutant(
            "what is left",
            "    forgot = (was - now) / (was - never)",
            "    forgot = (now - never) / (was - never)",
            "is left",
        ),
        Mutant(
            "of what was forgotten",
            "(never_again - never)) / (was - never)",
            "(never_again - never)) / (was - now)",
            "all that there was",
        ),
        Mutant(
            "against the retrained one",
            "((again - now) - (never_again - never))",
            "(again - never_again)",
            "with itself",
        ),
        Mutant(
            "by the mean loss",
            "max(one_sided, 1 - one_sided)",
            "abs(float(np.mean(forgotten)) - float(np.mean(outsiders)))",
            "area",
        ),
        Mutant("cut at 1", "    return forgot, returned,", "    return min(forgot, 1.0), returned,", "Do not cut"),
        Mutant("no refusal", "    if not was > never:", "    if False:", "nothing to forget"),
    ),
)
def check_judge(answer: Answer, dice: Dice) -> None:
    cases = []
    for low, shift in ((4.0, 0.7), (2.0, -0.7), (-0.8, 0.4)):
        count = dice.integer(6, 9)
        never = np.abs(dice.normal(count).numpy()) + 0.6
        was = 9 + 3 * dice.uniform(count).numpy()
        now = never + low * (0.5 + dice.uniform(count).numpy()) if low > 0 else never * 0.4
        again, never_again = now + 1 + 2 * dice.uniform(count).numpy(), never + 0.4 + 0.3 * dice.uniform(count).numpy()
        forgotten = np.round(2 + shift + dice.normal(30).numpy(), 1)
        cases.append(([was, now, again, never, never_again], forgotten, np.round(2 + dice.normal(40).numpy(), 1)))
    for rows, forgotten, outsiders in cases:
        got = expect_list(
            answer(*rows, forgotten, outsiders), "The verdict", length=3, expected="(forgot, returned, trace)"
        )
        came = [expect_number(value, f"{name} in the verdict") for name, value in zip(NAMES, got, strict=True)]
        right = _verdict(rows, forgotten, outsiders)
        for place, name in enumerate(NAMES):
            mistakes: dict[str, list[float]] = {
                words: [_verdict(rows, forgotten, outsiders, slip)[place]]
                for slip, (at, words) in JUDGED.items()
                if at == place
            }
            if place == 0:
                mistakes["This is the share that is left. Asked is the share that was forgotten."] = [1 - right[0]]
                mistakes[
                    "Do not cut it: above 1 the secret is less exposed than one that was never seen, "
                    "and that is a finding."
                ] = [min(1.0, right[0])]
            hint = (
                "An area under the ROC curve: how often a forgotten record has the lower loss, or "
                "the higher one, whichever is "
                "more often. Ties count one half."
                if place == 2
                else "Means over the canaries first; the whole is the mean before minus the mean of "
                "the retrained model."
            )
            agree(came[place], right[place], f"`{name}` is wrong.", mistakes, hint)
    rows, forgotten, outsiders = cases[0]
    none = [rows[3], *rows[1:]]
    refuses(
        answer, *none, forgotten, outsiders, because="There was nothing to forget, and your function divides by it."
    )


NAMES = ("forgot", "returned", "trace")
