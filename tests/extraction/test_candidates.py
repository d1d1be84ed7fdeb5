"""Candidates, discoverable memorisation and deduplication, against brute force."""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llmsafety_lab.extraction import (
    copied,
    deduplicate,
    discovered,
    generate,
    queries_needed,
    rank_candidates,
    suffix_log_probability,
)


class Bigrams(nn.Module):
    """A language model in which the next token depends on the last one alone."""

    def __init__(self, tokens: int = 5, seed: int = 0) -> None:
        super().__init__()
        table = torch.randn(tokens, tokens, generator=torch.Generator().manual_seed(seed))
        self.table = nn.Parameter(2 * table)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids]


def test_samples_have_the_model_s_distribution():
    model = Bigrams()
    ids = generate(model, torch.full((4000, 1), 2), 1, seed=1)
    share = torch.bincount(ids[:, 1], minlength=5) / 4000
    torch.testing.assert_close(share, model.table[2].softmax(0).detach(), atol=0.03, rtol=0)


def test_a_top_of_one_is_greedy_and_one_of_two_has_two():
    model = Bigrams()
    assert (
        generate(model, torch.tensor([[3]]), 4, top=1).tolist()
        == generate(model, torch.tensor([[3]]), 4, 1, 9).tolist()
    )
    drawn = set(generate(model, torch.full((200, 1), 1), 1, top=2)[:, 1].tolist())
    assert drawn == set(model.table[1].topk(2).indices.tolist())


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 9)), min_size=1, max_size=30))
def test_the_order_is_that_of_a_sorted_list(pairs):
    texts, own = [text * 3 for text, _ in pairs], np.array([loss for _, loss in pairs])
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    wanted = sorted(sorted(first.values()), key=lambda i: own[i] / len(zlib.compress(texts[i].encode())))
    assert rank_candidates(texts, own, "zlib").tolist() == wanted
    assert rank_candidates(texts, own, "ratio", np.full(len(own), 2.0)).tolist() == sorted(
        sorted(first.values()), key=lambda i: own[i]
    )


def test_a_copy_is_a_run_that_no_other_text_has():
    trained, others = ["the cat sat on the red mat"], ["a cat sat on the blue mat"]
    assert copied(["now the red mat", "it sat on the floor"], trained, others, 7).tolist() == [True, False]


def test_the_probability_of_a_suffix_is_the_product_of_its_tokens():
    model, texts = Bigrams(seed=3), torch.tensor([[0, 1, 2, 3], [4, 4, 0, 1]])
    logs = model.table.log_softmax(-1)
    wanted = [float(logs[a, b] + logs[b, c]) for _, a, b, c in texts.tolist()]
    np.testing.assert_allclose(suffix_log_probability(model, texts, 2), wanted, rtol=1e-5)


def test_what_is_discovered_is_what_greedy_decoding_writes():
    model = Bigrams(seed=4)
    written = generate(model, torch.tensor([[2]]), 3, top=1)
    other = written.clone()
    other[0, -1] = (other[0, -1] + 1) % 5
    assert discovered(model, torch.cat([written, other]), 3).tolist() == [True, False]


@given(st.floats(1e-6, 0.999), st.floats(0.01, 0.99))
def test_so_many_queries_are_enough_and_one_less_is_not(each, chance):
    n = queries_needed(np.array([math.log(each)]), chance)[0]
    assert 1 - (1 - each) ** n >= chance - 1e-6
    assert n == 1 or 1 - (1 - each) ** (n - 1) <= chance + 1e-6


def test_a_text_that_cannot_come_takes_forever_and_a_certain_one_takes_one():
    assert queries_needed(np.array([-1e6, 0.0])).tolist() == [math.inf, 1]


@given(st.lists(st.text("ab", min_size=1, max_size=8), max_size=20), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_deduplication_is_that_of_all_pairs(texts, similarity):
    def near(a, b):
        if similarity == 1:
            return a == b
        one, two = ({t[i : i + min(2, len(t))] for i in range(len(t) - min(2, len(t)) + 1)} for t in (a, b))
        return len(one & two) >= similarity * len(one | two)

    kept: list[str] = []
    for text in dict.fromkeys(texts):
        if not any(near(text, other) for other in kept):
            kept.append(text)
    assert deduplicate(texts, similarity, 2) == kept


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rank_candidates(["a"], np.array([1.0]), "luck"), "rank by"),
        (lambda: rank_candidates(["a"], np.array([1.0]), "ratio"), "a loss for each"),
        (lambda: rank_candidates(["a"], np.array([np.nan]), "zlib"), "finite"),
        (lambda: discovered(Bigrams(), torch.zeros(1, 3, dtype=torch.long), 3), "suffix"),
        (lambda: queries_needed(np.array([0.1])), "at most 0"),
        (lambda: deduplicate(["a"], 0), "similarity"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
