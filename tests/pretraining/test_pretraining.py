from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from llmsafety_lab.pretraining.objectives import (
    IGNORE,
    bits_per_character,
    causal_loss,
    character_ids,
    draw_windows,
    mask_tokens,
    next_token,
    perplexity,
    sentence_pairs,
    token_losses,
)
from llmsafety_lab.pretraining.small_lm import Recipe, SmallLM

CHANCE = 1e-6
SPECIAL = torch.tensor([0, 7])


@pytest.fixture(scope="module")
def masked() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.randint(20, (400, 250), generator=torch.Generator().manual_seed(1))
    return ids, *mask_tokens(ids, SPECIAL, mask=20, vocabulary=20, seed=3)


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=80))
def test_characters_are_numbered_in_their_order_and_come_back(text: str) -> None:
    ids, alphabet = character_ids(text)
    assert alphabet == "".join(sorted(set(text)))
    assert "".join(alphabet[i] for i in ids) == text


def test_an_empty_text_has_no_characters() -> None:
    with pytest.raises(ValueError, match="empty"):
        character_ids("")


def test_the_causal_loss_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=11, **sizes)).double()
    ids = torch.randint(11, (3, 9))
    out = model(ids, labels=ids)
    torch.testing.assert_close(causal_loss(out.logits, ids), out.loss.double(), rtol=0, atol=1e-6)


def test_the_mask_leaves_special_tokens_alone_and_asks_only_for_what_was_chosen(masked) -> None:
    ids, inputs, labels = masked
    chosen = labels != IGNORE
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    assert not torch.isin(ids[chosen], SPECIAL).any()
    assert 0 < chosen.sum() < chosen.numel()


def test_the_share_of_chosen_tokens_and_their_fates_are_those_of_bert(masked) -> None:
    ids, inputs, labels = masked
    chosen = labels != IGNORE
    ordinary = int((~torch.isin(ids, SPECIAL)).sum())
    count = int(chosen.sum())
    assert chisquare([count, ordinary - count], [0.15 * ordinary, 0.85 * ordinary]).pvalue > CHANCE
    hidden = int((inputs[chosen] == 20).sum())
    same = int((inputs[chosen] == ids[chosen]).sum())
    fates = [hidden, count - hidden - same, same]
    expected = count * np.array([0.8, 0.1 * 19 / 20, 0.1 + 0.1 / 20])
    assert chisquare(fates, expected).pvalue > CHANCE
    drawn = inputs[chosen & (inputs != 20) & (inputs != ids)]
    assert chisquare(torch.bincount(drawn, minlength=20), f_exp=expected_draws(ids, labels, inputs)).pvalue > CHANCE


def expected_draws(ids: torch.Tensor, labels: torch.Tensor, inputs: torch.Tensor) -> np.ndarray:
    """Return how often each token should be a replacement: uniform over the tokens other than the one replaced."""
    changed = (labels != IGNORE) & (inputs != 20) & (inputs != ids)
    lost = torch.bincount(ids[changed], minlength=20).numpy()
    return (lost.sum() - lost) / 19


def test_a_mask_is_a_function_of_its_seed(masked) -> None:
    ids, inputs, labels = masked
    again = mask_tokens(ids, SPECIAL, 20, 20, seed=3)
    assert torch.equal(again[0], inputs) and torch.equal(again[1], labels)
    assert not torch.equal(mask_tokens(ids, SPECIAL, 20, 20, seed=4)[1], labels)


