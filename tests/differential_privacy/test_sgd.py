"""DP-SGD against opacus, against a loop over records, and against what is known of its noise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from torch import nn
from torch.nn.functional import cross_entropy

from llmsafety_lab.differential_privacy import (
    LowRank,
    clipped_sum,
    ghost_sum,
    noised,
    per_sample_gradients,
    poisson_batch,
    private_gradient,
    record_norms,
    train_private,
    train_private_networks,
)
from llmsafety_lab.membership_inference import Networks, Recipe, draw_members
from llmsafety_lab.parameter_efficient import LoRALinear


class Tagger(nn.Module):
    """Tokens in, logits out, with an embedding and a norm in between."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, 6), nn.LayerNorm(6)
        self.out = nn.Linear(6, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.norm(self.embed(ids))).mean(1))


def drawn(count: int = 7, seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return Tagger(), torch.randint(11, (count, 5)), torch.randint(3, (count,))


def test_per_sample_gradients_are_those_of_a_loop() -> None:
    model, x, y = drawn()
    found = per_sample_gradients(model, cross_entropy, x, y)
    for row in range(len(x)):
        single = torch.autograd.grad(cross_entropy(model(x[row, None]), y[row, None]), list(model.parameters()))
        for (name, _), exact in zip(model.named_parameters(), single, strict=True):
            assert torch.allclose(found[name][row], exact, atol=1e-6)
    assert all(weight.grad is None for weight in model.parameters())


def test_frozen_weights_have_none_and_an_empty_batch_has_no_rows() -> None:
    model, x, y = drawn()
    model.embed.requires_grad_(False)
    assert "embed.weight" not in per_sample_gradients(model, cross_entropy, x, y)
    assert per_sample_gradients(model, cross_entropy, x[:0], y[:0])["out.weight"].shape == (0, 3, 6)


def test_clipped_sums_are_opacus() -> None:
    model, x, y = drawn(16)
    ours = clipped_sum(per_sample_gradients(model, cross_entropy, x, y), 0.7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = GradSampleModule(model)
        cross_entropy(wrapped(x), y, reduction="sum").backward()
    samples = {name: weight.grad_sample for name, weight in model.named_parameters()}
    norms = torch.stack([part.flatten(1).norm(dim=1) for part in samples.values()]).norm(dim=0)
    factor = (0.7 / (norms + 1e-6)).clamp(max=1.0)
    assert (norms > 0.7).any()
    for name, part in samples.items():
        assert torch.allclose(ours[name], torch.einsum("b,b...->...", factor, part), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.floats(0.1, 5), st.integers(0, 10**6))
def test_one_record_more_moves_the_sum_by_at_most_the_bound(count: int, bound: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    whole = {"a": 3 * torch.randn(count + 1, 4, generator=generator), "b": torch.randn(count + 1, 2, 2)}
    less = clipped_sum({name: part[:-1] for name, part in whole.items()}, bound)
    more = clipped_sum(whole, bound)
    moved = torch.cat([(more[name] - less[name]).flatten() for name in whole]).norm()
    assert float(moved) <= bound * (1 + 1e-5)
    assert float(moved) == pytest.approx(min(bound, float(record_norms(whole)[-1])), rel=1e-4)


def test_noise_is_added_once_with_the_stated_deviation() -> None:
    total = {"w": torch.zeros(40_000)}
    made = noised(total, 2.0, 1.5, torch.Generator().manual_seed(0))["w"]
    assert float(made.std()) == pytest.approx(3.0, rel=0.02) and not total["w"].any()


def test_the_private_gradient_divides_by_the_expected_size_and_does_not_depend_on_chunks() -> None:
    model, x, y = drawn(9)
    plain = clipped_sum(per_sample_gradients(model, cross_entropy, x, y), 0.5)
    for at_once in (2, 256):
        made = private_gradient(model, cross_entropy, x, y, 0.5, 0.0, 30.0, at_once=at_once)
        assert all(torch.allclose(made[name], part / 30, atol=1e-6) for name, part in plain.items())
    empty = private_gradient(model, cross_entropy, x[:0], y[:0], 0.5, 2.0, 30.0, torch.Generator().manual_seed(1))
    assert float(torch.cat([part.flatten() for part in empty.values()]).std()) == pytest.approx(1 / 30, rel=0.2)


def test_poisson_batches_have_binomial_sizes_and_independent_records() -> None:
    generator, records, rate = torch.Generator().manual_seed(0), 40, 0.2
    inside = torch.zeros(4000, records)
    for row in inside:
        row[poisson_batch(records, rate, generator)] = 1
    sizes = inside.sum(1)
    assert float(sizes.mean()) == pytest.approx(8, abs=0.2)
    assert float(sizes.var()) == pytest.approx(records * rate * (1 - rate), rel=0.1)
    together = float((inside[:, 0] * inside[:, 1]).mean())
    assert together == pytest.approx(rate**2, abs=0.012)


def test_training_learns_without_noise_and_leaves_no_gradient() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    y = (x[:, 0] > 0).long()
    model = nn.Linear(4, 2)
    train_private(model, cross_entropy, x, y, 0.2, 40, 1.0, 0.5, torch.optim.SGD(model.parameters(), lr=1.0))
    assert float((model(x).argmax(1) == y).float().mean()) > 0.85
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("width", [0, 5])
def test_ghost_sums_are_the_clipped_sums_of_each_network(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    networks = Networks(3, 4, 2, Recipe(width=width), seed=1)
    x, y = torch.randn(3, 6, 4, generator=generator), torch.randint(2, (3, 6), generator=generator)
    present = (torch.rand(3, 6, generator=generator) < 0.7).float()
    found = ghost_sum(networks, x, y, present, 0.8)
    for i in range(3):
        layers = [nn.Linear(a.shape[1], a.shape[2]) for a in networks.weights]
        for layer, weight, bias in zip(layers, networks.weights, networks.biases, strict=True):
            layer.weight.data, layer.bias.data = weight[i].detach().T.clone(), bias[i, 0].detach().clone()
        model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
        keep = present[i] > 0
        exact = clipped_sum(per_sample_gradients(model, cross_entropy, x[i, keep], y[i, keep]), 0.8)
        for at in range(len(layers)):
            assert torch.allclose(found[at][i], exact[f"{2 * at}.weight"].T, atol=1e-5)
            assert torch.allclose(found[len(layers) + at][i, 0], exact[f"{2 * at}.bias"], atol=1e-5)


def test_networks_side_by_side_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = (x[:, 0] > 0).astype(int)
    members = draw_members(2, 200, 0)
    for multiplier in (0.0, 1.0):
        made = train_private_networks(x, y, members, Recipe(width=8, rate=0.03), 0.2, 80, 1.0, multiplier)
        assert (made.logits(x).argmax(-1) == y).mean() > 0.85


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clipped_sum({"w": torch.ones(2, 3)}, 0), "above 0"),
        (lambda: clipped_sum({"w": torch.full((2, 3), torch.nan)}, 1), "not finite"),
        (lambda: noised({"w": torch.ones(2)}, 1, -1), "at least 0"),
        (lambda: poisson_batch(5, 0), "rate"),
        (lambda: private_gradient(*drawn()[:1], cross_entropy, *drawn()[1:], 1, 1, 0), "expected"),
        (lambda: per_sample_gradients(drawn()[0], cross_entropy, drawn()[1][:2], drawn()[2]), "inputs"),
        (
            lambda: per_sample_gradients(
                nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), cross_entropy, torch.ones(2, 2), torch.ones(2).long()
            ),
            "mixes records",
        ),
        (
            lambda: train_private_networks(
                np.ones((4, 2)), np.array([0, 1, 0, 1]), draw_members(2, 4), Recipe(), 0.5, 1, float("inf"), 1.0
            ),
            "bound",
        ),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_a_low_rank_change_begins_as_the_model_and_is_loras() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    before, x, y = plain(torch.ones(2, 5)).detach(), torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    model = LowRank(plain, ("0.weight",), 2, 4.0)
    assert torch.allclose(model(torch.ones(2, 5)), before)
    model.B["0_weight"].data.normal_()
    layer = LoRALinear(plain[0].weight, plain[0].bias, 2, 4.0)
    layer.A.data, layer.B.data = model.A["0_weight"].data, model.B["0_weight"].data
    assert torch.allclose(model(x), plain[2](torch.tanh(layer(x))), atol=1e-6)
    found = per_sample_gradients(model, cross_entropy, x, y)
    assert set(found) == {"A.0_weight", "B.0_weight"}
    cross_entropy(model(x), y, reduction="sum").backward()
    assert torch.allclose(found["A.0_weight"].sum(0), model.A["0_weight"].grad, atol=1e-6)
    with pytest.raises(ValueError, match="no matrix"):
        LowRank(plain, ("up",), 2, 4.0)
