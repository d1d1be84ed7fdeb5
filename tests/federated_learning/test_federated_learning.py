"""Federated learning against SGD, numpy, scipy and what is known without them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

from llmsafety_lab.federated_learning import (
    ErrorFeedback,
    Recipe,
    bounded,
    clip,
    coordinate_median,
    dirichlet_split,
    federate,
    flat,
    gradient,
    imprint,
    invert_linear,
    krum,
    krum_choice,
    krum_scores,
    load,
    local_training,
    match_gradient,
    outside_span,
    private_average,
    quantise,
    read_imprint,
    read_tokens,
    server_step,
    text_gradients,
    top_k,
    trimmed_mean,
    unequal_sizes,
    weighted_average,
)


def network(hidden: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()


def records(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (count,), generator=generator)


def drawn(seed: int, clients: int, width: int = 6) -> torch.Tensor:
    return torch.randn(clients, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(7, 7, 7), (1, 5, 14)])
def test_one_step_of_all_clients_is_a_step_of_sgd_on_all_records(sizes: tuple[int, ...]) -> None:
    clients = [records(size, k) for k, size in enumerate(sizes)]
    x, y = (torch.cat(parts) for parts in zip(*clients, strict=True))
    model = network()
    step = torch.optim.SGD(model.parameters(), lr=0.3)
    rounds = federate(network(), clients, Recipe(rate=0.3))
    for weights in itertools.islice(rounds, 5):
        step.zero_grad()
        cross_entropy(model(x), y).backward()
        step.step()
        torch.testing.assert_close(weights, flat(model), rtol=0, atol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_local_training_is_that_of_torch(momentum: float) -> None:
    x, y = records(11)
    model = network()
    start = flat(model)
    got = local_training(network(), start, (x, y), Recipe(0.2, 3, 4, momentum), (1, 2))
    step = torch.optim.SGD(model.parameters(), lr=0.2, momentum=momentum)
    generator = np.random.default_rng([1, 2])
    for _ in range(3):
        order = generator.permutation(11)
        for at in range(0, 11, 4):
            rows = torch.as_tensor(order[at : at + 4])
            step.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            step.step()
    torch.testing.assert_close(got, flat(model), rtol=0, atol=1e-12)


def test_a_strong_pull_keeps_a_client_near_the_server() -> None:
    start = flat(network())
    far, near = (
        (local_training(network(), start, records(9), Recipe(0.1, 30, 0, proximal=mu)) - start).norm() for mu in (0, 5)
    )
    assert near < far / 3


def test_training_leaves_what_the_server_sent_as_it_was() -> None:
    model = network()
    start = flat(model)
    before = start.clone()
    local_training(model, start, records(9), Recipe(0.5, 2, 2))
    assert torch.equal(start, before)


def test_the_gradient_in_one_row_is_that_of_autograd() -> None:
    model, (x, y) = network(), records(6)
    cross_entropy(model(x), y).backward()
    expected = torch.cat([weight.grad.reshape(-1) for weight in model.parameters()])
    torch.testing.assert_close(gradient(network(), flat(model), x, y), expected)


@given(st.integers(0, 1000), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_the_weighted_average_is_that_of_numpy(seed: int, counts: list[int]) -> None:
    updates = drawn(seed, len(counts))
    got = weighted_average(updates, torch.tensor(counts))
    np.testing.assert_allclose(got, np.average(updates.numpy(), axis=0, weights=counts), atol=1e-12)


def test_the_servers_momentum_is_that_of_sgd() -> None:
    weight = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    step = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
    ours, velocity = torch.zeros(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for update in drawn(0, 4):
        weight.grad = -update
        step.step()
        ours, velocity = server_step(ours, update, velocity, 0.5, 0.9)
        torch.testing.assert_close(ours, weight.detach())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([0.05, 1.0, np.inf]), st.sampled_from([0.0, 1.0]))
def test_every_record_has_one_owner_and_every_client_a_record(
    seed: int, clients: int, alpha: float, spread: float
) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, 60)
    owned = dirichlet_split(labels, clients, alpha, seed, spread)
    assert sorted(np.concatenate(owned).tolist()) == list(range(60))
    assert [len(own) for own in owned] == unequal_sizes(60, clients, spread, seed).tolist()
    assert min(map(len, owned)) >= 1


def test_a_small_alpha_makes_clients_of_one_class_and_a_large_one_makes_them_alike() -> None:
    labels = np.arange(4_000) % 2
    shares = {
        alpha: np.array([labels[own].mean() for own in dirichlet_split(labels, 40, alpha, 1)])
        for alpha in (0.01, 1000.0, np.inf)
    }
    assert np.median(np.abs(shares[0.01] - 0.5)) > 0.45
    # at alpha = 1000 a client's share is beta-binomial with nearly the variance of the binomial
    assert stats.ks_2samp(shares[1000.0], shares[np.inf]).pvalue > 0.01


@given(st.integers(0, 1000), st.sampled_from([0.01, 0.2, 0.5, 1.0]))
def test_top_k_keeps_the_largest(seed: int, share: float) -> None:
    update = drawn(seed, 1, 20)[0]
    got = top_k(update, share)
    kept = max(1, round(share * 20))
    assert int((got != 0).sum()) == kept
    assert sorted(got[got != 0].abs().tolist()) == sorted(update.abs().tolist())[-kept:]


def test_quantising_is_right_on_average_and_has_as_many_levels_as_it_says() -> None:
    update = drawn(0, 1, 30)[0]
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([quantise(update, 3, generator) for _ in range(4_000)])
    step = float(update.abs().max()) / 3
    assert float((many.mean(0) - update).abs().max()) < 5 * step / 2 / 4_000**0.5
    assert len(many.div(step).round().unique()) <= 7
    torch.testing.assert_close(many.div(step), many.div(step).round(), rtol=0, atol=1e-9)


def test_with_memory_all_that_was_lost_arrives_later() -> None:
    updates = drawn(1, 12)
    memory = ErrorFeedback(lambda row: top_k(row, 1 / 6))
    arrived = sum(memory(update[None], np.array([7]))[0] for update in updates)
    torch.testing.assert_close(arrived + memory.lost[7], updates.sum(0))
    assert not ErrorFeedback(lambda row: top_k(row, 1 / 6), False).lost


@given(st.integers(0, 1000), st.integers(1, 9))
def test_the_median_and_the_trimmed_mean_are_those_of_numpy_and_scipy(seed: int, clients: int) -> None:
    updates = drawn(seed, clients)
    np.testing.assert_allclose(coordinate_median(updates), np.median(updates.numpy(), axis=0))
    for cut in range((clients - 1) // 2 + 1):
        expected = stats.trim_mean(updates.numpy(), (cut + 1e-9) / clients, axis=0)
        np.testing.assert_allclose(trimmed_mean(updates, cut), expected, atol=1e-12)


@given(st.integers(0, 1000), st.integers(0, 2), st.integers(0, 3))
def test_krum_is_that_of_a_loop(seed: int, attackers: int, more: int) -> None:
    clients = 2 * attackers + 3 + more
    updates = drawn(seed, clients)
    plain = updates.numpy()
    scores = []
    for one in range(clients):
        far = sorted(float(((plain[one] - plain[other]) ** 2).sum()) for other in range(clients) if other != one)
        scores.append(sum(far[: clients - attackers - 2]))
    np.testing.assert_allclose(krum_scores(updates, attackers), scores, atol=1e-9)
    assert int(krum_choice(updates, attackers)[0]) == int(np.argmin(scores))
    kept = np.argsort(scores)[:2]
    np.testing.assert_allclose(krum(updates, attackers, 2), plain[kept].mean(0), atol=1e-12)


def test_no_single_client_moves_a_robust_average_far() -> None:
    honest = drawn(3, 8)
    for size in (1.0, 1e6):
        updates = torch.cat([honest, torch.full((1, 6), size, dtype=torch.float64)])
        inside = [honest.min(0).values, honest.max(0).values]
        for got in (coordinate_median(updates), trimmed_mean(updates, 1), krum(updates, 1)):
            assert bool((got >= inside[0]).all() and (got <= inside[1]).all())
    assert weighted_average(updates, torch.ones(9)).norm() > 1e5
    assert bounded(updates, torch.ones(9)).norm() < honest.norm(dim=1).max()


@given(st.integers(0, 1000), st.floats(0.1, 5))
def test_one_client_more_changes_the_private_sum_by_no_more_than_the_bound(seed: int, bound: float) -> None:
    updates, noise = 3 * drawn(seed, 6), torch.zeros(6, dtype=torch.float64)
    clipped = clip(updates, bound)
    assert float(clipped.norm(dim=1).max()) <= bound * (1 + 1e-9)
    short = updates.norm(dim=1) <= bound
    assert torch.equal(clipped[short], updates[short])
    whole = private_average(updates, bound, 0.0, 4.0, noise)
    without = private_average(updates[1:], bound, 0.0, 4.0, noise)
    assert float((whole - without).norm()) <= bound / 4 * (1 + 1e-9)


def test_the_private_noise_has_the_deviation_that_it_says() -> None:
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = private_average(torch.zeros(0, 20_000, dtype=torch.float64), 0.5, 1.2, 10.0, noise)
    assert float(got.std()) == pytest.approx(1.2 * 0.5 / 10, rel=0.02)


def test_the_input_of_a_linear_layer_is_read_off_exactly_for_any_number_of_local_steps() -> None:
    x, y = records(1)
    for epochs in (1, 7):
        model = network()
        change = local_training(model, flat(model), (x, y), Recipe(0.1, epochs)) - flat(network())
        weight, bias = change[:20].reshape(5, 4), change[20:25]
        torch.testing.assert_close(invert_linear(weight, bias), x[0], rtol=0, atol=1e-9)


def test_matching_the_gradient_finds_a_record_again() -> None:
    x, y = records(1, 5)
    model = network(hidden=16)
    target = gradient(model, flat(model), x, y)
    found = match_gradient(network(16), flat(model), target, y, 4, steps=200)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-2)


def test_an_imprint_shows_every_record_that_is_alone_in_its_bin() -> None:
    x, y = records(6, 2)
    direction = torch.tensor([1.0, -1.0, 0.5, 0.2], dtype=torch.float64)
    along = (x @ direction).sort().values
    edges = torch.cat([along[:1] - 1, (along[:-1] + along[1:]) / 2])
    trap = imprint(4, direction, edges, 3).double()
    parts = torch.autograd.grad(cross_entropy(trap(x), y), list(trap.parameters())[:2])
    found = read_imprint(*parts)
    assert len(found) == 6
    assert float(torch.cdist(found, x).min(1).values.max()) < 1e-6


@given(st.integers(0, 1000), st.integers(1, 5))
def test_inputs_lie_in_the_span_of_the_gradient_and_others_do_not(seed: int, inputs: int) -> None:
    seen, other = drawn(seed, inputs, 8), drawn(seed + 5000, 4, 8)
    change = drawn(seed + 1, inputs, 7).T @ seen
    singular = torch.linalg.svdvals(change)
    if float(singular[inputs - 1] / singular[0]) < 1e-3:
        return
    assert float(outside_span(change, seen).max()) < 1e-6
    assert float(outside_span(change, other).min()) > 1e-3
    exact = torch.linalg.lstsq(seen.T, other.T).solution
    expected = (other - exact.T @ seen).norm(dim=1) / other.norm(dim=1)
    torch.testing.assert_close(outside_span(change, other), expected)


def test_a_text_is_read_off_the_update_of_a_small_encoder() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = dict(vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    encoder = BertModel(BertConfig(**sizes), add_pooling_layer=False).eval()

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = encoder, nn.Linear(32, 2)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.head(self.encoder(ids, mask).last_hidden_state.mean(1))

    ids = torch.tensor([[3, 14, 15, 9, 26, 5]])
    name = "encoder.encoder.layer.0.attention.self.query.weight"
    found = text_gradients(Small(), [name], (ids, torch.ones_like(ids)), torch.tensor([1]))[name]
    assert read_tokens(encoder, found, torch.arange(60), 6) == [[int(token)] for token in ids[0]]
    with pytest.raises(ValueError, match="no weights named"):
        text_gradients(Small(), ["nothing"], (ids, torch.ones_like(ids)), torch.tensor([1]))


NONE = torch.zeros(0, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: weighted_average(drawn(0, 3), torch.tensor([1, 2])), "positive count"),
        (lambda: weighted_average(drawn(0, 2), torch.tensor([1, 0])), "positive count"),
        (lambda: local_training(network(), flat(network()), (NONE, torch.zeros(0).long()), Recipe()), "needs records"),
        (lambda: next(federate(network(), [], Recipe())), "needs clients"),
        (lambda: next(federate(network(), [records(3)], Recipe(), share=0)), "needs clients"),
        (lambda: dirichlet_split(np.zeros(9), 3, 0.0), "positive"),
        (lambda: dirichlet_split(np.zeros(2), 3, 1.0), "each client needs a record"),
        (lambda: top_k(drawn(0, 1)[0], 0), "share of entries"),
        (lambda: quantise(drawn(0, 1)[0], 1, torch.Generator()), "2 bits"),
        (lambda: trimmed_mean(drawn(0, 4), 2), "cut off"),
        (lambda: krum(drawn(0, 4), 1), "needs 5 clients"),
        (lambda: clip(drawn(0, 2), 0), "positive"),
        (lambda: private_average(drawn(0, 2), 1, 1, 0, drawn(0, 1)[0]), "expected"),
        (lambda: invert_linear(torch.ones(2, 3), torch.zeros(2)), "bias is 0"),
        (lambda: invert_linear(torch.ones(2, 3), torch.zeros(3)), "are needed"),
        (lambda: outside_span(torch.zeros(2, 3), torch.ones(1, 3)), "spans nothing"),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_quantising_nothing_gives_nothing_and_weights_are_loaded_as_a_copy() -> None:
    assert not quantise(torch.zeros(3), 4, torch.Generator()).any()
    weights = flat(network())
    model = load(network(seed=1), weights)
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert torch.equal(weights, flat(network()))
