"""The best thresholds by group for a score that is given: exact, with randomisation where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from llmsafety_lab.bias_mitigation.learners import NOTIONS, events
from llmsafety_lab.bias_mitigation.people import Labels, Scores, two_groups


@dataclass(frozen=True)
class Rule:
    """A randomised threshold: with probability `shares[k]` it decides 1 for scores of at least `thresholds[k]`."""

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    def __call__(self, scores: Scores) -> Float[np.ndarray, " people"]:
        """Return for each score the probability of the decision 1."""
        return sum(
            (share * (scores >= one) for one, share in zip(self.thresholds, self.shares, strict=True)),
            np.zeros(len(scores)),
        )


def decide(rules: Mapping[Any, Rule], scores: Scores, groups: np.ndarray) -> Float[np.ndarray, " people"]:
    """Return for each person the probability of the decision 1 under the rule of their group.

    Raises
    ------
    ValueError
        If a group has no rule.
    """
    found = np.full(len(scores), np.nan)
    for group in np.unique(groups):
        if group not in rules:
            raise ValueError(f"group {group} has no rule: it was not among those on whom the rules were fitted")
        found[groups == group] = rules[group](np.asarray(scores, dtype=float)[groups == group])
    return found


@dataclass(frozen=True)
class _Hull:
    """What thresholds and mixtures of two can reach in one group: the upper hull of points (x, y)."""

    x: Float[np.ndarray, " corners"]
    y: Float[np.ndarray, " corners"]
    thresholds: Float[np.ndarray, " corners"]

    def height(self, at: Float[np.ndarray, " places"]) -> Float[np.ndarray, " places"]:
        return np.interp(at, self.x, self.y)

    def rule(self, at: float) -> Rule:
        right = int(np.clip(np.searchsorted(self.x, at), 1, len(self.x) - 1))
        width = self.x[right] - self.x[right - 1]
        share = float(np.clip((at - self.x[right - 1]) / width, 0, 1))
        pairs = [(self.thresholds[right - 1], 1 - share), (self.thresholds[right], share)]
        kept = [(float(one), part) for one, part in pairs if part > 0]
        return Rule(tuple(one for one, _ in kept), tuple(part for _, part in kept))


def _hull(x: np.ndarray, y: np.ndarray, thresholds: np.ndarray) -> _Hull:
    """Return the upper hull of points whose x never falls, by Andrew's monotone chain."""
    kept: list[int] = []
    for i in range(len(x)):
        while kept and x[kept[-1]] == x[i] and y[kept[-1]] <= y[i]:
            kept.pop()
        if kept and x[kept[-1]] == x[i]:
            continue
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (x[b] - x[a]) * (y[i] - y[a]) - (y[b] - y[a]) * (x[i] - x[a]) < 0:
                break
            kept.pop()
        kept.append(i)
    return _Hull(x[kept], y[kept], thresholds[kept])


