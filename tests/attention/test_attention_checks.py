"""What the attention checks rest on: models that see exactly so far ahead, and a rollout whose answer is known."""

import copy
import linecache
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.handles import SmallModel
from llmsafety_lab.checking.notebook import check_in
from llmsafety_lab.checking.result import Result, assess
from llmsafety_lab.checking.session import Session
from llmsafety_lab.checking.wire import dumps, loads
from llmsafety_lab.checks.attention.maps import walk


def assessed(id: str, function: Callable, seed: str) -> Result:
    one = exercise.find(id)
    return assess(one, Answer(one.answer, Session({one.answer: function}).handle), Dice(seed))


@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_small_model_sees_as_many_tokens_ahead_as_its_recipe_says(ahead: int, layers: int) -> None:
    small = SmallModel(seed=5, layers=layers, heads=2, width=32, ahead=ahead)
    ids = torch.arange(7)
    model = loads(dumps(small)).build()
    changed = model(torch.where(torch.eye(7, dtype=torch.bool), ids + 20, ids)).logits - model(ids[None]).logits
    feels = changed.abs().amax(-1).mT > 1e-9
    distance = ids[None] - ids[:, None]
    assert torch.equal(feels, distance <= ahead * layers)


def test_a_small_model_cannot_see_a_negative_number_of_tokens_ahead() -> None:
    with pytest.raises(ValueError, match="cannot be built"):
        SmallModel(seed=0, ahead=-1).build()


def test_rollout_of_heads_that_look_one_token_back_is_binomial() -> None:
    layers, tokens = 4, 7
    back = torch.eye(tokens, dtype=torch.float64).roll(-1, dims=1).expand(layers, 3, tokens, tokens)
    chances = [math.comb(layers, k) / 2**layers for k in range(layers + 1)]
    expected = torch.tensor([0.0] * (tokens - layers - 1) + chances[::-1], dtype=torch.float64)
    torch.testing.assert_close(walk(back)[-1], expected)


@pytest.mark.parametrize("seed", "abcdef")
def test_attention_for_matrices_only_fails_whatever_the_dice(seed: str) -> None:
    def flat(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights = (torch.einsum("qd,kd->qk", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        return weights @ v, weights

    assert "stopped with" in assessed("attention.scaled_dot_product", flat, seed).message


def test_the_library_s_own_generation_is_refused() -> None:
    namespace: dict = {"__name__": "__main__"}
    source = "def generate_with_cache(model, ids, steps):\n    return model.generate(ids[None])[0]\n"
    linecache.cache["<answer>"] = (len(source), None, source.splitlines(keepends=True), "<answer>")
    exec(compile(source, "<answer>", "exec"), namespace)
    result = check_in(exercise.find("attention.cache"), namespace)
    assert result.earned == 0
    assert "model.generate" in result.message


def test_recomputing_in_single_precision_is_not_taken_for_a_cache() -> None:
    single: dict[int, object] = {}

    def slow(model, ids: Tensor, steps: int) -> Tensor:
        if id(model) not in single:
            single[id(model)] = copy.deepcopy(model).float()
            single[id(model)].set_attn_implementation("sdpa")
        with torch.no_grad():
            for _ in range(steps):
                ids = torch.cat([ids, single[id(model)](ids[None], use_cache=False).logits[0, -1].argmax()[None]])
        return ids

    result = assessed("attention.cache", slow, "a")
    assert result.earned == 0
    assert "no faster" in result.message
