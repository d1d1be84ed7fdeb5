"""Exercises 1 and 2: a word's association with two attributes, and the effect size of two sets of words."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_number, expect_unchanged
from llmsafety_lab.checks.representation_bias.shapes import tensor


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def _vectors(dice: Dice, words: int, width: int) -> Tensor:
    """Draw vectors whose lengths differ by much."""
    return _unit(dice.normal(words, width)) * (0.2 + 3 * dice.uniform(words, 1))


@exercise(
    "representation_bias.association",
    "Closer to which of two?",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="association",
    forbid=(
        "sklearn.metrics.pairwise.cosine_similarity",
        "sklearn.metrics.pairwise.cosine_distances",
        "sklearn.metrics.pairwise.paired_cosine_distances",
        "scipy.spatial.distance.cosine",
        "scipy.spatial.distance.cdist",
        "torch.nn.functional.cosine_similarity",
        "torch.nn.CosineSimilarity",
    ),
    mutants=(
        Mutant(
            "unnormalised vectors",
            "vectors / np.linalg.norm(vectors, axis=1, keepdims=True)",
            "vectors",
            "dot products",
        ),
        Mutant(
            "attributes unnormalised",
            "(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (words, a, b))",
            "(words / np.linalg.norm(words, axis=1, keepdims=True), a, b)",
            "attributes' vectors",
        ),
        Mutant(
            "words unnormalised",
            "(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (words, a, b))",
            "(words, *(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)))",
            "own lengths",
        ),
        Mutant(
            "sums",
            "(words @ a.T).mean(axis=1) - (words @ b.T).mean(axis=1)",
            "(words @ a.T).sum(axis=1) - (words @ b.T).sum(axis=1)",
            "mean cosine",
        ),
        Mutant(
            "attributes swapped",
            "(words @ a.T).mean(axis=1) - (words @ b.T).mean(axis=1)",
            "(words @ b.T).mean(axis=1) - (words @ a.T).mean(axis=1)",
            "other sign",
        ),
        Mutant("the closest word", "(words @ a.T).mean(axis=1)", "(words @ a.T).max(axis=1)", "all words"),
        Mutant("one number", "- (words @ b.T).mean(axis=1)", "- (words @ b.T).mean()", "each word"),
        Mutant(
            "cosine with the mean",
            "(words @ a.T).mean(axis=1) - (words @ b.T).mean(axis=1)",
            "words @ a.mean(0) / np.linalg.norm(a.mean(0)) - words @ b.mean(0) / np.linalg.norm(b.mean(0))",
            "mean vector",
        ),
        Mutant(
            "a ratio", "(words @ a.T).mean(axis=1) - (words", "(words @ a.T).mean(axis=1) / (words", "minus, not over"
        ),
        Mutant("lengths of columns", "axis=1, keepdims=True", "axis=0, keepdims=True", "axis=1"),
        Mutant(
            "length of the table", "np.linalg.norm(vectors, axis=1, keepdims=True)", "np.linalg.norm(vectors)", "axis=1"
        ),
        Mutant(
            "in place",
            "vectors / np.linalg.norm(vectors, axis=1, keepdims=True)",
            "np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True), out=vectors)",
            "in place",
        ),
    ),
)
def check_association(answer: Answer, dice: Dice) -> None:
    width = dice.integer(5, 8)
    words, a, b = (_vectors(dice, count, width) for count in (dice.integer(5, 7), 3, 4))
    unit, of_a, of_b = _unit(words), _unit(a), _unit(b)
    exact = (unit @ of_a.T).mean(1) - (unit @ of_b.T).mean(1)

    def centre(vectors: Tensor) -> Tensor:
        return vectors.mean(0) / vectors.mean(0).norm()

    def columns(vectors: Tensor) -> Tensor:
        return vectors / vectors.norm(dim=0, keepdim=True)

    every = (words @ a.T).mean(1) - (words @ b.T).mean(1)
    mistakes = {
        "These are dot products: a long vector counts for more. Divide each vector by its length first.": every,
        "The attributes' vectors have lengths of their own: divide those by their lengths, too.": (
            (unit @ a.T).mean(1) - (unit @ b.T).mean(1)
        ),
        "The words have their own lengths: divide their vectors by them, too.": (words @ of_a.T).mean(1)
        - (words @ of_b.T).mean(1),
        "The attributes have different numbers of words: take the mean cosine with each, not the sum.": (
            (unit @ of_a.T).sum(1) - (unit @ of_b.T).sum(1)
        ),
        "The other sign: what is closer to a has to come out above 0.": -exact,
        "Take the mean over all words of an attribute, not the closest one.": (
            (unit @ of_a.T).max(1).values - (unit @ of_b.T).max(1).values
        ),
        "This is the cosine with the attribute's mean vector. Take each word's cosine, then the mean.": (
            unit @ centre(of_a) - unit @ centre(of_b)
        ),
        "This is the cosine with the mean vector of the raw vectors. Take each word's cosine, then the mean.": (
            unit @ centre(a) - unit @ centre(b)
        ),
        "You subtract one number from all: each word has its own mean cosine with b.": (
            (unit @ of_a.T).mean(1) - (unit @ of_b.T).mean()
        ),
        "You took the closest word of the first attribute. Take the mean over all words.": (
            (unit @ of_a.T).max(1).values - (unit @ of_b.T).mean(1)
        ),
        "You divided by the lengths of the columns, or of the whole table. Each row has a length: axis=1.": (
            (columns(words) @ columns(a).T).mean(1) - (columns(words) @ columns(b).T).mean(1)
        ),
        "You divided by the length of the whole table. Each row has a length of its own: axis=1.": (
            (words / words.norm() @ (a / a.norm()).T).mean(1) - (words / words.norm() @ (b / b.norm()).T).mean(1)
        ),
        "You lost the sign: what is closer to b has to come out below 0.": exact.abs(),
        "Subtract the mean cosine with b: a word may be close to both.": (unit @ of_a.T).mean(1),
        "The mean cosine with a minus that with b, not plus.": (unit @ of_a.T).mean(1) + (unit @ of_b.T).mean(1),
        "The mean cosine with a minus, not over, that with b.": (unit @ of_a.T).mean(1) / (unit @ of_b.T).mean(1),
    }
    called = answer.trace(words.numpy(), a.numpy(), b.numpy())
    hint = "A number for each word: its mean cosine with the words of a, minus that with the words of b."
    got = tensor(called.value, (len(words),), "The association", hint=hint)
    expect_close(got, exact, "The association", tolerance=1e-5, mistakes=mistakes, hint=hint)
    expect_unchanged(
        called, message="You changed the vectors in place: whoever called you still needs them. Make new arrays."
    )
    alone = tensor(answer(words[:1].numpy(), a[:1].numpy(), b.numpy()), (1,), "The association of one word", hint=hint)
    one = (unit[:1] @ of_a[:1].T).mean(1) - (unit[:1] @ of_b.T).mean(1)
    expect_close(alone, one, "The association of one word with an attribute of one word", tolerance=1e-5, hint=hint)


def _spread(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y]).std(unbiased=True)


@exercise(
    "representation_bias.effect",
    "How large is the difference?",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="effect_size",
    mutants=(
        Mutant("population for sample", "ddof=1", "ddof=0", "ddof=1"),
        Mutant("target sets swapped", "of_x.mean() - of_y.mean()", "of_y.mean() - of_x.mean()", "swapped"),
        Mutant("sums", "of_x.mean() - of_y.mean()", "of_x.sum() - of_y.sum()", "means"),
        Mutant("the first target's spread", "np.concatenate([of_x, of_y]).std", "of_x.std", "both targets"),
        Mutant(
            "pooled",
            "np.concatenate([of_x, of_y]).std(ddof=1)",
            "np.sqrt((of_x.var(ddof=1) + of_y.var(ddof=1)) / 2)",
            "Cohen",
        ),
        Mutant("variance", ".std(ddof=1)", ".var(ddof=1)", "variance"),
        Mutant("no spread", " / np.concatenate([of_x, of_y]).std(ddof=1)", "", "not divided"),
        Mutant(
            "unsigned",
            "(of_x.mean() - of_y.mean())",
            "abs(of_x.mean() - of_y.mean())",
            "sign",
        ),
        Mutant(
            "standard error",
            "np.concatenate([of_x, of_y]).std(ddof=1)",
            "(np.concatenate([of_x, of_y]).std(ddof=1) * np.sqrt(1 / len(of_x) + 1 / len(of_y)))",
            "standard error",
        ),
    ),
)
def check_effect(answer: Answer, dice: Dice) -> None:
    hint = "The difference of the two means, divided by the sample standard deviation of all associations together."
    for sign, sizes in ((1, (5, 5)), (-1, (dice.integer(4, 6), dice.integer(7, 9)))):
        x, y = dice.normal(sizes[0]), dice.normal(sizes[1])
        x = x - x.mean() + y.mean() + sign * (0.6 + float(dice.uniform(1)))
        gap, spread = x.mean() - y.mean(), _spread(x, y)
        within = ((len(x) - 1) * x.var() + (len(y) - 1) * y.var()) / (len(x) + len(y) - 2)
        of_all = torch.cat([x, y])
        mistakes = {
            "This is the population's standard deviation. Of a sample it is divided by n - 1: ddof=1.": (
                gap / of_all.std(unbiased=False)
            ),
            "The targets are swapped: above 0 the first target goes with the first attribute."
            if sign > 0
            else "You lost the sign: it says which target goes with which attribute.": -gap / spread,
            "The sets may differ in size: take the difference of their means, not of their sums.": (
                (x.sum() - y.sum()) / spread
            ),
            "Take the standard deviation over both targets together, not over one.": gap / x.std(),
            "Take the standard deviation over both targets together, not over the second one.": gap / y.std(),
            "This is Cohen's d, over the spread within the sets. WEAT's is over that of both sets laid together.": (
                gap / within.sqrt()
            ),
            "This is Cohen's d with the mean of two variances. WEAT's is over the spread of both sets laid together.": (
                gap / ((x.var() + y.var()) / 2).sqrt()
            ),
            "This is over the spread within the sets (population). WEAT's is over that of both sets laid together.": (
                gap / ((len(x) * x.var(unbiased=False) + len(y) * y.var(unbiased=False)) / len(of_all)).sqrt()
            ),
            "You divided by the variance. Divide by its root, the standard deviation.": gap / spread**2,
            "The difference is not divided by anything: divide it by the standard deviation of all associations.": gap,
            "You divided by a standard error. That gives a t-like number, which grows with the number of words.": (
                gap / (spread * (1 / len(x) + 1 / len(y)) ** 0.5)
            ),
        }
        got = expect_number(answer(x.numpy(), y.numpy()), "The effect size", hint=hint)
        if abs(got - float(gap / spread)) < 1e-5:
            continue
        words = next((words for words, value in mistakes.items() if abs(got - float(value)) < 1e-5), hint)
        where = f"The effect size of {sizes[0]} and {sizes[1]} words is wrong."
        raise Failed(where, expected=float(gap / spread), got=got, hint=words)
