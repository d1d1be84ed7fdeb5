"""The attacks: numbers in, a score for each record out, high where the attack says "member".

Scores come as plain arrays. `target` has the shape (records,) and comes from the model under attack; `shadow` has the
shape (models, records), and `members` says which model was trained on which record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy import stats

Attack = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def shadow_scores(
    target: ArrayLike, shadow: ArrayLike, members: ArrayLike, least_in: int, least_out: int
) -> tuple[Float[np.ndarray, " records"], Float[np.ndarray, "models records"], Bool[np.ndarray, "models records"]]:
    """Return the three arrays, refused unless each record is in and out of enough shadow models.

    Raises
    ------
    ValueError
        If shapes do not fit, a score is not finite, or a record has too few models with it or without it.
    """
    one, many, inside = np.asarray(target, dtype=float), np.asarray(shadow, dtype=float), np.asarray(members)
    if one.ndim != 1 or not one.size or many.ndim != 2 or many.shape[1:] != one.shape or inside.shape != many.shape:
        raise ValueError(
            f"target, shadow and members have shapes {one.shape}, {many.shape} and {inside.shape}; needed are "
            "(records,), (models, records) and (models, records)"
        )
    if not np.isfinite(one).all() or not np.isfinite(many).all():
        raise ValueError("scores must be finite: is there a log of 0 in them? See logit_scaled")
    if inside.dtype.kind not in "biu" or not np.isin(inside, (0, 1)).all():
        raise ValueError("members holds True or False, or 1 or 0: was the record in the model's training set?")
    inside = inside.astype(bool)
    count = inside.sum(0)
    if count.min() < least_in or (len(inside) - count).min() < least_out:
        raise ValueError(
            f"each record needs {least_in} shadow models that were trained on it and {least_out} that were not; one "
            f"has {int(count.min())}, one {int((len(inside) - count).min())}. Train more models."
        )
    return one, many, inside


def yeom_attack(losses: Float[np.ndarray, " records"], threshold: float | None = None) -> np.ndarray:
    """Call a record a member where its loss is low.

    Parameters
    ----------
    losses : Float[np.ndarray, " records"]
        The target's loss on each record.
    threshold : float, optional
        With one, the answer is True where the loss is at most that; the usual choice is the mean loss on the training
        set. Without one, the answer is a score for each record, minus its loss.

    Returns
    -------
    Bool or Float[np.ndarray, " records"]

    Raises
    ------
    ValueError
        If there is no record, or a loss is NaN.

    References
    ----------
    Yeom et al. 2018, Privacy Risk in Machine Learning, section III.
    """
    found = np.asarray(losses, dtype=float)
    if found.ndim != 1 or not found.size or np.isnan(found).any():
        raise ValueError(f"a loss for each record is needed, none of them NaN; got shape {found.shape}")
    return -found if threshold is None else found <= threshold


def shokri_attack(
    target: Float[np.ndarray, "records classes"],
    shadow: Float[np.ndarray, "models records classes"],
    members: Bool[np.ndarray, "models records"],
    labels: Int[np.ndarray, " records"],
) -> Float[np.ndarray, " records"]:
    """Train for each class a classifier that tells shadow models' outputs on members from those on non-members.

    The outputs are log-probabilities. The classifier is a logistic regression on them and their squares; it knows
    nothing of the single record.

    Raises
    ------
    ValueError
        If shapes do not fit, or a class has no member or no non-member among the shadow models' records.

    References
    ----------
    Shokri et al. 2017, Membership Inference Attacks Against Machine Learning Models, section V.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    one, many, inside, truth = (np.asarray(a) for a in (target, shadow, members, labels))
    if many.ndim != 3 or one.shape != many.shape[1:] or inside.shape != many.shape[:2] or truth.shape != one.shape[:1]:
        raise ValueError(f"shapes do not fit: {one.shape}, {many.shape}, {inside.shape}, {truth.shape}")
    found = np.zeros(len(one))
    for label in np.unique(truth):
        of = truth == label
        rows, answers = many[:, of].reshape(-1, many.shape[2]), inside[:, of].ravel().astype(bool)
        if answers.all() or not answers.any():
            raise ValueError(f"class {label} needs members and non-members among the shadow models' records")
        learner = make_pipeline(PolynomialFeatures(2), StandardScaler(), LogisticRegression(max_iter=1000))
        found[of] = learner.fit(rows, answers).predict_proba(one[of])[:, 1]
    return found


def _spread(
    scores: Float[np.ndarray, "models records"], chosen: Bool[np.ndarray, "models records"], fixed: bool
) -> tuple[Float[np.ndarray, " records"], Float[np.ndarray, " records"]]:
    """Return each record's mean over the chosen models, and its standard deviation, or the one that all share."""
    count = chosen.sum(0)
    mean = np.where(chosen, scores, 0).sum(0) / count
    squares = (np.where(chosen, scores - mean, 0) ** 2).sum(0)
    if fixed:
        return mean, np.full_like(mean, np.sqrt(squares.sum() / (count - 1).sum()))
    return mean, np.sqrt(squares / (count - 1))


