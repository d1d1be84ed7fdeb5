"""Exercises 1 and 3: the loss of the next token, and perplexity, against sums over single tokens."""

from __future__ import annotations

import math
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import (
    expect_close,
    expect_gradient,
    expect_number,
    expect_tensor,
    expect_unchanged,
)


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
        Mutant("softmax twice", ".log_softmax(-1)", ".softmax(-1).log_softmax(-1)", "twice"),
        Mutant(
            "last guess left out",
            "guesses = logits[:, :-1].log_softmax(-1)\n    targets = ids[:, 1:]",
            "guesses = logits[:, :-2].log_softmax(-1)\n    targets = ids[:, 1:-1]",
            "guess at the last token",
        ),
        Mutant(
            "shifted by two",
            "guesses = logits[:, :-1].log_softmax(-1)\n    targets = ids[:, 1:]",
            "guesses = logits[:, :-2].log_softmax(-1)\n    targets = ids[:, 2:]",
            "two tokens ahead",
        ),
        Mutant(
            "perplexity for loss",
            "return -guesses.gather(-1, targets[..., None]).mean()",
            "return (-guesses.gather(-1, targets[..., None]).mean()).exp()",
            "e to the loss",
        ),
        Mutant(
            "logits changed",
            "    guesses = logits[:, :-1]",
            "    logits.data -= logits.data.amax(-1, keepdim=True)\n    guesses = logits[:, :-1]",
            "in place",
        ),
        Mutant(
            "a gradient of its own",
            "return -guesses",
            "return logits.mean() - logits.mean().detach() - guesses",
            "gradient by the logits",
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
            "Softmax was taken twice: cross_entropy and log_softmax take logits.": mean(
                chances.exp().log_softmax(-1), ahead
            ),
            "The guess at the last token is left out: only the scores at the last position have nothing to guess.": (
                mean(chances, ahead[:-1])
            ),
            "The first guess is left out: the scores at position 0 are a guess at token 1.": mean(chances, ahead[1:]),
            "You compare with the token two tokens ahead: shift by one.": mean(
                chances, [(t, t + 2) for t in range(tokens - 2)]
            ),
            "These are probabilities: take their logarithm before the mean.": mean(chances.exp(), ahead),
            "That is the logarithm of the mean chance: take the logarithm of each, then the mean.": (
                -(-mean(chances.exp(), ahead)).log()
            ),
            "That is e to the loss, the perplexity: return the loss.": exact.exp(),
            "That is divided by the vocabulary as well: the mean is over the guesses.": exact / vocabulary,
        }
        hint = "Return a tensor, without `.item()` or `float()`: training needs its gradient."
        called = answer.trace(logits, ids, by=[0])
        got = expect_tensor(called.value, (), "The loss", hint=hint)
        words = "The mean, over all texts and all positions but the last, of -log p(the token that came)."
        expect_close(got, tensor(float(exact)).double(), "The loss", mistakes=mistakes, tolerance=1e-6, hint=words)
        leaf = logits.clone().requires_grad_()
        (gradient,) = autograd.grad(mean(leaf.log_softmax(-1), ahead), leaf)
        cut = "Return the loss as it was computed: item(), float(), detach() and no_grad() cut it off from the logits."
        expect_gradient(called.gradients[0][""], gradient, "the logits", hint=cut)
        expect_unchanged(called, message="You changed the logits or the ids in place.")


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
        Mutant("divided by the texts", "tokens += loss.numel()", "tokens += 1", "number of texts"),
        Mutant("base ten", "return math.exp(total / tokens)", "return 10 ** (total / tokens)", "not 10"),
        Mutant("sign turned", "return math.exp(total / tokens)", "return math.exp(-total / tokens)", "wrong sign"),
        Mutant("last text alone", "total += float(", "tokens, total = 0, float(", "last text"),
        Mutant(
            "padded",
            "return math.exp(total / tokens)",
            "return float(torch.nn.utils.rnn.pad_sequence(list(losses)).mean().exp())",
            "padding",
        ),
        Mutant(
            "product of chances",
            "return math.exp(total / tokens)",
            "return math.prod(math.exp(-float(x)) for loss in losses for x in loss) ** (-1 / tokens)",
            "ZeroDivisionError",
        ),
    ),
)
def check_perplexity(answer: Answer, dice: Dice) -> None:
    from torch import cat, float64, stack, tensor

    lengths = [dice.integer(2, 4), dice.integer(30, 50), dice.integer(8, 12)]
    losses = [(0.4 + 0.8 * i) * dice.uniform(length) + 0.1 for i, length in enumerate(lengths)]
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
        "You divided by the number of texts: divide by the number of tokens.": (every.sum() / len(losses)).exp(),
        "The base is e, not 10.": 10 ** every.mean(),
        "The exponent has the wrong sign: a loss is minus a log-probability already.": (-every.mean()).exp(),
        "This is the perplexity of the last text alone.": means[-1].exp(),
        "This is the perplexity of the first text alone.": means[0].exp(),
        "The texts were padded to one length, and the padding was counted: it is no token.": (
            every.sum() / (len(losses) * max(lengths))
        ).exp(),
        "That is the median loss: take the mean.": every.median().exp(),
    }
    hint = "One number: e to the sum of all losses divided by the number of all tokens."
    got = tensor(expect_number(answer(losses), "The perplexity", hint=hint), dtype=float64)
    exact = tensor(float(every.mean().exp())).double()
    expect_close(got, exact, "The perplexity", mistakes=mistakes, tolerance=1e-3, hint=hint)
    what, even = "The perplexity of an even guess among 84 tokens", tensor([math.log(84.0)] * 200, dtype=float64)
    got = tensor(expect_number(answer([even, even]), what, hint=hint), dtype=float64)
    expect_close(got, tensor(84.0).double(), what, tolerance=1e-3)
