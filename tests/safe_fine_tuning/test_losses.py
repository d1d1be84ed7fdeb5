"""The losses against trl's own, against sums over single tokens, and against what a finite set of answers allows."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from llmsafety_lab.safe_fine_tuning import (
    Lagrangian,
    answer_log_probs,
    assistant_labels,
    bradley_terry_loss,
    dpo_loss,
    group_advantages,
    grpo_loss,
    kl_to_reference,
    projected,
    reinforce_loss,
    sample,
    tilted,
)

ACCELERATOR = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_is_trls(beta: float) -> None:
    """trl's trainer computes the loss, of log-probabilities that a stand-in for its model returns."""
    from trl import DPOTrainer

    pairs, tokens, prompt = 5, 9, 3
    each = -drawn(2 * pairs, tokens - 1).abs()
    reference = -10 * drawn(2, pairs, seed=1).abs()
    mask = (torch.arange(tokens) >= prompt).long().expand(2 * pairs, -1)
    shown = each * mask[:, 1:]
    outputs = SimpleNamespace(
        log_probs=shown, entropy=shown, mean_logits=shown, is_top1=shown > 0, log_sum_sq_probs=shown
    )
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=beta,
        use_weighting=False,
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    inputs = {
        "input_ids": torch.zeros(2 * pairs, tokens, dtype=torch.long),
        "attention_mask": torch.ones(2 * pairs, tokens),
        "completion_mask": mask,
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }
    theirs = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    ours = dpo_loss(*shown.sum(1).split(pairs), *reference, beta)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)


def test_the_reward_models_loss_is_trls() -> None:
    from trl import RewardTrainer

    rewards = drawn(12, 1)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=ACCELERATOR,
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    theirs = RewardTrainer.compute_loss(
        trainer, lambda **_: SimpleNamespace(logits=rewards), {"attention_mask": torch.ones(2)}
    )
    assert float(bradley_terry_loss(*rewards[:, 0].split(6))) == pytest.approx(float(theirs), abs=1e-6)


def test_no_gradient_goes_into_the_reference() -> None:
    parts = [drawn(4, seed=i).requires_grad_() for i in range(4)]
    dpo_loss(*parts).backward()
    assert all(part.grad is not None and bool(part.grad.any()) for part in parts[:2])
    assert all(part.grad is None for part in parts[2:])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_the_closed_form_is_the_best_policy(seed: int, beta: float) -> None:
    reference, reward = drawn(6, seed=seed).softmax(0), drawn(6, seed=seed + 1)

    def value(policy: torch.Tensor) -> float:
        return float((policy * (reward - beta * (policy / reference).log())).sum())

    best = tilted(reference, reward, beta)
    others = [drawn(6, seed=seed + 2 + i).softmax(0) for i in range(20)]
    others += [(0.95 * best + 0.05 * other) for other in others]
    assert float(best.sum()) == pytest.approx(1) and all(value(best) >= value(other) for other in others)
    assert value(best) == pytest.approx(beta * float((reference * (reward / beta).exp()).sum().log()))


