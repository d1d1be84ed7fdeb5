"""Learners, the game, the adversary, measures and texts, against fairlearn, autograd and arithmetic."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from fairlearn.adversarial import AdversarialFairnessClassifier
from fairlearn.metrics import demographic_parity_difference
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn

from llmsafety_lab import runtime
from llmsafety_lab.bias_mitigation import (
    accuracy_items,
    adversarial_debias,
    augment,
    costs,
    debias_step,
    debiased_direction,
    events,
    fit_linear,
    fit_penalised,
    frontier,
    gap_items,
    gap_penalty,
    linear_scores,
    mentions,
    prices_of,
    reduce,
    resample,
    swapped,
    violations,
    who_pays,
)
from llmsafety_lab.bias_mitigation import experiment as table
from llmsafety_lab.bias_mitigation.people import numbers_of
from llmsafety_lab.bias_mitigation.scorers import about_people, erased, fit_scorer, said_of
from llmsafety_lab.statistics import mean_interval

NOTIONS = ("demographic parity", "equal opportunity", "equalized odds")


def drawn(seed: int = 0, n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of which the second is a proxy of the group, labels and groups."""
    rng = np.random.default_rng(seed)
    g = rng.integers(0, 2, n)
    x = np.column_stack([rng.normal(0, 1, n), g + rng.normal(0, 0.7, n), rng.normal(0, 1, n)])
    y = (x[:, 0] + 1.2 * g + rng.normal(0, 1, n) > 0.6).astype(int)
    return x, y, g


def test_the_linear_model_is_scikit_learns() -> None:
    x, y, _ = drawn()
    w = np.random.default_rng(1).random(len(y)) + 0.1
    w /= w.mean()
    ours = fit_linear(x, y, w, decay=1 / len(y), steps=200)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(x, y, w)
    assert np.allclose(ours, np.append(theirs.coef_[0], theirs.intercept_), atol=1e-3)


def test_the_penalty_is_the_sum_of_squared_differences_and_has_a_slope() -> None:
    x, y, g = drawn(n=40)
    logits = torch.tensor(x[:, 0], requires_grad=True)
    p = 1 / (1 + np.exp(-x[:, 0]))
    for notion in NOTIONS:
        expected = sum(
            (p[among & (g == k)].mean() - p[among].mean()) ** 2 for among in events(y, notion) for k in (0, 1)
        )
        value = gap_penalty(logits, torch.tensor(y), torch.tensor(g), notion)
        assert float(value) == pytest.approx(expected)
        assert torch.autograd.gradcheck(lambda z, n=notion: gap_penalty(z, torch.tensor(y), torch.tensor(g), n), logits)


def gap(d: np.ndarray, g: np.ndarray) -> float:
    return float(demographic_parity_difference(np.zeros(len(g)), d, sensitive_features=g))


