"""Measures of a classifier: accuracy, F1, calibration; the baseline to beat; labels that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Evaluation:
    """What a classifier did with texts whose labels are known.

    Parameters
    ----------
    probabilities : Float[np.ndarray, "texts classes"]
    confusion : Int[np.ndarray, "classes classes"]
        How many texts of the row's class were given the column's.
    accuracy, macro_f1, ece : float
        The share that is right; the mean over the classes of F1; the expected calibration error.
    """

    probabilities: Float[np.ndarray, "texts classes"]
    confusion: Int[np.ndarray, "classes classes"]
    accuracy: float
    macro_f1: float
    ece: float


def score(probabilities: Float[np.ndarray, "texts classes"], labels: ArrayLike) -> Evaluation:
    """Return the measures of predicted probabilities against the labels.

    Raises
    ------
    ValueError
        If there are no texts, or not as many labels.
    """
    probabilities, truth = _checked(probabilities, labels)
    confusion = np.zeros((probabilities.shape[1],) * 2, dtype=int)
    np.add.at(confusion, (truth, probabilities.argmax(1)), 1)
    right, total = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    f1 = 2 * right / np.maximum(total, 1)
    return Evaluation(
        probabilities,
        confusion,
        float(right.sum() / len(truth)),
        float(f1[total > 0].mean()),
        expected_calibration_error(probabilities, truth),
    )


def _checked(
    probabilities: Float[np.ndarray, "texts classes"], labels: ArrayLike
) -> tuple[Float[np.ndarray, "texts classes"], Int[np.ndarray, " texts"]]:
    rows, truth = np.asarray(probabilities), np.asarray(labels)
    if rows.ndim != 2 or not len(rows) or truth.shape != rows.shape[:1]:
        raise ValueError(f"probabilities have shape {rows.shape} and labels {truth.shape}; needed are (N, C) and (N,).")
    if not np.allclose(rows.sum(1), 1, atol=1e-3) or rows.min() < 0:
        raise ValueError("each row of probabilities has to be at least 0 and sum to 1; are these logits?")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= rows.shape[1]:
        raise ValueError(
            f"labels are whole numbers below {rows.shape[1]}, from 0; got {sorted(set(truth.tolist()))[:9]}"
        )
    return rows, truth


def reliability(
    probabilities: Float[np.ndarray, "texts classes"], labels: ArrayLike, bins: int = 15
) -> list[tuple[int, float, float]]:
    """Return for each bin of confidence that holds texts: how many, their mean confidence, and the share that is right.

    A text's confidence is its largest probability; the bins cut 0 to 1 into equal widths, each with its upper end.

    Raises
    ------
    ValueError
        If there is no bin, or probabilities and labels do not fit.
    """
    if bins < 1:
        raise ValueError(f"confidence is sorted into at least one bin, got {bins}")
    rows, truth = _checked(probabilities, labels)
    confidence, right = rows.max(1), rows.argmax(1) == truth
    bin_of = np.minimum(np.ceil(confidence * bins).astype(int), bins) - 1
    return [
        (int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (bin_of == b for b in range(bins))
        if inside.any()
    ]


def expected_calibration_error(
    probabilities: Float[np.ndarray, "texts classes"], labels: ArrayLike, bins: int = 15
) -> float:
    """Return the mean gap between confidence and share of right answers, each bin weighted by how many texts it holds.

    References
    ----------
    Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    rows = reliability(probabilities, labels, bins)
    return sum(count * abs(right - confidence) for count, confidence, right in rows) / len(np.asarray(probabilities))


def fit_temperature(logits: Float[np.ndarray, "texts classes"], labels: ArrayLike) -> float:
    """Return the temperature τ for which softmax(logits / τ) gives the labels the highest likelihood.

    In b = 1/τ the mean negative log-likelihood is convex; its slope, the mean over the texts of the expected logit
    minus the label's, is 0 at the answer. The interval for b, from 1e-3 to 1e3, is halved until it is narrow.

    Raises
    ------
    ValueError
        If logits and labels do not fit, a logit is not finite, or a label is no class.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    scores, given = np.asarray(logits, dtype=float), np.asarray(labels)
    if scores.ndim != 2 or given.shape != scores.shape[:1] or not given.size or not np.isfinite(scores).all():
        raise ValueError(f"needs finite logits (N, C) and labels (N,), got shapes {scores.shape} and {given.shape}")
    if given.min() < 0 or given.max() >= scores.shape[1]:
        raise ValueError(f"labels are from 0 to {scores.shape[1] - 1}, got {given.min()} to {given.max()}")
    scores = scores - scores.max(1, keepdims=True)
    own = scores[np.arange(len(scores)), np.asarray(labels)]
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        weights = np.exp(scores * middle)
        weights /= weights.sum(1, keepdims=True)
        slope = ((weights * scores).sum(1) - own).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / (low * high) ** 0.5


def baseline(
    train_texts: Sequence[str], train_labels: Sequence[int], test_texts: Sequence[str]
) -> Float[np.ndarray, "texts classes"]:
    """Return what logistic regression on tf-idf of words and pairs of words says of the test texts.

    Vocabulary and weights of words come from the training texts alone.

    Returns
    -------
    Float[np.ndarray, "texts classes"]
        Probabilities, the classes in the order of their numbers.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    model = LogisticRegression(C=5, max_iter=1000)
    model.fit(words.fit_transform(train_texts), train_labels)
    return model.predict_proba(words.transform(test_texts))


def suspects(probabilities: Float[np.ndarray, "texts classes"], labels: ArrayLike) -> list[int]:
    """Return the texts whose labels look wrong, the most suspicious first.

    A class's threshold is the mean probability that the texts labelled with it were given for it. A text counts for
    the most probable of the classes whose threshold it reaches. It is suspect where that is not its label, the more so
    the more probable that class is than the label.

    Parameters
    ----------
    probabilities : Float[np.ndarray, "texts classes"]
        Of models that did not train on the text in question.
    labels : Int[np.ndarray, " texts"]
        Every class occurs.

    Raises
    ------
    ValueError
        If probabilities and labels do not fit, or a class does not occur.

    References
    ----------
    Northcutt, Jiang and Chuang 2021, Confident Learning, section 3.1.
    """
    rows, given = _checked(probabilities, labels)
    if absent := sorted(set(range(rows.shape[1])) - set(given.tolist())):
        raise ValueError(f"no text is labelled {absent[0]}: a class without texts has no threshold")
    thresholds = np.array([rows[given == c, c].mean() for c in range(rows.shape[1])])
    reached = np.where(rows >= thresholds, rows, -1)
    guess, place = reached.argmax(1), np.arange(len(rows))
    margin = rows[place, given] - rows[place, guess]
    found = np.flatnonzero((reached.max(1) >= 0) & (guess != given))
    return found[np.argsort(margin[found], kind="stable")].tolist()