def test_leashed_training_and_dpo_both_reach_the_closed_form() -> None:
    reference, reward, beta = drawn(1, 5).softmax(1), drawn(1, 5, seed=1), 0.7
    best = tilted(reference, reward, beta)

    def trained(loss) -> torch.Tensor:
        scores = reference.log().clone().requires_grad_()
        optimiser = torch.optim.LBFGS([scores], lr=0.5, max_iter=300, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            value = loss(scores.log_softmax(1)[0])
            value.backward()
            return value

        optimiser.step(closure)
        return scores.softmax(1).detach()

    leashed = trained(lambda log: (log.exp() * (beta * (log - reference[0].log()) - reward[0])).sum())
    one, other = torch.triu_indices(5, 5, 1)
    wins = torch.sigmoid(reward[0, one] - reward[0, other])
    log_reference = reference[0].log()

    def preferences(log: torch.Tensor) -> torch.Tensor:
        parts = [
            chance * dpo_loss(log[[i]], log[[j]], log_reference[[i]], log_reference[[j]], beta)
            for i, j, won in zip(one, other, wins, strict=True)
            for i, j, chance in ((i, j, won), (j, i, 1 - won))
        ]
        return torch.stack(parts).sum()

    assert torch.allclose(leashed, best, atol=1e-4)
    assert torch.allclose(trained(preferences), best, atol=1e-3)


def test_dual_ascent_reaches_the_linear_programs_optimum() -> None:
    """Three kinds of questions, three answers; cost on some. The price settles, the mean policy is the optimum."""
    rng = np.random.default_rng(0)
    reward, cost, limit = rng.random((3, 3)), rng.random((3, 3)), 0.3
    program = linprog(
        -reward.ravel() / 3,
        A_ub=cost.ravel()[None] / 3,
        b_ub=[limit],
        A_eq=np.kron(np.eye(3), np.ones(3)),
        b_eq=np.ones(3),
    )
    price = Lagrangian(limit, rate=0.01)
    total = np.zeros((3, 3))
    for step in range(6_000):
        scores = price.objective(torch.tensor(reward), torch.tensor(cost)).numpy()
        policy = np.eye(3)[scores.argmax(1)]
        price.update((policy * cost).sum() / 3)
        if step >= 2_000:
            total += policy / 4_000
    assert (total * reward).sum() / 3 == pytest.approx(-program.fun, abs=0.01)
    assert (total * cost).sum() / 3 == pytest.approx(limit, abs=0.005)
    assert price.multiplier == pytest.approx(-program.ineqlin.marginals[0], abs=0.05)


def test_the_price_never_falls_below_nothing() -> None:
    price = Lagrangian(0.2, 1.0, 0.1)
    assert price.update(0.0) == 0 and price.update(0.0) == 0
    assert price.update(0.5) == pytest.approx(0.3)
    for arguments in ((2, 1), (0.1, 0), (0.1, 1, -1)):
        with pytest.raises(ValueError, match="limit from 0 to 1"):
            Lagrangian(*arguments)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_projection_keeps_the_limit_and_nothing_nearer_does(seed: int) -> None:
    policy, cost = drawn(4, 5, seed=seed).softmax(1), drawn(4, 5, seed=seed + 1).sigmoid()
    limit = 0.5 * float((policy * cost).sum(1).mean() + cost.min(1).values.mean())
    nearest, price = projected(policy, cost, limit)
    assert price > 0 and float((nearest * cost).sum(1).mean()) == pytest.approx(limit, abs=1e-6)

    def away(other: torch.Tensor) -> float:
        return float((other * (other / policy).log()).sum())

    for i in range(20):
        other, _ = projected(drawn(4, 5, seed=seed + 2 + i).softmax(1) * nearest, cost, limit)
        other = other / other.sum(1, keepdim=True)
        if float((other * cost).sum(1).mean()) <= limit:
            assert away(other) >= away(nearest) - 1e-6
    assert projected(policy, cost, 1.0) == (policy, 0.0)
    with pytest.raises(ValueError, match="least cost"):
        projected(policy, cost + 1, 0.5)


def test_the_baseline_changes_no_mean_and_the_gradient_varies_less() -> None:
    scores_of = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    logits = drawn(3).requires_grad_()
    exact = torch.autograd.grad((logits.softmax(0) * scores_of).sum(), logits)[0]
    found = {True: [], False: []}
    generator = torch.Generator().manual_seed(0)
    for _ in range(3_000):
        drawn_ = torch.multinomial(logits.softmax(0).detach(), 8, True, generator=generator).view(2, 4)
        for baseline, gradients in found.items():
            loss = reinforce_loss(logits.log_softmax(0)[drawn_], scores_of[drawn_], baseline)
            gradients.append(-torch.autograd.grad(loss, logits)[0])
    with_it, without = (torch.stack(found[key]) for key in (True, False))
    for gradients in (with_it, without):
        error = gradients.std(0) / len(gradients) ** 0.5
        assert bool(((gradients.mean(0) - exact).abs() < 4.5 * error).all())
    assert float(with_it.var(0).sum()) < 0.7 * float(without.var(0).sum())
    with pytest.raises(ValueError, match="two or more"):
        reinforce_loss(drawn(2, 1), drawn(2, 1))


def test_grpo_clips_and_its_first_gradient_is_reinforces() -> None:
    logs, answer = -drawn(6, 4).abs(), torch.ones(6, 4, dtype=torch.bool)
    scores = drawn(2, 3, seed=1)
    advantages = group_advantages(scores).flatten()
    leaf = logs.clone().requires_grad_()
    grpo_loss(leaf, leaf, logs, advantages, answer, beta=0.5).backward()
    assert torch.allclose(leaf.grad, -(advantages / 6 / 4)[:, None].expand(6, 4))
    far = (logs + 1).requires_grad_()
    grpo_loss(far, logs, far.detach(), advantages.abs(), answer, beta=0.0).backward()
    assert not bool(far.grad.any())


def test_kl_is_torchs_over_the_answers_tokens() -> None:
    logits, reference = drawn(3, 5, 7), drawn(3, 5, 7, seed=1)
    answer = torch.arange(5) >= torch.tensor([[1], [3], [4]])
    each = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=logits), torch.distributions.Categorical(logits=reference)
    )
    expected = torch.stack([each[row, start - 1 : 4].sum() for row, start in enumerate((1, 3, 4))])
    assert torch.allclose(kl_to_reference(logits, reference, answer), expected)
    assert bool((kl_to_reference(logits, logits, answer).abs() < 1e-12).all())