def test_the_rate_of_the_mask_reaches_from_none_to_all() -> None:
    ids = torch.arange(20)[None]
    assert (mask_tokens(ids, SPECIAL, 20, 20, 0, rate=0.0)[1] == IGNORE).all()
    assert (mask_tokens(ids, SPECIAL, 20, 20, 0, rate=1.0)[1] != IGNORE).sum() == 18


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=6), st.integers(0, 2**31))
def test_every_sentence_but_the_last_comes_first_once_and_strangers_are_strangers(sizes: list[int], seed: int) -> None:
    documents = [[f"{d}.{s}" for s in range(size)] for d, size in enumerate(sizes)]
    if sum(size > 0 for size in sizes) < 2:
        with pytest.raises(ValueError, match="two documents"):
            sentence_pairs(documents, seed)
        return
    pairs = sentence_pairs(documents, seed)
    assert Counter(first for first, _, _ in pairs) == Counter(s for document in documents for s in document[:-1])
    for first, second, follows in pairs:
        (d, s), (e, t) = (map(int, sentence.split(".")) for sentence in (first, second))
        assert (e, t) == (d, s + 1) if follows else e != d


def test_half_of_the_pairs_follow_and_strangers_are_drawn_evenly() -> None:
    documents = [[f"{d}.{s}" for s in range(2001 if d == 0 else 5)] for d in range(3)]
    pairs = [pair for pair in sentence_pairs(documents, seed=0) if pair[0].startswith("0.")]
    follow = sum(pair[2] for pair in pairs)
    assert chisquare([follow, len(pairs) - follow]).pvalue > CHANCE
    strangers = Counter(second for _, second, follows in pairs if not follows)
    assert chisquare([strangers[f"{d}.{s}"] for d in (1, 2) for s in range(5)]).pvalue > CHANCE


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.floats(0, 8), max_size=7), min_size=1, max_size=6).filter(any))
def test_perplexity_counts_each_token_once(losses: list[list[float]]) -> None:
    flat = [loss for text in losses for loss in text]
    got = perplexity(torch.tensor(text, dtype=torch.float64) for text in losses)
    assert got == pytest.approx(math.exp(math.fsum(flat) / len(flat)), rel=1e-12)


def test_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary() -> None:
    logits, labels = torch.zeros(4, 9, 84), torch.randint(84, (4, 9))
    losses = cross_entropy(logits.mT, labels, reduction="none")
    assert perplexity(losses) == pytest.approx(84)
    with pytest.raises(ValueError, match="no token"):
        perplexity([torch.zeros(0)])


def test_bits_per_character() -> None:
    assert bits_per_character(math.log(256), tokens=10, characters=10) == pytest.approx(8)
    assert bits_per_character(math.log(256), tokens=10, characters=40) == pytest.approx(2)
    with pytest.raises(ValueError, match="without characters"):
        bits_per_character(1.0, 3, 0)


def test_windows_come_from_the_text_and_all_places_are_reached() -> None:
    ids = torch.arange(50, 62)
    windows = draw_windows(ids, 4000, 5, seed=0)
    assert torch.equal(windows - windows[:, :1], torch.arange(5).expand(4000, 5))
    assert chisquare(torch.bincount(windows[:, 0] - 50, minlength=8)).pvalue > CHANCE
    with pytest.raises(ValueError, match="does not fit"):
        draw_windows(ids, 1, 13, seed=0)


def test_the_label_of_the_next_token_is_the_next_token() -> None:
    draw = next_token(torch.arange(1000), batch=3, context=8, seed=2)
    inputs, labels = draw(5)
    assert torch.equal(labels, inputs + 1)
    assert torch.equal(draw(5)[0], inputs) and not torch.equal(draw(6)[0], inputs)


def test_the_losses_of_a_text_are_those_of_its_windows() -> None:
    torch.manual_seed(0)
    model = SmallLM(9, Recipe(layers=1, heads=2, width=16, context=8, zero_start=False))
    ids = torch.randint(9, (8 * 5 + 3,))
    losses = token_losses(model, ids, context=8)
    assert losses.shape == (5, 8) and model.training
    for i, start in enumerate(range(0, 40, 8)):
        expected = cross_entropy(model(ids[None, start : start + 8])[0], ids[start + 1 : start + 9], reduction="none")
        torch.testing.assert_close(losses[i], expected)
    torch.testing.assert_close(token_losses(model, ids, 8, windows=2), losses[[0, 4]])
    for wrong in (6, -1):
        with pytest.raises(ValueError, match="5 windows"):
            token_losses(model, ids, 8, windows=wrong)
