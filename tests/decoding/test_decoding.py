from __future__ import annotations

import importlib.util
import json
import math
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import sentence_bleu
from scipy.stats import chisquare
from transformers import (
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmsafety_lab import data, models
from llmsafety_lab.checking.handles import SmallModel
from llmsafety_lab.decoding.constraints import ban, follow, lift, trie
from llmsafety_lab.decoding.filters import (
    min_p,
    nucleus,
    presence_penalty,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from llmsafety_lab.decoding.measures import bleu, distinct_n, log_probabilities, repetition, self_bleu
from llmsafety_lab.decoding.search import beam_search, extend, generate, greedy, sampler
from llmsafety_lab.decoding.speculation import speculate

ROOT = Path(__file__).parents[2]
rows = st.lists(st.lists(st.floats(-20, 20), min_size=7, max_size=7), min_size=1, max_size=4).map(
    lambda lists: torch.tensor(lists, dtype=torch.float64)
)
texts = st.lists(st.integers(0, 6), min_size=5, max_size=9)


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def smollm2():
    return models.load("smollm2")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (lambda ids, logits: temperature(logits, 0.6), TemperatureLogitsWarper(0.6)),
        (lambda ids, logits: top_k(logits, 5), TopKLogitsWarper(5)),
        (lambda ids, logits: top_k(logits, 1000), TopKLogitsWarper(1000)),
        (lambda ids, logits: top_p(logits, 0.8), TopPLogitsWarper(0.8)),
        (lambda ids, logits: top_p(logits, 0.01), TopPLogitsWarper(0.01)),
        (lambda ids, logits: min_p(logits, 0.05), MinPLogitsWarper(0.05)),
        (lambda ids, logits: repetition_penalty(logits, ids, 1.3), RepetitionPenaltyLogitsProcessor(1.3)),
    ],
    ids=["temperature", "top-k", "top-k of all", "top-p", "small top-p", "min-p", "repetition"],
)
def test_the_filtered_distributions_are_those_of_transformers(mine, theirs, seed: int) -> None:
    logits = random_logits(seed, 6, 40)
    ids = torch.randint(40, (6, 12), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mine(ids, logits), theirs(ids, logits.clone()))


def test_banned_words_are_those_of_transformers() -> None:
    ids = torch.randint(4, (200, 6), generator=torch.Generator().manual_seed(0))
    words = [[3], [1, 2], [0, 1, 0], [2, 2, 1], [0] * 7, [1] * 9]
    logits = random_logits(0, 200, 5)
    theirs = NoBadWordsLogitsProcessor(words, eos_token_id=4)(ids, logits.clone())
    mine = ban(logits, ids, words)
    torch.testing.assert_close(mine, theirs)
    assert mine.isinf().any(0).tolist() == [True, True, True, True, False]
    assert mine.isinf().all(0).tolist() == [False, False, False, True, False]


@settings(deadline=None)
@given(logits=rows, p=st.floats(0.01, 1))
def test_the_nucleus_is_the_smallest_set_that_holds_p(logits: torch.Tensor, p: float) -> None:
    kept, every = nucleus(logits, p), logits.softmax(-1)
    torch.testing.assert_close(kept.sum(-1), torch.ones(len(logits), dtype=torch.float64))
    torch.testing.assert_close(kept, top_p(logits, p).softmax(-1))
    for chosen, full in zip(kept > 0, every, strict=True):
        held = full[chosen]
        assert held.sum() >= p - 1e-9
        assert held.sum() - held.min() < p + 1e-9
        assert chosen.all() or held.min() >= full[~chosen].max()


@settings(deadline=None)
@given(logits=rows, ids=texts, penalty=st.floats(1, 5))
def test_penalties_only_lower_what_was_seen(logits: torch.Tensor, ids: list[int], penalty: float) -> None:
    text = torch.tensor([ids] * len(logits))
    seen = torch.tensor([i in ids for i in range(7)])
    for after in (repetition_penalty(logits, text, penalty), presence_penalty(logits, text, penalty)):
        assert (after <= logits).all()
        assert torch.equal(after[:, ~seen], logits[:, ~seen])
    torch.testing.assert_close(
        presence_penalty(logits, text, penalty)[:, seen] + penalty, logits[:, seen], rtol=0, atol=1e-9
    )