@given(st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=4), min_size=2, max_size=6))
def test_labels_are_the_assistants_turns(turns: list[list[int]]) -> None:
    """Turns are laid out one by one, which is how a reader would do it."""
    ids, expected = [], []
    for number, words in enumerate(turns):
        mark = 1 + number % 2
        ids += [mark, *words, 0]
        expected += [-100, *(words if mark == 2 else [-100] * len(words)), 0 if mark == 2 else -100]
    found = assistant_labels(torch.tensor([[*ids, 0, 0]]), user=1, assistant=2, end=0)
    assert found.tolist() == [[*expected, -100, -100]]


def test_an_answers_log_probability_is_the_sum_of_its_tokens() -> None:
    logits = drawn(2, 6, 9)
    ids = torch.tensor([[1, 5, 2, 7, 3, 0], [1, 2, 4, 0, 0, 0]])
    labels = assistant_labels(ids, 1, 2, 0)
    logs = logits.log_softmax(-1)
    first = logs[0, 2, 7] + logs[0, 3, 3] + logs[0, 4, 0]
    second = logs[1, 1, 4] + logs[1, 2, 0]
    assert torch.allclose(answer_log_probs(logits, labels), torch.stack([first, second]))


def test_sampling_stops_at_the_end_and_begins_as_told() -> None:
    def model(ids: torch.Tensor) -> torch.Tensor:
        """The next token is the last one less one; 0 is the end."""
        return torch.nn.functional.one_hot((ids - 1).clamp(min=0), 9).float() * 50

    prompts = torch.tensor([[5, 3], [1, 7]])
    assert sample(model, prompts, 4, 0).tolist() == [[2, 1, 0, 0], [6, 5, 4, 3]]
    begun = torch.tensor([[8], [2]])
    assert sample(model, prompts, 3, 0, torch.Generator(), begun).tolist() == [[8, 7, 6], [2, 1, 0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assistant_labels(torch.tensor([[1, 5, 0]]), 1, 2, 0), "no turn of the assistant"),
        (lambda: assistant_labels(torch.tensor([[1, 2, 0]]), 1, 1, 0), "three different"),
        (lambda: answer_log_probs(drawn(1, 3, 4), torch.zeros(1, 2)), "same tokens"),
        (lambda: dpo_loss(*[drawn(3)] * 4, beta=0), "beta"),
        (lambda: dpo_loss(drawn(3), drawn(3), drawn(2), drawn(3)), "each pair"),
        (lambda: tilted(drawn(3).softmax(0), drawn(3), 0), "leash"),
        (lambda: reinforce_loss(drawn(3), drawn(3)), "prompts times samples"),
        (lambda: kl_to_reference(drawn(1, 2, 3), drawn(1, 2, 4), torch.ones(1, 2)), "do not fit"),
    ],
)
def test_bad_input_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
