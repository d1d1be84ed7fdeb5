"""Exercise 2: a step of training."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checks.robust_training.cases import (
    by_weights,
    draw,
    flat,
    in_one_row,
    logits,
    slope,
    weights_of,
)


def _there(model: VectorClassifier, x: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the gradients of the mean loss by the weights."""
    return by_weights(model, lambda it: cross_entropy(logits(it, x), labels))


@exercise(
    "robust_training.step",
    "One step of training",
    points=2,
    difficulty=2,
    importance=4,
    minutes=10,
    answer="robust_step",
    mutants=(
        Mutant("attack's gradients kept", "        weight.grad = None", "        pass", "attack left"),
        Mutant("uphill", "weight -= lr", "weight += lr", "uphill"),
        Mutant("clean text", "embeddings + delta", "embeddings", "clean"),
        Mutant(
            "rewards being different",
            "cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "(cross_entropy(logits_of(model, embeddings), labels) "
            "- cross_entropy(logits_of(model, embeddings + delta), labels)).backward()",
            "rewards",
        ),
        Mutant("a rate of its own", "weight -= lr * weight.grad", "weight -= 0.1 * weight.grad", "learning rate"),
        Mutant(
            "copies changed",
            "weight -= lr * weight.grad\n    return [weight.detach().clone()",
            "pass\n    return [(weight - lr * weight.grad).detach()",
            "in place",
        ),
        Mutant(
            "stepped twice", "weight -= lr * weight.grad", "weight -= lr * weight.grad + lr * weight.grad", "two steps"
        ),
        Mutant(
            "under no_grad",
            "    cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "    with torch.no_grad():\n"
            "        loss = cross_entropy(logits_of(model, embeddings + delta), labels)\n    loss.backward()",
            "does not require grad",
        ),
        Mutant(
            "detached",
            "logits_of(model, embeddings + delta)",
            "logits_of(model, embeddings + delta).detach().requires_grad_()",
            "stopped with",
        ),
        Mutant(
            "sum over the batch",
            "cross_entropy(logits_of(model, embeddings + delta), labels)",
            'cross_entropy(logits_of(model, embeddings + delta), labels, reduction="sum")',
            "mean over the batch",
        ),
        Mutant(
            "last layer alone",
            "for weight in weights_of(model):\n            weight -=",
            "for weight in weights_of(model)[1:]:\n            weight -=",
            "every weight",
        ),
        Mutant(
            "embeddings changed",
            "    cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "    embeddings += delta\n    cross_entropy(logits_of(model, embeddings), labels).backward()",
            "the weights alone",
        ),
        Mutant("the gradient's sign", "weight -= lr * weight.grad", "weight -= lr * weight.grad.sign()", "sign"),
        Mutant("the other side", "embeddings + delta", "embeddings - delta", "added to the embeddings"),
        Mutant(
            "half clean",
            "    cross_entropy(logits_of(model, embeddings + delta), labels).backward()",
            "    both = [cross_entropy(logits_of(model, x), labels) for x in (embeddings, embeddings + delta)]\n"
            "    (sum(both) / 2).backward()",
            "on both texts",
        ),
        Mutant(
            "clipped",
            "    with torch.no_grad():",
            "    nn.utils.clip_grad_norm_(model.parameters(), 0.01)\n    with torch.no_grad():",
            "plain gradient descent",
        ),
    ),
)
def check_step(answer: Answer, dice: Dice) -> None:
    model, x, labels, mask = draw(dice, False)
    eps, lr = 0.2 + 0.2 * float(dice.uniform(1)), 0.02 * dice.integer(1, 4)
    weights = weights_of(model)
    at = x.clone().requires_grad_()
    delta = eps * slope(cross_entropy(logits(model, at), labels, reduction="sum"), at, mask).sign()
    clean, there = _there(model, x, labels), _there(model, x + delta, labels)
    attack = [len(x) * gradient for gradient in clean]

    def after(*parts: tuple[float, list[Tensor]]) -> Tensor:
        return flat([w - lr * sum(k * g[i] for k, g in parts) for i, w in enumerate(weights)])

    mistakes = {
        "The gradients that the attack left in the weights were added to those of the training. Clear them after the "
        "attack, before your own backward().": after((1, there), (1, attack)),
        "The step goes uphill: it raises the loss. The attack climbs, the training descends.": after((-1, there)),
        "This is a step on the clean text: the perturbation is not used.": after((1, clean)),
        "This rewards the model for a different answer under attack.": after((1, clean), (-1, there)),
        "The attack's gradients were added, and the text was clean.": after((1, clean), (1, attack)),
        "The weights did not change.": after(),
        "The weights moved by the attack's gradients alone.": after((1, attack)),
        "The step has another length: the learning rate is `lr`.": after((0.1 / lr, there)),
        "The step has another length, it is 0.01: the learning rate is `lr`.": after((0.01 / lr, there)),
        "This steps by the gradient's sign, as Adam's first step does: take the gradient itself.": (
            after((1, [gradient.sign() for gradient in there]))
        ),
        "This divides by the batch's size once more: cross_entropy has taken the mean.": after((1 / len(x), there)),
        "This is a step on both texts, clean and perturbed: take the perturbed one alone.": after(
            (1, there), (1, clean)
        ),
        "This is a step on both texts, half each: take the perturbed one alone.": after((0.5, there), (0.5, clean)),
        "The perturbation has to be added to the embeddings.": after((1, _there(model, x - delta, labels))),
        "The perturbation is added twice.": after((1, _there(model, x + 2 * delta, labels))),
        "These are two steps: take one.": after((2, there)),
        "This is a step on the sum over the batch: take the mean over the batch.": after((len(x), there)),
        "Only the last layer has moved: every weight takes the step.": after((1, [0 * there[0], there[1]])),
        "Only the first layer has moved: every weight takes the step.": after((1, [there[0], 0 * there[1]])),
    }
    called = answer.trace(model, x, labels, mask, eps, lr)
    got = in_one_row(called.value, weights, "The weights after the step")
    hint = "This is plain gradient descent on the mean cross-entropy at embeddings + delta: weight -= lr * weight.grad."
    what = "The weights after the step, laid in one row,"
    expect_close(got, after((1, there)), what, mistakes=mistakes, hint=hint)
    expect_unchanged(called, *range(1, 6), message="You changed an argument: a step changes the weights alone.")
    hint = "Under torch.no_grad(): weight -= ..., and not weight = weight - ..., which makes a new tensor."
    expect(0 in called.changed, "The model's weights are as they were: change them in place.", hint=hint)
