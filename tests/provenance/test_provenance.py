"""Watermarks against transformers' own, a tournament that is played, scipy and hand-made cases."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import GPT2Config, WatermarkDetector, WatermarkingConfig
from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor, WatermarkLogitsProcessor

from llmsafety_lab import provenance as pr
from llmsafety_lab.provenance import green_lists, seeds

ROOT = Path(__file__).parents[2]
VOCABULARY = 101
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.mark.parametrize("gamma", [0.1, 0.25, 0.5])
def test_green_lists_and_the_push_equal_those_of_transformers(gamma: float) -> None:
    theirs = WatermarkLogitsProcessor(VOCABULARY, "cpu", gamma, bias=1.7, hashing_key=977)
    ids = torch.randint(0, VOCABULARY, (6, 4), generator=torch.Generator().manual_seed(1))
    logits = torch.randn(6, VOCABULARY, generator=torch.Generator().manual_seed(2))
    pushed = theirs(ids, logits)
    for row, scores, before in zip(pushed, logits, ids[:, -1].tolist(), strict=True):
        green = pr.green_list(before, VOCABULARY, gamma, 977)
        assert sorted(green.tolist()) == sorted((row != scores).nonzero()[:, 0].tolist())
        assert torch.allclose(row[green], scores[green] + 1.7)
    matrix = pr.green_matrix(VOCABULARY, gamma, 977)
    assert matrix.sum(1).unique().tolist() == [int(VOCABULARY * gamma)]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=60), st.sampled_from([0.25, 0.5]), st.booleans())
@settings(max_examples=25)
def test_counts_and_z_equal_those_of_the_detector_of_transformers(ids: list[int], gamma: float, once: bool) -> None:
    theirs = WatermarkDetector(
        GPT2Config(vocab_size=VOCABULARY, bos_token_id=0),
        "cpu",
        WatermarkingConfig(greenlist_ratio=gamma, hashing_key=977),
        ignore_repeated_ngrams=once,
    )(torch.tensor([ids]), return_dict=True)
    green, looked = pr.count_green(ids, VOCABULARY, gamma, 977, once)
    assert (green, looked) == (theirs.num_green_tokens[0], theirs.num_tokens_scored[0])
    assert pr.z_score(green, looked, gamma) == pytest.approx(theirs.z_score[0])
    assert theirs.p_value[0] == pytest.approx(stats.norm.sf(pr.z_score(green, looked, gamma)))


def test_the_bound_on_the_green_share_holds_and_is_near_for_many_small_probabilities() -> None:
    dice = torch.Generator().manual_seed(3)
    for spread in (0.3, 1.0, 3.0):
        p = (spread * torch.randn(60, generator=dice)).softmax(0)
        shares = []
        for _ in range(3000):
            green = torch.zeros(60)
            green[torch.randperm(60, generator=dice)[:15]] = 1
            pushed = p * torch.exp(2.0 * green)
            shares.append(float((pushed * green).sum() / pushed.sum()))
        bound = float(pr.expected_green(p, 0.25, 2.0))
        assert bound <= np.mean(shares) + 3 * np.std(shares) / 3000**0.5
        assert spread > 1 or np.mean(shares) - bound < 0.06
    assert float(pr.expected_green(torch.tensor([1.0, 0, 0, 0]), 0.25, 2.0)) == pytest.approx(0.25)


def test_dilution_shrinks_z_in_proportion_and_by_hand() -> None:
    assert pr.diluted_z(0.6, 1.0, 100) == pytest.approx(pr.z_score(60, 100))
    assert pr.diluted_z(0.6, 0.25, 400) == pytest.approx(pr.diluted_z(0.6, 1.0, 100) / 2)
    assert pr.diluted_z(0.6, 0, 50) == pytest.approx(0)


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=6), st.integers(0, 9))
@settings(max_examples=10)
def test_gumbel_choices_have_the_models_own_distribution(weights: list[float], seed: int) -> None:
    p = torch.tensor(weights, dtype=torch.float64)
    p = p / p.sum()
    u = torch.rand(3000, len(p), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    counts = np.bincount([pr.gumbel_choice(p, row) for row in u], minlength=len(p))
    assert stats.chisquare(counts, 3000 * p.numpy()).pvalue > 1e-6


def test_gumbel_never_takes_the_impossible_and_its_power_form_agrees() -> None:
    p = torch.tensor([0.0, 0.2, 0.8], dtype=torch.float64)
    dice = torch.Generator().manual_seed(4)
    for _ in range(200):
        u = torch.rand(3, generator=dice, dtype=torch.float64)
        powers = torch.where(p > 0, u ** (1 / p.clamp_min(1e-9)), -1.0)
        assert pr.gumbel_choice(p, u) == int(powers.argmax())
    assert pr.gumbel_choice(p, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)) in (1, 2)


def test_gumbels_p_value_is_that_of_simulated_sums() -> None:
    u = torch.rand(20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    total, p = pr.gumbel_test(u)
    sums = -np.log1p(-np.random.default_rng(6).random((40_000, 20))).sum(1)
    assert (sums >= total).mean() == pytest.approx(p, abs=0.015)


KEYS = [654, 400, 836, 123, 340]


def synthid(ngram: int = 4) -> SynthIDTextWatermarkLogitsProcessor:
    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=ngram,
        keys=KEYS,
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=1024,
        device=torch.device("cpu"),
    )


def test_marks_and_the_tournament_equal_those_of_transformers() -> None:
    theirs, dice = synthid(), torch.Generator().manual_seed(7)
    ids = torch.randint(0, 50_000, (1, 12), generator=dice)
    expected = theirs.compute_g_values(ids)[0]
    row = ids[0].tolist()
    ours = torch.stack([pr.g_values(row[p - 3 : p], ids[0, p : p + 1], KEYS)[0] for p in range(3, 12)])
    assert torch.equal(ours, expected)
    marks = pr.g_values(row[:3], torch.arange(40), KEYS)
    logits = torch.randn(1, 40, generator=dice, dtype=torch.float64)
    won = pr.tournament(logits[0].softmax(0), marks)
    assert torch.allclose(won, theirs.update_scores(logits, marks[None])[0].exp(), atol=1e-9)
    assert float(won.sum()) == pytest.approx(1)


def test_a_tournament_that_is_played_has_the_computed_distribution() -> None:
    dice = torch.Generator().manual_seed(8)
    p = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    marks = torch.randint(0, 2, (4, 3), generator=dice)
    winners = [pr.play(p, marks, dice) for _ in range(2500)]
    counts = np.bincount(winners, minlength=4)
    expected = 2500 * pr.tournament(p, marks).numpy()
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-4
    assert counts[expected == 0].sum() == 0


def test_over_all_marks_a_tournament_leaves_the_model_as_it_is_and_green_lists_do_not() -> None:
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    every = torch.cartesian_prod(*[torch.tensor([0, 1])] * 6).reshape(-1, 3, 2)
    mean = torch.stack([pr.tournament(p, marks) for marks in every]).mean(0)
    assert torch.allclose(mean, p)
    pushed = []
    for green in range(3):
        one = p * torch.exp(2.0 * torch.nn.functional.one_hot(torch.tensor(green), 3))
        pushed.append(one / one.sum())
    assert (torch.stack(pushed).mean(0) - p).abs().max() > 0.02


def test_seeds_follow_from_the_tokens_and_the_key_alone() -> None:
    one = pr.keyed_uniforms([5, 6], 30, 11)
    assert torch.equal(one, pr.keyed_uniforms([5, 6], 30, 11))
    for before, key in (([6, 5], 11), ([5, 6], 12), ([5, 7], 11)):
        assert not torch.equal(one, pr.keyed_uniforms(before, 30, key))
    theirs = synthid().accumulate_hash(torch.tensor([1, 1]), torch.tensor([[3, 4], [5, 6]]))
    assert torch.equal(seeds.accumulate(torch.tensor([1, 1]), torch.tensor([[3, 4], [5, 6]])), theirs)


def flat(rows: list[list[int]]) -> torch.Tensor:
    return torch.full((len(rows), 50), 1 / 50, dtype=torch.float64)


def test_each_scheme_is_found_by_its_own_reader_and_by_no_other_key() -> None:
    starts = [[number, 7, 3] for number in range(4)]
    rows = pr.write(flat, starts, 60, pr.by_green_lists())
    assert min(pr.z_score(*pr.count_green(row, 50)) for row in rows) > 3
    assert max(pr.z_score(*pr.count_green(row, 50, key=99)) for row in rows) < 3.5
    rows = pr.write(flat, starts, 60, pr.by_gumbel(width=2))
    assert max(pr.gumbel_test(pr.gumbel_numbers(row, 50, width=2))[1] for row in rows) < 1e-6
    assert min(pr.gumbel_test(pr.gumbel_numbers(row, 50, key=99, width=2))[1] for row in rows) > 1e-3
    rows = pr.write(flat, starts, 60, pr.by_tournaments(KEYS, width=2))
    assert min(float(pr.tournament_marks(row, KEYS, 2).mean()) for row in rows) > 0.58
    assert rows != pr.write(flat, starts, 60, pr.unmarked)


def test_fresh_places_are_those_whose_context_is_new() -> None:
    assert pr.fresh_places([1, 2, 3, 1, 2, 4, 2, 3], 2) == [2, 3, 4, 6, 7]
    assert pr.tournament_marks([1, 2], KEYS).shape == (0, len(KEYS))


def test_a_word_model_is_made_of_counted_pairs() -> None:
    model = pr.learn(["The cat sat. The cat ran!", "a dog sat"], 6, trust=1.0)
    assert model.words[1:4] == ["the", "cat", "sat"]
    assert torch.allclose(model.table.sum(1), torch.ones(6))
    the, cat = model.encode("the cat")
    assert int(model.table[the].argmax()) == cat and float(model.table[:, 0].max()) == 0
    assert model.decode([the, cat]) == "the cat"
    cold = model.cooled(0.25)
    assert float(cold.table[the, cat]) > float(model.table[the, cat])
    rows = torch.tensor([[the]])
    assert float(model.entropy(rows)) == pytest.approx(stats.entropy(model.table[the].numpy()), abs=1e-5)
    plain, marked = pr.write_marked(model, 200, 30, 0.0, 0.4), pr.write_marked(model, 200, 30, 4.0, 0.4)
    green = [np.mean([pr.count_green(row, 6, 0.4, once=False)[0] for row in x.tolist()]) for x in (plain, marked)]
    assert green[1] > green[0] + 5


def test_substitution_exchanges_as_many_words_as_it_says() -> None:
    other = {"good": "fine", "film": "movie"}
    text, share = pr.substitute("Good film, good start", other, 1.0)
    assert (text, share) == ("Fine movie, fine start", 0.75)
    assert pr.substitute("Good film, good start", other, 0.0) == ("Good film, good start", 0.0)
    text, share = pr.substitute("Good film, good start", other, 0.5, seed=1)
    assert (
        share == 0.5 and sum(a != b for a, b in zip(["Good", "film,", "good", "start"], text.split(), strict=True)) == 2
    )


def test_a_neighbour_is_the_nearest_other_word() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 2]])
    assert pr.neighbours(["a", "b", "c", "d"], vectors, ["a", "d", "unknown"]) == {"a": "b", "d": "c"}
    assert pr.neighbours(["a"], vectors[:1], ["z"]) == {}


def test_dilution_keeps_every_token_in_its_order() -> None:
    assert pr.dilute([1, 2, 3, 4], [9, 8, 7], 2) == [9, 8, 1, 2, 7, 3, 4]
    assert pr.dilute([1, 2], [9], 1) == [9, 1, 2]


def test_a_thief_finds_green_pairs_from_counts_alone() -> None:
    dice = torch.Generator().manual_seed(9)
    green = pr.green_matrix(20)
    plain = torch.full((20, 20), 1 / 20)
    marked = plain * torch.exp(2 * green)
    draw = [torch.poisson(400 * rows / rows.sum(1, keepdim=True), generator=dice) for rows in (marked, plain)]
    stolen = pr.steal(*draw)
    assert float((stolen == green).float().mean()) > 0.95


def test_curvature_is_zero_on_the_mean_and_right_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    logs, mean, variance = pr.surprise(logits, torch.tensor([1, 0]))
    assert logs.exp().tolist() == pytest.approx([0.75, 0.5])
    expected = 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    assert mean.tolist() == pytest.approx([expected, math.log(0.5)])
    assert variance[1] == pytest.approx(0, abs=1e-6)
    assert pr.curvature(logs, mean, variance) == pytest.approx((math.log(0.75) - expected) / float(variance[0]) ** 0.5)


@given(st.floats(0.01, 1), st.floats(1e-6, 1), st.floats(0.01, 0.99))
def test_right_accusations_are_those_of_bayes_and_least_base_is_its_inverse(found, wronged, wanted) -> None:
    base = pr.least_base(found, wronged, wanted)
    if 0 < base < 1:
        assert pr.right_accusations(found, wronged, base) == pytest.approx(wanted)


def test_right_accusations_by_counting_people() -> None:
    assert pr.right_accusations(0.9, 0.1, 0.05) == pytest.approx(45 / (45 + 95))


KEY = bytes(range(20))


@given(st.text(max_size=40), st.binary(max_size=40))
def test_what_is_hidden_in_a_text_comes_back(text: str, payload: bytes) -> None:
    if "\ufeff" not in text:
        assert pr.reveal(pr.hide(text, payload)) == (text, payload)
        assert pr.reveal(text) == (text, None)


def test_a_credential_is_valid_edited_forged_or_missing() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = pr.sign("A text.", {"tool": "SmolLM2"}, pr.with_key(KEY))
    assert pr.verify("A text.", made, KEY) == "valid"
    assert pr.verify("A text!", made, KEY) == "edited"
    assert pr.verify("A text.", None, KEY) == "missing"
    lie = {"claim": {**made["claim"], "tool": "a person"}, "signature": made["signature"]}
    assert pr.verify("A text.", lie, KEY) == "forged"
    assert pr.verify("A text.", made, bytes(20)) == "forged"
    private = Ed25519PrivateKey.generate()
    made = pr.sign("A text.", {"b": 1, "a": 2}, private.sign)
    private.public_key().verify(
        bytes.fromhex(made["signature"]), pr.canonical({"a": 2, "b": 1, "sha256": pr.digest("A text.")})
    )


def test_licences_are_classed_as_a_reader_would() -> None:
    cases = {
        "CC BY 4.0": "stated for the data",
        "MIT package": "stated for the package alone",
        "MIT package; not stated for the reviews": "not stated",
        "not stated for the data, MIT package (carrier); CC BY 4.0 (hub)": "stated in part",
        "CC BY-SA 4.0 (CrowS-Pairs); not stated for this cut, Apache-2.0 package": "stated in part",
        "CC BY 4.0 (UCI); MIT package": "stated for the data",
    }
    assert {licence: pr.licence_class(licence) for licence in cases} == cases


def test_robots_are_read_by_agent() -> None:
    robots = "User-agent: GPTBot\nDisallow: /\n\nUser-agent: *\nDisallow: /drafts/\n"
    urls = ["https://example.org/a", "https://example.org/drafts/b"]
    assert pr.allowed(robots, ["GPTBot", "Other"], urls) == {"GPTBot": [False, False], "Other": [True, False]}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pr.green_list(3, 10, 0), "between 0 and 1"),
        (lambda: pr.green_list(3, 3, 0.25), "leaves a token green"),
        (lambda: pr.expected_green(torch.ones(2) / 2, 1.0, 2.0), "between 0 and 1"),
        (lambda: pr.count_green([1], 10), "no pair"),
        (lambda: pr.z_score(0, 0), "nothing to test"),
        (lambda: pr.diluted_z(1.2, 0.5, 10), "from 0 to 1"),
        (lambda: pr.gumbel_choice(torch.zeros(3), torch.rand(3)), "positive"),
        (lambda: pr.gumbel_test(torch.zeros(0)), "nothing to test"),
        (lambda: pr.tournament(torch.ones(3) / 3, torch.zeros(2, 4)), "row of marks"),
        (lambda: pr.accumulate(torch.tensor(1.0), torch.tensor([1])), "integers"),
        (lambda: pr.write(flat, [[]], 3, pr.unmarked), "at least one token"),
        (lambda: pr.learn(["a b"], 9), "too few"),
        (lambda: pr.WordModel(["a"], torch.ones(1, 1)).cooled(0), "positive"),
        (lambda: pr.write_marked(pr.WordModel(["a", "b"], torch.ones(2, 2) / 2), 0, 5, 0.0), "at least one"),
        (lambda: pr.substitute("a", {}, 1.5), "from 0 to 1"),
        (lambda: pr.dilute([1], [2], 2), "pieces"),
        (lambda: pr.curvature(torch.zeros(2), torch.zeros(2), torch.zeros(2)), "sure"),
        (lambda: pr.right_accusations(0, 0, 0.5), "nobody"),
        (lambda: pr.right_accusations(0.5, 2, 0.5), "from 0 to 1"),
        (lambda: pr.least_base(0, 0.1), "something is found"),
        (lambda: pr.with_key(b"short"), "16"),
        (lambda: pr.sign("a", {"sha256": "b"}, pr.with_key(KEY)), "another name"),
        (lambda: pr.licence_class(" "), "without any word"),
    ],
)
def test_bad_input_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def script():
    spec = importlib.util.spec_from_file_location("provenance_script", ROOT / "scripts" / "provenance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_kept_scores_follow_from_the_kept_tokens() -> None:
    kept, made = json.loads((ROOT / "results" / "provenance.json").read_text()), script()
    assert kept["keys"] == made.KEYS and green_lists.KEY == 15_485_863
    for name, how in made.READ.items():
        rows = made.unpacked(kept["texts"][name]["ids"])
        assert len(rows) == made.MARKED
        again = np.array([made.score(row, how) for row in rows[:4]])
        assert again.mean() == pytest.approx(np.mean(kept["attacks"][name]["none"]["score"][:4]), abs=1.5)


def test_a_kept_cost_and_a_kept_suspicion_come_again() -> None:
    kept, made = json.loads((ROOT / "results" / "provenance.json").read_text()), script()
    model, tokenizer = made.loaded()
    texts = kept["texts"]
    start, ids = made.unpacked(texts["human"]["starts"], made.START)[0], made.unpacked(texts["unmarked"]["ids"])[0]
    for name, value in made.costs_of(model, start, ids).items():
        assert value == pytest.approx(kept["quality"]["costs"][name][0], abs=0.02)
    words = tokenizer(made.normalised(tokenizer.decode(ids)), add_special_tokens=False)["input_ids"]
    [three] = made.logs_of(model, [words], 1)
    assert pr.curvature(*three) == pytest.approx(kept["detectors"]["SmolLM2"]["curvature"][0], abs=0.1)
