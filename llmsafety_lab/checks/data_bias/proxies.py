"""Exercise 5: how well a dropped column can be predicted from the others, on rows that the model did not see."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number, expect_unchanged

ROWS, WIDTH = 90, 12
SEEN = "These scores are of rows that the model saw when it was fitted. It knows them by heart."
OWN = "You fitted on the fold that you scored: the model saw these rows. Fit on the other folds."
SWAPPED = "You fitted on one fold and scored the others. Fit on the others and score the one."
DECISIONS = "You ranked decisions, 0 or 1, and not scores: most pairs are ties then. Use the probability of group 1."
UPSIDE_DOWN = "This is 1 minus the AUC: you took the probability of group 0, or counted pairs the wrong way round."
FOLDED = "An AUC below 0.5 is no proxy found. Do not turn it round, or noise looks like a weak proxy."
BEST = "You return the best fold. Take the mean of all."
ONE = "You return the result of one fold. Take the mean of all."
ACCURACY = "This is an accuracy. The AUC asks how often a row of group 1 scores higher than one of group 0."
TIES = "Pairs with equal scores are lost. A tie counts one half."
MIDDLE = "This is the median of the folds. Take the mean."
WEIGHTED = "You weight the folds by their rows. Each fold counts alike."
TWICE = "This is 2 AUC - 1. Return the AUC itself."
SCALED = "You changed the features before the fit. Leave them as they are."
COLUMN = "This is the AUC of one column. Fit the model on all columns together."
POOLED = "You ranked scores of several models together. Compute an AUC in each fold and take the mean."


def _case(dice: Dice, signal: float, coarse: bool = False) -> tuple[tuple[np.ndarray, ...], dict[str, list[float]]]:
    """Return arguments, and what the right answer and the usual mistakes give for them: alternatives by their hint.

    A `coarse` case has one column of few values, so that many pairs of rows tie.
    """
    group = dice.integers(0, 1, ROWS).numpy()
    features = dice.normal(ROWS, WIDTH).numpy()
    features[:, 3] += signal * group
    if coarse:
        features = features[:, 3:4].round().clip(-1, 2)
    fold = dice.integers(2, 4, ROWS).numpy()
    every = LogisticRegression().fit(features, group)
    pooled = np.zeros(ROWS)
    found: dict[str, list[float]] = {}
    alike = (features - features.mean(0)) / features.std(0)
    for one in np.unique(fold):
        test = fold == one
        model = LogisticRegression().fit(features[~test], group[~test])
        own = LogisticRegression().fit(features[test], group[test])
        pooled[test] = model.predict_proba(features[test])[:, 1]
        area = float(roc_auc_score(group[test], pooled[test]))
        for words, value in {
            "": area,
            SEEN: roc_auc_score(group[test], every.decision_function(features[test])),
            OWN: roc_auc_score(group[test], own.decision_function(features[test])),
            SWAPPED: roc_auc_score(group[~test], own.decision_function(features[~test])),
            DECISIONS: roc_auc_score(group[test], model.predict(features[test])),
            UPSIDE_DOWN: 1 - area,
            SCALED: _area(LogisticRegression().fit(alike[~test], group[~test]), alike[test], group[test]),
            TWICE: 2 * area - 1,
            FOLDED: max(area, 1 - area),
            TIES: _wins(pooled[test], group[test]),
            ACCURACY: float((model.predict(features[test]) == group[test]).mean()),
        }.items():
            found.setdefault(words, []).append(float(value))
    means = {words: [float(np.mean(values))] for words, values in found.items()}
    areas = found[""]
    means |= {BEST: [max(areas)], ONE: [areas[0], areas[-1]], POOLED: [float(roc_auc_score(group, pooled))]}
    means |= {
        MIDDLE: [float(np.median(areas))],
        WEIGHTED: [float(np.average(areas, weights=np.unique(fold, return_counts=True)[1]))],
        COLUMN: [float(roc_auc_score(group, features[:, j])) for j in range(features.shape[1])],
    }
    means[SEEN] += [float(roc_auc_score(group, every.decision_function(features)))]
    means[FOLDED] += [max(means[""][0], 1 - means[""][0])]
    return (features, group, fold), means


def _area(model: LogisticRegression, features: np.ndarray, group: np.ndarray) -> float:
    return float(roc_auc_score(group, model.decision_function(features)))


def _wins(scores: np.ndarray, group: np.ndarray) -> float:
    """Return the share of pairs that are in the right order, ties not counted."""
    return float((scores[group == 1][:, None] > scores[group == 0][None]).mean())


@exercise(
    "data_bias.proxy",
    "Find what you dropped",
    points=4,
    difficulty=4,
    importance=5,
    minutes=15,
    answer="proxy",
    forbid=(
        "sklearn.model_selection.cross_val_score",
        "sklearn.model_selection.cross_validate",
        "sklearn.model_selection.cross_val_predict",
        "sklearn.model_selection.permutation_test_score",
        "sklearn.model_selection.validation_curve",
        "sklearn.model_selection.learning_curve",
        "sklearn.model_selection.GridSearchCV",
        "sklearn.model_selection.RandomizedSearchCV",
        "sklearn.linear_model.LogisticRegressionCV",
        "sklearn.feature_selection.RFECV",
        "sklearn.feature_selection.SequentialFeatureSelector",
    ),
    mutants=(
        Mutant("trained on the test rows", "fit(features[~test], group[~test])", "fit(features, group)", "saw"),
        Mutant("swapped", "fit(features[~test], group[~test])", "fit(features[test], group[test])", "saw"),
        Mutant(
            "decisions for scores",
            "model.predict_proba(features[test])[:, 1]",
            "model.predict(features[test])",
            "decisions",
        ),
        Mutant(
            "the other group's scores",
            "model.predict_proba(features[test])[:, 1]",
            "model.predict_proba(features[test])[:, 0]",
            "1 minus",
        ),
        Mutant(
            "never below one half",
            "areas.append(roc_auc_score(group[test], scores))",
            "areas.append(max(roc_auc_score(group[test], scores), 1 - roc_auc_score(group[test], scores)))",
            "below 0.5",
        ),
        Mutant("the best fold", "np.mean(areas)", "np.max(areas)", "best fold"),
        Mutant(
            "accuracy",
            "areas.append(roc_auc_score(group[test], scores))",
            "areas.append(float(((scores > 0.5) == group[test]).mean()))",
            "accuracy",
        ),
        Mutant(
            "ties lost",
            "areas.append(roc_auc_score(group[test], scores))",
            "areas.append(float((scores[group[test] == 1][:, None] > scores[group[test] == 0][None]).mean()))",
            "tie",
        ),
        Mutant("last fold", "np.mean(areas)", "areas[-1]", "one fold"),
    ),
)
def check_proxy(answer: Answer, dice: Dice) -> None:
    cases = {}
    for name, signal in (("pure noise", 0.0), ("a signal", 1.0), ("a weak signal", 0.4), ("few values", 1.2)):
        coarse = name == "few values"
        for _ in range(20):
            arguments, means = _case(dice, signal, coarse)
            right = means[""][0]
            turned = means[FOLDED][0] - right > 0.01 or signal > 0
            if coarse or (
                turned and all(abs(means[words][0] - right) > 0.006 for words in (POOLED, DECISIONS, UPSIDE_DOWN))
            ):
                break
        cases[name] = (arguments, means)
    got = {}
    for name, (arguments, _) in cases.items():
        called = answer.trace(*arguments)
        got[name] = expect_number(called.value, "The answer", hint="Return the mean AUC over the folds.")
        expect_unchanged(called)
    for name, (_, means) in cases.items():
        right = means[""][0]
        if abs(got[name] - right) > 0.003:
            fits = [
                words
                for words in means
                if words and all(min(abs(got[one] - v) for v in cases[one][1][words]) < 2e-3 for one in cases)
            ]
            hint = fits[0] if fits else "Fit on all folds but one, score that one; return the mean AUC over the folds."
            raise Failed(f"The strength for features with {name} is wrong.", expected=right, got=got[name], hint=hint)