def test_temperature_zero_is_the_limit_and_leaves_one_token() -> None:
    logits = random_logits(1, 8, 20)
    torch.testing.assert_close(temperature(logits, 0).softmax(-1), temperature(logits, 1e-4).softmax(-1))
    tied = torch.zeros(2, 3)
    assert torch.equal(temperature(tied, 0).softmax(-1), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]))


@pytest.mark.parametrize(
    "filtered",
    [
        lambda logits: logits,
        lambda logits: temperature(logits, 0.7),
        lambda logits: top_p(logits, 0.9),
        lambda logits: min_p(logits, 0.1),
        lambda logits: top_k(logits, 3),
    ],
    ids=["all", "temperature", "top-p", "min-p", "top-k"],
)
def test_a_sampler_draws_what_the_distribution_says(filtered) -> None:
    logits = filtered(random_logits(3, 1, 9) / 2)
    drawn = sampler(torch.Generator().manual_seed(0))(logits.expand(20_000, -1))
    expected = logits[0].softmax(-1)
    counts = torch.bincount(drawn, minlength=9)
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    assert chisquare(counts[possible], 20_000 * expected[possible]).pvalue > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_greedy_is_that_of_transformers(seed: int) -> None:
    model = SmallModel(seed, layers=1, width=32, vocabulary=30).build()
    ids = torch.randint(30, (3, 5), generator=torch.Generator().manual_seed(seed))
    options = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": 7, "eos_token_id": 7}
    theirs = model.generate(ids, **options)
    assert torch.equal(generate(model, ids, 12, end=7), theirs)
    assert generate(model, ids, 0).shape == (3, 5)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("beams", [1, 2, 4, 5])
def test_beam_search_is_that_of_transformers(beams: int, penalty: float) -> None:
    lengths = set()
    for seed in range(6):
        model = SmallModel(seed, layers=1, width=32, vocabulary=23).build()
        ids = torch.randint(23, (1, 4), generator=torch.Generator().manual_seed(seed))
        for end in (3, 11, 19):
            options = {"max_new_tokens": 7, "pad_token_id": end, "eos_token_id": end, "do_sample": False}
            if beams > 1:
                options |= {"num_beams": beams, "length_penalty": penalty, "early_stopping": True}
            theirs = model.generate(ids, **options)[0]
            mine = beam_search(model, ids[0], beams, 7, penalty, end)
            assert torch.equal(mine, theirs), (seed, end)
            lengths.add(len(mine))
    assert len(lengths) > 1


def test_wide_enough_a_beam_finds_the_best_of_all_texts() -> None:
    model = SmallModel(2, layers=1, width=32, vocabulary=4).build()
    ids = torch.tensor([1, 2])
    every = torch.tensor([[1, 2, *new] for new in product(range(4), repeat=3)])
    best = every[log_probabilities(model, every)[:, 1:].sum(-1).argmax()]
    assert torch.equal(beam_search(model, ids, 16, 3), best)


def test_extending_does_not_underflow_and_normalises_each_beam() -> None:
    scores = torch.tensor([-2000.0, -2001.0], dtype=torch.float64)
    logits = torch.log(torch.tensor([[0.5, 0.4, 0.1], [0.99, 0.005, 0.005]], dtype=torch.float64)) + 5
    best, beams, tokens = extend(scores, logits, 3)
    assert beams.tolist() == [0, 0, 1] and tokens.tolist() == [0, 1, 0]
    expected = scores[[0, 0, 1]] + torch.log(torch.tensor([0.5, 0.4, 0.99]))
    torch.testing.assert_close(best, expected.double(), atol=1e-6, rtol=0)
    assert len(extend(scores, logits, 100)[0]) == 6


def test_smollm2_writes_what_transformers_makes_it_write(smollm2) -> None:
    model, tokenizer = smollm2
    ids = tokenizer("The pizza with pineapple", return_tensors="pt")["input_ids"]
    options = {"do_sample": False, "max_new_tokens": 8, "pad_token_id": tokenizer.eos_token_id}
    options |= {"attention_mask": torch.ones_like(ids)}
    assert torch.equal(generate(model, ids, 8), model.generate(ids, **options))
    theirs = model.generate(ids, **options, num_beams=3, length_penalty=1.0, early_stopping=True)[0]
    assert torch.equal(beam_search(model, ids[0], 3, 8, end=tokenizer.eos_token_id), theirs)
    theirs = model.generate(ids, **options, repetition_penalty=1.5)
    assert torch.equal(
        generate(model, ids, 8, filters=[lambda ids, logits: repetition_penalty(logits, ids, 1.5)]), theirs
    )


