"""The reference of moderation against brute force, scipy and scikit-learn, its properties, and its errors."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from llmsafety_lab import data, models, runtime
from llmsafety_lab.moderation import (
    INPUT,
    OUTPUT,
    Guard,
    Rule,
    calibration_error,
    capital_questions,
    cheapest_threshold,
    citation_scores,
    despelled,
    expected_cost,
    first_alarm,
    leaked,
    meanings,
    names_in,
    plain,
    precision_in_traffic,
    prefixes,
    promised_threshold,
    replies,
    retrieve,
    risk_coverage,
    scored_prefixes,
    semantic_entropy,
    stream_threshold,
    tune,
    word_list,
    words_of,
    written,
    yes_minus_no,
)

RNG = np.random.default_rng(0)
SCORES = np.round(RNG.random(60), 2)  # with ties
LABELS = (RNG.random(60) < 0.4).astype(int)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.77, math.inf])
def test_expected_cost_is_that_of_the_confusion_matrix_at_another_base_rate(threshold):
    (tn, fp), (fn, tp) = confusion_matrix(LABELS, threshold <= SCORES, labels=[0, 1])
    expected = 0.02 * 50 * fn / (fn + tp) + 0.98 * 3 * fp / (fp + tn)
    assert expected_cost(SCORES, LABELS, threshold, 50, 3, 0.02) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.001, 0.999))
def test_no_threshold_is_cheaper_than_the_cheapest(miss, false_alarm, base_rate):
    best = expected_cost(
        SCORES, LABELS, cheapest_threshold(SCORES, LABELS, miss, false_alarm, base_rate), miss, false_alarm, base_rate
    )
    for other in (*SCORES, *(SCORES + 1e-9), math.inf):
        assert expected_cost(SCORES, LABELS, other, miss, false_alarm, base_rate) >= best - 1e-9


def test_harm_that_never_comes_is_blocked_never_and_what_costs_nothing_always():
    assert cheapest_threshold(SCORES, LABELS, 5, 1, 0) == math.inf
    assert cheapest_threshold(SCORES, LABELS, 5, 0, 0.5) <= SCORES[LABELS == 1].min()


def test_tuning_looks_at_the_tuning_texts_alone():
    one = tune(SCORES[:30], LABELS[:30], SCORES[30:], LABELS[30:], 10, 1, 0.1)
    assert one.threshold == cheapest_threshold(SCORES[:30], LABELS[:30], 10, 1, 0.1)
    assert one.cost == expected_cost(SCORES[30:], LABELS[30:], one.threshold, 10, 1, 0.1)
    other = tune(SCORES[:30], LABELS[:30], 1 - SCORES[30:], LABELS[30:], 10, 1, 0.1)
    assert other.threshold == one.threshold


def test_precision_in_traffic_is_bayes_rule():
    assert precision_in_traffic(0.9, 0.01, 0.001) == pytest.approx(0.0009 / (0.0009 + 0.00999))
    assert math.isnan(precision_in_traffic(0, 0, 0.1))


def test_prefixes_and_their_scores():
    assert prefixes("a b  c") == ["a", "a b", "a b c"] and prefixes("a b c", 2) == ["a", "a b", "b c"]
    calls = []

    def length(texts):
        calls.append(len(texts))
        return [len(text) for text in texts]

    assert scored_prefixes(["a b", "abc"], length) == [[1, 3], [3]] and calls == [3]


def test_alarm_and_leak():
    stream = [0.1, 0.2, 0.9, 0.1, 0.8]
    assert first_alarm(stream, 0.5) == 2 and first_alarm(stream, 0.9) is None
    assert [leaked(stream, 0.5, start) for start in (0, 2, 4)] == [3, 1, 0]
    assert leaked(stream, 0.95, 1) == 4


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_a_stream_threshold_keeps_its_promise_whatever_the_lengths_are(share):
    rng = np.random.default_rng(1)
    stopped = []
    for _ in range(400):
        streams = [rng.random(rng.integers(1, 30)) for _ in range(41)]
        stopped.append(first_alarm(streams[0], stream_threshold(streams[1:], share)) is not None)
    assert np.mean(stopped) <= share + 3 * math.sqrt(share * (1 - share) / 400)
    exact = (math.floor((41) * share)) / 41  # the rank of one among 41 that are exchangeable
    assert abs(np.mean(stopped) - exact) < 3.5 * math.sqrt(share * (1 - share) / 400)


def test_too_few_texts_promise_nothing():
    assert stream_threshold([[0.3]] * 18, 0.05) == math.inf and stream_threshold([[0.3]] * 19, 0.05) == 0.3


CURVES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(CURVES)
def test_the_curve_is_that_of_brute_force(rows):
    sure, right = [row[0] for row in rows], [int(row[1]) for row in rows]
    curve = risk_coverage(sure, right)
    area, before = 0.0, 0
    for threshold, coverage, risk in zip(*curve, strict=True):
        answered = [good for one, good in zip(sure, right, strict=True) if one >= threshold]
        assert coverage == pytest.approx(len(answered) / len(rows))
        assert risk == pytest.approx(answered.count(0) / len(answered))
        area += (len(answered) - before) / len(rows) * answered.count(0) / len(answered)
        before = len(answered)
    assert curve.area == pytest.approx(area) and curve.coverage[-1] == 1
    assert list(curve.threshold) == sorted(set(sure), reverse=True)


def test_the_area_without_ties_is_the_mean_risk_over_all_prefixes():
    order = RNG.permutation(50)
    right = (RNG.random(50) < 0.6).astype(int)
    sorted_right = right[np.argsort(-order)]
    prefixes_risk = [1 - sorted_right[:k].mean() for k in range(1, 51)]
    assert risk_coverage(order, right).area == pytest.approx(np.mean(prefixes_risk))


def test_a_promise_is_kept_with_its_confidence():
    rng = np.random.default_rng(2)
    broken = []
    for _ in range(300):
        sure = rng.random(300)
        right = rng.random(300) < sure
        threshold = promised_threshold(sure, right.astype(int), 0.2)
        # among confidences above t, uniform, the true risk is (1 - t) / 2
        broken.append(threshold < math.inf and (1 - threshold) / 2 > 0.2)
    assert 0 < np.mean(broken) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert promised_threshold([0.9] * 5, [1] * 5, 0.05) == math.inf


def test_calibration_error_is_that_of_scikit_learns_curve():
    probability, right = RNG.random(500), (RNG.random(500) < 0.5).astype(int)
    true, said = calibration_curve(right, probability, n_bins=10)
    sizes = np.histogram(probability, np.linspace(0, 1, 11))[0]
    assert calibration_error(probability, right) == pytest.approx(np.sum(np.abs(true - said) * sizes) / 500)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0


def test_meanings_need_both_directions_and_the_first_of_each():
    one_way = np.eye(2, dtype=bool)
    one_way[0, 1] = True
    assert meanings(one_way) == [0, 1]
    chain = np.eye(3, dtype=bool)
    chain[0, 1] = chain[1, 0] = chain[1, 2] = chain[2, 1] = True
    assert meanings(chain) == [0, 0, 1]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 1000))
def test_semantic_entropy_is_scipys_over_the_classes(classes, seed):
    same = np.equal.outer(classes, classes)
    counts = np.bincount(classes)
    assert semantic_entropy(same) == pytest.approx(stats.entropy(counts), abs=1e-9)
    logs = np.random.default_rng(seed).normal(-400, 3, len(classes))
    weights = np.bincount(classes, np.exp(logs - logs.max()))
    assert semantic_entropy(same, logs) == pytest.approx(stats.entropy(weights), abs=1e-9)
    assert semantic_entropy(same) <= semantic_entropy(np.eye(len(classes))) + 1e-9


PASSAGES = ["The cat sat on the mat.", "A dog chased the cat, the cat fled.", "Rain.", "The the the dog dog."]


def brute(query, k1=1.5, b=0.75):
    texts = [words_of(passage) for passage in PASSAGES]
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for word in words_of(query):
            holding = sum(word in other for other in texts)
            idf = math.log((len(texts) - holding + 0.5) / (holding + 0.5) + 1)
            tf = text.count(word)
            score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(text) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["the cat", "dog", "rain cat rain", "the"])
def test_retrieval_ranks_by_bm25(query):
    scores = brute(query)
    got = retrieve(PASSAGES, query, 4)
    assert {row for row, _ in got} == {row for row, score in enumerate(scores) if score}
    assert all(score == pytest.approx(scores[row]) for row, score in got)
    assert all(one[1] >= other[1] for one, other in pairwise(got))
    assert retrieve(PASSAGES, query, 1) == got[:1]


def test_nothing_is_found_for_a_word_that_no_passage_has():
    assert retrieve(PASSAGES, "zebra") == []


def test_citation_scores():
    assert citation_scores([{1}, {2, 3}, set()], [{1}, {3}, {4}]) == (2 / 3, 2 / 3)
    assert math.isnan(citation_scores([[]], [[1]]).precision)


def test_names_are_whole_words_without_accents():
    assert plain("Bogotá, D.C.!") == "bogota d c"
    assert names_in("It is Bogotá.", ["Bogota", "Ogo"]) == ["Bogota"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("You are an 1d1ot!", "You are an idiot!"),
        ("an i.d.i.o.t", "an idiot"),
        ("an i d i o t", "an idiot"),
        ("an id\u200biot", "an idiot"),
        ("an \u0456di\u043et", "an idiot"),
        ("\u24d8\u24d3\u24d8\u24de\u24e3", "idiot"),
        ("$tup1d", "stupid"),
        ("It cost $4 in 2024!", "It cost $4 in 2024!"),
    ],
)
def test_spelling_is_undone(written, meant):
    assert despelled(written) == meant


def test_a_word_list_takes_whole_words():
    score = word_list(["ass", "bad word"])
    assert [score(text) for text in ("an Ass!", "a classic", "a bad word, too")] == [1, 0, 1]


def test_a_guard_says_what_it_blocked_and_why():
    rude = Rule("list", word_list(["idiot"]))
    long = Rule("length", len, 40, (OUTPUT,))
    guard = Guard((rude,), despelled) + Guard((long,))
    echo = guard.around(lambda prompt: prompt * 2)
    assert echo("hello ") == "hello hello "
    assert echo("1d1ot") == guard.refusal and echo("a word " * 4) == guard.refusal
    assert guard.report() == [["input", "list", "1", "3"], ["output", "list", "0", "2"], ["output", "length", "1", "2"]]
    verdict = guard.look("id10t, i d i o t", INPUT)
    assert not verdict.passed and verdict.findings == (("list", 1.0, 0.5),)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: expected_cost([0.1], [1], 0.5, 1, 1, 0.1), "all labels are alike"),
        (lambda: expected_cost([0.1, 0.2], [1, 0], 0.5, -1, 1, 0.1), "costs are at least 0"),
        (lambda: cheapest_threshold([0.1, math.nan], [1, 0], 1, 1, 0.1), "not a number"),
        (lambda: cheapest_threshold([0.1], [1, 0], 1, 1, 0.1), "for each text"),
        (lambda: stream_threshold([], 0.1), "harmless texts are needed"),
        (lambda: stream_threshold([[0.1]], 1), "between 0 and 1"),
        (lambda: risk_coverage([], []), "for each question"),
        (lambda: risk_coverage([0.1], [2]), "1 for right"),
        (lambda: promised_threshold([0.1], [1], 1), "between 0 and 1"),
        (lambda: calibration_error([1.2], [1]), "from 0 to 1"),
        (lambda: meanings([[True, False]]), "square"),
        (lambda: semantic_entropy([[True]], [0.1, 0.2]), "for each of 1"),
        (lambda: retrieve([], "cat"), "at least one passage"),
        (lambda: retrieve(PASSAGES, "cat", 0), "k = 0"),
        (lambda: citation_scores([], []), "statements are needed"),
        (lambda: Guard((Rule("a", len), Rule("a", len))), "two rules"),
        (lambda: Guard(()).look("x", "middle"), "a side is"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.fixture(scope="module")
def smollm2():
    return models.load("smollm2")


def test_what_the_script_kept_comes_out_again(smollm2):
    """One row of the questions, and one of the capitals."""
    kept = runtime.kept("moderation")
    questions = data.load("boolq")["question"]
    place = kept["yes_no"]["places"][0]
    got = yes_minus_no(*smollm2, [[f"{questions[place]}? Answer Yes or No."]])
    assert got[0] == pytest.approx(kept["yes_no"]["closed"][0], abs=0.02)
    question = capital_questions(data.load("wordnet").to_dict())[kept["capitals"]["places"][0]]
    text, logs = kept["capitals"]["greedy"][0]
    [[reply]] = replies(*smollm2, [[f"{question.text} Answer in one short sentence."]], longest=12)
    assert reply.text == text and reply.logs == pytest.approx(logs, abs=0.05)


def test_a_replys_log_probabilities_are_those_of_a_second_pass(smollm2):
    import torch

    model, tokenizer = smollm2
    one, other = replies(model, tokenizer, [["Say a word."]], samples=2, longest=4, seed=1)[0]
    again = replies(model, tokenizer, [["Say a word."]], samples=2, longest=4, seed=1)[0]
    assert (one, other) == tuple(again) and len(one.logs) <= 4
    prompt = tokenizer(written(tokenizer, ["Say a word."]), add_special_tokens=False)["input_ids"]
    answer = tokenizer(one.text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logs = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    expected = [float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)]
    assert one.logs[: len(expected)] == pytest.approx(expected, abs=0.01)


def test_the_user_has_the_last_word(smollm2):
    with pytest.raises(ValueError, match="the user has to ask"):
        written(smollm2[1], ["Hello.", "Hi."])


def test_capital_questions_have_one_answer_that_all_but_one_do_not_hold():
    questions = capital_questions(data.load("wordnet").to_dict())
    assert len(questions) == 167 and len({one.place for one in questions}) == 167
    assert [one.place for one in questions if names_in(one.place, one.names) == list(one.names)] == ["Guinea-Bissau"]
    assert ("Tallinn", "Tallin") in [one.names for one in questions]
