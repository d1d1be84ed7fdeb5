"""The kept experiment on people: every repair at several strengths, on the same rows."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from llmsafety_lab.bias_mitigation.adversary import adversarial_debias
from llmsafety_lab.bias_mitigation.learners import fit_linear, fit_penalised, linear_scores, resample
from llmsafety_lab.bias_mitigation.measures import accuracy_items, gap_items
from llmsafety_lab.bias_mitigation.people import People, adult, compas
from llmsafety_lab.bias_mitigation.reductions import Decide, reduce
from llmsafety_lab.bias_mitigation.thresholds import calibrate, decide, optimal_thresholds
from llmsafety_lab.data_bias import kamiran_calders_weights
from llmsafety_lab.statistics import interval

SEEDS = {"compas": (0, 1, 2, 3, 4), "adult": (0, 1, 2, 3, 4, 5)}
TRAINED = 6_000
FOLDS = 3
STRENGTHS: dict[str, tuple[float, ...]] = {
    "constant": (0.0,),
    "untouched": (0.0,),
    "calibrated by group": (0.0,),
    "reweighed": (0.0,),
    "resampled": (0.0,),
    "penalty": (1.0, 3.0, 10.0, 30.0),
    "adversary": (0.1, 0.3, 1.0),
    "reduction": (0.05, 0.025, 0.0),
    "thresholds": (0.1, 0.05, 0.0),
    "fairlearn: reduction": (0.0,),
    "fairlearn: thresholds": (0.0,),
}
"""For each method its strengths, from weak to strong. What a strength is depends on the method."""
ADULT = {name: strengths[-2:] for name, strengths in STRENGTHS.items() if name != "fairlearn: reduction"}
"""The same for Adult, whose rows take longer."""

Chances = Float[np.ndarray, " people"]


def linear_learner(x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Decide:
    """Return a linear rule for weighted rows: what `reduce` calls in each round."""
    theta = fit_linear(x, labels, weights, steps=40)
    return lambda rows: (linear_scores(theta, rows) >= 0.5).astype(float)


def _scores(train: People) -> Callable[[np.ndarray], np.ndarray]:
    theta = fit_linear(train.x, train.labels)
    return lambda x: linear_scores(theta, x)


def decided(name: str, strength: float, train: People, test: People, notion: str, seed: int) -> tuple[Chances, Chances]:
    """Return for each person of `train` and of `test` the probability of the decision 1, after a repair on `train`."""
    x, y, g = train.x, train.labels, train.groups
    if name == "constant":
        return np.full(len(train), float(y.mean() > 0.5)), np.full(len(test), float(y.mean() > 0.5))
    if name.startswith("fairlearn"):
        return _fairlearn(name, strength, train, test, notion, seed)
    if name in ("thresholds", "calibrated by group"):
        scorer = _scores(train)
        old, new = scorer(x), scorer(test.x)
        if name == "calibrated by group":
            return tuple(  # type: ignore[return-value]
                (calibrate(old, y, g, s, group) >= 0.5) * 1.0 for s, group in ((old, g), (new, test.groups))
            )
        slack = 0.0 if notion == "equalized odds" else strength
        rules = optimal_thresholds(old, y, g, notion, slack)
        fair = [decide(rules, old, g), decide(rules, new, test.groups)]
        mixed = strength / 0.15 if notion == "equalized odds" else 0.0  # a coin between the fair rule and the score's
        both = [(1 - mixed) * one + mixed * (s >= 0.5) for one, s in zip(fair, (old, new), strict=True)]
        return both[0], both[1]
    if name == "reduction":
        mixture = reduce(linear_learner, x, y, g, notion, slack=strength)
        return mixture(x), mixture(test.x)
    if name == "adversary":
        model = adversarial_debias(x, y, g, strength, notion, seed)
        with torch.no_grad():
            out = [model(torch.as_tensor(rows, dtype=torch.float32))[:, 0] >= 0 for rows in (x, test.x)]
        return out[0].double().numpy(), out[1].double().numpy()
    if name == "penalty":
        theta = fit_penalised(x, y, g, strength, notion)
    elif name == "resampled":
        at = resample(y, g, np.random.default_rng(seed))
        theta = fit_linear(x[at], y[at])
    else:
        theta = fit_linear(x, y, kamiran_calders_weights(y, g) if name == "reweighed" else None)
    return tuple((linear_scores(theta, rows) >= 0.5) * 1.0 for rows in (x, test.x))  # type: ignore[return-value]


def _fairlearn(
    name: str, strength: float, train: People, test: People, notion: str, seed: int
) -> tuple[Chances, Chances]:
    """Return the same of fairlearn's methods, with the same learner's kind."""
    from fairlearn.adversarial import AdversarialFairnessClassifier
    from fairlearn.postprocessing import ThresholdOptimizer
    from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient
    from sklearn.linear_model import LogisticRegression

    parity = notion == "demographic parity"
    learner = LogisticRegression(max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.endswith("thresholds"):
            kind = "demographic_parity" if parity else "equalized_odds"
            made = ThresholdOptimizer(estimator=learner, constraints=kind, predict_method="predict_proba")
            made.fit(train.x, train.labels, sensitive_features=train.groups)
            return tuple(  # type: ignore[return-value]
                made._pmf_predict(rows.x, sensitive_features=rows.groups)[:, 1] for rows in (train, test)
            )
        if name.endswith("reduction"):
            kinds = (DemographicParity if parity else EqualizedOdds)(difference_bound=max(strength, 1e-3))
            game = ExponentiatedGradient(learner, kinds, eps=max(strength, 1e-3), max_iter=20)
            game.fit(train.x, train.labels, sensitive_features=train.groups)
            return game._pmf_predict(train.x)[:, 1], game._pmf_predict(test.x)[:, 1]
        torch.manual_seed(seed)
        network = AdversarialFairnessClassifier(
            backend="torch",
            predictor_model=[],
            adversary_model=[],
            constraints="demographic_parity" if parity else "equalized_odds",
            alpha=strength,
            epochs=20,
            batch_size=256,
            learning_rate=0.01,
            random_state=seed,
        )
        network.fit(train.x.astype(np.float32), train.labels, sensitive_features=train.groups)
        return tuple(  # type: ignore[return-value]
            np.asarray(network.predict(rows.x.astype(np.float32)), dtype=float).ravel() for rows in (train, test)
        )


@dataclass(frozen=True)
class Bench:
    """What a data set's cells share: its people, how they are drawn, and which gap is to be closed."""

    name: str
    notion: str
    test: People
    draws: Callable[[int], list[tuple[People, np.ndarray]]]


