"""The sheets, the pages and the report: nothing that students write can forge, run or end anything there."""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import classroom
import pytest

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, lost
from llmsafety_lab.course.grading import likeness, overview, reports, sheets
from llmsafety_lab.course.grading.foreign import cell, plain, quoted
from llmsafety_lab.course.grading.policy import Policy
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.course.grading.sheets import Score
from llmsafety_lab.course.grading.submissions import Found, collect

EXERCISES = classroom.EXERCISES
RIGHT = [Result(one.id, one.title, one.points, one.points, "All of it is right.") for one in EXERCISES]
WRONG = [lost(one, Failed("x", hint="y")) for one in EXERCISES]
ANSWERS = [one.answer for one in EXERCISES]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " ="])
def test_no_text_is_a_formula_for_a_spreadsheet(start: str) -> None:
    student = Student("s1", f"{start}cmd|' /C calc'!A1", f"{start}1+1")
    scores = [Score(student, RIGHT)]
    titles = [one.id for one in EXERCISES]
    for text in (
        sheets.canvas("attention", scores, 1),
        sheets.moodle("attention", scores),
        sheets.by_question(titles, scores),
    ):
        cells = [value for row in rows(text)[1:] for value in row]
        assert not any(value.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for value in cells)
    assert cell(-1) == -1 and cell("s-1") == "s-1"


@pytest.mark.parametrize(
    "text",
    [
        "a\n## Forged\n- x",
        "\x1b[2J\x1b[31mred",
        "a`b`c",
        "x | y | z",
        "\u202egnp.bal",
        os.fsdecode(b"\xff\xfe.ipynb"),
        "\r",
        "w" * 999,
    ],
)
def test_foreign_text_is_one_printable_line(text: str) -> None:
    for shown in (plain(text), quoted(text)):
        assert shown.isprintable() and len(shown) < 210
        shown.encode()
    assert re.fullmatch(r"`[^`|]*`", quoted(text))


@pytest.fixture
def handed(tmp_path: Path) -> tuple[list[Student], Found]:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "s1.ipynb").write_bytes(classroom.notebook())
    (folder / "s2_\x1b[31m\n## Missing.ipynb").write_bytes(b"%PDF")
    (folder / os.fsdecode(b"s3_\xff.ipynb")).write_bytes(classroom.plain("x = 1"))
    (folder / "nobody\n- forged.ipynb").write_bytes(b"{}")
    students = [Student(f"s{k}", f"Name\n## Forged {k}") for k in range(1, 6)]
    return students, collect(folder, students, ANSWERS, Policy())


def test_the_report_has_every_section_and_no_forged_one(tmp_path: Path, handed, capsys) -> None:
    students, found = handed
    stopped = [replace(WRONG[0], again="limit"), replace(WRONG[1], again="grader"), *WRONG[2:]]
    results = {"s1": RIGHT, "s2": WRONG, "s3": stopped}
    scores = [Score(student, results.get(student.id, []), int(student.id == "s1")) for student in students]
    summary = reports.write_all(tmp_path, "attention", EXERCISES, found, scores)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    print(summary.text)
    assert "\x1b" not in capsys.readouterr().out
    titles = re.findall(r"^## (.*?)(?: \(.*)?$", text, re.MULTILINE)
    assert titles == [
        "Missing",
        "Late",
        "Stopped by a limit",
        "The grader itself failed",
        "Not read",
        "Read, but nothing of this lab is in it",
        "Of no student of the roster",
        "Version of the course that the notebooks install",
    ]
    assert re.search(r"- `v\d[\w.]*`: 1\n", text)
    assert text.count("\n- forged") == 0 and summary.graded == 3 and summary.missing == 2
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)(?: \(.*)?</h2>", page) == titles and "\x1b" not in page
    assert "<code>s2</code>" in page and "`" not in page
    listed = rows((tmp_path / "files.csv").read_text(encoding="utf-8"))
    assert len(listed) == 5 and sum(row[2] == "counted" for row in listed) == 3


def test_who_handed_in_nothing_has_an_empty_cell_and_old_pages_go(tmp_path: Path, handed) -> None:
    students, found = handed
    scores = [Score(student, WRONG if student.id == "s2" else []) for student in students]
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "gone.html").write_text("old")
    reports.write_all(tmp_path, "attention", EXERCISES, found, scores)
    points = {
        row["SIS User ID"]: row["attention"] for row in csv.DictReader((tmp_path / "grades.csv").open(newline=""))
    }
    assert points["s1"] == "" and points["s2"] == "0"
    assert [path.name for path in (tmp_path / "feedback").iterdir()] == ["s2.html"]
    [first] = [row for row in csv.DictReader((tmp_path / "questions.csv").open(newline="")) if row["id"] == "s1"]
    assert first[EXERCISES[0].id] == "" and first["points"] == ""


