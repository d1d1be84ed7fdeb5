"""Thresholds by group, against linear programming over all thresholds and against fairlearn's grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, ClassifierMixin

from llmsafety_lab.bias_mitigation import Rule, calibrate, decide, optimal_thresholds

NOTIONS = ("demographic parity", "equal opportunity", "equalized odds")
People = tuple[np.ndarray, np.ndarray, np.ndarray]


def people(seed: int, n: int = 90, groups: int = 2, ties: int = 12) -> People:
    rng = np.random.default_rng(seed)
    g = rng.integers(0, groups, n)
    y = (rng.random(n) < 0.3 + 0.3 * g / groups).astype(int)
    y[:2], g[:2] = (0, 1), 0
    for group in range(groups):
        y[2 + 2 * group : 4 + 2 * group], g[2 + 2 * group : 4 + 2 * group] = (0, 1), group
    s = np.round((y + 0.2 * g + rng.normal(0, 1, n)) * ties / 6) / ties
    return s, y, g


def rates(chances: np.ndarray, y: np.ndarray, g: np.ndarray, notion: str) -> np.ndarray:
    masks = {"demographic parity": [y >= 0], "equal opportunity": [y == 1], "equalized odds": [y == 0, y == 1]}[notion]
    return np.array([[chances[mask & (g == k)].mean() for k in np.unique(g)] for mask in masks])


def accuracy(chances: np.ndarray, y: np.ndarray) -> float:
    return float(np.where(y == 1, chances, 1 - chances).mean())


def best_by_programming(s: np.ndarray, y: np.ndarray, g: np.ndarray, notion: str, slack: float) -> float:
    """The variables are the shares of each group's thresholds: a program that knows nothing of hulls."""
    gain, group_of, profile = [], [], []
    for k in np.unique(g):
        for t in [math.inf, *np.unique(s[g == k])]:
            d = (s >= t) & (g == k)
            gain.append(accuracy((s >= t) * 1.0 * (g == k), y) - (y == 0).mean())
            group_of.append(k)
            own = {"demographic parity": [y >= 0], "equal opportunity": [y == 1], "equalized odds": [y == 0, y == 1]}
            profile.append([d[mask & (g == k)].mean() for mask in own[notion]])
    gain, group_of, profile = np.array(gain), np.array(group_of), np.array(profile)
    above = []
    for event in range(profile.shape[1]):
        for a in np.unique(g):
            for b in np.unique(g):
                if a != b:
                    above.append(profile[:, event] * (group_of == a) - profile[:, event] * (group_of == b))
    ones = np.array([group_of == k for k in np.unique(g)], dtype=float)
    found = linprog(-gain, A_ub=above, b_ub=[slack] * len(above), A_eq=ones, b_eq=np.ones(len(ones)), bounds=(0, None))
    return float(-found.fun + (y == 0).mean())


@given(st.integers(0, 10_000), st.sampled_from(NOTIONS), st.integers(2, 4), st.sampled_from([0.0, 0.03, 0.2]))
@settings(max_examples=40, deadline=None)
def test_the_optimum_is_that_of_the_linear_program(seed: int, notion: str, groups: int, slack: float) -> None:
    s, y, g = people(seed, groups=groups)
    slack = 0.0 if notion == "equalized odds" else slack
    chances = decide(optimal_thresholds(s, y, g, notion, slack), s, g)
    found = rates(chances, y, g, notion)
    assert np.ptp(found, axis=1).max() <= slack + 1e-9
    assert accuracy(chances, y) == pytest.approx(best_by_programming(s, y, g, notion, slack), abs=1e-9)


class Given(ClassifierMixin, BaseEstimator):
    """A model whose score is its only feature."""

    classes_ = np.array([0, 1])

    def fit(self, x: np.ndarray, y: np.ndarray) -> Given:
        self.fitted_ = True
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x)[:, 0]


@pytest.mark.parametrize("notion", NOTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_fairlearn_on_its_grid_is_no_better_and_hardly_worse(notion: str, seed: int) -> None:
    s, y, g = people(seed, 300)
    kind = {"equal opportunity": "true_positive_rate_parity"}.get(notion, notion.replace(" ", "_"))
    peer = ThresholdOptimizer(estimator=Given().fit(s, y), constraints=kind, prefit=True, predict_method="predict")
    peer.fit(s[:, None], y, sensitive_features=g)
    theirs = accuracy(peer._pmf_predict(s[:, None], sensitive_features=g)[:, 1], y)
    ours = accuracy(decide(optimal_thresholds(s, y, g, notion), s, g), y)
    assert theirs - 1e-3 <= ours <= theirs + 5e-3


def test_without_need_nothing_is_randomised() -> None:
    s, y, g = np.array([1, 2, 3, 4.0] * 2), np.array([0, 0, 1, 1] * 2), np.array([0] * 4 + [1] * 4)
    assert optimal_thresholds(s, y, g) == {0: Rule((3.0,), (1.0,)), 1: Rule((3.0,), (1.0,))}


def test_slack_as_wide_as_can_be_is_each_groups_own_best() -> None:
    s, y, g = people(5)
    own = sum(
        max(accuracy((s[g == k] >= t) * 1.0, y[g == k]) for t in [math.inf, *s]) * (g == k).mean() for k in (0, 1)
    )
    assert accuracy(decide(optimal_thresholds(s, y, g, slack=1.0), s, g), y) == pytest.approx(own)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": [1, 2, math.nan, 4]}, "finite"),
        ({"scores": [1, 2, 3]}, "each of 4"),
        ({"labels": [0, 1, 2, 1]}, "0 or 1"),
        ({"groups": [0, 0, 0, 0]}, "one group"),
        ({"labels": [0, 0, 1, 1], "notion": "equal opportunity"}, "nobody"),
        ({"notion": "fairness"}, "notion is one of"),
        ({"slack": -0.1}, "slack"),
        ({"slack": 0.1, "notion": "equalized odds"}, "slack"),
        ({"labels": [], "groups": [], "scores": []}, "at least one"),
    ],
)
def test_bad_input_is_refused_in_words(change: dict, words: str) -> None:
    given = {"scores": [1, 2, 3, 4], "labels": [0, 1, 0, 1], "groups": [0, 0, 1, 1], "notion": "demographic parity"}
    with pytest.raises(ValueError, match=words):
        optimal_thresholds(**given | change)


def test_an_unknown_group_has_no_rule() -> None:
    with pytest.raises(ValueError, match="no rule"):
        decide({0: Rule((1.0,), (1.0,))}, np.array([1.0]), np.array([1]))


def test_calibrated_scores_mean_the_same_in_each_group() -> None:
    s, y, g = people(1, 600, ties=8)
    found = calibrate(s, y, g, s, g)
    for k in (0, 1):
        for value in np.unique(found[g == k]):
            at = (g == k) & (found == value)
            assert y[at].mean() == pytest.approx(value)
    with pytest.raises(ValueError, match="new group"):
        calibrate(s, y, g, s, g + 5)
    with pytest.raises(ValueError, match="each person"):
        calibrate(s[1:], y, g, s, g)
