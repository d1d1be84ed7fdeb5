"""Unlearning against the articles' formulas, and what can be stolen against numpy."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from llmsafety_lab.extraction import (
    gradient_ascent,
    gradient_difference,
    hidden_width,
    judge,
    log_probabilities,
    npo_loss,
    npo_retain,
    setting,
    surrogate_labels,
    unlearn,
)


@given(st.lists(st.tuples(st.floats(-60, -1), st.floats(-60, -1)), min_size=1, max_size=9), st.floats(0.05, 2))
def test_npo_is_equation_three(pairs, beta):
    forget, reference = torch.tensor(pairs, dtype=torch.float64).T
    wanted = (2 / beta * torch.log(1 + (forget - reference).exp() ** beta)).mean()
    torch.testing.assert_close(npo_loss(forget, reference, beta), wanted)


def test_the_gradient_of_npo_is_a_weighted_one_and_gradient_ascent_where_nothing_has_changed():
    forget = torch.tensor([-20.0, -25.0, -30.0], requires_grad=True)
    (same,) = torch.autograd.grad(npo_loss(forget, forget.detach(), 0.7), forget)
    torch.testing.assert_close(same, torch.full((3,), 1 / 3))
    (small,) = torch.autograd.grad(npo_loss(forget, torch.tensor([-5.0, -60.0, -1.0]), 1e-6), forget)
    torch.testing.assert_close(small, torch.full((3,), 1 / 3), atol=1e-4, rtol=0)
    (gone,) = torch.autograd.grad(npo_loss(forget, forget.detach() + 40, 1.0), forget)
    assert gone.abs().max() < 1e-10


def test_losses_with_texts_to_retain_subtract_their_log_probability():
    forget, retain = torch.tensor([-9.0, -8.0]), torch.tensor([-3.0])
    assert gradient_ascent(forget, forget, retain) == -8.5
    assert gradient_difference(forget, forget, retain) == -5.5
    torch.testing.assert_close(npo_retain(forget, forget, retain), npo_loss(forget, forget) + 3)


def test_unlearning_lowers_the_forgotten_more_than_the_retained():
    records = setting.draw(5, 64, 1)
    model = setting.train(records.members, 0, 2)
    before = copy.deepcopy(model)
    forget, retain = (setting.batch_of(setting.encode(part)) for part in (records.members[:8], records.members[8:]))
    losses = unlearn(model, forget, retain, npo_retain, 12, 1e-3)
    assert len(losses) == 12
    with torch.no_grad():
        change = [
            float((log_probabilities(model, part) - log_probabilities(before, part)).mean())
            for part in (forget, retain)
        ]
    assert change[0] < change[1] - 2


def test_log_probabilities_are_minus_the_summed_losses():
    model, ids = setting.new_model(), setting.encode(["a short text", "another"])
    torch.testing.assert_close(
        log_probabilities(model, setting.batch_of(ids)).detach(), -setting.character_losses(model, ids).sum(1)
    )


def test_a_retrained_model_is_judged_as_perfect():
    rows = np.array([12.0, 11, 13]), np.array([1.0, 2, 0.5]), np.array([1.5, 2, 1])
    before, never, never_again = rows
    losses = np.array([1.0, 2.0, 3.0])
    assert judge(before, never, never_again, never, never_again, losses, losses) == pytest.approx((1, 0, 0.5))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.lists(st.integers(0, 9), min_size=2, max_size=20))
def test_the_trace_is_the_better_of_both_areas(forgotten, outsiders):
    found = judge(
        np.array([9.0]), np.ones(1), np.ones(1), np.ones(1), np.ones(1), np.array(forgotten), np.array(outsiders)
    )
    area = roc_auc_score([1] * len(forgotten) + [0] * len(outsiders), [-x for x in forgotten + outsiders])
    assert found[2] == pytest.approx(max(area, 1 - area))


@pytest.mark.parametrize("width", [1, 7, 30])
def test_the_width_is_the_rank_that_numpy_finds(width):
    generator = np.random.default_rng(width)
    logits = generator.normal(size=(50, width)) @ generator.normal(size=(width, 90))
    assert hidden_width(logits) == np.linalg.matrix_rank(logits) == width
    assert hidden_width(logits.astype(np.float32)) == width


def test_the_width_of_the_setting_s_model_is_read_off_its_answers():
    model = setting.new_model()
    ids = torch.randint(1, 96, (4, setting.LENGTH + 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.unembed.weight.normal_()  # it starts at 0, and after a few steps it has few directions
        logits = model(ids[:, :-1]).flatten(0, 1).numpy()
    assert hidden_width(logits) == setting.RECIPE.width - 1  # LayerNorm subtracts the mean: one dimension is lost


def test_a_copy_learns_what_the_answers_say():
    texts = [f"{word} {i}" for i in range(30) for word in ("good", "bad")]
    answers = np.array([int(text.startswith("good")) for text in texts])
    assert surrogate_labels(texts, answers, ["good thing", "bad thing"]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: npo_loss(torch.zeros(2), torch.zeros(2), 0), "above 0"),
        (lambda: judge(*[np.ones(2)] * 5, np.ones(2), np.ones(2)), "nothing to forget"),
        (lambda: judge(*[np.ones(2)] * 4, np.ones(3), np.ones(2), np.ones(2)), "five rows"),
        (lambda: hidden_width(np.random.default_rng(0).normal(size=(5, 9))), "Ask more"),
        (lambda: hidden_width(np.ones(5)), "two queries"),
        (lambda: surrogate_labels(["a"], np.array([1]), ["b"]), "two different"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
