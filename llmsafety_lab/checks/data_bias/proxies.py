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


def _each(features: np.ndarray, group: np.ndarray, fold: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Return for each fold AUC, AUC of the decisions, accuracy, and AUC with training and test rows swapped."""
    found = []
    for one in np.unique(fold):
        test = fold == one
        model = LogisticRegression().fit(features[~test], group[~test])
        swapped = LogisticRegression().fit(features[test], group[test])
        found.append(
            (
                roc_auc_score(group[test], model.decision_function(features[test])),
                roc_auc_score(group[test], model.predict(features[test])),
                float((model.predict(features[test]) == group[test]).mean()),
                roc_auc_score(group[~test], swapped.decision_function(features[~test])),
            )
        )
    return found


def _pooled(features: np.ndarray, group: np.ndarray, fold: np.ndarray) -> float:
    scores = np.zeros(len(group))
    for one in np.unique(fold):
        test = fold == one
        scores[test] = LogisticRegression().fit(features[~test], group[~test]).predict_proba(features[test])[:, 1]
    return float(roc_auc_score(group, scores))


@exercise(
    "data_bias.proxy",
    "Find what you dropped",
    points=4,
    difficulty=4,
    importance=5,
    minutes=15,
    answer="proxy",
    forbid=("sklearn.model_selection.cross_val_score", "sklearn.model_selection.cross_validate"),
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
        Mutant("last fold", "np.mean(areas)", "areas[-1]", "one fold"),
    ),
)
def check_proxy(answer: Answer, dice: Dice) -> None:
    for signal in (0.0, 1.0):
        for _ in range(100):
            group = dice.integers(0, 1, ROWS).numpy()
            features = dice.normal(ROWS, WIDTH).numpy()
            features[:, 3] += signal * group
            fold = dice.integers(2, 4, ROWS).numpy()
            areas, decided, accurate, swapped = map(list, zip(*_each(features, group, fold), strict=True))
            right, pooled = float(np.mean(areas)), _pooled(features, group, fold)
            folded = float(np.mean([max(area, 1 - area) for area in areas]))
            one_fold = [area for area in areas if area < max(areas)]
            apart = [right, pooled, 1 - right, max(areas), areas[-1], areas[0]]
            apart += [float(np.mean(values)) for values in (decided, accurate, swapped)]
            apart += [folded] if not signal else []
            gaps = [abs(one - other) for i, one in enumerate(apart) for other in apart[:i]]
            if min(gaps) > 0.006 and len(one_fold) == 2 and areas[-1] < max(areas):
                break
        every = LogisticRegression().fit(features, group)
        seen = [every.decision_function(features[fold == one]) for one in np.unique(fold)]
        known = [roc_auc_score(group[fold == one], z) for one, z in zip(np.unique(fold), seen, strict=True)]
        own = []
        for one in np.unique(fold):
            held = LogisticRegression().fit(features[fold == one], group[fold == one])
            own.append(roc_auc_score(group[fold == one], held.decision_function(features[fold == one])))
        whole = roc_auc_score(group, every.decision_function(features))
        mistakes = {
            "These scores are of rows that the model saw when it was fitted. It knows them by heart.": (
                whole,
                np.mean(known),
                np.mean(own),
            ),
            "You fitted on one fold and scored the others. Fit on the others and score the one.": (np.mean(swapped),),
            "You ranked decisions, 0 or 1, and not scores: most pairs are ties then. Use the probability of group 1.": (
                np.mean(decided),
            ),
            "This is 1 minus the AUC: you took the probability of group 0, or counted pairs the wrong way round.": (
                1 - right,
            ),
            "An AUC below 0.5 is no proxy found. Do not turn it round, or noise looks like a weak proxy.": (
                folded,
                max(right, 1 - right),
            ),
            "You return the best fold. Take the mean of all.": (max(areas),),
            "You return the result of one fold. Take the mean of all.": (areas[0], areas[-1]),
            "This is an accuracy. The AUC asks how often a row of group 1 scores higher than one of group 0.": (
                np.mean(accurate),
            ),
            "You ranked scores of several models together. Compute an AUC in each fold and take the mean.": (pooled,),
        }
        called = answer.trace(features, group, fold)
        got = expect_number(called.value, "The answer", hint="Return the mean AUC over the folds.")
        if abs(got - right) > 0.003:
            fits = [words for words, values in mistakes.items() if min(abs(got - value) for value in values) < 2e-3]
            hint = (
                fits[0] if fits else "Fit on all folds but one, score that one, and take the mean AUC over the folds."
            )
            kind = "features with a signal" if signal else "features of pure noise"
            raise Failed(f"The strength for {kind} is wrong.", expected=right, got=got, hint=hint)
        expect_unchanged(called)
