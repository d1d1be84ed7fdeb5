"""The attack that never looks at the model: can members be told from non-members by the texts alone?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float


def blind_scores(
    texts: Sequence[str],
    members: Bool[np.ndarray, " texts"],
    folds: int = 5,
    seed: int = 0,
    analyzer: Literal["word", "char", "char_wb"] = "word",
    ngrams: tuple[int, int] = (1, 1),
) -> Float[np.ndarray, " texts"]:
    """Return for each text the score of a classifier on word counts that was trained on the other folds.

    No model is asked. Where these scores tell members from non-members, the two were not drawn alike, and an attack's
    success on them says nothing of membership.

    Raises
    ------
    ValueError
        If texts and members differ in number, or there are fewer members or non-members than folds.

    References
    ----------
    Das, Zhang and Tramèr 2025, Blind Baselines Beat Membership Inference Attacks for Foundation Models.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    inside = np.asarray(members)
    if len(texts) != len(inside) or inside.ndim != 1 or folds < 2:
        raise ValueError(f"as many texts as members, and two folds: got {len(texts)}, {inside.shape}, {folds}")
    inside = inside.astype(bool)
    if min(inside.sum(), (~inside).sum()) < folds:
        raise ValueError(f"{folds} folds need at least as many members, and as many non-members")
    learner = make_pipeline(
        TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True),
        LogisticRegression(max_iter=1000, C=10),
    )
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(learner, list(texts), inside, cv=split, method="decision_function")
