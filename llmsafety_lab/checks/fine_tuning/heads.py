"""Exercise 3: a head that predicts and leaves its mode as it was."""

from __future__ import annotations

import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_tensor, expect_unchanged


@exercise(
    "fine_tuning.predict",
    "Predict in evaluation mode",
    points=3,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="Head",
    mutants=(
        Mutant("evaluation in train mode", "        self.eval()\n", "", "dropout"),
        Mutant("left in evaluation mode", "        self.train(was_training)\n", "", "as you found it"),
        Mutant(
            "last batch lost",
            "range(0, len(vectors), batch_size)",
            "range(0, len(vectors) - batch_size, batch_size)",
            "every text",
        ),
        Mutant(
            "batch_size ignored",
            "[self(vectors[i : i + batch_size]) for i in range(0, len(vectors), batch_size)]",
            "[self(vectors)]",
            "at a time",
        ),
        Mutant("logits", ".softmax(-1)", "", "sum to 1"),
        Mutant("normalised over the texts", ".softmax(-1)", ".softmax(0)", "over the classes"),
        Mutant("always training", "self.train(was_training)", "self.train()", "as you found it"),
        Mutant("dropout alone", "self.train(was_training)", "self.dropout.train(was_training)", "as you found it"),
        Mutant("turned round", "self.train(was_training)", "self.train(not was_training)", "as you found it"),
        Mutant("no dropout any more", "self.eval()\n", "self.dropout.p = 0\n", "do not change the dropout layer"),
        Mutant("with gradients", "with torch.no_grad():", "if True:", "without gradients"),
        Mutant(
            "frozen",
            "        self.eval()\n",
            "        self.eval()\n        self.requires_grad_(False)\n",
            "no gradient flows",
        ),
        Mutant(
            "frozen in part",
            "        self.eval()\n",
            "        self.eval()\n        self.linear.bias.requires_grad_(False)\n",
            "frozen",
        ),
        Mutant(
            "gradients left off",
            "        with torch.no_grad():\n",
            "        torch.set_grad_enabled(False)\n        if True:\n",
            "no gradients for anything",
        ),
        Mutant(
            "vectors changed",
            "        self.eval()\n",
            "        self.eval()\n        vectors *= 1.0 + 1e-6\n",
            "in place",
        ),
    ),
)
def check_predict(answer: Answer, dice: Dice) -> None:
    width, classes, batch_size = dice.integer(6, 9), dice.integer(2, 4), dice.integer(3, 5)
    texts = 2 * batch_size + dice.integer(1, batch_size - 1)
    vectors = dice.normal(texts, width).float()
    weight, bias = dice.normal(classes, width).float(), dice.normal(classes).float()
    head = answer.new(width, classes, 0.5)
    head.load({"linear.weight": weight, "linear.bias": bias})
    logits = vectors.double() @ weight.double().T + bias.double()
    called = head.trace("predict", vectors, batch_size)
    first = called.value
    if isinstance(first, torch.Tensor) and first.ndim == 2 and first.shape[0] != texts:
        raise Failed(
            "There is not one row for every text.",
            expected=[texts, classes],
            got=list(first.shape),
            hint="A text is in two batches: range(0, len(vectors), batch_size) gives where each begins."
            if first.shape[0] > texts
            else "range(0, len(vectors), batch_size) gives where each batch begins. The last one may be smaller, and "
            "counts. Put all of them together with torch.cat.",
        )
    second = head.predict(vectors, batch_size)
    form = "One tensor, with a row for each text and a column for each class: torch.cat of the batches, then softmax."
    first = expect_tensor(first, (texts, classes), "The table of probabilities", hint=form)
    second = expect_tensor(second, (texts, classes), "The table of probabilities")
    expect(
        torch.equal(first, second),
        "Two calls with the same vectors give two answers.",
        expected=first[0],
        got=second[0],
        hint="Dropout is on: a model that is being trained answers at random. Switch to evaluation mode first, by "
        "self.eval().",
    )
    expect_close(
        first,
        logits.softmax(-1),
        "The table of probabilities",
        tolerance=1e-5,
        mistakes={
            "These are logits. Each row has to sum to 1: take the softmax.": logits,
            "The softmax has to run over the classes, the last dimension, and not over the texts.": logits.softmax(0),
            "The softmax has to run over the classes, and not over the texts of a batch.": torch.cat(
                [batch.softmax(0) for batch in logits.split(batch_size)]
            ),
            "You take the softmax twice: forward gives logits, and predict takes their softmax once.": (
                logits.softmax(-1).softmax(-1)
            ),
            "These are log-probabilities: softmax, and not log_softmax.": logits.log_softmax(-1),
            "The probabilities of a text have to sum to 1: softmax, and not sigmoid.": logits.sigmoid(),
        },
        hint="The probabilities are the softmax of what forward gives, with dropout off.",
    )
    expect(
        not called.traced,
        "A gradient flows through the probabilities.",
        hint="Compute them without gradients: torch.no_grad().",
    )
    expect(
        "gradients" not in called.stirred,
        "After predict torch computes no gradients for anything, so no training can go on.",
        hint="torch.set_grad_enabled(False) stays. Write `with torch.no_grad():`, which ends with its block.",
    )
    expect_unchanged(called, 0)
    batches = -(-texts // batch_size)
    expect(
        called.forwards == batches,
        f"{texts} vectors are computed in {called.forwards} calls of the module, and not {batch_size} at a time.",
        expected=f"{batches} calls of self(...), each with at most {batch_size} vectors",
        got=called.forwards,
        hint="A batch is what fits into memory: call the module, self(...), on vectors[i : i + batch_size] alone."
        if called.forwards
        else "Call the module as self(batch), not self.forward(batch) or its layers: only then do its hooks run.",
    )
    hint = (
        "Leave the mode as you found it. In evaluation mode the training that goes on would go on without dropout; in "
        "training mode the next answer is drawn at random. self.training says which mode it is, self.train(True or "
        "False) sets it."
    )
    for training, name, other in ((True, "training", "evaluation"), (False, "evaluation", "training")):
        head.train(training)
        left = head.trace("predict", vectors, batch_size).modes
        one, two = (expect_tensor(head(vectors), (texts, classes), "What forward gives") for _ in range(2))
        expect(
            bool(left) or not training or not torch.equal(one, two),
            "After predict the module is in training mode, and dropout is off all the same.",
            hint="Two calls in training mode give the same answer. Switch dropout off by self.eval() alone: do not "
            "change the dropout layer, and leave it in forward.",
        )
        expect(
            torch.equal(one, two) is not training and not left,
            f"After predict the module is in {other} mode, and it was in {name} mode before.",
            hint=hint,
        )
        expect(
            head.trace("__call__", vectors).traced,
            "After predict no gradient flows through forward, so the training cannot go on.",
            hint="Switch gradients off for the computation alone, by torch.no_grad(), and not for the weights.",
        )
    expect(
        not called.flags,
        "After predict some of the weights are frozen: their requires_grad is another than before.",
        hint="Switch gradients off for the computation alone, by torch.no_grad(), and not for the weights.",
    )
