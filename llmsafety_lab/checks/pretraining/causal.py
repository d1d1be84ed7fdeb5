"""Exercises 1 to 3: the loss of the next token, the learning rate, and perplexity, against sums over single tokens."""

from __future__ import annotations

import math
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_close, expect_gradient, expect_tensor, expect_unchanged


def number(reply: Any, what: str) -> Any:
    """Return a reply that is one number, as a tensor of float64, or fail."""
    import torch

    if isinstance(reply, int | float) and not isinstance(reply, bool):
        return torch.tensor(float(reply), dtype=torch.float64)
    return expect_tensor(reply, (), what, hint="Return one number.")


@exercise(
    "pretraining.causal_loss",
    "Score the next token",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="causal_loss",
    mutants=(
        Mutant(
            "labels not shifted",
            "guesses = logits[:, :-1].log_softmax(-1)\n    targets = ids[:, 1:]",
            "guesses = logits.log_softmax(-1)\n    targets = ids",
            "not shifted",
        ),
        Mutant(
            "labels shifted back",
            "guesses = logits[:, :-1].log_softmax(-1)\n    targets = ids[:, 1:]",
            "guesses = logits[:, 1:].log_softmax(-1)\n    targets = ids[:, :-1]",
            "the wrong way",
        ),
        Mutant(
            "the end asks for the start",
            "guesses = logits[:, :-1].log_softmax(-1)\n    targets = ids[:, 1:]",
            "guesses = logits.log_softmax(-1)\n    targets = ids.roll(-1, 1)",
            "first token of the text",
        ),
        Mutant("sum instead of mean", ".mean()", ".sum()", "you summed"),
        Mutant("minus forgotten", "return -guesses", "return guesses", "minus"),
        Mutant("no softmax", ".log_softmax(-1)", "", "logits are not"),
        Mutant("softmax over the positions", ".log_softmax(-1)", ".log_softmax(1)", "over the vocabulary"),
        Mutant("a number", ".mean()", ".mean().item()", "needs its gradient"),
        Mutant("cut off at the end", "return -guesses", "return -guesses.detach()", "no gradient"),
        Mutant("detached", "logits[:, :-1]", "logits.detach()[:, :-1]", "no gradient"),
        Mutant(
            "under no_grad",
            "    guesses = logits[:, :-1].log_softmax(-1)",
            "    with torch.no_grad():\n        guesses = logits[:, :-1].log_softmax(-1)",
            "no gradient",
        ),
    ),
)
def check_causal_loss(answer: Answer, dice: Dice) -> None:
    from torch import autograd, stack, tensor

    for batch, tokens, vocabulary in ((1, 4, 7), (3, dice.integer(6, 9), 11)):
        logits = 2 * dice.normal(batch, tokens, vocabulary)
        ids = (
            dice.uniform(batch, vocabulary).argsort(1)[:, :tokens]
            if batch == 1
            else dice.integers(0, 10, batch, tokens)
        )
        chances = (logits.exp() / logits.exp().sum(-1, keepdim=True)).log()
        over_time = logits[:, :-1].log_softmax(1)

        def mean(scores: Any, pairs: list[tuple[int, int]], batch: int = batch, ids: Any = ids) -> Any:
            return -stack([scores[b, at, ids[b, of]] for b in range(batch) for at, of in pairs]).mean()

        ahead = [(t, t + 1) for t in range(tokens - 1)]
        exact = mean(chances, ahead)
        around = [*ahead, (tokens - 1, 0)]
        mistakes = {
            "Your labels are not shifted: the scores at position t are a guess at token t + 1, and token t is in plain "
            "sight there.": mean(chances, [(t, t) for t in range(tokens)]),
            "You shifted the wrong way: a score is compared with the token before it.": mean(
                chances, [(t + 1, t) for t in range(tokens - 1)]
            ),
            "The last position is asked for the first token of the text: nothing follows it, so leave it out.": mean(
                chances, around
            ),
            "You summed: divide by the number of predicted tokens.": exact * batch * (tokens - 1),
            "You divided by all tokens: the first of each text is not predicted.": exact * (tokens - 1) / tokens,
            "The minus is missing: a loss goes down when the right token becomes likely.": -exact,
            "Logits are not log-probabilities: take log_softmax first.": mean(logits, ahead),
            "Softmax runs over the vocabulary, the last dimension.": mean(over_time, ahead),
            "That is in bits: use the natural logarithm.": exact / math.log(2),
        }
        hint = "Return a tensor, without `.item()` or `float()`: training needs its gradient."
        called = answer.trace(logits, ids, by=[0])
        got = expect_tensor(called.value, (), "The loss", hint=hint)
        expect_close(got, tensor(float(exact)).double(), "The loss", mistakes=mistakes, tolerance=1e-6)
        leaf = logits.clone().requires_grad_()
        (gradient,) = autograd.grad(mean(leaf.log_softmax(-1), ahead), leaf)
        cut = "Return the loss as it was computed: item(), float(), detach() and no_grad() cut it off from the logits."
        expect_gradient(called.gradients[0][""], gradient, "the logits", hint=cut)
        expect_unchanged(called, message="You changed the logits or the ids in place.")