def test_feedback_says_what_being_late_costs_and_escapes_what_students_write(handed) -> None:
    hostile = replace(WRONG[0], message="<script>alert(1)</script>", hint="{{ 7*7 }}")
    page = reports.feedback("attention", Score(Student("s1", "<b>Ada</b>"), [hostile, RIGHT[1]], 2, 0.8), None)
    assert "<script>" not in page and "<b>Ada" not in page and "{{ 7*7 }}" in page
    assert f"{0.8 * RIGHT[1].points:g} of {WRONG[0].points + RIGHT[1].points} points" in page
    assert "2 days late (a day begun counts). 20% of the points are taken off" in page


def test_feedback_goes_back_under_the_platform_s_own_names(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("byronada_501_7001_lab.ipynb", classroom.notebook([]))
        archive.writestr("Max_333_assignsubmission_file_/lab.ipynb", classroom.notebook([]))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "download.zip").write_bytes(data.getvalue())
    students = [Student("s1", "Ada", canvas_id="501"), Student("s2", "Max")]
    found = collect(folder, students, ANSWERS, Policy())
    reports.write_all(tmp_path, "attention", EXERCISES, found, [Score(student, WRONG) for student in students])
    with zipfile.ZipFile(tmp_path / "feedback.zip") as archive:
        assert sorted(archive.namelist()) == [
            "Max_333_assignsubmission_file_/lab.html",
            "byronada_501_7001_lab.html",
        ]


def test_pages_of_students_whose_own_zips_hold_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    students = [Student("s1", "Ada"), Student("s2", "Max")]
    (tmp_path / "in").mkdir()
    for student in students:
        with zipfile.ZipFile(tmp_path / "in" / f"{student.id}.zip", "w") as archive:
            archive.writestr("handed_in/lab.ipynb", classroom.notebook([]))
    found = collect(tmp_path / "in", students, ANSWERS, Policy())
    reports.write_all(tmp_path, "attention", EXERCISES, found, [Score(student, WRONG) for student in students])
    with zipfile.ZipFile(tmp_path / "feedback.zip") as archive:
        pages = {name: archive.read(name).decode() for name in archive.namelist()}
    assert sorted(pages) == ["s1.html", "s2.html"]
    assert "Ada" in pages["s1.html"] and "Max" in pages["s2.html"]


def test_messages_that_differ_in_numbers_and_names_are_one_failure() -> None:
    column = [lost(EXERCISES[0], Failed(f"The weights are wrong, most at ({k}, 1).", got=k)) for k in range(3)]
    column.append(lost(EXERCISES[0], Failed("Something else.")))
    assert overview._row(EXERCISES[0].id, column)[-1].startswith("3 of 4:")


def test_likeness_sees_through_other_names_and_not_through_other_code() -> None:
    body = """
def f(queries, keys, values):
    scores = queries @ keys.transpose(-2, -1) / keys.shape[-1] ** 0.5
    scores = scores - scores.max(dim=-1, keepdim=True).values
    weights = scores.exp()
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ values, weights
"""
    renamed = '\ndef f(a, b, c):\n    """Mine."""' + body.partition(":")[2]
    for old, new in (("queries", "a"), ("keys", "b"), ("values,", "c,"), ("scores", "s"), ("weights", "w")):
        renamed = renamed.replace(old, new)
    other = """
def f(q, k, v):
    n, out = len(k), []
    for row in q:
        e = [float(row @ k[i]) for i in range(n)]
        top = max(e)
        p = [math.exp(x - top) for x in e]
        out.append(sum(y * v[i] for i, y in enumerate(p)))
    return torch.stack(out), None
"""
    own = {name: likeness.shingles([(1, code)], ["f"]) for name, code in (("a", body), ("b", renamed), ("c", other))}
    assert [pair[1:] for pair in likeness.alike(own)] == [("a", "b")]
    assert likeness.alike({name: own["a"] for name in "abcdefgh"}) == []
    assert likeness.shingles([(1, "def f(:"), (2, "def g(): pass")], ["f"]) == set()
