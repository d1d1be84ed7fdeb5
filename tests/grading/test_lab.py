"""`llmsafety-lab grade` from the teacher's side: a whole class."""

from __future__ import annotations

import csv
import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import classroom
import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, lost
from llmsafety_lab.course import cli
from llmsafety_lab.course.grading import lab, workers
from llmsafety_lab.course.grading.policy import Policy
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.course.grading.sandbox import Limits, SandboxError
from llmsafety_lab.course.grading.submissions import collect
from llmsafety_lab.course.grading.workers import Setting, Task

EXERCISES = classroom.EXERCISES
FIRST = EXERCISES[0]
KEY = b"0123456789abcdef"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def task(folder: Path, student: str, code: bytes, exercises: list[exercise.Exercise]) -> Task:
    folder.mkdir(exist_ok=True)
    (folder / f"{student}.ipynb").write_bytes(code)
    found = collect(folder / f"{student}.ipynb", [Student(student, student)], ["f"], Policy())
    return Task(found.chosen[student], tuple(one.id for one in exercises))


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float | None]]:
    """Return a folder with the class of odd files graded, and what each student has to get."""
    folder = tmp_path_factory.mktemp("thirty")
    expected = classroom.odd_class(folder)
    assert cli.main(command(folder)) == 0
    return folder, expected


def command(folder: Path, *more: str) -> list[str]:
    options = {"--lab": "attention", "--roster": "roster.csv", "--key": "course.key", "--out": "grades"}
    files = [
        part for name, value in options.items() for part in (name, value if name == "--lab" else str(folder / value))
    ]
    return ["grade", str(folder / "submissions"), *files, *more]


def test_a_class_of_thirty_with_every_odd_file_is_graded_right(thirty) -> None:
    folder, expected = thirty
    found = {row["id"]: row["points"] for row in rows(folder / "grades" / "questions.csv")}
    assert found == {id: "" if points is None else f"{points:g}" for id, points in expected.items()}
    canvas = {row["SIS User ID"]: row["attention"] for row in rows(folder / "grades" / "grades.csv")[1:]}
    moodle = {row["ID number"]: row["attention"] for row in rows(folder / "grades" / "grades-moodle.csv")}
    assert canvas == moodle == found


def test_feedback_and_results_say_why(thirty) -> None:
    folder, _ = thirty
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (folder / "grades" / "feedback").iterdir()}
    assert len(pages) == 29
    assert "ValueError: &lt;script&gt;" in pages["k25"] and "<script>" not in pages["k25"]
    for student, words in {
        "k11": "defined inside a statement with if",
        "k12": "not a Jupyter notebook",
        "k13": "hand in the .ipynb",
        "k14": "characters, more than the 1,000,000",
        "k15": "characters, more than the 1,000,000",
        "k16": "There is no function",
        "k23": "cannot be unpacked",
        "k29": "a link or a device",
    }.items():
        assert words in pages[student], student
    results = json.loads((folder / "grades" / "results" / "k01.json").read_text())
    assert results["score"] == FIRST.points and len(results["tests"]) == len(EXERCISES)


def test_the_report_lists_every_file_that_does_not_speak_for_itself(thirty) -> None:
    folder, _ = thirty
    report = (folder / "grades" / "report.md").read_text(encoding="utf-8")
    assert "29 of 30 students handed in" in report and "\x1b" not in report and "\n## Forged" not in report
    sections = {part.partition("\n")[0].partition(" (")[0]: part for part in report.split("\n## ")[1:]}
    for title, words in {
        "Missing": ["k30"],
        "Late": ["k20"],
        "Not read": ["k12", "k13", "k14", "k15", "k23", "k29"],
        "Read, but nothing of this lab is in it": ["k16"],
        "Found by name": ["k17", "k18", "k19", "k22"],
        "Of no student of the roster": ["nobody.ipynb", "../../k01.ipynb", "stranger_999"],
        "Handed in more than once": ["k04/tokenization.ipynb", "stranger.zip/k01.ipynb"],
        "The same code, word for word": ["`k01`, `k02`"],
    }.items():
        assert all(word in sections[title] for word in words), (title, sections[title])
    files = {row["file"]: row["verdict"] for row in rows(folder / "grades" / "files.csv")}
    assert files["k04/lab.ipynb"] == "counted" and files["k04/.DS_Store"] == "passed over"


