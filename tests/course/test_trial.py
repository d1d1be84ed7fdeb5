"""A check on scratch files: right answers in other styles and wrong ones side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.course import cli, trial
from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[2]
MERGE = exercise.find("tokenization.merge")
SOLUTION = masters.solutions(ROOT / "labs/tokenization.md")[MERGE.id]


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> list[Path]:
    monkeypatch.chdir(ROOT)
    texts = {
        "right.py": SOLUTION,
        "mutant.py": SOLUTION.replace(MERGE.mutants[0].find, MERGE.mutants[0].replace),
        "stops.py": "merge = nobody",
        "other.py": "def marge(parts, pair): ...",
        "syntax.py": "def merge(:",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


def test_the_files_stand_side_by_side(files: list[Path], capsys) -> None:
    assert cli.main(["try", MERGE.id, *map(str, files)]) == 0
    rows = dict(zip(("head", *(file.name for file in files)), capsys.readouterr().out.splitlines(), strict=True))
    assert rows["head"].split() == ["file", "earned", "message"]
    assert f"right.py {MERGE.points} of {MERGE.points} " in " ".join(rows["right.py"].split())
    assert f"mutant.py 0 of {MERGE.points}" in " ".join(rows["mutant.py"].split())
    assert MERGE.mutants[0].says.lower() in rows["mutant.py"].lower()
    assert "NameError: name 'nobody'" in rows["stops.py"]
    assert "defines no function or class merge" in rows["other.py"]
    assert "SyntaxError" in rows["syntax.py"]


def test_an_answer_may_use_the_other_solutions_and_the_lab_s_imports(tmp_path: Path) -> None:
    solutions = masters.solutions(ROOT / "labs/tokenization.md")
    uses = next(id for id, source in solutions.items() if id != MERGE.id and "merge(" in source)
    path = tmp_path / "scratch.py"
    path.write_text(solutions[uses])
    ((_, result),) = trial.trial(ROOT, uses, [path])
    assert result.passed, result.to_text()


def test_what_a_graded_run_refuses_earns_nothing(tmp_path: Path) -> None:
    texts = {
        "own.py": ("tokenization.merge", "from llmsafety_lab.tokenization import merge", "withholds"),
        "library.py": (
            "attention.scaled_dot_product",
            "from torch.nn.functional import scaled_dot_product_attention",
            "asks you to write yourself",
        ),
    }
    for name, (id, text, says) in texts.items():
        (tmp_path / name).write_text(text)
        ((_, result),) = trial.trial(ROOT, id, [tmp_path / name])
        assert result.earned == 0 and says in result.message


def test_unknown_exercises_and_files_are_told(files: list[Path], capsys) -> None:
    assert cli.main(["try", "tokenization.nothing", str(files[0])]) == 2
    assert "no exercise 'tokenization.nothing'" in capsys.readouterr().err
    assert cli.main(["try", MERGE.id, "nowhere.py"]) == 2
    assert "nowhere.py" in capsys.readouterr().err
