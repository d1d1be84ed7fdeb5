"""Anonymization against independent oracles: pandas by brute force, scipy, faker, presidio's formats, hashlib."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import itertools
import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faker import Faker
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, wasserstein_distance

from llmsafety_lab import anonymization as an
from llmsafety_lab import data

QUASI = ["a", "b", "c"]
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list]:
    rows = draw(st.integers(2, 40))
    word = st.sampled_from(["x", "y", "z"])
    return {
        "a": draw(st.lists(st.integers(0, 6), min_size=rows, max_size=rows)),
        "b": draw(st.lists(word, min_size=rows, max_size=rows)),
        "c": draw(st.lists(st.sampled_from([0.5, 1.5, 2.0]), min_size=rows, max_size=rows)),
        "s": draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)),
    }


def sizes(table: dict[str, list], columns: list[str]) -> pd.Series:
    keys = [str([table[name][row] for name in columns]) for row in range(len(table[columns[0]]))]
    return pd.Series(keys).value_counts()


@given(tables())
@settings(max_examples=40)
def test_measures_equal_those_of_pandas(table):
    counts = sizes(table, QUASI)
    assert an.k_of(table, QUASI) == counts.min()
    assert an.uniqueness(table, QUASI) == pytest.approx((counts == 1).sum() / counts.sum())
    frame = pd.DataFrame(table)
    groups = frame.groupby(QUASI)["s"]
    assert an.l_diversity(table, QUASI, "s") == groups.nunique().min()
    by_entropy = min(math.exp(entropy(group.value_counts())) for _, group in groups)
    assert an.l_diversity(table, QUASI, "s", entropy=True) == pytest.approx(by_entropy)
    whole = frame["s"].value_counts(normalize=True)
    unordered = max(
        (group.value_counts(normalize=True).reindex(whole.index).fillna(0) - whole).abs().sum() / 2
        for _, group in groups
    )
    assert an.t_closeness(table, QUASI, "s") == pytest.approx(unordered)
    rank = {value: place for place, value in enumerate(sorted(set(table["s"])))}
    ranks = frame["s"].map(rank)
    ordered = max(wasserstein_distance(ranks.loc[group.index], ranks) / max(len(rank) - 1, 1) for _, group in groups)
    assert an.t_closeness(table, QUASI, "s", ordered=True) == pytest.approx(ordered, abs=1e-12)


@given(tables(), st.integers(1, 8), st.booleans())
def test_k_holds_for_random_tables_and_no_row_is_lost(table, k, strict):
    k = min(k, len(table["a"]))
    points = an.codes(table, QUASI)
    groups = an.mondrian(points, k, strict)
    assert sorted(itertools.chain(*groups)) == list(range(len(points)))
    assert min(map(len, groups)) >= k
    released = an.generalised(table, QUASI, groups)
    assert an.k_of(released, QUASI) >= k and sizes(released, QUASI).min() >= k
    assert released["s"] == table["s"]
    for row in range(len(points)):
        person = {name: [table[name][row]] for name in QUASI}
        assert row in an.candidates(person, released, QUASI)[0]
    together = {}
    for number, group in enumerate(groups):
        for row in group:
            together.setdefault(tuple(points[row]), set()).add(number)
        identical = len({tuple(points[row]) for row in group}) == 1
        assert strict or len(group) < 2 * k or identical
    assert not strict or max(map(len, together.values())) == 1  # strict: equal rows are not parted


@given(tables(), st.integers(1, 6))
def test_strict_groups_cannot_be_cut_at_a_median(table, k):
    k = min(k, len(table["a"]))
    points = an.codes(table, QUASI)
    for group in an.mondrian(points, k, strict=True):
        for values in points[group].T:
            left = (values <= sorted(values)[(len(values) + 1) // 2 - 1]).sum()
            assert left < k or len(values) - left < k


def test_without_ties_strict_and_relaxed_cut_alike():
    points = np.random.default_rng(0).normal(size=(101, 3))
    as_sets = [{frozenset(map(int, group)) for group in an.mondrian(points, 5, strict)} for strict in (True, False)]
    assert as_sets[0] == as_sets[1]
    assert {len(group) for group in as_sets[0]} <= set(range(5, 10))


def test_a_cut_by_hand():
    points = np.array([[1.0], [2], [2], [2], [3], [9]])
    assert sorted(map(len, an.mondrian(points, 2, strict=True))) == [2, 4]
    assert sorted(map(len, an.mondrian(points, 3, strict=True))) == [6]  # the cut at 2 would leave two rows
    assert sorted(map(len, an.mondrian(points, 3, strict=False))) == [3, 3]
    wide = np.array([[0.0, 0], [1, 100], [2, 101], [3, 900]])
    assert {tuple(group) for group in an.mondrian(wide, 2)} == {(0, 1), (2, 3)}


@given(tables(), st.integers(1, 8))
def test_suppression_reaches_k_and_touches_no_more_classes_than_it_must(table, k):
    k = min(k, len(table["a"]))
    got = an.suppress(table, QUASI, k)
    assert an.k_of(got, QUASI) >= k and got["s"] == table["s"]
    lost = sum(value == an.SUPPRESSED for value in got["a"])
    counts = sorted(sizes(table, QUASI))
    small = [count for count in counts if count < k]
    assert lost == (0 if not small else next(s for s in itertools.accumulate(counts) if s >= max(k, sum(small))))


def test_a_lone_suppressed_row_is_a_class_of_one():
    table = {"a": [1, 1, 1, an.SUPPRESSED], "s": [0, 1, 0, 1]}
    assert an.k_of(table, ["a"]) == 1
    assert an.k_of(an.suppress({"a": [1, 1, 1, 2], "s": [0, 1, 0, 1]}, ["a"], 2), ["a"]) == 4


@given(tables(), tables(), st.integers(1, 4))
def test_candidates_equal_brute_force(people, table, k):
    groups = an.mondrian(an.codes(table, QUASI), min(k, len(table["a"])))
    release = an.generalised(table, QUASI, groups)

    def fits(cell, value):
        if isinstance(cell, tuple):
            return value in cell if isinstance(value, str) else min(cell) <= value <= max(cell)
        return cell == value

    for person, got in enumerate(an.candidates(people, release, QUASI)):
        expected = [
            row
            for row in range(len(table["a"]))
            if all(fits(release[name][row], people[name][person]) for name in QUASI)
        ]
        assert got == expected


def test_two_releases_leave_what_both_leave():
    first, second = [{"cook", "nurse"}, {"cook"}], [{"nurse", "pilot"}, {"cook", "nurse"}]
    assert an.shared_answers(first, second) == [{"nurse"}, {"cook"}]
    assert an.answers_left([[0, 1], []], ["x", "y"]) == [{"x", "y"}, set()]
    with pytest.raises(ValueError, match="same ones"):
        an.shared_answers(first, second[:1])


# Pseudonyms.

KEY = bytes(range(16))


def test_a_pseudonym_is_an_hmac():
    message = b"poll\0ada"
    assert an.pseudonym(" Ada ", KEY, "poll", 64) == hmac.new(KEY, message, hashlib.sha256).hexdigest()


@given(st.text(), st.text(), st.text(max_size=3), st.text(max_size=3))
def test_pseudonyms_are_equal_for_equal_values_and_purposes_alone(one, other, first, second):
    def plain(text):
        import unicodedata

        return unicodedata.normalize("NFKC", text).strip().lower()

    if plain(one) and plain(other):
        same = (plain(one), first) == (plain(other), second)
        assert (an.pseudonym(one, KEY, first) == an.pseudonym(other, KEY, second)) is same


def test_a_plain_hash_can_be_enumerated_and_a_keyed_one_not():
    numbers = [f"555{n:04d}" for n in range(10_000)]
    stolen = [hashlib.sha256(numbers[n].encode()).hexdigest() for n in (17, 4_711)]
    assert sorted(an.enumerate_hashes(stolen, numbers).values()) == ["5550017", "5554711"]
    keyed = [an.pseudonym(numbers[17], KEY, digits=64)]
    assert an.enumerate_hashes(keyed, numbers) == {}
    assert an.enumerate_hashes(keyed, numbers, lambda n: an.pseudonym(n, KEY, digits=64)) == {keyed[0]: numbers[17]}


def test_a_vault_leads_back_until_it_forgets():
    vault = an.Vault(KEY, "poll")
    hidden = vault.hide("ada@example.org")
    assert vault.hide("ADA@example.org ") == hidden and len(vault) == 1
    assert vault.reveal(hidden) == "ada@example.org"
    assert vault.forget("ada@example.org") and not vault.forget("ada@example.org")
    with pytest.raises(LookupError, match="forgotten"):
        vault.reveal(hidden)
    assert "00010203" not in repr(vault) and "ada" not in repr(vault)


# Patterns.


def test_check_digits_hold_for_what_faker_makes():
    Faker.seed(0)
    english, chinese = Faker("en_US"), Faker("zh_CN")
    for _ in range(300):
        card, number, iban = english.credit_card_number(), chinese.ssn(), english.iban()
        assert an.luhn_holds(card) and an.chinese_id_holds(number) and an.iban_holds(iban)
        place = random.Random(card).randrange(len(card))
        wrong = card[:place] + str((int(card[place]) + 1) % 10) + card[place + 1 :]
        assert not an.luhn_holds(wrong)
        assert sum(an.chinese_id_holds(number[:-1] + last) for last in "0123456789X") == 1
        assert not an.iban_holds(iban[:-1] + ("1" if iban[-1] != "1" else "2"))
    assert an.chinese_id_holds("11010519491231002X") and an.chinese_id_holds("11010519491231002x")  # of the standard
    assert not an.chinese_id_holds("110105194913310025") and not an.chinese_id_holds("１１０１０５194912310028")
    assert (
        an.luhn_holds("4111 1111 1111 1111") and not an.luhn_holds("0") and an.iban_holds("GB82 WEST 1234 5698 7654 32")
    )


def test_detect_finds_each_form_and_no_other():
    text = "Call 212-555-0147 or mail a.b@example.org; card 4111 1111 1111 1111, SSN 219-09-1234, at 10.0.0.7."
    text += " Order 4111111111111112."
    assert [(kind, text[s:e]) for kind, s, e in an.detect(text, an.ENGLISH)] == [
        ("PHONE", "212-555-0147"),
        ("EMAIL", "a.b@example.org"),
        ("CARD", "4111 1111 1111 1111"),
        ("SSN", "219-09-1234"),
        ("IP", "10.0.0.7"),
    ]
    assert ("CARD", "4111111111111112") in [(k, text[s:e]) for k, s, e in an.detect(text, an.ENGLISH, checked=False)]
    text = "发到a.b@example.org吧，身份证11010519491231002X，手机138 0013 8000，卡号4111111111111111。"
    assert [(k, text[s:e]) for k, s, e in an.detect(text, an.CHINESE)] == [
        ("EMAIL", "a.b@example.org"),
        ("CN_ID", "11010519491231002X"),
        ("CN_MOBILE", "138 0013 8000"),
        ("CARD", "4111111111111111"),
    ]


# Redaction.

spans = st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 18), st.integers(1, 9)).map(
    lambda t: (t[0], t[1], min(t[1] + t[2], 20))
)


@given(st.lists(spans, max_size=6))
def test_redaction_leaves_exactly_what_no_span_covers(found):
    text = "abcdefghijklmnopqrst"
    covered = {place for _, start, end in found for place in range(start, end)}
    got = an.redact(text, found)
    assert re.sub(r"\[[AB]\]", "", got) == "".join(letter for place, letter in enumerate(text) if place not in covered)
    assert got.count("[") == len(an.merged(found))
    one = an.merged(found)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(one))
    assert {p for _, s, e in one for p in range(s, e)} == covered
    whole, true, private, hidden = an.hidden([("A", 3, 7), ("B", 12, 14)], found)
    assert true == 2 and hidden == len(covered)
    assert whole == ({3, 4, 5, 6} <= covered) + ({12, 13} <= covered)
    assert private == len(covered & {3, 4, 5, 6, 12, 13})


def test_of_overlapping_spans_the_longest_names_the_mark():
    assert an.redact("mail bo@x.org now", [("URL", 8, 13), ("EMAIL", 5, 13)]) == "mail [EMAIL] now"
    assert an.redact("abcd", [("A", 0, 2), ("B", 2, 4)]) == "[A][B]"
    assert an.redact("abcd", [("A", 0, 2), ("B", 1, 3)]) == "[A]d"


def test_span_counts():
    truth = [("P", 0, 3), ("P", 5, 8), ("Q", 9, 11)]
    found = [("P", 0, 3), ("P", 0, 3), ("P", 5, 7), ("Q", 5, 8), ("R", 9, 11)]
    assert an.span_counts(truth, found) == {"P": (1, 2, 2), "Q": (0, 1, 1), "R": (0, 1, 0)}


def test_a_filled_template_knows_where_its_values_are():
    text, found = an.filled("{{a}} and {{b}}, {{a}}", {"a": lambda: "xyz", "b": lambda: "--"}, {"a": "A"})
    assert text == "xyz and --, xyz" and [text[s:e] for _, s, e in found] == ["xyz", "xyz"]
    with pytest.raises(ValueError, match="nobody"):
        an.filled("{{c}}", {}, {})


def test_the_templates_hold_fields_and_no_values():
    texts = data.load("pii-templates")["text"]
    assert len(texts) == 210 and sum("{{person}}" in text for text in texts) > 20
    assert not any("\\n" in text for text in texts)


# The kept tables.

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "results" / "anonymization.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("kept_script", ROOT / "scripts" / "anonymization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("language", "patterns"), [("English", an.ENGLISH), ("Chinese", an.CHINESE)])
def test_the_kept_rows_of_the_patterns_come_again(script, language, patterns):
    english = language == "English"
    templates = script.english_templates() if english else list(script.CHINESE_TEMPLATES)
    makers = script.english_makers(0) if english else script.chinese_makers(0)
    kinds = script.ENGLISH_KINDS if english else script.CHINESE_KINDS
    rows = script.found_by(lambda text: an.detect(text, patterns), templates, makers, kinds, KEPT["fills"])
    for kind, kept in KEPT["detection"][language]["patterns"].items():
        new, old = np.sum(rows[kind], axis=0), np.sum(kept, axis=0)
        assert abs(new - old).max() <= 0.1 * max(old.max(), 1), kind


def test_a_kept_row_of_the_guesses_comes_again(script):
    from sklearn.feature_extraction.text import TfidfVectorizer

    people = script.profiles()
    texts = [script.written(person) for person in people]
    assert len(people) == KEPT["inference"]["people"] and len(set(texts)) == len(texts)
    features = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit_transform(texts)
    for name, kept in KEPT["inference"]["rows"]["as written"]["tf-idf, trained"].items():
        truth = [person[name] for person in people]
        right = sum(a == b for a, b in zip(script.trained_guesses(features, truth), truth, strict=True))
        assert abs(right - kept.count("1")) <= 4


def test_no_hint_names_its_answer():
    from llmsafety_lab.anonymization.profiles import ATTRIBUTES, hints

    assert len(hints()) == len({text for *_, text in hints()}) == 120
    for name, _, text in hints():
        words = set(re.findall(r"[a-z]+", text.lower()))
        assert not words & {
            *ATTRIBUTES[name][1],
            *(word for end in ATTRIBUTES[name][1].values() for word in end.split()),
        }


# Errors.

T = {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: an.k_of(T, []), "no columns"),
        (lambda: an.k_of(T, "a"), "not one name"),
        (lambda: an.k_of(T, ["z"]), "no column 'z'"),
        (lambda: an.k_of({"a": []}, ["a"]), "has rows"),
        (lambda: an.k_of({"a": [1], "b": [1, 2]}, ["a"]), "as many in each"),
        (lambda: an.k_of({"a": [math.nan]}, ["a"]), "NaN"),
        (lambda: an.uniqueness({}, ["a"]), "no column"),
        (lambda: an.suppress(T, ["a"], 3), "k is from 1"),
        (lambda: an.l_diversity(T, ["a"], "a"), "quasi-identifier"),
        (lambda: an.t_closeness(T, ["a", "b"], "b"), "quasi-identifier"),
        (lambda: an.codes({"a": [1, "x"]}, ["a"]), "mixes"),
        (lambda: an.codes({"a": ["x", None]}, ["a"]), "mixes"),
        (lambda: an.mondrian(np.zeros((3, 2)), 4), "k is from 1"),
        (lambda: an.mondrian(np.zeros((3, 2)), 0), "k is from 1"),
        (lambda: an.mondrian(np.zeros(3), 1), "matrix"),
        (lambda: an.mondrian(np.full((2, 2), np.nan), 1), "finite"),
        (lambda: an.generalised(T, ["a"], [[0]]), "each row is in one group"),
        (lambda: an.generalised(T, ["a"], [[0, 1], [1]]), "each row is in one group"),
        (lambda: an.pseudonym("a", b"short"), "16 random bytes"),
        (lambda: an.pseudonym("a", "0123456789abcdef"), "16 random bytes"),
        (lambda: an.pseudonym("  ", KEY), "nothing"),
        (lambda: an.pseudonym("a", KEY, digits=4), "8 to 64"),
        (lambda: an.redact("abc", [("A", 1, 9)]), "after the text"),
        (lambda: an.redact("abc", [("A", 2, 2)]), "empty"),
        (lambda: an.hidden([("A", -1, 2)], []), "before the text"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
