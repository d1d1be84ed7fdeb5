"""What a check learns of a call: gradients, passes, and what was left behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from llmsafety_lab.checking.answer import Answer, Called
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.handles import VectorClassifier
from llmsafety_lab.checking.session import Session

SMALL = VectorClassifier(seed=3)
X = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 2])


def answer_of(function: Callable) -> Answer:
    return Answer("f", Session({"f": function}).handle)


def trace(function: Callable, *args: Any, **kwargs: Any) -> Called:
    return answer_of(function).trace(*args, **kwargs)


def loss(model: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(model(x), labels)


def test_the_gradient_by_a_models_weights_and_by_an_argument_is_that_of_autograd() -> None:
    model, x = SMALL.build(), X.clone().requires_grad_()
    loss(model, x, LABELS).backward()
    called = trace(loss, SMALL, X, LABELS, by=[0, 1])
    assert called.traced and (called.forwards, called.backwards) == (1, 0)
    assert set(called.gradients[0]) == {"first.weight", "second.weight"}
    for name, weight in model.named_parameters():
        torch.testing.assert_close(called.gradients[0][name], weight.grad)
    torch.testing.assert_close(called.gradients[1][""], x.grad)
    assert not called.changed and not called.modes and not called.flags and not called.left


def test_a_result_of_many_numbers_has_its_gradient_along_a_tensor() -> None:
    along = torch.tensor([[1.0, 0.0, -2.0]]).double()
    called = trace(
        lambda x, w: [x @ w, None], torch.ones(1, 2).double(), torch.ones(2, 3).double(), by=[1], along=along
    )
    assert torch.equal(called.gradients[1][""], along.expand(2, 3))


@pytest.mark.parametrize(
    "cut",
    [
        lambda model, x, labels: loss(model, x, labels).detach(),
        lambda model, x, labels: loss(model, x, labels).item(),
        lambda model, x, labels: torch.tensor(loss(model, x, labels).item()),
        lambda model, x, labels: model(x).detach().requires_grad_().sum(),
    ],
)
def test_what_is_cut_off_has_no_gradient(cut: Callable) -> None:
    assert set(trace(cut, SMALL, X, LABELS, by=[0]).gradients[0].values()) == {None}


def test_passes_backward_are_counted_however_they_are_made() -> None:
    def two_passes(model: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        delta = torch.zeros_like(x, requires_grad=True)
        value = cross_entropy(model(x + delta), labels)
        torch.autograd.grad(value, delta, retain_graph=True)
        value.backward()
        with torch.no_grad():
            model(x)
        return value.detach()

    called = trace(two_passes, SMALL, X, LABELS)
    assert (called.forwards, called.backwards) == (2, 2)
    assert set(called.left) == {0} and set(called.left[0]) == {"first.weight", "second.weight"}


def test_what_a_call_leaves_otherwise_is_told() -> None:
    def spoil(model: Any, x: torch.Tensor, more: torch.Tensor) -> None:
        model.eval()
        model.first.requires_grad_(False)
        x += 1
        more.requires_grad_().sum().backward()

    called = trace(spoil, VectorClassifier(seed=3, training=True), X, more=X)
    assert called.modes == [0] and called.changed == [1] and called.flags == [0, "more"]
    assert torch.equal(called.left["more"][""], torch.ones_like(X)) and not called.traced


def test_what_a_call_leaves_otherwise_outside_of_its_arguments_is_told() -> None:
    def honest(seed: int) -> Any:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.rand(2, generator=torch.Generator().manual_seed(seed)) + torch.rand(2)

    assert trace(honest, 3).stirred == []
    with torch.random.fork_rng():
        assert trace(lambda: torch.rand(2)).stirred == ["generator"]
    assert trace(lambda: torch.set_grad_enabled(False) and None).stirred == ["gradients"]
    assert torch.is_grad_enabled()


def test_an_argument_that_a_call_makes_a_result_of_others_has_no_gradient_and_warns_nobody() -> None:
    def spoil(x: torch.Tensor) -> None:
        x.mul_(torch.full((4,), 2.0, dtype=x.dtype, requires_grad=True))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        called = trace(spoil, X)
    assert called.changed == [0] and not called.left


def test_gradients_that_stood_there_before_are_not_what_the_call_left() -> None:
    stale = VectorClassifier(seed=3, gradients={"first.weight": torch.ones(6, 4).double()})
    called = trace(lambda model: float(model.first.weight.grad.sum()), stale)
    assert called.value == 24 and not called.left
    assert set(trace(lambda model: model.first(X).sum().backward(), stale).left[0]) == {"first.weight"}


def test_weights_changed_in_place_are_a_change_of_the_model() -> None:
    def step(model: Any) -> None:
        with torch.no_grad():
            model.first.weight += 1

    assert trace(step, SMALL).changed == [0]


def test_a_method_is_traced_by_the_weights_of_its_object() -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.A = torch.nn.Parameter(torch.ones(2, 2))
            self.B = torch.nn.Parameter(torch.ones(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.A).detach() @ self.B

    layer = answer_of(Layer).new()
    called = layer.trace("__call__", torch.ones(3, 2))
    assert called.traced and called.forwards == 1
    assert called.gradients["self"]["A"] is None and torch.equal(called.gradients["self"]["B"], torch.full((2, 2), 6.0))


def test_a_forged_account_of_a_call_is_an_error_of_the_student() -> None:
    from llmsafety_lab.checking.wire import dumps

    answer = Answer("f", lambda data: dumps({"ok": 1, "told": {"changed": []}}))
    with pytest.raises(Failed, match="message of its own"):
        answer.trace(1)