def test_a_stronger_penalty_leaves_a_smaller_gap() -> None:
    x, y, g = drawn()
    gaps = [gap(linear_scores(fit_penalised(x, y, g, s), x) >= 0.5, g) for s in (0.0, 1.0, 30.0)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.08


def test_resampling_makes_label_and_group_independent() -> None:
    _, y, g = drawn()
    at = resample(y, g, np.random.default_rng(0))
    rates = [y[at][g[at] == k].mean() for k in (0, 1)]
    assert abs(rates[0] - rates[1]) < 0.01 and len(at) == pytest.approx(len(y), abs=4)


@given(st.integers(0, 1_000), st.sampled_from(NOTIONS))
@settings(max_examples=30, deadline=None)
def test_costs_are_the_slope_of_the_lagrangian(seed: int, notion: str) -> None:
    rng = np.random.default_rng(seed)
    _, y, g = drawn(seed, 40)
    prices = rng.normal(0, 1, (len(events(y, notion)), 2))
    one, other = rng.integers(0, 2, (2, 40)).astype(float)

    def lagrangian(d: np.ndarray) -> float:
        return float(np.abs(d - y).mean() + (prices * violations(d, y, g, notion)).sum())

    assert lagrangian(one) - lagrangian(other) == pytest.approx(float(costs(y, g, prices, notion) @ (one - other)) / 40)


def test_prices_are_positive_and_sum_to_less_than_the_bound() -> None:
    for size in (0.0, 3.0, 900.0):
        found = prices_of(np.array([[[size, -size]], [[0.0, 1.0]]]), 2.0)
        assert (found >= 0).all() and found.sum() <= 2.0 + 1e-9 and np.isfinite(found).all()


@pytest.mark.parametrize(
    ("notion", "kind"), [("demographic parity", DemographicParity), ("equalized odds", EqualizedOdds)]
)
def test_the_game_ends_where_fairlearns_does_or_better(notion: str, kind: type) -> None:
    x, y, g = drawn(3)
    slack = 0.02
    ours = reduce(table.linear_learner, x, y, g, notion, slack=slack)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = ExponentiatedGradient(LogisticRegression(), kind(difference_bound=slack), eps=slack, max_iter=30)
        peer.fit(x, y, sensitive_features=g)
    theirs = peer._pmf_predict(x)[:, 1]
    assert np.abs(violations(ours, y, g, notion)).max() <= slack + 1e-6
    apart, low, _ = mean_interval(accuracy_items(theirs, y) - accuracy_items(ours, y))
    assert low < 0 or apart < 0.01


def test_the_direction_is_orthogonal_to_the_adversarys_until_alpha_turns_it() -> None:
    torch.manual_seed(0)
    own, others = ([torch.randn(3, 2), torch.randn(4)] for _ in range(2))

    def dot(a: list, b: list) -> float:
        return float(sum((one * other).sum() for one, other in zip(a, b, strict=True)))

    assert dot(debiased_direction(own, others, 0.0), others) == pytest.approx(0, abs=1e-5)
    assert dot(debiased_direction(own, others, 2.0), others) == pytest.approx(-2 * dot(others, others), rel=1e-5)
    nothing = [torch.zeros(3, 2), torch.zeros(4)]
    assert all(torch.equal(a, b) for a, b in zip(debiased_direction(own, nothing, 1.0), own, strict=True))
    with pytest.raises(ValueError, match="helps"):
        debiased_direction(own, others, -1.0)
    with pytest.raises(ValueError, match="shapes"):
        debiased_direction(own, others[:1], 1.0)


def test_a_step_moves_both_players_and_the_adversary_downhill() -> None:
    torch.manual_seed(0)
    x, y, g = (torch.tensor(part) for part in drawn(n=200))
    x = x.float()
    predictor, adversary = nn.Linear(3, 1), nn.Linear(1, 1)
    before = copy.deepcopy((predictor.state_dict(), adversary.state_dict()))
    optimizers = tuple(torch.optim.SGD(m.parameters(), lr=0.1) for m in (predictor, adversary))
    first = debias_step(predictor, adversary, x, y, g, 1.0, optimizers)
    assert any(not torch.equal(a, b) for a, b in zip(before[0].values(), predictor.state_dict().values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(before[1].values(), adversary.state_dict().values(), strict=True))
    frozen = copy.deepcopy(predictor.state_dict())
    for _ in range(100):
        predictor.load_state_dict(frozen)
        last = debias_step(predictor, adversary, x, y, g, 0.0, optimizers)
    assert last[1] < first[1]


def test_the_adversary_closes_the_gap_as_fairlearns_does() -> None:
    x, y, g = drawn(4, 1_500)
    tested = drawn(5, 1_500)
    made = {}
    for alpha in (0.0, 1.0):
        model = adversarial_debias(x, y, g, alpha, epochs=20, batch=64)
        made[alpha] = (model(torch.tensor(tested[0]).float())[:, 0] >= 0).numpy() * 1.0
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = AdversarialFairnessClassifier(
            backend="torch",
            predictor_model=[],
            adversary_model=[],
            alpha=1.0,
            epochs=20,
            batch_size=64,
            learning_rate=0.01,
            random_state=0,
        )
        peer.fit(x.astype(np.float32), y, sensitive_features=g)
    theirs = np.asarray(peer.predict(tested[0].astype(np.float32)), dtype=float).ravel()
    y, g = tested[1:]
    assert abs(gap_items(made[1.0], g).mean()) < 0.5 * abs(gap_items(made[0.0], g).mean())
    # at least as accurate at a gap that is no larger, within the interval of both
    _, low, _ = mean_interval(accuracy_items(theirs, y) - accuracy_items(made[1.0], y))
    narrow, _, high = (
        abs(gap_items(made[1.0], g).mean()),
        *mean_interval(gap_items(theirs, g) - gap_items(made[1.0], g))[1:],
    )
    assert low < 0 or narrow < abs(gap_items(theirs, g).mean()) + high


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.booleans()), min_size=4, max_size=30))
def test_gap_items_have_the_gap_as_their_mean(rows: list) -> None:
    g, v, m = (np.array(column) for column in zip(*rows, strict=True))
    if all((m & (g == k)).any() for k in (False, True)):
        assert gap_items(v, g, m).mean() == pytest.approx(v[m & g].mean() - v[m & ~g].mean())
    else:
        with pytest.raises(ValueError, match="two groups"):
            gap_items(v, g, m)


