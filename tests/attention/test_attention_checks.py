"""What the attention checks rest on: models that see exactly so far ahead, and a rollout whose answer is known."""

import copy
import linecache
import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

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


def greedy(feed: Callable) -> Callable:
    """Return an answer to the exercise on caches that feeds the model by ``feed(model, new tokens, cache)``."""

    def generate(model, ids: Tensor, steps: int) -> Tensor:
        new, cache = ids, None
        for _ in range(steps):
            logits, cache = feed(model, new, cache)
            new = logits.argmax()[None]
            ids = torch.cat([ids, new])
        return ids

    return generate


def by_keyword(model, new: Tensor, cache) -> tuple[Tensor, object]:
    out = model(input_ids=new[None], past_key_values=cache)
    return out["logits"][0, -1], out.past_key_values


def as_a_tuple(model, new: Tensor, cache) -> tuple[Tensor, object]:
    logits, cache = model(new[None], past_key_values=cache, use_cache=True, return_dict=False)
    return logits[0, -1], cache


def with_a_cache_of_its_own(model, new: Tensor, cache) -> tuple[Tensor, object]:
    cache = cache or DynamicCache(config=model.config)
    return model.forward(new[None].to(model.device), past_key_values=cache, logits_to_keep=1).logits[0, -1], cache


def token_by_token(model, new: Tensor, cache) -> tuple[Tensor, object]:
    for token in new:
        out = model(token[None, None], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
    return out.logits[0, -1], cache


def with_mask_and_positions(model, new: Tensor, cache) -> tuple[Tensor, object]:
    seen = cache.get_seq_length() if cache else 0
    positions = torch.arange(seen, seen + len(new))[None]
    mask = torch.ones(1, seen + len(new), dtype=torch.long)
    out = model(new[None], attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    return out.logits[0, -1], out.past_key_values


def on_a_busy_machine(model, new: Tensor, cache) -> tuple[Tensor, object]:
    time.sleep(0.1)
    return by_keyword(model, new, cache)


STYLES = [by_keyword, as_a_tuple, with_a_cache_of_its_own, token_by_token, with_mask_and_positions, on_a_busy_machine]


@pytest.mark.parametrize("feed", STYLES)
def test_a_cache_is_right_in_every_style_and_at_any_speed(feed: Callable) -> None:
    result = assessed("attention.cache", greedy(feed), "a")
    assert result.passed, result.to_text()


def test_the_model_of_the_cache_s_check_has_no_weights_where_the_answer_runs() -> None:
    seen = []

    def looks(model, ids: Tensor, steps: int) -> Tensor:
        seen.append(sum(weight.numel() for weight in model.state_dict().values()))
        return greedy(by_keyword)(model, ids, steps)

    assert assessed("attention.cache", looks, "a").passed
    assert set(seen) == {0}


def recomputing(model, ids: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        ids = torch.cat([ids, model(ids[None], use_cache=False).logits[0, -1].argmax()[None]])
    return ids


def in_single_precision(model, ids: Tensor, steps: int) -> Tensor:
    return recomputing(copy.deepcopy(model).float(), ids, steps)


def each_token_twice(model, ids: Tensor, steps: int) -> Tensor:
    model(ids[None])
    return greedy(by_keyword)(model, ids, steps)


def in_a_batch(model, ids: Tensor, steps: int) -> Tensor:
    """Counts its passes and hides its work in the rows of one."""
    for _ in range(steps):
        ids = torch.cat([ids, model(ids.expand(2, -1)).logits[0, -1].argmax()[None]])
    return ids


@pytest.mark.parametrize("answer", [recomputing, in_single_precision, each_token_twice, in_a_batch])
def test_what_reads_a_token_again_has_no_cache(answer: Callable) -> None:
    result = assessed("attention.cache", answer, "a")
    assert result.earned == 0
    assert "has read before" in result.message


def test_an_answer_that_asks_for_ever_is_stopped() -> None:
    def endless(model, ids: Tensor, steps: int) -> Tensor:
        while True:
            model(ids[None])

    result = assessed("attention.cache", endless, "a")
    assert result.earned == 0
    assert "more than" in result.message


def test_what_the_model_cannot_read_is_the_student_s_to_know() -> None:
    def flat(model, ids: Tensor, steps: int) -> Tensor:
        return model(ids.double()[None]).logits

    result = assessed("attention.cache", flat, "a")
    assert result.earned == 0
    assert "the model cannot read this" in result.message
    assert "model(ids.double()" in result.hint
