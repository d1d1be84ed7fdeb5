"""Word vectors and a scorer of offence, each from its real carrier."""

import shutil
import warnings

import numpy as np
import pytest

from llmsafety_lab import data, models
from llmsafety_lab.sources import registry
from llmsafety_lab.sources.cache import HashError


@pytest.fixture(scope="module")
def glove():
    return models.load("glove", source="carrier")


@pytest.fixture(scope="module")
def word2vec():
    return models.load("word2vec", source="carrier")


def unit(vectors, rows, words):
    chosen = np.asarray(vectors[[rows[word] for word in words if word in rows]], dtype=np.float64)
    return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)


SETS = ("target_x", "target_y", "attribute_a", "attribute_b")


def effect_size(vectors, rows, test, sets=SETS):
    """The difference of the targets' mean associations, over the sample standard deviation of all."""
    x, y, a, b = (unit(vectors, rows, [word.lower() for word in test[name]]) for name in sets)
    of_x, of_y = ((t @ a.T).mean(1) - (t @ b.T).mean(1) for t in (x, y))
    return (of_x.mean() - of_y.mean()) / np.concatenate([of_x, of_y]).std(ddof=1)


def test_glove(glove):
    vectors, rows = glove
    assert isinstance(vectors, np.memmap) and vectors.dtype == np.float32 and not vectors.flags.writeable
    assert vectors.shape == (400_000, 50) and len(rows) == 400_000
    assert list(rows)[:3] == ["the", ",", "."]
    king, man, woman, queen = unit(vectors, rows, ["king", "man", "woman", "queen"])
    assert (king - man + woman) @ queen > 0.8


def test_weat_is_found_in_glove(glove):
    weat = data.load("weat", source="carrier")
    career = weat[5]
    assert (career["target_x_name"], career["attribute_a_name"]) == ("Male names", "Career")
    assert effect_size(*glove, career) == pytest.approx(1.71, abs=0.005)
    assert effect_size(*glove, career, SETS[2:] + SETS[:2]) == pytest.approx(1.67, abs=0.005)
    assert (career["glove_d"], career["word2vec_d"], career["people_d"]) == (1.81, 1.89, "0.72")
    ours = [effect_size(*glove, test) for test in weat]
    assert ours == pytest.approx([1.08, 1.54, 0.95, 0.88, 1.00, 1.71, 1.50, 1.48, 1.14, 0.99], abs=0.006)


def test_weat_is_as_large_as_printed(glove):
    weat = data.load("weat", source="carrier")
    assert weat["test"] == list(range(1, 11))
    targets, attributes = ([len(words) for words in weat[name]] for name in ("target_x", "attribute_a"))
    assert targets == [25, 25, 32, 16, 16, 8, 8, 8, 6, 8]
    assert attributes == [25, 25, 25, 25, 8, 8, 8, 8, 7, 8]
    assert [len(words) for words in weat["target_y"]] == targets
    assert [len(words) for words in weat["attribute_b"]] == attributes
    assert [row for row in range(10) if weat["people_d"][row] is None] == [3, 4]
    words = {word.lower() for name in SETS for words in weat[name] for word in words}
    assert words - glove[1].keys() == {"gladiola"}
    assert weat["people_p"][0] == "1e-8" and weat["people_n"][5] == "39k"


def test_word2vec(word2vec):
    vectors, rows = word2vec
    assert vectors.shape == (26_423, 300) and vectors.dtype == np.float32 and len(rows) == 26_423
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(vectors).all() and not any(word != word.strip() or not word for word in rows)
    nurse, she, he = unit(vectors, rows, ["nurse", "she", "he"])
    assert nurse @ she > nurse @ he + 0.1
    assert sum(word != word.lower() for word in rows) == 38


TEXTS = ["I am a gay man.", "I am a person.", "You are not stupid at all", "y0u are an 1d1ot"]


def test_profanity_scores_an_identity_as_an_insult():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, vectorizer = models.load("profanity", source="carrier")
        scores = model.predict_proba(vectorizer.transform(TEXTS))[:, 1]
    assert scores == pytest.approx([0.953, 0.104, 1.000, 0.036], abs=0.002)


def test_a_changed_pickle_is_not_read(tmp_path):
    entry = models.REGISTRY["profanity"]
    folder, _, _ = registry.obtain(entry, "carrier")
    for name in entry.sources[0].files:
        shutil.copy(folder / name, tmp_path)
    changed = bytearray((tmp_path / "model.joblib").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "model.joblib").write_bytes(changed)
    with pytest.raises(HashError, match=r"profanity: model\.joblib has the SHA-256"):
        entry.open(tmp_path, "carrier")