def test_what_one_prompt_gets_does_not_hang_on_its_neighbours() -> None:
    model = SmallModel(5, layers=1, width=32, vocabulary=30).build()
    ids = torch.randint(30, (4, 5), generator=torch.Generator().manual_seed(1))
    together = generate(model, ids, 10)
    assert all(torch.equal(generate(model, one[None], 10)[0], row) for one, row in zip(ids, together, strict=True))


@pytest.mark.parametrize("sharp", [0.3, 1.5])
def test_speculation_writes_by_the_targets_distribution(sharp: float) -> None:
    """Two tokens from a Markov chain, drafted by another one: pairs are as frequent as the target says."""
    generator = torch.Generator().manual_seed(4)
    target = (random_logits(1, 3, 3) / 2).softmax(-1)
    draft = (sharp * random_logits(2, 3, 3) / 2).softmax(-1)
    draws, counts, lengths = 4000, Counter(), Counter()
    for _ in range(draws):
        written = [0]
        while len(written) < 3:
            drafted = [written[-1]]
            for _ in range(2):
                drafted.append(int(torch.multinomial(draft[drafted[-1]], 1, generator=generator)))
            new = speculate(torch.tensor(drafted[1:]), draft[drafted[:-1]], target[drafted], generator)
            lengths[len(new)] += 1
            written += new
        counts[tuple(written[1:3])] += 1
    pairs = list(product(range(3), repeat=2))
    expected = [float(target[0, a] * target[a, b]) * draws for a, b in pairs]
    assert set(lengths) == {1, 2, 3}
    assert chisquare([counts[pair] for pair in pairs], expected).pvalue > 0.01


def test_a_draft_like_the_target_is_always_accepted() -> None:
    p = random_logits(1, 4, 5).softmax(-1)
    drafted = torch.multinomial(p[:3], 1)[:, 0]
    for seed in range(50):
        new = speculate(drafted, p[:3], p, torch.Generator().manual_seed(seed))
        assert new[:3] == drafted.tolist() and len(new) == 4


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_trie_accepts_its_sequences_and_nothing_else(sequences: list[list[int]]) -> None:
    automaton, final = trie(sequences)
    for length in range(1, 5):
        for text in product(range(5), repeat=length):
            state: object = ()
            for symbol in text:
                state = automaton.get(state, {}).get(symbol)
            assert (state in final) == (list(text) in sequences)


def test_only_allowed_texts_are_written() -> None:
    model = SmallModel(3, layers=1, width=32, vocabulary=12).build()
    allowed = [[1, 2, 3], [1, 2], [4], [5, 6, 7, 8]]
    automaton, final = trie(allowed)
    ids = torch.randint(12, (200, 3), generator=torch.Generator().manual_seed(0))
    constraint = follow(automaton, final, (), prompt=3, end=11)
    written = generate(model, ids, 6, sampler(torch.Generator().manual_seed(0)), [constraint], end=11)
    found = {tuple(t for t in row if t != 11) for row in written[:, 3:].tolist()}
    assert found <= {tuple(sequence) for sequence in allowed} and len(found) > 2
    assert (written[:, -1] == 11).all()


def test_tokens_follow_an_automaton_over_characters() -> None:
    automaton = {0: {"a": 1}, 1: {"b": 0, "c": 2}, 2: {}}
    vocabulary = dict(enumerate(["a", "ab", "aba", "b", "bac", "cc", "c", "", "x", "abab"]))
    assert lift(automaton, vocabulary) == {0: {0: 1, 1: 0, 2: 1, 9: 0}, 1: {3: 0, 4: 2, 6: 2}, 2: {}}


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=12), st.lists(texts, min_size=1, max_size=4))
def test_bleu_is_nltks(text: list[int], references: list[list[int]]) -> None:
    mine = bleu(text, references)
    if mine > 0:
        assert mine == pytest.approx(sentence_bleu(references, text))
    assert bleu(text, [text]) == pytest.approx(1)


