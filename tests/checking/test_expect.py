"""The words of a check."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llmsafety_lab.checking import expect as words
from llmsafety_lab.checking.expect import Failed


@pytest.mark.parametrize(
    ("what", "verb"),
    [
        ("The loss under 2, of a model in train mode,", "is"),
        ("The weights after the step, laid in one row,", "are"),
        ("The gradients, laid in one row,", "are"),
        ("The share and its interval with 2 attacks", "are"),
        ("The merged layer's bias", "is"),
        ("The logits", "are"),
        ("The table of ids", "is"),
        ("What reliability returns for two texts", "is"),
        ("The answer for the same test texts, now with other test texts beside them,", "is"),
    ],
)
def test_a_message_agrees_in_number(what: str, verb: str) -> None:
    assert words.are(what) == verb


def failed(call, *args, **kwargs) -> Failed:
    with pytest.raises(Failed) as caught:
        call(*args, **kwargs)
    return caught.value


def test_where_a_tensor_is_wrong_is_said_of_tensors_with_dimensions_alone() -> None:
    assert failed(words.expect_close, torch.tensor(1.0), torch.tensor(2.0), "The loss").message == "The loss is wrong."
    message = failed(words.expect_close, torch.ones(2), torch.tensor([1.0, 3.0]), "The weights").message
    assert message == "The weights are wrong, most at (1,)."
    nan = failed(words.expect_close, torch.tensor(float("nan")), torch.tensor(2.0), "The loss").message
    assert nan == "The loss holds NaN."


@pytest.mark.parametrize("call", [words.expect_pair, words.expect_list, words.expect_number])
def test_a_missing_return_is_asked_for(call) -> None:
    assert "return statement" in str(failed(call, None, "The answer").got)


def test_numbers_lists_and_pairs_come_back_plain() -> None:
    values = [
        words.expect_number(value, "The rate") for value in (1, 0.5, torch.tensor([2.0]), np.float64(3), np.ones(1))
    ]
    assert values == [1, 0.5, 2, 3, 1] and {type(value) for value in values} == {float}
    for wrong in (True, "1", float("nan"), torch.ones(2), [1.0]):
        failed(words.expect_number, wrong, "The rate")
    assert words.expect_pair((1, 2), "The answer") == (1, 2)
    assert failed(words.expect_pair, [1], "The answer").got == "1 values"
    assert words.expect_list((1, 2), "The ids", length=2) == [1, 2]
    assert failed(words.expect_list, [1], "The ids", length=2).message == "The ids are not of length 2."


def test_a_gradient_that_is_missing_zero_or_wrong_is_told_apart() -> None:
    exact = torch.ones(2)
    words.expect_gradient(exact, exact, "the weight A")
    assert "No gradient reaches the weight A" in failed(words.expect_gradient, None, exact, "the weight A").message
    assert "is 0" in failed(words.expect_gradient, 0 * exact, exact, "the weight A").message
    twice = failed(words.expect_gradient, 2 * exact, exact, "the weight A", mistakes={"It is doubled.": 2 * exact})
    assert twice.hint == "It is doubled."