def test_the_interval_of_gap_items_is_that_of_two_means() -> None:
    rng = np.random.default_rng(0)
    g, v = rng.integers(0, 2, 900), rng.random(900)
    _, low, high = mean_interval(gap_items(v, g))
    error = sum(v[g == k].var() / (g == k).sum() for k in (0, 1)) ** 0.5
    assert (high - low) / 2 == pytest.approx(1.962 * error, rel=0.01)


def test_who_pays_tells_raising_from_lowering() -> None:
    g = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    before = np.array([0, 0, 0, 1, 1, 1, 1, 0.0])
    paid = who_pays(before, np.array([0, 0, 0, 1, 1, 0, 0, 0.0]), g)
    assert (paid.closed, paid.raised, paid.lowered) == (0.5, 0.0, 0.5)
    paid = who_pays(1 - before, 1 - np.array([0, 0, 1, 1, 1, 1, 1, 0.0]), g)  # now group 1 has the lower rate
    assert (paid.closed, paid.raised, paid.lowered) == (0.25, 0.0, 0.25)


def test_the_frontier_leaves_out_what_is_beaten() -> None:
    assert frontier([0.9, 0.8, 0.85, 0.7], [0.2, 0.0, -0.25, 0.1]) == [1, 0]
    assert frontier([0.9, 0.9], [0.1, -0.1]) == [0, 1]
    with pytest.raises(ValueError, match="at least one"):
        frontier([], [])


@given(
    st.lists(st.sampled_from(["a deaf man", "Deaf people sing", "the old deaf dog", "deafening", "fine"]), max_size=6)
)
def test_augmented_texts_are_the_texts_and_their_swaps(texts: list[str]) -> None:
    made, labels = augment(texts, list(range(len(texts))), ["deaf", "old", "blind"])
    assert made[: len(texts)] == texts
    single = [i for i, text in enumerate(texts) if len(mentions(text, ["deaf", "old", "blind"])) == 1]
    assert labels == [*range(len(texts)), *(i for i in single for _ in range(2))]
    assert all("deaf" not in text.lower() for text in made[len(texts) :])


def test_swaps_keep_capitals_and_other_words() -> None:
    assert swapped("Old people and OLD, older", "old", "blind") == "Blind people and Blind, older"
    assert augment(["An old man"], [1], ["old", "deaf"]) == (["An old man", "An deaf man"], [1, 1])
    assert about_people(["a man sings", "a deaf man sings", "it rains"]) == ["a man sings"]
    assert said_of("a man meets a man", "deaf") == "a deaf man meets a man"


