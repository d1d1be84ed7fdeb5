"""`llmsafety-lab grade` from the teacher's side: a whole class."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import classroom
import pytest

from llmsafety_lab.course import cli

FIRST = classroom.EXERCISES[0]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one graded course: all right, one right, blank, hostile, unreadable, missing, unknown."""
    folder = tmp_path_factory.mktemp("course")
    arguments = classroom.course(folder, ["all", "one", "blank", "bad", "pdf", "gone", "copy"])
    handed_in = folder / "submissions"
    handed_in.mkdir()
    (handed_in / "all.ipynb").write_bytes(classroom.notebook())
    (handed_in / "copy.ipynb").write_bytes(classroom.notebook())
    (handed_in / "one.ipynb").write_bytes(classroom.notebook([FIRST.id]))
    (handed_in / "blank.ipynb").write_bytes(classroom.notebook([]))
    (handed_in / "bad.ipynb").write_bytes(classroom.plain(f"def {FIRST.answer}(*a):\n    raise ValueError('<script>')"))
    (handed_in / "pdf.ipynb").write_bytes(b"%PDF-1.4")
    (handed_in / "stranger.ipynb").write_bytes(classroom.notebook())
    assert cli.main(["grade", str(handed_in), *arguments]) == 0
    return folder


def test_every_student_gets_what_they_earned(graded: Path) -> None:
    scores = {row["SIS User ID"]: row["attention"] for row in rows(graded / "grades" / "grades.csv")}
    assert scores == {
        "": str(classroom.POINTS),
        "all": str(classroom.POINTS),
        "copy": str(classroom.POINTS),
        "one": str(FIRST.points),
        "blank": "0",
        "bad": "0",
        "pdf": "0",
        "gone": "",
    }
    moodle = {row["ID number"]: row["attention"] for row in rows(graded / "grades" / "grades-moodle.csv")}
    assert moodle == {name: score for name, score in scores.items() if name}


def test_feedback_and_results_say_why(graded: Path) -> None:
    page = (graded / "grades" / "feedback" / "bad.html").read_text(encoding="utf-8")
    assert f"0 of {classroom.POINTS} points" in page and "ValueError: &lt;script&gt;" in page and "<script>" not in page
    assert "is not a Jupyter notebook" in (graded / "grades" / "feedback" / "pdf.html").read_text(encoding="utf-8")
    results = json.loads((graded / "grades" / "results" / "one.json").read_text())
    assert results["score"] == FIRST.points
    assert [test["score"] for test in results["tests"]] == [FIRST.points] + [0] * (len(classroom.EXERCISES) - 1)


def test_the_report_names_the_missing_the_unknown_and_the_copied(graded: Path) -> None:
    report = (graded / "grades" / "report.md").read_text(encoding="utf-8")
    assert "`gone` (`Student gone`)" in report and "`stranger.ipynb`" in report and "- `all`, `copy`" in report
    assert all(f"| `{one.id}` |" in report for one in classroom.EXERCISES)


def test_a_second_run_grades_nothing_twice_and_changes_nothing(graded: Path) -> None:
    before = classroom.tree(graded / "grades")
    started = time.monotonic()
    arguments = classroom.course(graded, ["all", "one", "blank", "bad", "pdf", "gone", "copy"])
    assert cli.main(["grade", str(graded / "submissions"), *arguments]) == 0
    assert classroom.tree(graded / "grades") == before
    assert time.monotonic() - started < 5


def test_killed_at_any_moment_and_run_again_gives_the_same_grades(graded: Path, tmp_path: Path) -> None:
    names = ["all", "one", "blank", "bad", "pdf", "gone", "copy"]
    arguments = classroom.course(tmp_path, names)
    command = [sys.executable, "-m", "llmsafety_lab.course.cli", "grade", str(graded / "submissions"), *arguments]
    state = tmp_path / "grades" / "state"
    for enough in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(list(state.glob("*.json"))) < enough and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert classroom.tree(tmp_path / "grades") == classroom.tree(graded / "grades")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--lab", "nothing"), "there is no lab named 'nothing'"),
        (("--roster", "absent.csv"), "cannot be read"),
        (("--key", "absent.key"), "llmsafety-lab key"),
    ],
)
def test_a_wrong_call_says_what_to_do_and_exits_with_two(tmp_path: Path, capsys, change, words: str) -> None:
    arguments = classroom.course(tmp_path, ["s1"])
    arguments[arguments.index(change[0]) + 1] = change[1]
    assert cli.main(["grade", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err