@functools.cache
def bench(name: str) -> Bench:
    """Return Adult, with its own test set and training rows drawn anew for each seed, or COMPAS, by folds."""
    if name == "adult":
        train, test = adult()

        def drawn(seed: int) -> list[tuple[People, np.ndarray]]:
            at = np.random.default_rng(seed).permutation(len(train))[:TRAINED]
            return [(train.take(at), np.arange(len(test)))]

        return Bench("adult", "demographic parity", test, drawn)
    people = compas()

    def folds(seed: int) -> list[tuple[People, np.ndarray]]:
        order = np.random.default_rng(seed).permutation(len(people))
        parts = np.array_split(order, FOLDS)
        return [(people.take(np.setdiff1d(order, part)), np.sort(part)) for part in parts]

    return Bench("compas", "equalized odds", people, folds)


def run(where: Bench, name: str, strength: float, seed: int) -> tuple[Chances, float]:
    """Return each test person's probability of the decision 1, and the gap on the rows that were trained on."""
    found, gaps = np.empty(len(where.test)), []
    for train, places in where.draws(seed):
        own, found[places] = decided(name, strength, train, where.test.take(places), where.notion, seed)
        gaps.append(float(target_items(where.notion, own, train.labels, train.groups).mean()))
    return found, float(np.mean(gaps))


def target_items(notion: str, chances: Chances, labels: np.ndarray, groups: np.ndarray) -> Float[np.ndarray, " people"]:
    """Return the items of the gap that a notion is about; for equalized odds the mean of the gaps in both rates."""
    if notion == "demographic parity":
        return gap_items(chances, groups)
    return (gap_items(chances, groups, labels == 1) + gap_items(chances, groups, labels == 0)) / 2


def measured(where: Bench, made: Float[np.ndarray, "seeds people"], level: float = 0.95) -> dict[str, Any]:
    """Return accuracy and gaps, each with its interval over seeds and people."""
    y, g = where.test.labels, where.test.groups

    def each(items: Callable[[np.ndarray], np.ndarray]) -> list[float]:
        return [round(value, 5) for value in interval(np.array([items(row) for row in made]), level)]

    found: dict[str, Any] = {
        "accuracy": each(lambda d: accuracy_items(d, y)),
        "gap": each(lambda d: target_items(where.notion, d, y, g)),
        "selected": each(lambda d: gap_items(d, g)),
        "true positive rate": each(lambda d: gap_items(d, g, y == 1)),
        "false positive rate": each(lambda d: gap_items(d, g, y == 0)),
    }
    found["rates"] = [
        [[round(float(made[:, (g == k) & mask].mean()), 5) for mask in (y >= 0, y == 1, y == 0)] for k in (0, 1)]
    ][0]
    return found
