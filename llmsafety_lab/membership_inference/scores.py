"""What an attack looks at: one number a record, high where the model fits the record well."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import logsumexp


def _logits_and_labels(
    logits: ArrayLike, labels: ArrayLike
) -> tuple[Float[np.ndarray, "... records classes"], Int[np.ndarray, " records"]]:
    rows, truth = np.asarray(logits, dtype=float), np.asarray(labels)
    if rows.ndim < 2 or rows.shape[-1] < 2 or truth.shape != rows.shape[-2:-1] or not truth.size:
        raise ValueError(
            f"logits have shape {rows.shape} and labels {truth.shape}; needed are (..., records, classes) "
            "with two classes or more, and (records,)"
        )
    if not np.isfinite(rows).all():
        raise ValueError("logits must be finite")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= rows.shape[-1]:
        raise ValueError(f"labels are whole numbers from 0 to {rows.shape[-1] - 1}")
    return rows, truth


def logit_scaled(
    logits: Float[np.ndarray, "*models records classes"], labels: Int[np.ndarray, " records"]
) -> Float[np.ndarray, "*models records"]:
    """Return log(p / (1 - p)) of the probability p of each record's own label, without going through p.

    It is the label's logit minus the logarithm of the summed exponentials of the other classes' logits. Over models it
    is close to normally distributed, where p itself crowds at 1.

    Parameters
    ----------
    logits : Float[np.ndarray, "*models records classes"]
        Scores before the softmax; the axis of models may be left out.
    labels : Int[np.ndarray, " records"]

    Raises
    ------
    ValueError
        If shapes do not fit, there is only one class, a logit is not finite, or a label is no class.

    References
    ----------
    Carlini et al. 2022, Membership Inference Attacks From First Principles, section VI-A.
    """
    rows, truth = _logits_and_labels(logits, labels)
    own = np.arange(rows.shape[-1]) == truth[:, None]
    label = rows[..., np.arange(len(truth)), truth]
    return label - logsumexp(np.where(own, -np.inf, rows), axis=-1)


def losses(
    logits: Float[np.ndarray, "*models records classes"], labels: Int[np.ndarray, " records"]
) -> Float[np.ndarray, "*models records"]:
    """Return the cross-entropy of each record in nats.

    Raises
    ------
    ValueError
        As for `logit_scaled`.
    """
    return np.logaddexp(0, -logit_scaled(logits, labels))


def min_k(log_probabilities: Sequence[Float[np.ndarray, " tokens"]], share: float = 0.2) -> Float[np.ndarray, " texts"]:
    """Return the mean log-probability of each text's least probable tokens: Min-K% Prob.

    Parameters
    ----------
    log_probabilities : sequence of Float[np.ndarray, " tokens"]
        For each text the log-probability of each of its tokens, in nats.
    share : float
        How much of each text is looked at, at least one token.

    Raises
    ------
    ValueError
        If there is no text, one is empty, or the share is not above 0 and at most 1.

    References
    ----------
    Shi et al. 2024, Detecting Pretraining Data from Large Language Models, section 4.
    """
    if not 0 < share <= 1 or not len(log_probabilities) or not all(len(text) for text in log_probabilities):
        raise ValueError(f"texts with tokens are needed, and a share above 0 and at most 1; got {share}")
    return np.array([np.sort(text)[: max(1, int(share * len(text)))].mean() for text in log_probabilities])


def zlib_ratio(
    log_probabilities: Sequence[Float[np.ndarray, " tokens"]], texts: Sequence[str]
) -> Float[np.ndarray, " texts"]:
    """Return each text's log-probability divided by its size in bytes after compression.

    Raises
    ------
    ValueError
        If there is no text, or not as many log-probabilities.

    References
    ----------
    Carlini et al. 2021, Extracting Training Data from Large Language Models, section 5.2.
    """
    if not len(texts) or len(texts) != len(log_probabilities):
        raise ValueError(f"as many texts as rows of log-probabilities: got {len(texts)} and {len(log_probabilities)}")
    sizes = [len(zlib.compress(text.encode())) for text in texts]
    return np.array([np.sum(row) / size for row, size in zip(log_probabilities, sizes, strict=True)])
