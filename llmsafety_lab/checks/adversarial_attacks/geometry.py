"""Exercise 1: the gradient by the embeddings."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_pair, expect_unchanged
from llmsafety_lab.checking.handles import VectorClassifier

NORMS = ((math.inf, "under infinity"), (2, "under 2"))


def small_model(dice: Dice, width: int, classes: int) -> VectorClassifier:
    """Draw a small classifier."""
    return network(dice.normal(6, width) / 2, 4 * dice.normal(classes, 6))


def network(first: Tensor, second: Tensor) -> VectorClassifier:
    """Return the classifier of these weights."""
    (hidden, width), classes = first.shape, len(second)
    weights = {"first.weight": first, "second.weight": second}
    return VectorClassifier(weights=weights, width=width, classes=classes, hidden=hidden)


def logits(model: VectorClassifier, x: Tensor, training: bool = False) -> Tensor:
    first, second = (model.weights or {}).values()
    hidden = torch.tanh(x @ first.T)
    kept = 2.0 * (torch.arange(len(first)) < len(first) // 2)
    return (hidden * kept if training else hidden).mean(1) @ second.T


def by_embeddings(model: VectorClassifier, x: Tensor, labels: Tensor, what: str = "loss") -> Tensor:
    """Return the gradient, by the embeddings, of the summed loss or of what is taken for it by mistake."""
    x = x.detach().requires_grad_()
    z = logits(model, x)
    values = {
        "loss": lambda: cross_entropy(z, labels, reduction="sum"),
        "logit": lambda: z.gather(1, labels[:, None]).sum(),
        "smooth": lambda: cross_entropy(z, labels, reduction="sum", label_smoothing=0.1),
        "all": lambda: z.sum(),
        "softmax": lambda: cross_entropy(z.softmax(-1), labels, reduction="sum"),
    }
    return torch.autograd.grad(values[what](), x)[0]


def guesses(model: VectorClassifier, x: Tensor) -> Tensor:
    return logits(model, x).argmax(-1)


def sizes(delta: Tensor, norm: float) -> Tensor:
    return torch.linalg.vector_norm(delta.flatten(1), norm, dim=1)


def shrunk(delta: Tensor, length: Tensor, eps: float) -> Tensor:
    return delta * (eps / length).nan_to_num(posinf=1.0).clamp(max=1)


ASKED = "(logits, gradient)"


def clean_hands(called: Called) -> None:
    """Fail unless model and embeddings are as they were, and no gradient was left in the weights."""
    hint = (
        "`backward()` fills the `.grad` of every weight. Ask for the gradient by the embeddings alone: "
        "torch.autograd.grad(loss, x)."
    )
    expect(0 not in called.left, "You left gradients in the model's weights.", hint=hint)
    expect(0 not in called.modes, "You left the model in another mode: put it back, as evaluating(model) does.")
    hint = (
        "Put `requires_grad` of the weights back, or better leave it alone: torch.autograd.grad needs no change there."
    )
    expect(0 not in called.flags, "You left the model's weights frozen, or unfrozen.", hint=hint)
    expect(0 not in called.changed, "You changed the model's weights.")
    hint = "Work with a copy of your own: x = embeddings.detach().requires_grad_() marks that alone."
    expect(1 not in called.flags, "You left the embeddings asking for gradients (`requires_grad`).", hint=hint)
    expect(1 not in called.left, "You left a gradient in the embeddings' `.grad`.", hint=hint)
    expect_unchanged(called, 1, message="You changed the embeddings in place: leave them as they are.")


@exercise(
    "adversarial_attacks.gradient",
    "The gradient by the embeddings",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="loss_gradient",
    mutants=(
        Mutant("left in train mode", "with evaluating(model), torch", "with torch", "dropout"),
        Mutant("under no_grad", "torch.enable_grad()", "torch.no_grad()", "does not require grad"),
        Mutant("mean over the batch", 'reduction="sum"', 'reduction="mean"', "averaged"),
        Mutant(
            "the logit's gradient",
            'cross_entropy(logits, labels, reduction="sum")',
            "logits.gather(1, labels[:, None]).sum()",
            "of the right class's logit",
        ),
        Mutant("downhill", "cross_entropy(", "-cross_entropy(", "downhill"),
        Mutant("softmax twice", "cross_entropy(logits", "cross_entropy(logits.softmax(-1)", "softmax"),
        Mutant("gradients left off", "with evaluating(model), torch.enable_grad():", "with evaluating(model):", "off"),
        Mutant(
            "not put back",
            "with evaluating(model), torch.enable_grad():",
            "model.eval()\n    with torch.enable_grad():",
            "put it back",
        ),
        Mutant(
            "by backward()",
            '(gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), x)',
            'cross_entropy(logits, labels, reduction="sum").backward()\n        gradient = x.grad',
            "left gradients in the model's weights",
        ),
        Mutant(
            "detached",
            "cross_entropy(logits, labels",
            "cross_entropy(logits.detach().requires_grad_(), labels",
            "stopped with",
        ),
        Mutant(
            "embeddings marked",
            "embeddings.detach().requires_grad_()",
            "embeddings.requires_grad_()",
            "a copy of your own",
        ),
        Mutant(
            "weights frozen for good",
            "        x = embeddings.detach().requires_grad_()",
            "        model.requires_grad_(False)\n        x = embeddings.detach().requires_grad_()",
            "weights frozen",
        ),
        Mutant(
            "always back to training",
            "    return logits.detach(), gradient",
            "    model.train()\n    return logits.detach(), gradient",
            "put it back",
        ),
        Mutant("label smoothing", 'reduction="sum"', 'reduction="sum", label_smoothing=0.1', "label smoothing"),
        Mutant(
            "the own answer", "cross_entropy(logits, labels", "cross_entropy(logits, logits.argmax(-1)", "own answer"
        ),
        Mutant(
            "absolute values",
            "return logits.detach(), gradient",
            "return logits.detach(), gradient.abs()",
            "absolute values",
        ),
        Mutant(
            "each token normalised",
            "return logits.detach(), gradient",
            "return logits.detach(), gradient / gradient.norm(dim=-1, keepdim=True)",
            "each token's",
        ),
        Mutant(
            "lengths",
            "return logits.detach(), gradient",
            "return logits.detach(), gradient.norm(dim=-1)",
            "wrong shape",
        ),
        Mutant(
            "logits in train mode",
            "return logits.detach(), gradient",
            "return logits_of(model, embeddings).detach(), gradient",
            "logits of a model that was left in train mode",
        ),
        Mutant("the gradient alone", "return logits.detach(), gradient", "return gradient", "not a pair"),
        Mutant("swapped", "return logits.detach(), gradient", "return gradient, logits.detach()", "wrong shape"),
        Mutant("probabilities", "return logits.detach(),", "return logits.detach().softmax(-1),", "softmax"),
        Mutant(
            "normalised",
            "return logits.detach(), gradient",
            "return logits.detach(), gradient / gradient.norm()",
            "length",
        ),
    ),
)
def check_gradient(answer: Answer, dice: Dice) -> None:
    batch, width, classes = dice.integer(3, 4), dice.integer(4, 6), dice.integer(3, 4)
    x = dice.normal(batch, dice.integer(3, 5), width)
    labels = dice.integers(0, classes - 1, batch)
    model = small_model(dice, width, classes)
    labels[0] = (guesses(model, x)[0] + 1) % classes  # that one is wrong at the least
    exact = by_embeddings(model, x, labels)
    mistakes = {
        "You averaged the loss over the batch, so an example's gradient shrinks with the size of its batch. Sum.": (
            exact / batch
        ),
        "This points downhill: it is the gradient of minus the loss. An attack climbs.": -exact,
        "This is the gradient of the right class's logit. Take that of the cross-entropy.": (
            by_embeddings(model, x, labels, "logit")
        ),
        "cross_entropy takes logits and has the softmax built in: you applied it twice.": (
            by_embeddings(model, x, labels, "softmax")
        ),
        "This is the gradient's sign. Return the gradient itself.": exact.sign(),
        "The gradient has another length: return it as it is.": exact / exact.norm(),
        "You divided each token's gradient by its length: return it as it is.": (
            exact / exact.norm(dim=-1, keepdim=True)
        ),
        "These are absolute values: the sign says which way the loss grows.": exact.abs(),
        "The loss has label smoothing: take the plain cross-entropy.": by_embeddings(model, x, labels, "smooth"),
        "This is the gradient for the model's own answer: take the cross-entropy of the label.": (
            by_embeddings(model, x, guesses(model, x))
        ),
        "This is the gradient of the sum of all logits: take that of the cross-entropy.": (
            by_embeddings(model, x, labels, "all")
        ),
        "This is twice the gradient.": 2 * exact,
        "The gradient is clipped: return it as it is.": exact.clamp(-1, 1),
        "You divided each example's gradient by its length: return it as it is.": (
            exact / sizes(exact, 2)[:, None, None]
        ),
    }
    clean = logits(model, x)
    wrong = {"These are probabilities: no softmax, the first of the two is what logits_of gives.": clean.softmax(-1)}
    called = answer.trace(model, x, labels)
    got, gradient = expect_pair(called.value, "The answer", expected=ASKED)
    expect_close(got, clean, "The logits", mistakes=wrong, hint="The first of the two is what logits_of gives.")
    expect_close(gradient, exact, "The gradient", mistakes=mistakes, hint="One gradient for each number of embeddings.")
    clean_hands(called)

    model = replace(model, training=True)
    called = answer.trace(model, x, labels)
    got, gradient = expect_pair(called.value, "The answer", expected=ASKED)
    hint = (
        "The model came in train mode, as it does in the middle of a training loop, and its dropout was at work. "
        "Hold it in evaluation mode while you compute: with evaluating(model)."
    )
    expect_close(gradient, exact, "The gradient of a model that was left in train mode", mistakes=mistakes, hint=hint)
    expect_close(got, clean, "The logits of a model that was left in train mode", hint=hint)
    clean_hands(called)
    try:
        reply = answer.without_gradients(model, x, labels)
    except Failed as failed:
        hint = "Compute inside of `with torch.enable_grad()`."
        raise Failed(f"Where gradients were switched off: {failed.message}", hint=hint) from None
    _, gradient = expect_pair(reply, "The answer", expected=ASKED)
    expect_close(gradient, exact, "The gradient where gradients were switched off")