def test_a_second_run_grades_nothing_twice_and_changes_nothing(thirty) -> None:
    folder, _ = thirty
    before = classroom.tree(folder / "grades")
    started = time.monotonic()
    assert cli.main(command(folder)) == 0
    assert classroom.tree(folder / "grades") == before
    assert time.monotonic() - started < 8


DIES = """
import os, signal, sys
from llmsafety_lab.course import cli
from llmsafety_lab.course.grading import lab, reports
name, moment = sys.argv[1:3]
really = lab.write
def write(path, text):
    if path.name != name:
        return really(path, text)
    if moment == "in the middle":
        os.replace = lambda *places: os.kill(os.getpid(), signal.SIGKILL)
    really(path, text)
    os.kill(os.getpid(), signal.SIGKILL)
lab.write = reports.write = write
cli.main(sys.argv[3:])
"""


def test_killed_at_any_moment_and_run_again_gives_the_same_grades(tmp_path: Path) -> None:
    first = classroom.plain("import math\nimport torch\n" + classroom.masters.solutions(classroom.LAB)[FIRST.id])
    names = ["a", "b", "c", "d"]
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        (folder / "submissions").mkdir(parents=True)
        classroom.course(folder, names)
        for number, name in enumerate(names):
            (folder / "submissions" / f"{name}.ipynb").write_bytes(first if number % 2 else classroom.notebook([]))
    again = command(tmp_path / "killed", "--jobs", "1")
    kept = tmp_path / "killed" / "grades" / "state"
    for name, moment, left in (
        ("a.json", "in the middle", []),
        ("b.json", "after", ["a", "b"]),
        ("questions.csv", "in the middle", names),
    ):
        done = subprocess.run([sys.executable, "-c", DIES, name, moment, *again], capture_output=True, timeout=400)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert [path.stem for path in sorted(kept.glob("[a-d].json"))] == left
    assert cli.main(again) == cli.main(command(tmp_path / "whole")) == 0
    assert classroom.tree(tmp_path / "killed" / "grades") == classroom.tree(tmp_path / "whole" / "grades")


def test_the_same_submission_graded_many_times_over_by_two_workers_gets_one_result(tmp_path: Path) -> None:
    only = [one for one in EXERCISES if one.id == "attention.causality"]
    right = task(tmp_path, "s1", classroom.notebook([one.id for one in only]), only)
    setting = Setting("attention", KEY, Limits(), False)
    results = [tuple(result) for _, result in workers.graded([right] * 20, setting, 2)]
    assert len(results) == 20 and len(set(results)) == 1 and results[0][0].passed


def test_a_worker_that_dies_costs_only_its_submission_and_that_one_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    right = task(tmp_path, "right", classroom.notebook([FIRST.id]), [FIRST])
    dead = task(tmp_path, "dead", classroom.notebook([FIRST.id]), [FIRST])
    ready: list[Any] = []
    really = workers.wait

    def wait(connections: list[Any], timeout: float) -> Any:
        if len(ready) == 1:  # the worker has begun, so the first submission is there
            [child] = multiprocessing.active_children()
            child.kill()
            ready.append(child)
        found = really(connections, timeout)
        ready.extend(found)
        return found

    monkeypatch.setattr(workers, "wait", wait)
    setting = Setting("attention", KEY, Limits(), False)
    results = {done.handed.student: found for done, found in workers.graded([dead, right], setting, 1)}
    assert results["right"][0].passed and not results["right"][0].again
    assert results["dead"][0].again == "grader" and "ell the teacher" in results["dead"][0].hint


def test_a_grader_s_own_fault_becomes_the_student_s_message(tmp_path: Path) -> None:
    class Broken:
        limits = Limits()

        def run(self, seconds: float | None = None) -> Any:
            raise self.error

    this = task(tmp_path, "s1", classroom.plain("def f(): pass"), [FIRST])
    setting = Setting("attention", KEY, Limits(), False)
    for error in (MemoryError("m"), KeyError("k"), SandboxError("ended")):
        box = Broken()
        box.error = error
        [result] = workers._results(this, setting, box)
        assert result.again == "grader" and result.earned == 0 and "could not grade" in result.message