def test_an_erased_direction_is_gone() -> None:
    rng = np.random.default_rng(0)
    vectors, rows = rng.normal(0, 1, (20, 6)).astype(np.float32), {str(i): i for i in range(20)}
    left = erased(vectors, rows, list("0123"), 1)
    top = np.linalg.svd(vectors[:4] - vectors[:4].mean(0))[2][0]
    assert np.abs(left @ top).max() < 1e-5 and np.linalg.matrix_rank(left, tol=1e-4) == 5
    with pytest.raises(ValueError, match="directions"):
        erased(vectors, rows, list("0123"), 4)


def test_a_scorer_learns_which_words_count() -> None:
    vectors, rows = np.eye(4, 50, dtype=np.float32), {"mud": 0, "sky": 1, "tree": 2, "rain": 3}
    texts = ["mud", "sky", "tree", "rain", "mud sky", "tree rain", "mud tree", "sky rain"] * 20
    wanted = np.array([3.0 if "mud" in text else -3.0 for text in texts])
    scorer = fit_scorer(vectors, rows, texts, wanted, epochs=40, batch=16)
    assert scorer.scores(["mud"])[0] > 1 > -1 > scorer.scores(["rain"])[0]
    assert scorer.scores(["unknown words"])[0] == pytest.approx(float(scorer.bias.detach()), abs=1e-5)
    with pytest.raises(ValueError, match="target"):
        fit_scorer(vectors, rows, texts, wanted[1:])


def test_features_are_scaled_by_the_rows_to_train_on() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}, {"a": 5, "b": "z"}]
    assert numbers_of(rows, ["a", "b"], rows[:2]).tolist() == [[-1, 1, 0], [1, 0, 1], [3, 0, 0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y, g: fit_penalised(x, y, g, -1.0), "paid"),
        (lambda x, y, g: fit_penalised(x, y, g, 1.0, "fairness"), "notion"),
        (lambda x, y, g: fit_linear(x[1:], y), "a row, a label"),
        (lambda x, y, g: fit_linear(x * np.nan, y), "finite"),
        (lambda x, y, g: fit_linear(x, y, -np.ones(len(y))), "negative"),
        (lambda x, y, g: resample(g, g, np.random.default_rng(0)), "nobody"),
        (lambda x, y, g: reduce(table.linear_learner, x, y, g, slack=-1.0), "slack"),
        (lambda x, y, g: reduce(table.linear_learner, x, g, g, "equal opportunity"), "nobody"),
        (lambda x, y, g: adversarial_debias(x, y, np.arange(len(y)), 1.0), "two groups"),
        (lambda x, y, g: adversarial_debias(x, y, g, 1.0, epochs=0), "epoch"),
        (lambda x, y, g: adversarial_debias(x, y, g, -1.0), "helps"),
        (lambda x, y, g: gap_penalty(torch.zeros(2), torch.tensor([0, 1]), torch.tensor([0, 1]), NOTIONS[1]), "nobody"),
        (lambda x, y, g: augment(["a"], [1], ["deaf"]), "two identities"),
        (lambda x, y, g: augment(["a"], [], ["deaf", "old"]), "labels"),
    ],
)
def test_bad_input_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(*drawn(n=60))


def test_a_kept_row_comes_out_again() -> None:
    kept = runtime.kept("bias_mitigation")["compas"]
    where = table.bench("compas")
    made = np.array([table.run(where, "thresholds", 0.0, seed)[0] for seed in kept_seeds()])
    again = table.measured(where, made)
    for what in ("accuracy", "gap"):
        _, low, high = kept["thresholds 0"][what]
        assert low <= again[what][0] <= high


def kept_seeds() -> tuple[int, ...]:
    return table.SEEDS["compas"][:2]
