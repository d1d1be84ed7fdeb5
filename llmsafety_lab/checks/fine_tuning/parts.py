"""Exercises 1 and 2: a baseline that has not seen the test, and a pooling that leaves padding out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_close, expect_gradient, expect_tensor, expect_unchanged

MEASURES = "llmsafety_lab.fine_tuning.measures"
WORDS = (
    ("crisp", "bright", "witty", "tender", "sharp"),
    ("soggy", "flat", "clumsy", "bland", "noisy"),
    ("purple", "square", "remote", "wooden", "northern"),
)
FILLERS = ("the", "film", "plot", "pizza", "is", "and", "a", "scene", "very", "with", "actor", "end")


def _pick(dice: Dice, pool: Any) -> Any:
    return pool[dice.integer(0, len(pool) - 1)]


def _sentence(dice: Dice, label: int) -> str:
    words = [_pick(dice, FILLERS) for _ in range(5)] + [_pick(dice, WORDS[label]) for _ in range(2)]
    return " ".join(words[i] for i in torch.randperm(len(words), generator=dice.generator).tolist())


def matrix(got: Any, shape: tuple[int, int], what: str, hint: str = "") -> Tensor:
    """Return a two-dimensional answer as a tensor, whether it came as an array, a tensor or lists."""
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(got)
    elif isinstance(got, list | tuple):
        try:
            got = torch.tensor(got, dtype=torch.float64)
        except (ValueError, TypeError, RuntimeError):
            raise Failed(f"{what} is a list that is no table of numbers.", expected=f"a table of {shape}") from None
    return expect_tensor(got, shape, what, hint=hint)


@exercise(
    "fine_tuning.baseline",
    "The baseline to beat",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="baseline",
    forbid=(f"{MEASURES}.baseline",),
    mutants=(
        Mutant(
            "test in the vocabulary",
            "words.fit_transform(train_texts)",
            "words.fit([*train_texts, *test_texts]).transform(train_texts)",
            "leaked",
        ),
        Mutant(
            "a vocabulary of the test",
            "words.transform(test_texts)",
            "words.fit_transform(test_texts)",
            "transform alone",
        ),
        Mutant(
            "decisions",
            "model.predict_proba(words.transform(test_texts))",
            "model.predict(words.transform(test_texts))",
            "predict_proba",
        ),
        Mutant(
            "columns turned round",
            "model.predict_proba(words.transform(test_texts))",
            "model.predict_proba(words.transform(test_texts))[:, ::-1]",
            "order of their numbers",
        ),
        Mutant("balanced classes", "C=5, ", 'C=5, class_weight="balanced", ', "prescribed settings"),
        Mutant("another C", "C=5, ", "", "prescribed settings"),
        Mutant("single words", "ngram_range=(1, 2)", "ngram_range=(1, 1)", "prescribed settings"),
        Mutant("counts as they are", "sublinear_tf=True, ", "", "prescribed settings"),
    ),
)
def check_baseline(answer: Answer, dice: Dice) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = [0, 1, 2, 0, 1] * 12
    train = [_sentence(dice, label) for label in labels]
    asked = [0, 1, 2, 0, 1, 2, 2, 1, 0]
    test = [_sentence(dice, label) + " zebra" for label in asked]
    hint = "Return model.predict_proba of the test texts as it is: a row for each text, a column for each class."
    try:
        came = answer(train, labels, test)
    except Failed as failure:
        if "features" in failure.message:
            failure.hint = (
                "The test texts were given a vocabulary of their own. Fit the vectorizer on the training texts; "
                "for the test texts use transform alone."
            )
        raise
    if isinstance(came, np.ndarray | torch.Tensor) and came.ndim == 1:
        raise Failed(
            "The answer is one number for each text.", got=list(came.shape), expected=[len(test), 3], hint=hint
        )
    got = matrix(came, (len(test), 3), "The table of probabilities", hint)
    sums = got.sum(1)
    expect(
        bool((got >= 0).all()) and bool((sums - 1).abs().max() < 1e-6),
        "The rows are not probabilities: they have to be at least 0 and sum to 1.",
        got=sums,
        hint=hint,
    )
    right = (got.argmax(1) == torch.tensor(asked)).double().mean().item()
    turned = (got.flip(1).argmax(1) == torch.tensor(asked)).double().mean().item()
    expect(
        right >= 0.7,
        "The classes' own words are in every test text, and most texts are given another class.",
        expected="at least 0.7 of them right",
        got=right,
        hint="The columns have to stand in the order of their numbers, 0 first, as predict_proba gives them."
        if turned >= 0.7
        else "Fit the logistic regression on the tf-idf of the training texts (words and pairs) and their labels. The "
        "rows of the answer follow the order of the test texts.",
    )
    beside = [f"{_pick(dice, FILLERS)} zebra zebra {_pick(dice, WORDS[0])}" for _ in range(12)]
    again = matrix(answer(train, labels, test + beside), (len(test) + len(beside), 3), "The table of probabilities")
    expect_close(
        again[: len(test)],
        got,
        "The answer for the same test texts, now with other test texts beside them,",
        tolerance=1e-7,
        hint="The test has leaked into the vocabulary or into the words' weights. Fit the vectorizer on the training "
        "texts alone: at the time of training nobody has the test.",
    )
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    model = LogisticRegression(C=5, max_iter=1000).fit(words.fit_transform(train), labels)
    exact = torch.from_numpy(model.predict_proba(words.transform(test)))
    expect_close(
        got,
        exact,
        "The table of probabilities, compared with that of the prescribed settings,",
        tolerance=1e-3,
        mistakes={
            "These are decisions, 0 or 1, and not probabilities: predict_proba, not predict.": (
                torch.nn.functional.one_hot(exact.argmax(1), 3)
            ),
            "predict_proba gives probabilities already: no softmax after it.": exact.softmax(1),
        },
        hint="TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)) and LogisticRegression(C=5, max_iter=1000).",
    )


@exercise(
    "fine_tuning.pool",
    "Pool by attention, without the padding",
    points=3,
    difficulty=3,
    importance=5,
    minutes=9,
    answer="AttentionPooling",
    mutants=(
        Mutant("padding pooled", '.masked_fill(mask == 0, float("-inf"))', "", "padding takes part"),
        Mutant("masked with zero", 'float("-inf")', "0.0", "score of 0 is not no weight"),
        Mutant(
            "masked after the softmax",
            'scores.masked_fill(mask == 0, float("-inf")).softmax(-1)',
            "scores.softmax(-1) * mask",
            "do not sum to 1",
        ),
        Mutant("plain mean", "(weights[..., None] * hidden).sum(1)", "hidden.mean(1)", "plain mean"),
        Mutant(
            "last token's weight for all",
            "(weights[..., None] * hidden)",
            "(weights[:, -1:, None] * hidden)",
            "each token",
        ),
        Mutant(
            "renormalised after the softmax",
            'scores.masked_fill(mask == 0, float("-inf")).softmax(-1)',
            "scores.softmax(-1) * mask / (scores.softmax(-1) * mask).sum(-1, keepdim=True)",
            "before the softmax",
        ),
        Mutant("not at 0", "nn.init.zeros_(self.score.weight)", "nn.init.ones_(self.score.weight)", "nn.init.zeros_"),
        Mutant("a low score", 'float("-inf")', "-20.0", "minus infinity"),
        Mutant(
            "padding on the right",
            "mask == 0",
            "mask.sort(dim=-1, descending=True).values == 0",
            "on the left",
        ),
        Mutant(
            "under no_grad",
            "(weights[..., None] * hidden).sum(1)",
            "torch.no_grad()(lambda: (weights[..., None] * hidden).sum(1))()",
            "No gradient reaches",
        ),
        Mutant(
            "weights cut off", "weights[..., None]", "weights.detach()[..., None]", "No gradient reaches score.weight"
        ),
        Mutant("tokens cut off", "[..., None] * hidden)", "[..., None] * hidden.detach())", "layers before it"),
        Mutant(
            "hidden zeroed in place",
            "(weights[..., None] * hidden)",
            "(weights[..., None] * hidden.data.mul_(mask[..., None] > 0))",
            "in place",
        ),
        Mutant(
            "mask changed in place",
            "mask == 0",
            "mask.mul_(-1).add_(1).bool()",
            "in place",
        ),
    ),
)
def check_pool(answer: Answer, dice: Dice) -> None:
    width = dice.integer(5, 9)
    lengths = [7, *(dice.integer(2, 5) for _ in range(3))]
    right = (torch.arange(7)[None] < torch.tensor(lengths)[:, None]).long()
    mask = torch.cat([right[:3], right[3:].flip(1)])
    hidden = dice.normal(4, 7, width).float()
    weight = dice.normal(1, width).float()
    pool = answer.new(width)
    pool.load({"score.weight": weight})
    scores = (hidden @ weight[0]).double()
    values = hidden.double()

    def pooled(weights: Tensor) -> Tensor:
        return (weights[..., None] * values).sum(1)

    exact = scores.masked_fill(mask == 0, -torch.inf).softmax(-1)
    hint = "One weight for each token: the softmax of the scores over the tokens of a text."
    along = dice.normal(4, width)
    called = pool.trace("__call__", hidden, mask, by=["self", 0], along=along)
    expect_unchanged(called)
    expect_close(
        called.value,
        pooled(exact),
        "The pooled vector",
        tolerance=1e-5,
        mistakes={
            "The padding takes part. Set its scores to minus infinity before the softmax.": pooled(scores.softmax(-1)),
            "A score of 0 is not no weight: exp(0) is 1. Set the padding's scores to minus infinity.": pooled(
                scores.masked_fill(mask == 0, 0).softmax(-1)
            ),
            "The weights of a text do not sum to 1: mask the scores before the softmax, not the weights after.": pooled(
                scores.softmax(-1) * mask
            ),
            "This is the plain mean over all places, padding included: use the weights.": values.mean(1),
            "This is the plain mean over the tokens: weight each by the softmax of the scores.": (
                pooled(mask) / mask.sum(1, keepdim=True)
            ),
            "Your softmax runs over the texts: it has to run over the tokens of a text, dim=-1.": pooled(
                scores.masked_fill(mask == 0, -torch.inf).softmax(0).nan_to_num()
            ),
            "The weights sum to 1 already: take the sum, and no mean.": pooled(exact) / 7,
            "Zeros in place of the padding's vectors get a score of 0, and exp(0) is 1: set their scores to minus "
            "infinity.": pooled((scores * mask).softmax(-1) * mask),
            "Your mask is turned round: the padding is where it is 0.": pooled(
                scores.masked_fill(mask == 1, -torch.inf).softmax(-1)
            ),
            "The weights of a text have to sum to 1: softmax, and not sigmoid.": pooled(scores.sigmoid() * mask),
            "You take the first places for the tokens. Padding may stand on the left, too: ask the mask.": pooled(
                scores.masked_fill(right == 0, -torch.inf).softmax(-1)
            ),
        },
        hint=hint + " Multiply each token by its own weight and sum over the tokens.",
    )
    leaves = values.clone().requires_grad_(), weight.double().requires_grad_()
    weights = (leaves[0] @ leaves[1][0]).masked_fill(mask == 0, -torch.inf).softmax(-1)
    by_hidden, by_score = torch.autograd.grad((weights[..., None] * leaves[0]).sum(1), leaves, along)
    cut = "The pooled vector is right, but it is cut off: is there a detach() or a no_grad()?"
    by_self = called.gradients["self"].get("score.weight")
    expect_gradient(by_self, by_score, "score.weight", tolerance=1e-4, hint=cut)
    expect_gradient(called.gradients[0][""], by_hidden, "the layers before it", tolerance=1e-4, hint=cut)
    spoilt = hidden + 1e6 * (mask == 0)[..., None] * weight.sign()
    real = mask.double()
    for module, weights, when, hint in (
        (
            pool,
            exact,
            "with large numbers in the padding",
            "The padding takes part: set its scores to minus infinity before the softmax, so that it cannot matter.",
        ),
        (
            answer.new(width),
            real / real.sum(1, keepdim=True),
            "with large numbers in the padding and a new module",
            "A new module gives the plain mean of the tokens: its weights are all 0, by nn.init.zeros_.",
        ),
    ):
        expect_close(
            module(spoilt, mask),
            pooled(weights),
            f"The pooled vector, {when},",
            tolerance=1e-5,
            hint=hint,
        )
