"""`llmsafety-lab grade` from the teacher's side."""

from __future__ import annotations

import csv
import itertools
import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import classroom
import nbformat
import pytest

from llmsafety_lab.checking import exercise, forbidden
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course import cli
from llmsafety_lab.course.book import masters
from llmsafety_lab.course.grading import sandbox
from llmsafety_lab.course.grading.grade import grade_one, read_key
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.submissions import InputError, Submission
from llmsafety_lab.course.grading.unsafe import Unsafe

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
        "gone": "0",
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
    assert "gone (Student gone)" in report and "stranger.ipynb" in report and "- all, copy" in report
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


def test_a_right_submission_takes_less_than_two_seconds() -> None:
    submission = Submission("s", "s.ipynb", classroom.notebook(), "", datetime.now(), False)
    with Sandbox("attention", Limits()) as box:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            results = grade_one(submission, classroom.EXERCISES, b"0" * 16, box)
            seconds.append(time.perf_counter() - started)
    assert all(result.passed for result in results), [result.to_text() for result in results]
    assert min(seconds) < 2


@pytest.mark.parametrize("lab", exercise.topics())
def test_in_the_sandbox_the_solution_earns_all_points_and_what_is_borrowed_from_the_course_none(lab: str) -> None:
    student = masters.student(classroom.ROOT / "labs" / f"{lab}.md")
    classroom.fill_in(student, lab)

    def graded(data: bytes, only: list[exercise.Exercise]) -> list[Result]:
        return grade_one(Submission("s", "s.ipynb", data, "", datetime.now(), False), only, b"0" * 16, box)

    with Sandbox(lab, Limits()) as box:
        results = graded(nbformat.writes(student).encode(), exercise.exercises(lab))
        assert all(result.passed for result in results), [result.to_text() for result in results]
        for one, module in itertools.product(exercise.exercises(lab), exercise.homes(lab)):
            imported = f"from llmsafety_lab.{module} import {one.answer}"
            read = (
                f"import llmsafety_lab\ndef {one.answer}(*a, **k):\n    names = {{}}\n"
                f"    exec(open(llmsafety_lab.__file__.replace('__init__', {module!r})).read(), names)\n"
                f"    return names[{one.answer!r}](*a, **k)\n"
            )
            for code in (imported, read):
                assert graded(classroom.plain(code), [one])[0].earned == 0, (one.id, code)


def test_what_a_library_that_is_not_installed_would_answer_needs_no_refusal() -> None:
    assert forbidden.trees_of({"f": 1}, ["no_such_library.answer", "math.sqrt"]) == []


def test_no_two_students_are_asked_the_same_and_one_is_always_asked_the_same() -> None:
    draws = [
        Dice.of(key, "a.b", who).normal(3).tolist()
        for key, who in ((b"k1", "x"), (b"k1", "y"), (b"k2", "x"), (b"k1", "x"))
    ]
    assert draws[0] == draws[3]
    assert draws[0] != draws[1] and draws[0] != draws[2]


def test_the_forbidden_is_refused_on_the_tree_and_in_the_sandbox() -> None:
    head = f"import torch\ndef {FIRST.answer}(q, k, v, mask=None):\n    return "
    direct = head + "torch.nn.functional.scaled_dot_product_attention(q, k, v), None"
    hidden = head + "getattr(torch.ops.aten, 'scaled_dot' + '_product_attention')(q, k, v), None"
    package = f"from llmsafety_lab.attention import {FIRST.answer}"
    with Sandbox("attention", Limits()) as box:
        for code in (direct, hidden, package):
            submission = Submission("s", "s", classroom.plain(code), "", datetime.now(), False)
            result = grade_one(submission, [FIRST], b"0" * 16, box)[0]
            assert result.earned == 0 and "write yourself" in result.message


def test_what_a_notebook_computes_is_not_run_but_its_constants_are() -> None:
    cells = "import re\nWORDS = re.compile('a')\nSQUARE = lambda x: max(x, 1) ** 2\nTOTAL = print([1])\n"
    body = "    return len(WORDS.findall('aa')), SQUARE(2), sum(TOTAL)\n"
    data = classroom.plain(f"{cells}def {FIRST.answer}(q, k, v, mask=None):\n{body}")
    with Sandbox("attention", Limits()) as box:
        submission = Submission("s", "s", data, "", datetime.now(), False)
        result = grade_one(submission, [FIRST], b"0" * 16, box)[0]
    assert "NameError: name 'TOTAL'" in result.message
    assert "only imports, functions, classes and constants" in result.hint


def test_without_a_sandbox_grading_refuses_unless_it_is_told_to(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    (tmp_path / "s1.ipynb").write_bytes(classroom.notebook([FIRST.id]))
    arguments = ["grade", str(tmp_path / "s1.ipynb"), *classroom.course(tmp_path, ["s1"])]
    assert cli.main(arguments) == 1
    assert "apt-get install bubblewrap" in capsys.readouterr().err
    with Unsafe("attention", Limits()) as box:
        submission = Submission("s1", "s", (tmp_path / "s1.ipynb").read_bytes(), "", datetime.now(), False)
        assert grade_one(submission, [FIRST], b"0" * 16, box)[0].passed


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


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    with pytest.raises(InputError, match="at least 16"):
        read_key(tmp_path / "short")
