"""The word embedding association test: how much closer one set of words is to an attribute than another set is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from llmsafety_lab.representation_bias.permutation import share_at_least, share_at_least_drawn

Vectors = Float[np.ndarray, "words width"]


def unit(vectors: Vectors, what: str = "the words") -> Vectors:
    """Return the rows divided by their lengths, so that a dot product is a cosine.

    Raises
    ------
    ValueError
        If there is no row, or a row is not finite or zero: it has no direction.
    """
    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 2 or not len(found):
        raise ValueError(f"{what} must be rows of vectors, at least one; got shape {found.shape}")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError(f"{what} have a vector that is zero or not finite: it has no direction")
    return found / lengths


def association(words: Vectors, a: Vectors, b: Vectors) -> Float[np.ndarray, " words"]:
    """Return each word's mean cosine with the attribute a, minus that with the attribute b.

    Parameters
    ----------
    words, a, b : arrays of shape (words, width)
        A row a word's vector, of any length but 0.

    Raises
    ------
    ValueError
        If a set is empty, a vector is zero or not finite, or the widths differ.

    References
    ----------
    Caliskan, Bryson and Narayanan 2017, Semantics derived automatically from language corpora contain human-like
    biases, s(w, A, B).
    """
    words, a, b = unit(words), unit(a, "the first attribute's words"), unit(b, "the second attribute's words")
    if len({found.shape[1] for found in (words, a, b)}) > 1:
        raise ValueError(f"vectors of one width are needed; got {words.shape[1]}, {a.shape[1]} and {b.shape[1]}")
    return (words @ a.T).mean(axis=1) - (words @ b.T).mean(axis=1)


def weat_effect(x: Vectors, y: Vectors, a: Vectors, b: Vectors) -> float:
    """Return WEAT's effect size d: the difference of the targets' mean associations, in standard deviations of all.

    The standard deviation is that of a sample, of both targets' words together. So d has a ceiling, however large the
    difference is: the root of (n + m)(n + m - 1) / (n m) for n and m words, a little below 2 where n is m.

    Parameters
    ----------
    x, y : arrays of shape (words, width)
        The two targets: above 0, x goes with a and y with b.
    a, b : arrays of shape (words, width)
        The two attributes.

    Raises
    ------
    ValueError
        As `association` does, and if all words have the same association.

    References
    ----------
    Caliskan, Bryson and Narayanan 2017.
    """
    of_x, of_y = association(x, a, b), association(y, a, b)
    spread = np.concatenate([of_x, of_y]).std(ddof=1) if len(of_x) + len(of_y) > 2 else np.nan
    if not spread > 0:
        raise ValueError("an effect size needs at least three target words that do not all have the same association")
    return float((of_x.mean() - of_y.mean()) / spread)


def weat_p_value(
    x: Vectors,
    y: Vectors,
    a: Vectors,
    b: Vectors,
    alternative: str = "two-sided",
    draws: int | None = None,
    seed: int = 0,
) -> float:
    """Return the share of all ways to divide the target words anew that separate them at least as much.

    Parameters
    ----------
    alternative : str
        "two-sided", or "greater" where only x going with a counts.
    draws : int, optional
        Without it the share is exact for up to 40 words, and for more of them an upper bound: too large by what
        rounding to a fine grid adds. With it that many divisions are drawn, the one observed counts as one more, and
        no p below 1 / (draws + 1) can come out.

    Raises
    ------
    ValueError
        As `association` does; if the alternative is another word; if there is no draw.

    References
    ----------
    Caliskan, Bryson and Narayanan 2017; Phipson and Smyth 2010, Permutation P-values Should Never Be Zero.
    """
    if alternative not in ("two-sided", "greater"):
        raise ValueError(f'the alternative is "two-sided" or "greater"; got {alternative!r}')
    values = np.concatenate([association(x, a, b), association(y, a, b)])
    if draws is None:
        return share_at_least(values, len(x), two_sided=alternative == "two-sided")
    return share_at_least_drawn(values, len(x), draws, seed, two_sided=alternative == "two-sided")