def _reached(scores: Scores, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the thresholds, from nobody to everybody, and how many positive and negative people each lets in."""
    order = np.argsort(-scores, kind="stable")
    s, y = scores[order], labels[order]
    last = np.append(s[1:] != s[:-1], True)
    let_in = np.concatenate([[0], np.cumsum(y)[last]]), np.concatenate([[0], np.cumsum(1 - y)[last]])
    return np.concatenate([[np.inf], s[last]]), let_in[0].astype(float), let_in[1].astype(float)


def optimal_thresholds(
    scores: Scores,
    labels: Labels,
    groups: np.ndarray,
    notion: str = "demographic parity",
    slack: float = 0.0,
) -> dict[Any, Rule]:
    """Return for each group the randomised threshold that makes the fewest errors among those that are fair.

    The rules hold for the rows that they were fitted on: fit them on other people than those on whom you report.

    Parameters
    ----------
    scores : Float[np.ndarray, " people"]
        Higher is more likely to be positive.
    labels, groups
        Of the same people.
    notion : str
        A key of `NOTIONS`. Equalized odds takes a point below a group's ROC curve, if need be, by ignoring its score
        for a share of its people.
    slack : float
        How far apart the rates of two groups may be; not for equalized odds.

    Raises
    ------
    ValueError
        If shapes differ, a score is not finite, there is one group only, a group lacks a label that the notion compares
        or slack is negative, or given with equalized odds.

    References
    ----------
    Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning, section 3.2.
    """
    y, g = two_groups(labels, groups)
    s = np.asarray(scores, dtype=float)
    if s.shape != y.shape or not np.isfinite(s).all():
        raise ValueError(f"a finite score for each of {len(y)} people is needed; got shape {s.shape}")
    if not slack >= 0 or (slack and notion == "equalized odds"):
        raise ValueError(f"slack is at least 0, and 0 for equalized odds; got {slack}")
    names, masks = np.unique(g), events(y, notion)
    if any(not (among & (g == name)).any() for among in masks for name in names):
        raise ValueError(f"a group has nobody whom {notion} compares: its rate is not defined")
    if notion == "equalized odds":
        return _equalized(s, y, g)
    hulls = []
    for name in names:
        own, n = y[g == name], len(y)
        thresholds, right, wrong = _reached(s[g == name], own)
        rates = (right + wrong) / len(own) if NOTIONS[notion] == (None,) else right / own.sum()
        hulls.append(_hull(rates, (right - wrong) / n, thresholds))
    best = [float(hull.x[hull.y.argmax()]) for hull in hulls]  # each group's own optimum; the hull is concave
    corners = np.concatenate([hull.x for hull in hulls])
    lows = np.unique(np.clip(np.concatenate([corners, corners - slack]), 0, 1))
    chosen = [np.clip(top, lows, np.minimum(lows + slack, 1)) for top in best]
    values = sum(hull.height(at) for hull, at in zip(hulls, chosen, strict=True))
    at = int(np.argmax(values))
    return {name: hull.rule(float(place[at])) for name, hull, place in zip(names.tolist(), hulls, chosen, strict=True)}


def _equalized(scores: Scores, labels: Labels, groups: np.ndarray) -> dict[Any, Rule]:
    """Return the rules that put all groups on one point, the best of those below every group's ROC hull."""
    names, hulls = np.unique(groups), []
    for name in names:
        own = labels[groups == name]
        thresholds, right, wrong = _reached(scores[groups == name], own)
        hulls.append(_hull(wrong / (len(own) - own.sum()), right / own.sum(), thresholds))
    corners = np.unique(np.concatenate([hull.x for hull in hulls]))
    heights = np.array([hull.height(corners) for hull in hulls])
    crossings = [corners]
    for a in range(len(hulls)):
        for b in range(a):
            apart = heights[a] - heights[b]
            turns = (apart[:-1] * apart[1:] < 0).nonzero()[0]
            share = apart[turns] / (apart[turns] - apart[turns + 1])
            crossings.append(corners[turns] + share * (corners[turns + 1] - corners[turns]))
    places = np.unique(np.concatenate(crossings))
    lowest = np.min([hull.height(places) for hull in hulls], axis=0)
    at = int(np.argmax(labels.mean() * lowest - (1 - labels.mean()) * places))
    x, t = float(places[at]), float(lowest[at])
    return {name: _below(hull, x, t) for name, hull in zip(names.tolist(), hulls, strict=True)}


def _below(hull: _Hull, x: float, t: float) -> Rule:
    """Return a rule with false positive rate x and true positive rate t: the hull's, mixed with a coin."""
    top = float(hull.height(np.array([x]))[0])
    ignored = (top - t) / (top - x) if top - x > 1e-12 else 0.0
    rule = hull.rule(x)
    if ignored <= 0:
        return rule
    return Rule(
        (*rule.thresholds, -np.inf), (*(float((1 - ignored) * share) for share in rule.shares), float(ignored * x))
    )  # the rest of the coin's share is for nobody


def calibrate(scores: Scores, labels: Labels, groups: np.ndarray, new_scores: Scores, new_groups: np.ndarray) -> Scores:
    """Return scores for new people that mean the same in each group: isotonic regression, one a group.

    Raises
    ------
    ValueError
        If shapes differ, or a new group was not among those fitted on.
    """
    from sklearn.isotonic import IsotonicRegression

    y, g = two_groups(labels, groups)
    s, new = np.asarray(scores, dtype=float), np.asarray(new_scores, dtype=float)
    if s.shape != y.shape or new.shape != np.shape(new_groups):
        raise ValueError("a score for each person is needed, of the old and of the new")
    if not set(np.unique(new_groups)) <= set(np.unique(g)):
        raise ValueError("a new group was not among those on whom the calibration is fitted")
    found = np.empty(len(new))
    for name in np.unique(new_groups):
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(s[g == name], y[g == name])
        found[new_groups == name] = fitted.predict(new[new_groups == name])
    return found
