"""Stealing from a model by asking it: how wide it is, and a copy of what it decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def hidden_width(logits: Float[np.ndarray, "queries vocabulary"]) -> int:
    """Return the width of a model's last layer from logits alone: how many dimensions they span.

    Logits are a product of the last layer's matrix (vocabulary, width) and a vector, so any number of them lies in a
    space of `width` dimensions. The singular values after that many are rounding errors: the width is at the largest
    ratio of one singular value to the next.

    Parameters
    ----------
    logits : Float[np.ndarray, "queries vocabulary"]
        Of more queries than the width, and not the log-probabilities: a softmax subtracts a number of each row's own,
        and that is one more dimension.

    Raises
    ------
    ValueError
        If there are fewer than two queries or tokens, a logit is not finite, or no ratio stands out, as where there
        are no more queries than the width.

    References
    ----------
    Carlini et al. 2024, Stealing Part of a Production Language Model, section 4, algorithm 1.
    """
    rows = np.asarray(logits, dtype=float)
    if rows.ndim != 2 or min(rows.shape) < 2 or not np.isfinite(rows).all():
        raise ValueError(f"finite logits of two queries and two tokens or more are needed; got shape {rows.shape}")
    values = np.linalg.svd(rows, compute_uv=False)
    values = np.maximum(values, values[0] * 1e-12)
    ratios = values[:-1] / values[1:]
    if ratios.max() < 100:
        raise ValueError(f"no singular value drops: {len(rows)} queries are not more than the width. Ask more.")
    return int(ratios.argmax()) + 1


def surrogate_labels(
    queries: Sequence[str], answers: Int[np.ndarray, " queries"], texts: Sequence[str]
) -> Int[np.ndarray, " texts"]:
    """Train a copy on a classifier's answers to queries, tf-idf and logistic regression, and let it label texts.

    Raises
    ------
    ValueError
        If the numbers of queries and answers differ, or all answers are the same.

    References
    ----------
    Tramèr et al. 2016, Stealing Machine Learning Models via Prediction APIs.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(queries) != len(answers) or len(np.unique(answers)) < 2:
        raise ValueError(f"an answer for each query, and two different ones: got {len(queries)} and {len(answers)}")
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    copy = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    return copy.fit(list(queries), answers).predict(list(texts))