@exercise(
    "pretraining.schedule",
    "Warm up, then go down",
    points=2,
    difficulty=1,
    importance=3,
    minutes=6,
    answer="warm_linear",
    mutants=(
        Mutant("first step of no size", "return (step + 1) / warmup", "return step / warmup", "first step"),
        Mutant(
            "falls from the start",
            "return (steps - step) / (steps - warmup)",
            "return (steps - step) / steps",
            "jumps down",
        ),
        Mutant("never falls", "return (steps - step) / (steps - warmup)", "return 1.0", "stays"),
        Mutant("rises at the end", "return (steps - step) /", "return (step - warmup) /", "line down"),
    ),
)
def check_schedule(answer: Answer, dice: Dice) -> None:
    from torch import tensor

    for steps, warmup in ((dice.integer(40, 60), dice.integer(4, 9)), (12, 0)):
        got = [float(number(answer(step, steps, warmup), f"The share at step {step}")) for step in range(steps)]
        what = f"of {steps} steps with {warmup} of warm-up"
        expect(
            got[0] > 0,
            f"The share at step 0 {what} is {got[0]:.3g}: the first step does nothing.",
            expected=f"{1 / max(1, warmup):.4f}",
            got=got[0],
            hint="Steps are counted from 0, and the warm-up's last step has the whole rate.",
        )
        exact = [(s + 1) / warmup if s < warmup else (steps - s) / (steps - warmup) for s in range(steps)]
        mistakes = {
            "It jumps down after the warm-up: the line starts from the whole at its end.": [
                (s + 1) / warmup if s < warmup else (steps - s) / steps for s in range(steps)
            ],
            "It stays at the whole: after the warm-up it falls to 0.": [
                min(1.0, (s + 1) / max(1, warmup)) for s in range(steps)
            ],
            "That is a cosine: a line is asked for.": [
                (s + 1) / warmup if s < warmup else (1 + math.cos(math.pi * (s - warmup) / (steps - warmup))) / 2
                for s in range(steps)
            ],
        }
        expect_close(
            tensor(got).double(),
            tensor(exact).double(),
            f"The share {what}",
            mistakes={words: tensor(values).double() for words, values in mistakes.items()},
            hint="A line up to 1 in the warm-up, then a line down to 0, which the step after the last would get.",
        )


@exercise(
    "pretraining.perplexity",
    "Count each token once",
    points=2,
    difficulty=2,
    importance=4,
    minutes=6,
    answer="perplexity",
    mutants=(
        Mutant(
            "mean of exponentials",
            "return math.exp(total / tokens)",
            "return sum(float(loss.exp().sum()) for loss in losses) / tokens",
            "mean of exponentials",
        ),
        Mutant(
            "mean of the texts' perplexities",
            "return math.exp(total / tokens)",
            "return sum(math.exp(float(loss.mean())) for loss in losses) / len(losses)",
            "each text's perplexity",
        ),
        Mutant(
            "each text counts once",
            "return math.exp(total / tokens)",
            "return math.exp(sum(float(loss.mean()) for loss in losses) / len(losses))",
            "each text counts once",
        ),
        Mutant("base two", "return math.exp(total / tokens)", "return 2 ** (total / tokens)", "in nats"),
        Mutant("no exponential", "return math.exp(total / tokens)", "return total / tokens", "e to the"),
    ),
)
def check_perplexity(answer: Answer, dice: Dice) -> None:
    from torch import cat, float64, stack, tensor

    lengths = [dice.integer(2, 4), dice.integer(30, 50), dice.integer(8, 12)]
    losses = [(1 + 2 * i) * dice.uniform(length) + 0.2 for i, length in enumerate(lengths)]
    every, means = cat(losses), stack([loss.mean() for loss in losses])
    mistakes = {
        "You took the mean of exponentials: average the losses first, then take e to that. A single bad token would "
        "rule the other mean.": every.exp().mean(),
        "You averaged each text's perplexity: a short text would count as much as a long one, and the exponential "
        "comes last.": means.exp().mean(),
        "In yours each text counts once: a mean of means. Each token has to.": means.mean().exp(),
        "The losses are in nats: the base is e, not 2.": 2 ** every.mean(),
        "That is the mean loss: perplexity is e to the mean loss.": every.mean(),
        "That is e to the summed loss: divide by the number of tokens first.": every.sum().exp(),
    }
    got = number(answer(losses), "The perplexity")
    expect_close(got, tensor(float(every.mean().exp())).double(), "The perplexity", mistakes=mistakes, tolerance=1e-3)
    what, even = "The perplexity of an even guess among 84 tokens", tensor([math.log(84.0)] * 7, dtype=float64)
    expect_close(number(answer([even]), what), tensor(84.0).double(), what, tolerance=1e-3)
