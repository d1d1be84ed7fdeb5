"""The data sets of bias and fairness, each from its real carrier: how many rows, of which types, and known figures."""

from collections import Counter

import datasets
import pytest

from llmsafety_lab import data
from llmsafety_lab.data._entry import jsonl
from llmsafety_lab.sources import registry


@pytest.fixture(scope="module")
def load():
    kept = {}

    def columns(name):
        if name not in kept:
            kept[name] = data.load(name, source="carrier").to_dict()
        return kept[name]

    return columns


def types(column):
    return {type(value) for value in column}


def test_adult(load):
    adult = load("adult")
    assert Counter(adult["split"]) == {"train": 32_561, "test": 16_281}
    assert sum(adult["label"]) == 7_841 + 3_846 and set(adult["label"]) == {0, 1}
    missing = {name: values.count(None) for name, values in adult.items() if None in values}
    assert missing == {"workclass": 2_799, "occupation": 2_809, "native_country": 857}
    assert Counter(adult["sex"]) == {"Male": 32_650, "Female": 16_192}
    assert types(adult["age"]) == types(adult["hours_per_week"]) == {int}
    assert (adult["age"][0], adult["education"][0], adult["race"][0]) == (39, "Bachelors", "White")
    assert not any(value != value.strip() or value.endswith(".") for value in adult["race"] + adult["education"])


KEPT_OF_COMPAS = {
    "age",
    "age_cat",
    "c_charge_degree",
    "days_b_screening_arrest",
    "decile_score",
    "is_recid",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "race",
    "score_text",
    "sex",
    "two_year_recid",
}


def test_compas_gives_the_rates_that_propublica_printed(load):
    compas = load("compas")
    assert len(compas["race"]) == 7_214
    printed = {"African-American": (44.85, 27.99), "Caucasian": (23.45, 47.72)}
    for race, expected in printed.items():
        cells = Counter(
            (score != "Low", again)
            for score, again, one in zip(compas["score_text"], compas["two_year_recid"], compas["race"], strict=True)
            if one == race
        )
        false_positives = cells[True, 0] / (cells[True, 0] + cells[False, 0])
        false_negatives = cells[False, 1] / (cells[True, 1] + cells[False, 1])
        assert (round(100 * false_positives, 2), round(100 * false_negatives, 2)) == expected


def test_compas_filtered_as_propublica_did(load):
    compas = load("compas")
    kept = [
        days is not None and abs(days) <= 30 and again != -1 and degree != "O" and score != "N/A"
        for days, again, degree, score in zip(
            compas["days_b_screening_arrest"],
            compas["is_recid"],
            compas["c_charge_degree"],
            compas["score_text"],
            strict=True,
        )
    ]
    assert sum(kept) == 6_172


def test_compas_tells_nobodys_name_nor_day_nor_case(load):
    compas = load("compas")
    assert set(compas) == KEPT_OF_COMPAS
    words = {value for values in compas.values() for value in values if isinstance(value, str)}
    assert len(words) < 25 and not any(character.isdigit() and len(word) > 15 for word in words for character in word)
    assert all(types(compas[name]) == {int} for name in ("age", "decile_score", "two_year_recid", "priors_count"))


def test_german_credit(load):
    german = load("german-credit")
    assert len(german) == 21 and len(german["label"]) == 1_000
    assert sum(german["label"]) == 700
    assert types(german["age"]) == types(german["amount"]) == {int}
    assert (german["duration_months"][0], german["amount"][0], german["age"][0]) == (6, 1169, 67)
    assert german["personal_status"][:2] == ["male, single", "female, divorced, separated or married"]
    assert Counter(german["foreign_worker"]) == {"yes": 963, "no": 37}
    text = [values for values in german.values() if types(values) == {str}]
    assert len(text) == 13 and not any(value.startswith("A1") for values in text for value in values)


def test_crows_pairs(load):
    crows = load("crows-pairs")
    assert len(crows["sentence"]) == 1_018
    assert all(sentence.count("[MASK]") == 1 for sentence in crows["sentence"])
    assert len(set(crows["bias_type"])) == 9 and crows["bias_type"].count("race-color") == 367
    assert all(one.strip() and one != two for one, two in zip(crows["first"], crows["second"], strict=True))
    assert types(crows["first"]) == {str} and not any(word.endswith((",", "?")) for word in crows["first"])
    assert crows["sentence"][6].endswith("because he's [MASK].")
    assert (crows["first"][6], crows["second"][6]) == ("black", "white")


def test_stereoset(load):
    stereoset = load("stereoset")
    assert Counter(stereoset["type"]) == {"intersentence": 2_123, "intrasentence": 2_106}
    assert set(stereoset["bias_type"]) == {"gender", "profession", "race", "religion"}
    blank = ["BLANK" in text for text in stereoset["context"]]
    assert all(kind != "intrasentence" or there for kind, there in zip(stereoset["type"], blank, strict=True))
    assert {"stereotype", "anti_stereotype", "unrelated"} < set(stereoset)


def test_wino_bias(load):
    wino = load("wino-bias")
    assert len(wino["text"]) == 761
    assert all(text.count("[MASK]") == 1 for text in wino["text"])
    assert set(wino["stereotyped"]) == {"she", "he", "her", "his", "him"}
    assert all({one, two} & {"he", "his", "him"} for one, two in zip(wino["stereotyped"], wino["other"], strict=True))
    assert all({one, two} & {"she", "her"} for one, two in zip(wino["stereotyped"], wino["other"], strict=True))
    assert wino["occupation"][0] == "the accountant" and not any("MASK" in one for one in wino["occupation"])
    assert wino["stereotyped"].count("she") == 339


def test_bbq_gender(load):
    bbq = load("bbq-gender")
    assert Counter(bbq["condition"]) == {"ambig": 2_836, "disambig": 2_836}
    assert Counter(bbq["polarity"]) == {"neg": 2_836, "nonneg": 2_836}
    unknown = [groups[label] == "unknown" for groups, label in zip(bbq["groups"], bbq["label"], strict=True)]
    assert unknown == [condition == "ambig" for condition in bbq["condition"]]
    assert bbq["answers"][0] == ["The man", "Not enough information", "The woman"]
    assert bbq["groups"][0] == ["man", "unknown", "woman"] and bbq["stereotyped"][0] == ["F"]


def test_discrim_eval(load):
    rows = load("discrim-eval")
    cells = Counter(zip(rows["question"], rows["age"], rows["gender"], rows["race"], strict=True))
    assert len(cells) == 70 * 9 * 3 * 5 == 9_450 and set(cells.values()) == {1}
    assert types(rows["age"]) == {int} and set(rows["age"]) == set(range(20, 101, 10))
    assert set(rows["gender"]) == {"male", "female", "non-binary"}


@pytest.mark.parametrize("name", ["bbq-gender", "discrim-eval"])
def test_rows_as_the_hub_keeps_them_get_the_same_columns(name, load):
    entry = data.REGISTRY[name]
    carrier, hub = entry.sources
    folder, _, _ = registry.obtain(entry, "carrier")
    (file,) = carrier.files
    rows = datasets.Dataset.from_dict(jsonl(folder / file)).select_columns(list(hub.columns))
    assert entry.tidy(rows.to_dict()) == load(name)
