"""Exercise 1: error bars for items that hang together."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_list, expect_number, expect_unchanged

PACKAGE = "llmsafety_lab.evaluation"
ENDS = ("The mean", "The lower end", "The upper end")


def three(got: Any, what: str) -> Tensor:
    """Return an estimate and its two ends as a tensor."""
    parts = expect_list(got, what, length=3, expected="(estimate, lower end, upper end)")
    return torch.tensor([expect_number(part, f"{name} of {what}") for name, part in zip(ENDS, parts, strict=True)])


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=float))


def refuses(answer: Answer, *arguments: Any, because: str) -> None:
    """Fail unless the answer raises a ValueError for these arguments."""
    try:
        got = answer(*arguments)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed(because, expected="a ValueError", got=got)


def _clustered(values: np.ndarray, clusters: list[str], level: float, slip: str = "") -> list[float]:
    names = sorted(set(clusters))
    if slip == "neighbours":
        runs = [list(run) for _, run in itertools.groupby(range(len(values)), key=lambda i: clusters[i])]
    else:
        runs = [[i for i in range(len(values)) if clusters[i] == name] for name in names]
    n, g = len(values), len(runs)
    mean = values.mean()
    sums = np.array([(values[run] - mean).sum() for run in runs])
    error = np.sqrt(g / (g - 1) * (sums**2).sum()) / n
    freedom = g - 1
    if slip in ("independent", "independent, g"):
        error = values.std(ddof=1) / np.sqrt(n)
        freedom = n - 1 if slip == "independent" else g - 1
    if slip == "means":
        each = np.array([values[run].mean() for run in runs])
        mean, error = each.mean(), each.std(ddof=1) / np.sqrt(g)
    if slip == "means' error":
        error = np.array([values[run].mean() for run in runs]).std(ddof=1) / np.sqrt(g)
    if slip == "factor":
        error *= np.sqrt((g - 1) / g)
    if slip == "items":
        freedom = n - 1
    if slip == "own":
        error = np.sqrt(sum(((values[run] - values[run].mean()) ** 2).sum() for run in runs)) / n
    if slip == "variance":
        error = error**2
    quantile = stats.t.ppf((1 + level) / 2, freedom)
    if slip == "normal":
        quantile = stats.norm.ppf((1 + level) / 2)
    if slip == "one side":
        quantile = stats.t.ppf(level, freedom)
    if slip == "0.95":
        quantile = stats.t.ppf(0.975, freedom)
    if slip == "items' factor":
        error *= np.sqrt(n / (n - 1) * (g - 1) / g)
    if slip == "order":
        return [mean - quantile * error, mean, mean + quantile * error]
    if slip == "half":
        return [mean, quantile * error, quantile * error]
    return [mean, mean - quantile * error, mean + quantile * error]


SLIPS = {
    "independent": "These are the error bars of independent items. Items of one cluster succeed and fail together: sum "
    "the deviations within each cluster before you square.",
    "independent, g": "The error is that of independent items. Sum the deviations within each cluster before you "
    "square.",
    "means": "This is the mean of the clusters' means. The mean over items is asked for: a large cluster counts more.",
    "means' error": "The error is that of the clusters' means, which only fits clusters of one size.",
    "factor": "The factor G / (G - 1) is missing: the deviations are from a mean of the same items, so they are "
    "too small.",
    "items' factor": "Your factor has the number of items. It is G / (G - 1), with the number of clusters.",
    "order": "The order is (mean, lower end, upper end).",
    "half": "These are distances from the mean. The ends are mean minus and plus that distance.",
    "items": "Your t has items minus one degrees of freedom. What is drawn are clusters: take clusters minus one.",
    "normal": "You use the normal distribution's quantile. Few clusters want that of t, with clusters minus one.",
    "one side": "Your quantile leaves 1 - level on one side; half of that is left on each side.",
    "0.95": "The level is ignored: your interval is always the one of 0.95.",
    "own": "You take the distances from each cluster's own mean. What clusters have in common is then gone: take the "
    "mean over all items.",
    "variance": "You take the variance of the mean for its standard error: take the root.",
    "neighbours": "You take neighbours for a cluster. A cluster's items may be anywhere in the list.",
}


def drawn(dice: Dice, whole: bool) -> tuple[np.ndarray, list[str]]:
    """Draw scores in clusters of several sizes, in any order: of 0 and 1, or any numbers."""
    groups = dice.integer(6, 9)
    sizes = [1, 5, *dice.integers(2, 6, groups - 2).tolist()]
    names = [f"passage {i}" for i, size in enumerate(sizes) for _ in range(size)]
    shared = np.repeat(dice.uniform(groups).numpy(), sizes)
    values = (dice.uniform(len(names)).numpy() < shared).astype(float)
    order = torch.randperm(len(names), generator=dice.generator).tolist()
    values = values[order]
    values[:2] = 0, 1
    if whole:
        return values, [names[i] for i in order]
    values += 0.5 * dice.uniform(len(names)).numpy()
    return values, [names[i] for i in order]


@exercise(
    "evaluation.clustered",
    "Error bars of clusters",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="clustered_interval",
    forbid=(f"{PACKAGE}.uncertainty.clustered_interval", f"{PACKAGE}.uncertainty.design_effect"),
    mutants=(
        Mutant(
            "correlated questions treated as independent",
            "math.sqrt(count / (count - 1) * (sums**2).sum()) / len(found)",
            "found.std(ddof=1) / math.sqrt(len(found))",
            "independent items",
        ),
        Mutant(
            "mean of means",
            "    error = ",
            "    each = np.bincount(codes, found) / np.bincount(codes)\n    mean = each.mean()\n"
            "    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * each.std(ddof=1) / math.sqrt(count)\n"
            "    return float(mean), float(mean - half), float(mean + half)\n    error = ",
            "mean of the clusters' means",
        ),
        Mutant("no factor for few clusters", "count / (count - 1) * ", "", "G / (G - 1)"),
        Mutant(
            "freedom of items", "(1 + level) / 2, count - 1)", "(1 + level) / 2, len(found) - 1)", "clusters minus one"
        ),
        Mutant(
            "normal quantile",
            "stats.t.ppf((1 + level) / 2, count - 1)",
            "stats.norm.ppf((1 + level) / 2)",
            "few clusters",
        ),
        Mutant("one-sided", "(1 + level) / 2", "level", "on one side"),
        Mutant("always 95%", "(1 + level) / 2", "0.975", "level is ignored"),
        Mutant(
            "distances from the cluster's own mean",
            "math.sqrt(count / (count - 1) * (sums**2).sum())",
            "math.sqrt((((found - (np.bincount(codes, found) / np.bincount(codes))[codes])) ** 2).sum())",
            "own mean",
        ),
        Mutant("variance for error", "* error", "* error**2", "take the root"),
        Mutant("factor of items", "count / (count - 1) * ", "len(found) / (len(found) - 1) * ", "number of items"),
        Mutant(
            "the mean between its ends",
            "float(mean), float(mean - half), float(mean + half)",
            "float(mean - half), float(mean), float(mean + half)",
            "The order is",
        ),
        Mutant(
            "whole numbers only",
            "    found, codes = _scores(values, clusters)",
            "    found, codes = _scores(np.asarray(values).astype(int), clusters)",
            "whole numbers",
        ),
        Mutant(
            "one cluster is enough",
            "    found, codes = _scores(values, clusters)",
            "    found = np.asarray(values, dtype=float)\n"
            "    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)\n"
            "    if codes.max() < 1:\n        return float(found.mean()), float(found.mean()), float(found.mean())",
            "one cluster",
        ),
        Mutant(
            "changes its argument",
            "    half = ",
            "    values -= 0.5\n    half = ",
            "in place",
        ),
    ),
)
def check_clustered(answer: Answer, dice: Dice) -> None:
    for level in (0.95, 0.8):
        values, clusters = drawn(dice, whole=level == 0.95)
        exact = _clustered(values, clusters, level)
        mistakes = {words: tensor(_clustered(values, clusters, level, slip)) for slip, words in SLIPS.items()}
        cut = tensor(_clustered(np.trunc(values), clusters, level))
        mistakes["Scores need not be whole numbers: you cut them to 0 and 1."] = cut
        mistakes = {words: value for words, value in mistakes.items() if not torch.allclose(value, tensor(exact))}
        called = answer.trace(values, clusters, level=level)
        what = f"the interval of {len(set(clusters))} clusters at the level {level}"
        hint = "Sum the deviations from the overall mean within each cluster, square the sums, add them."
        expect_close(three(called.value, what), tensor(exact), what.capitalize(), mistakes=mistakes, hint=hint)
        expect_unchanged(called)
    exact = _clustered(values, clusters, 0.95)
    expect_close(
        three(answer(values.tolist(), clusters), "the interval by default"),
        tensor(exact),
        "The interval of lists, at the default level,",
        hint="The default level is 0.95, and values may come as a list.",
    )
    because = "All items are of one cluster: nothing is known of how clusters differ."
    refuses(answer, values, ["passage 1"] * len(values), because=because)