def lira_attack(
    target: Float[np.ndarray, " records"],
    shadow: Float[np.ndarray, "models records"],
    members: Bool[np.ndarray, "models records"],
    online: bool = True,
    variance: Literal["record", "fixed"] = "record",
) -> Float[np.ndarray, " records"]:
    """Compare the target's score with what shadow models say that were trained on the record, and that were not.

    Each record's scores are taken as normally distributed. Online the answer is the log-likelihood ratio of the two
    normal distributions; offline it is minus the logarithm of the probability that a model that never saw the record
    scores at least as high.

    Parameters
    ----------
    target : Float[np.ndarray, " records"]
        The attacked model's scores, best those of `logit_scaled`.
    shadow : Float[np.ndarray, "models records"]
    members : Bool[np.ndarray, "models records"]
    online : bool
        Offline no model that was trained on the record is used, so the shadow models can be trained beforehand.
    variance : {"record", "fixed"}
        A standard deviation for each record, or one for all, pooled over the deviations from each record's own mean:
        better where a record has few models.

    Raises
    ------
    ValueError
        As `shadow_scores`; each record needs two models of each kind that is used. Or if scores do not vary.

    References
    ----------
    Carlini et al. 2022, Membership Inference Attacks From First Principles, algorithm 1 and section VI.
    """
    if variance not in ("record", "fixed"):
        raise ValueError(f'variance is "record" or "fixed"; got {variance!r}')
    one, many, inside = shadow_scores(target, shadow, members, 2 if online else 0, 2)
    mean_out, sd_out = _spread(many, ~inside, variance == "fixed")
    mean_in, sd_in = _spread(many, inside, variance == "fixed") if online else (mean_out, sd_out)
    if min(sd_in.min(), sd_out.min()) <= 0:
        raise ValueError("a record has the same score in all of its shadow models: are they one model?")
    if not online:
        return -stats.norm.logsf(one, mean_out, sd_out)
    return stats.norm.logpdf(one, mean_in, sd_in) - stats.norm.logpdf(one, mean_out, sd_out)


def rmia_attack(
    target: Float[np.ndarray, " records"],
    shadow: Float[np.ndarray, "models records"],
    members: Bool[np.ndarray, "models records"],
    population: Bool[np.ndarray, " records"],
    gamma: float = 1.0,
    offline: float | None = None,
) -> Float[np.ndarray, " records"]:
    """Ask how often a record gains more from the target than a record of the population does.

    A record's gain is its probability under the target divided by its mean probability under the shadow models. The
    answer is the share of the population whose gain, times gamma, is at most the record's.

    Parameters
    ----------
    target : Float[np.ndarray, " records"]
        The probability that the attacked model gives to each record's label: above 0, at most 1.
    shadow : Float[np.ndarray, "models records"]
    members : Bool[np.ndarray, "models records"]
    population : Bool[np.ndarray, " records"]
        Which of the records serve as the population with which each is compared.
    gamma : float
        How many times larger the gain has to be, at least 1.
    offline : float, optional
        The slope a of the paper, from 0 to 1: only models that were not trained on a record are used, and its mean
        probability is guessed as ((1 + a) p_out + 1 - a) / 2. By default the mean of p_in and p_out.

    Raises
    ------
    ValueError
        As `shadow_scores`; or if a probability is not above 0 and at most 1, the population is empty, or gamma or the
        slope is out of its range.

    References
    ----------
    Zarifzadeh, Liu and Shokri 2024, Low-Cost High-Power Membership Inference Attacks, section 3.
    """
    one, many, inside = shadow_scores(target, shadow, members, 1 if offline is None else 0, 1)
    chosen = np.asarray(population)
    if chosen.dtype != bool or chosen.shape != one.shape or not chosen.any():
        raise ValueError("population says True or False for each record, and True for at least one")
    if min(one.min(), many.min()) <= 0 or max(one.max(), many.max()) > 1:
        raise ValueError("RMIA takes probabilities, above 0 and at most 1; are these logits?")
    if gamma < 1 or (offline is not None and not 0 <= offline <= 1):
        raise ValueError(f"gamma is at least 1, the slope from 0 to 1; got {gamma} and {offline}")
    out = np.where(inside, 0, many).sum(0) / (~inside).sum(0)
    if offline is None:
        mean = (out + np.where(inside, many, 0).sum(0) / inside.sum(0)) / 2
    else:
        mean = ((1 + offline) * out + 1 - offline) / 2
    gain = one / mean
    return np.searchsorted(np.sort(gain[chosen]), gain / gamma, side="right") / chosen.sum()


def calibrated(
    scores: Float[np.ndarray, "models records"], members: Bool[np.ndarray, "models records"]
) -> Float[np.ndarray, "models records"]:
    """Attack each model with the others: its score minus the mean of the other models that did not train on the record.

    Raises
    ------
    ValueError
        If shapes differ, or a record has no other model without it.

    References
    ----------
    Watson et al. 2022, On the Importance of Difficulty Calibration in Membership Inference Attacks.
    """
    rows, inside = np.asarray(scores, dtype=float), np.asarray(members).astype(bool)
    if rows.ndim != 2 or inside.shape != rows.shape:
        raise ValueError(f"scores and members have one shape, (models, records); got {rows.shape} and {inside.shape}")
    others = 1 - np.eye(len(rows))
    count = others @ ~inside
    if count.min() < 1:
        raise ValueError("a record has no other model that was trained without it: train more models")
    return rows - others @ np.where(inside, 0, rows) / count


def leave_one_out(
    attack: Attack, scores: Float[np.ndarray, "models records"], members: Bool[np.ndarray, "models records"]
) -> Float[np.ndarray, "models records"]:
    """Attack each model with all others as its shadow models: row i is `attack` on model i.

    Raises
    ------
    ValueError
        If there are fewer than two models, or shapes differ.
    """
    rows, inside = np.asarray(scores), np.asarray(members)
    if rows.ndim < 2 or len(rows) < 2 or inside.shape != rows.shape[:2]:
        raise ValueError(f"scores and members of two models or more are needed; got {rows.shape} and {inside.shape}")
    others = ~np.eye(len(rows), dtype=bool)
    return np.stack([attack(row, rows[rest], inside[rest]) for row, rest in zip(rows, others, strict=True)])