def test_measures_of_known_texts() -> None:
    assert distinct_n([[1, 1, 1, 1]], 1) == 0.25
    assert distinct_n([[1, 2], [2, 3]], 2) == 1
    assert distinct_n([[1, 2], [1, 2]], 2) == 0.5
    assert repetition([1, 2, 3, 4] * 5) == pytest.approx(13 / 17)
    assert repetition([1, 2, 3, 4, 5]) == repetition([1]) == 0
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1)
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0


def test_log_probabilities_are_the_losses_of_transformers() -> None:
    model = SmallModel(1, layers=1, width=32, vocabulary=30).build()
    ids = torch.randint(30, (1, 9), generator=torch.Generator().manual_seed(0))
    loss = model(ids, labels=ids).loss
    assert float(-log_probabilities(model, ids).mean()) == pytest.approx(float(loss))


def test_errors() -> None:
    logits, ids = torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.long)
    for call, words in (
        (lambda: temperature(logits, -1), "temperature"),
        (lambda: temperature(logits, math.nan), "temperature"),
        (lambda: temperature(logits, math.inf), "finite"),
        (lambda: temperature(logits, 1e-46), "overflow in torch.float32"),
        (lambda: temperature(1e4 * (logits + 1), 1e-35), "overflow"),
        (lambda: top_k(logits, 0), "at least one"),
        (lambda: top_k(logits, math.nan), "at least one"),
        (lambda: top_p(logits, math.nan), "above 0"),
        (lambda: top_p(logits, 0), "above 0"),
        (lambda: nucleus(logits, 1.1), "at most 1"),
        (lambda: min_p(logits, 0), "above 0"),
        (lambda: repetition_penalty(logits, ids, 0), "positive"),
        (lambda: repetition_penalty(logits, ids, math.inf), "finite"),
        (lambda: presence_penalty(logits, ids, math.nan), "finite"),
        (lambda: ban(logits, ids, [[]]), "at least one token"),
        (lambda: beam_search(None, ids[0], 0, 3), "a beam"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("tau", [1e-30, 1e-3])
def test_a_small_temperature_leaves_what_other_filters_forbid(tau: float) -> None:
    logits = torch.tensor([[2.0, -math.inf, 1.0]])
    assert temperature(logits, tau).softmax(-1).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1, 5, 60])
def test_at_p_1_no_token_of_a_real_vocabulary_is_lost(dtype: torch.dtype, spread: int) -> None:
    """A float32 sum of 49,152 probabilities reaches 1 thousands of tokens before the last."""
    torch.manual_seed(0)
    logits = (spread * torch.randn(3, 49_152)).to(dtype)
    assert top_p(logits, 1.0).isfinite().all()
    whole = logits.softmax(-1)
    torch.testing.assert_close(nucleus(logits, 1.0), whole)
    assert ((nucleus(logits, 1.0) > 0) | (whole < 1e-30)).all()


@pytest.mark.parametrize("p", [0.5, 0.9, 0.999_999])
def test_a_nucleus_of_float32_is_that_of_float64(p: float) -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 49_152)
    assert torch.equal(nucleus(logits, p) > 0, nucleus(logits.double(), p) > 0)


def test_greedy_takes_the_largest() -> None:
    assert greedy(torch.tensor([[1.0, 3.0, 2.0], [5.0, 3.0, 2.0]])).tolist() == [1, 0]


def test_a_row_of_the_kept_table_comes_out_again(smollm2) -> None:
    spec = importlib.util.spec_from_file_location("kept_decoding", ROOT / "scripts" / "decoding.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert set(kept["rows"]) == set(script.METHODS)
    model, tokenizer = smollm2
    works = data.load("shakespeare")["text"]
    ids = script.passages(tokenizer, works, kept["prompts"], kept["prompt tokens"], kept["new tokens"])
    measured = script.measured(model, ids[:6], kept["prompt tokens"])
    for name in ("repetition", "distinct-2", "log-probability"):
        assert measured[name] == pytest.approx(kept["rows"]["human"][name][:6], abs=1e-2)