class Fake:
    """Stands for the workers: gives every exercise its points, but stops one by a limit at the first time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.calls: list[Any] = []
        self.stopped = True

    def __call__(self, tasks: list[Task], setting: Setting, jobs: int) -> Iterator[tuple[Task, list[Result]]]:
        self.asked = [(one.handed.student, one.ids) for one in tasks]
        self.calls.append((self.asked, jobs))
        for one in tasks:
            found = [exercise.find(id) for id in one.ids]
            results = [Result(e.id, e.title, e.points, e.points, "Right.") for e in found]
            if self.stopped and one.handed.student == "s1":
                results[0] = Result(**{**lost(found[0], Failed("too slow")).to_dict(), "again": "limit"})
            yield one, results


@pytest.fixture
def pair(tmp_path: Path, monkeypatch) -> tuple[Path, Fake]:
    """Return a course of three, two of whom handed in, and what stands for the workers."""
    fake = Fake()
    monkeypatch.setattr(lab, "graded", fake)
    monkeypatch.setattr(lab, "why_not", lambda: None)
    classroom.course(tmp_path, ["s1", "s2", "s3"])
    (tmp_path / "submissions").mkdir()
    for name in ("s1", "s2"):
        (tmp_path / "submissions" / f"{name}.ipynb").write_bytes(classroom.notebook([]))
    assert cli.main(command(tmp_path)) == 0
    return tmp_path, fake


def test_what_a_limit_stopped_is_tried_again_alone_and_on_the_next_run_and_nothing_else(pair) -> None:
    folder, fake = pair
    every = tuple(one.id for one in EXERCISES)
    assert fake.calls == [([("s1", every), ("s2", every)], 2), ([("s1", (FIRST.id,))], 1)]
    report = (folder / "grades" / "report.md").read_text(encoding="utf-8")
    assert (
        f"(a busy machine can be the reason; the next run tries again)\n\n- `s1` (`Student s1`): `{FIRST.id}`" in report
    )
    fake.stopped = False
    assert cli.main(command(folder)) == 0
    assert fake.asked == [("s1", (FIRST.id,))]
    assert "Stopped by a limit" not in (folder / "grades" / "report.md").read_text(encoding="utf-8")
    assert cli.main(command(folder)) == 0
    assert fake.asked == []


def test_regrade_takes_a_student_an_exercise_both_or_all(pair) -> None:
    folder, fake = pair
    fake.stopped = False
    cli.main(command(folder))
    every = tuple(one.id for one in EXERCISES)
    for more, asked in (
        (["--regrade"], [("s1", every), ("s2", every)]),
        (["--regrade", "s2"], [("s2", every)]),
        (["--regrade", "s2", "--exercise", FIRST.id], [("s2", (FIRST.id,))]),
        (["--exercise", FIRST.id], [("s1", (FIRST.id,)), ("s2", (FIRST.id,))]),
    ):
        assert cli.main(command(folder, *more)) == 0
        assert fake.asked == asked, more
    assert cli.main(command(folder, "--regrade", "s9")) == 2
    assert cli.main(command(folder, "--exercise", "attention.nothing")) == 2


def test_a_dry_run_shows_who_handed_in_what_and_writes_nothing(pair, capsys) -> None:
    folder, fake = pair
    capsys.readouterr()
    fake.asked = []
    short = [part for part in command(folder, "--dry-run") if part not in ("--key", "--out")]
    kept = [part for part in short if not part.endswith(("course.key", "/grades"))]
    assert cli.main(kept) == 0
    shown = capsys.readouterr().out
    assert "counted" in shown and "`s1.ipynb`" in shown and "missing" in shown and "`s3`" in shown
    assert fake.asked == []


def test_policy_and_overrides_reach_sheets_and_pages(pair) -> None:
    folder, fake = pair
    fake.stopped = False
    (folder / "late.yml").write_text(
        "due: 2020-01-01\npercent_a_day: 10\nmost_percent: 50\nextensions: {s2: 2099-01-01}\n"
    )
    (folder / "hand.csv").write_text("student,exercise,points,comment,of\ns1,essay,4,Well argued.,5\ns3,essay,2,,\n")
    more = ("--policy", str(folder / "late.yml"), "--overrides", str(folder / "hand.csv"))
    assert cli.main(command(folder, *more)) == 0
    points = {row["id"]: row["points"] for row in rows(folder / "grades" / "questions.csv")}
    assert points == {"s1": f"{(classroom.POINTS + 4) / 2:g}", "s2": str(classroom.POINTS), "s3": "2"}
    assert rows(folder / "grades" / "grades.csv")[0]["attention"] == str(classroom.POINTS + 5)
    page = (folder / "grades" / "feedback" / "s1.html").read_text(encoding="utf-8")
    assert "Well argued." in page and "50% of the points are taken off" in page


def test_one_of_a_group_hands_in_for_all_and_each_has_a_page(pair) -> None:
    folder, _ = pair
    (folder / "submissions" / "s2.ipynb").unlink()
    (folder / "roster.csv").write_text("id,name,group\ns1,A,Team 1\ns2,B,Team 2\ns3,C,Team 1\n")
    assert cli.main(command(folder, "--groups", "--due", "2020-01-01 Europe/Berlin")) == 0
    points = {row["id"]: row["points"] for row in rows(folder / "grades" / "questions.csv")}
    assert points["s3"] == str(classroom.POINTS) and points["s2"] == ""
    report = (folder / "grades" / "report.md").read_text(encoding="utf-8")
    assert "Due 2020-01-01 23:59 CET (UTC+0100)." in report and "word for word" not in report
    with zipfile.ZipFile(folder / "grades" / "feedback.zip") as archive:
        assert sorted(archive.namelist()) == ["s1.html", "s1_s3.html"]


def test_the_folder_of_another_lab_s_grades_is_not_written_over(pair, capsys) -> None:
    folder, _ = pair
    arguments = command(folder)
    arguments[arguments.index("attention")] = "decoding"
    before = classroom.tree(folder / "grades")
    assert cli.main(arguments) == 2
    assert "holds the grades of the lab attention" in capsys.readouterr().err
    assert classroom.tree(folder / "grades") == before


def test_a_key_that_others_can_read_gets_a_warning(pair, capsys) -> None:
    folder, _ = pair
    assert "warning" not in capsys.readouterr().err
    (folder / "course.key").chmod(0o644)
    assert cli.main(command(folder)) == 0
    assert "chmod 600" in capsys.readouterr().err


def test_submissions_are_not_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "s1.ipynb").write_bytes(classroom.notebook())
    handed = collect(tmp_path, [Student("s1", "A")], ["f"], Policy()).chosen["s1"]

    assert len(pickle.dumps(handed)) < 2000


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


def test_due_takes_a_day_and_a_time_zone() -> None:
    base = ["grade", "x", "--lab", "attention", "--roster", "r", "--due"]
    assert cli.parser().parse_args([*base, "2026-11-20"]).due.replace(tzinfo=None) == datetime(
        2026, 11, 20, 23, 59, 59, 999999
    )
    assert cli.parser().parse_args([*base, "2026-11-20T18:00+01:00"]).due.utcoffset().total_seconds() == 3600
    with pytest.raises(SystemExit):
        cli.parser().parse_args([*base, "tomorrow"])


def test_a_submission_that_holds_up_its_worker_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the check itself is held up: here, as if a submission had no time of its own."""
    slow = classroom.plain(f"import time\ndef {FIRST.answer}(*a, **k): time.sleep(200)")
    tasks = [task(tmp_path / "in", "s1", slow, [FIRST]), task(tmp_path / "in", "s2", classroom.notebook(), [FIRST])]
    limits = Limits(seconds=300, submission=300)
    monkeypatch.setattr(workers, "_GRACE", 30 - workers._TRIES * limits.submission)
    started = time.monotonic()
    done = {
        found.handed.student: results
        for found, results in workers.graded(tasks, Setting("attention", KEY, limits, False), 1)
    }
    assert time.monotonic() - started < 280
    assert done["s1"][0].earned == 0 and "took too long" in done["s1"][0].message
    assert done["s2"][0].passed
