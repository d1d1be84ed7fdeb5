"""Taking a property out of vectors, as far as a linear classifier can see: one direction after another, or at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from sklearn.svm import LinearSVC

Rows = Float[np.ndarray, "examples width"]
_TOLERANCE = 1e-10


def _labelled(x: Rows, labels: Int[np.ndarray, " examples"]) -> tuple[Rows, Int[np.ndarray, " examples"]]:
    found, of = np.asarray(x, dtype=np.float64), np.asarray(labels)
    if found.ndim != 2 or of.shape != found.shape[:1] or not np.isfinite(found).all():
        raise ValueError(f"finite rows with a label each are needed; got shapes {found.shape} and {of.shape}")
    if len(np.unique(of)) < 2:
        raise ValueError("with one label only there is nothing to take out")
    return found, of


def inlp(
    x: Rows, labels: Int[np.ndarray, " examples"], rounds: int, c: float = 1.0, seed: int = 0
) -> Float[np.ndarray, "width width"]:
    """Return a projection after which linear classifiers, trained one after another, have been made blind.

    Each round trains a linear classifier on what is left, and takes the directions that it looks at out of it.

    Parameters
    ----------
    x : array of shape (examples, width)
    labels : array of shape (examples,)
    rounds : int
        How many classifiers; each takes out one dimension for two labels.
    c : float
        The classifier's inverse regularisation.
    seed : int

    Returns
    -------
    array of shape (width, width)
        Symmetric and idempotent: use it as `x @ projection`.

    Raises
    ------
    ValueError
        If there is one label only, a value is not finite, the lengths differ, or there is no round.

    References
    ----------
    Ravfogel et al. 2020, Null It Out: Guarding Protected Attributes by Iterative Nullspace Projection, algorithm 1.
    """
    found, of = _labelled(x, labels)
    if rounds < 1:
        raise ValueError(f"at least one round is needed; got {rounds}")
    width = found.shape[1]
    seen = np.zeros((0, width))
    projection = np.eye(width)
    for _ in range(rounds):
        classifier = LinearSVC(C=c, random_state=seed).fit(found @ projection, of)
        seen = np.concatenate([seen, classifier.coef_ @ projection])
        directions, sizes = np.linalg.svd(seen, full_matrices=False)[2], np.linalg.svd(seen, compute_uv=False)
        kept = directions[sizes > _TOLERANCE * sizes[0]]
        projection = np.eye(width) - kept.T @ kept
        if len(kept) == width:
            break
    return projection


def leace(x: Rows, labels: Int[np.ndarray, " examples"]) -> tuple[Float[np.ndarray, "width width"], Rows]:
    """Return the smallest change of the vectors after which no linear classifier beats a constant answer.

    No linear classifier does, whatever its loss, if and only if all labels have the same mean vector. Of all affine
    maps that give them the same mean this one moves the vectors least, in the mean square.

    Parameters
    ----------
    x : array of shape (examples, width)
    labels : array of shape (examples,)
        Two labels or more.

    Returns
    -------
    matrix : array of shape (width, width)
    mean : array of shape (1, width)
        Use them as `x - (x - mean) @ matrix.T`.

    Raises
    ------
    ValueError
        If there is one label only, a value is not finite, or the lengths differ.

    References
    ----------
    Belrose et al. 2023, LEACE: Perfect linear concept erasure in closed form, theorem 4.3.
    """
    found, of = _labelled(x, labels)
    mean = found.mean(axis=0, keepdims=True)
    centred = found - mean
    hot = (of[:, None] == np.unique(of)).astype(np.float64)
    covariance = centred.T @ centred / len(found)
    cross = centred.T @ (hot - hot.mean(axis=0)) / len(found)
    values, basis = np.linalg.eigh(covariance)
    large = values > _TOLERANCE * values[-1]
    whiten = (basis[:, large] / np.sqrt(values[large])) @ basis[:, large].T
    colour = (basis[:, large] * np.sqrt(values[large])) @ basis[:, large].T
    directions, sizes, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    kept = directions[:, sizes > _TOLERANCE * max(sizes[0], 1e-300)]
    return colour @ kept @ kept.T @ whiten, mean


def erase(x: Rows, labels: Int[np.ndarray, " examples"]) -> Rows:
    """Return the vectors with LEACE's map, fitted on them, applied to them."""
    matrix, mean = leace(x, labels)
    return x - (x - mean) @ matrix.T
