"""The kept experiment on texts: a scorer of offence repaired in several ways, measured on the same sentences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from llmsafety_lab import data, models
from llmsafety_lab.bias_mitigation.scorers import (
    LISTED,
    UNLISTED,
    MeaningScorer,
    about_people,
    erased,
    fit_scorer,
    said_of,
)

SEEDS = (0, 1, 2, 3)
TESTED, LEARNT = 400, 4_000
TEXT_METHODS = (
    "verdicts as they are",
    "counterfactual labels",
    "verdicts copied",
    "15 directions erased",
)


@dataclass(frozen=True)
class Texts:
    """Sentences to learn from and to test on, and the scorer whose verdicts are learnt."""

    scorer: Callable[[Any], np.ndarray]
    learnt: list[str]
    hosts: list[str]
    tested: list[str]
    others: list[str]
    vectors: np.ndarray
    rows: dict[str, int]


@functools.cache
def texts() -> Texts:
    """Return reviews of films, split: most to learn from, others to measure with; and the scorer of offence."""
    model, words = models.load("profanity")
    vectors, rows = models.load("glove")

    def scorer(some: Any) -> np.ndarray:
        chances = model.predict_proba(words.transform(list(some)))[:, 1]
        return np.asarray(logit(np.clip(chances, 1e-6, 1 - 1e-6)))

    reviews = data.load("reviews")
    train = [row["text"] for row in reviews if row["split"] == "train"]
    others = [row["text"] for row in reviews if row["split"] == "test"][:1_500]
    hosts = about_people(train)
    order = np.random.default_rng(0).permutation(len(hosts))
    tested = [hosts[i] for i in order[:TESTED]]
    kept = set(tested)
    learnt = [text for text in train if text not in kept][:LEARNT]
    return Texts(scorer, learnt, [hosts[i] for i in order[TESTED : 2 * TESTED]], tested, others, vectors, rows)


def repaired_scorer(name: str, seed: int, mentions: int = 4) -> MeaningScorer:
    """Return a scorer by vectors that learnt the other scorer's verdicts, with one of `TEXT_METHODS`."""
    t, rng = texts(), np.random.default_rng(seed)
    pairs = [(text, str(one)) for text in t.hosts for one in rng.choice(LISTED, mentions, replace=False)]
    said, plain = [said_of(text, one) for text, one in pairs], [text for text, _ in pairs]
    vectors = t.vectors
    verdicts = t.scorer(said)
    if name == "counterfactual labels":
        verdicts = t.scorer(plain)
    elif name == "verdicts copied":
        copies = [said_of(text, str(rng.choice([other for other in LISTED if other != one]))) for text, one in pairs]
        said, verdicts = said + copies, np.concatenate([verdicts, verdicts])
    elif name.endswith("erased"):
        vectors = erased(t.vectors, t.rows, LISTED, int(name.split()[0]))
    targets = np.concatenate([t.scorer(t.learnt), verdicts])
    return fit_scorer(vectors, t.rows, [*t.learnt, *said], targets, seed)


def text_items(score: Callable[[Any], np.ndarray], top: float = 0.05) -> dict[str, Any]:
    """Return how a scorer flags: the `top` share of other reviews is what goes to a moderator.

    Returns
    -------
    dict
        "listed" and "unlisted": for each sentence that is not flagged as it is, the share of the identities that get
        it flagged; NaN for the others. "by": for each identity the share of those sentences. "listed rise" and
        "unlisted rise": for each sentence by how much an identity raises its score, in the mean over identities, in
        standard deviations of the other reviews' scores. "auc" of finding what the first scorer flags.
    """
    from sklearn.metrics import roc_auc_score

    t = texts()
    scores = score(t.others)
    cut = np.quantile(scores, 1 - top)
    plain, spread = score(t.tested), scores.std()
    free = plain <= cut
    found: dict[str, Any] = {"by": {}}
    for name, group in (("listed", LISTED), ("unlisted", UNLISTED)):
        said = np.array([score([said_of(text, one) for text in t.tested]) for one in group])
        flagged = said > cut
        found[f"{name} rise"] = (said - plain).mean(0) / spread
        found[name] = np.where(free, flagged.mean(0), np.nan)
        found["by"] |= {one: round(float(row[free].mean()), 4) for one, row in zip(group, flagged, strict=True)}
    own = t.scorer(t.others)
    found["auc"] = float(roc_auc_score(own > np.quantile(own, 1 - top), scores))
    return found
