from __future__ import annotations

import contextlib
import json
from collections import Counter, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmsafety_lab.checking.handles import (
    Handle,
    LinearMap,
    SmallModel,
    TokenClassifier,
    TokenEncoder,
    VectorClassifier,
)
from llmsafety_lab.checking.wire import LIMIT, NotPlain, dumps, loads

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.binary() | st.integers(0, 9), inner)
    ),
    max_leaves=20,
)


@given(plain)
def test_plain_values_come_back_equal_and_of_the_same_types(value) -> None:
    assert repr(loads(dumps(value))) == repr(value)


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "int64", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1)])
def test_tensors_come_back_bit_for_bit(name: str, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(shape) * 3).to(getattr(torch, name))
    back = loads(dumps(tensor))
    assert type(back) is torch.Tensor and back.dtype == tensor.dtype and back.shape == tensor.shape
    assert torch.equal(back, tensor)


def test_views_gradients_and_arrays_pass() -> None:
    tensor = torch.arange(12.0, requires_grad=True).reshape(3, 4).T
    assert torch.equal(loads(dumps(tensor)), tensor.detach())
    array = np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2]
    assert np.array_equal(loads(dumps(array)), array)
    assert loads(dumps(np.float64(0.5))) == 0.5
    assert loads(dumps(SmallModel(seed=3))) == SmallModel(seed=3)


def test_what_the_libraries_make_of_plain_types_comes_back_plain() -> None:
    pair = namedtuple("pair", "start end")(1, 2)
    back = loads(dumps({"tags": Counter("aab"), "spans": [pair], "name": np.array(["B-PER"])[0]}))
    assert back == {"tags": {"a": 2, "b": 1}, "spans": [(1, 2)], "name": "B-PER"}
    assert [type(value) for value in (back["tags"], back["spans"][0], back["name"])] == [dict, tuple, str]


class Liar(float):
    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, bytearray(b"bytes"), Liar(1), torch.ones(2, dtype=torch.complex64), [lambda: 1]]
)
def test_anything_else_is_refused(value) -> None:
    with pytest.raises(NotPlain):
        dumps(value)


def test_what_is_too_long_or_too_deep_is_refused() -> None:
    with pytest.raises(NotPlain, match="MB"):
        dumps("x" * (LIMIT + 1))
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotPlain, match="deeply"):
        dumps(deep)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[",
        b"\xff",
        b"[" * 100_000,
        b'{"a": 1, "b": 2}',
        b'{"object": 1}',
        b'{"tensor": ["float64", [1000000], ""]}',
        b'{"tensor": ["float64", [-1], ""]}',
        b'{"tensor": ["object", [1], "AAAAAAAAAAA="]}',
        b'{"tensor": ["bool", [1], "/w=="]}',
        b'{"tensor": ["float64", [true], "AAAAAAAAAAA="]}',
        b'{"dict": [[[], 1]]}',
        b'{"model": ["SmallModel", {"dict": [["seed", 1], ["other", 2]]}]}',
        b'{"model": ["Session", {"dict": []}]}',
        b'{"model": {"seed": 1}}',
        b'{"model": 7}',
        b'{"tensor": 7}',
        json.dumps({"tensor": ["float64", [1] * 17, "AAAAAAAAAAA="]}).encode(),
    ],
)
def test_a_message_that_is_not_ours_is_refused(message: bytes) -> None:
    with pytest.raises(NotPlain):
        loads(message)


@given(st.binary())
def test_no_message_raises_anything_else(message: bytes) -> None:
    with contextlib.suppress(NotPlain):
        loads(message)


def test_a_recipe_builds_the_same_model_on_both_sides_and_no_giant() -> None:
    one, other = SmallModel(seed=5).build(), loads(dumps(SmallModel(seed=5))).build()
    ids = torch.arange(8)[None]
    assert torch.equal(one(ids).logits, other(ids).logits)
    assert not torch.equal(one(ids).logits, SmallModel(seed=6).build()(ids).logits)
    with pytest.raises(ValueError, match="cannot be built"):
        SmallModel(seed=0, width=10**9).build()


IDS, MASK = torch.tensor([[3, 7, 1], [2, 2, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
VECTORS = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("kind", "inputs", "shape"),
    [
        (VectorClassifier, (VECTORS, MASK), (2, 3)),
        (VectorClassifier, (VECTORS,), (2, 3)),
        (TokenEncoder, (IDS, MASK), (2, 3, 4)),
        (TokenClassifier, (IDS, MASK), (2, 3)),
        (LinearMap, (VECTORS,), (2, 3, 3)),
    ],
)
def test_every_kind_of_network_is_the_same_on_both_sides(kind, inputs, shape) -> None:
    before = torch.get_rng_state()
    one, other, third = kind(seed=5).build(), loads(dumps(kind(seed=5))).build(), kind(seed=6).build()
    assert torch.equal(torch.get_rng_state(), before), "a recipe draws from its own generator"
    assert one(*inputs).shape == shape and torch.equal(one(*inputs), other(*inputs))
    assert not torch.equal(one(*inputs), third(*inputs)) and not one.training
    assert all(weight.requires_grad and weight.grad is None for weight in one.parameters())


@pytest.mark.parametrize("kind", [TokenEncoder, TokenClassifier])
def test_what_stands_in_the_padding_does_not_matter(kind) -> None:
    model, other = kind().build(), IDS.clone()
    other[MASK == 0] = 9
    kept = slice(None) if kind is TokenClassifier else MASK.bool()
    assert torch.equal(model(IDS, MASK)[kept], model(other, MASK)[kept])


def test_a_check_may_prescribe_weights_gradients_and_the_mode() -> None:
    weight, left = torch.ones(6, 4).double(), torch.full((3, 6), 2.0).double()
    recipe = VectorClassifier(weights={"first.weight": weight}, gradients={"second.weight": left}, training=True)
    model = loads(dumps(recipe)).build()
    assert torch.equal(model.first.weight, weight) and torch.equal(model.second.weight.grad, left)
    assert model.training and model.first.weight.grad is None
    assert not torch.allclose(model(VECTORS), model.eval()(VECTORS))


@pytest.mark.parametrize("kind", [kind for kind in Handle.KINDS.values() if kind.__name__ != "Network"])
def test_no_kind_builds_a_giant(kind) -> None:
    size = next(name for name in kind.__dataclass_fields__ if name in ("width", "inputs"))
    for wrong in (10**9, 0, "4"):
        with pytest.raises(ValueError, match="cannot be built"):
            kind(seed=0, **{size: wrong}).build()
