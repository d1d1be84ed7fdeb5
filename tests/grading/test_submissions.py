from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from llmsafety_lab.course.grading.submissions import LARGEST, InputError, Student, code_cells, collect, read_roster

ROSTER = [
    Student("u001", "Ada Byron", canvas_id="501", moodle_id="901"),
    Student("u002", "Max Müller", canvas_id="502", moodle_id="902"),
    Student("u003", "Li Na"),
    Student("u0031", "Zoe"),
]


def put(path: Path, data: bytes = b"{}", when: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if when is not None:
        os.utime(path, (when, when))
    return path


def test_loose_files_folders_and_both_lms_forms_find_their_students(tmp_path: Path) -> None:
    put(tmp_path / "byronada_501_7001_attention.ipynb", b"canvas")
    put(tmp_path / "Max Müller_902_assignsubmission_file" / "attention.ipynb", b"moodle")
    put(tmp_path / "u003_final version (2).ipynb", b"loose")
    put(tmp_path / "u0031" / "attention.ipynb", b"folder")
    found = collect(tmp_path, ROSTER, None)
    assert {student: one.data for student, one in found.chosen.items()} == {
        "u001": b"canvas",
        "u002": b"moodle",
        "u003": b"loose",
        "u0031": b"folder",
    }
    assert not found.unknown and not found.duplicates


def test_downloads_are_read_without_unpacking_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "submissions.zip", "w") as archive:
        archive.writestr("byronada_LATE_501_7001_attention-2.ipynb", b"second")
        archive.writestr("byronada_501_7000_attention.ipynb", b"first")
        archive.writestr("Max Müller_902_assignsubmission_file/../../escape.ipynb", b"moodle")
        archive.writestr("__MACOSX/u003.ipynb", b"junk")
        archive.writestr("stranger_999_1_attention.ipynb", b"who")
    found = collect(tmp_path, ROSTER, None)
    assert found.chosen["u001"].data == b"second" and found.chosen["u001"].late
    assert found.chosen["u002"].data == b"moodle"
    assert "u003" not in found.chosen
    assert len(found.duplicates) == len(found.unknown) == 1
    assert not (tmp_path.parent / "escape.ipynb").exists()


def test_the_newest_of_several_counts_and_what_is_after_the_deadline_is_late(tmp_path: Path) -> None:
    put(tmp_path / "u003.ipynb", b"old", when=1_000_000)
    put(tmp_path / "again" / "u003_b.ipynb", b"new", when=2_000_000)
    found = collect(tmp_path, ROSTER, datetime.fromtimestamp(1_500_000))
    assert found.chosen["u003"].data == b"new" and found.chosen["u003"].late
    assert "u003" in found.duplicates[0]


def test_giants_bombs_links_and_broken_zips_are_reported_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "u001.ipynb", "wb") as file:
        file.truncate(100 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("u002.ipynb", b"0" * (LARGEST + 1))
    (tmp_path / "u003.ipynb").symlink_to("/etc/passwd")
    put(tmp_path / "broken.zip", b"PK\x03\x04 nothing")
    found = collect(tmp_path, ROSTER, None)
    assert all(found.chosen[student].data is None for student in ("u001", "u002", "u003"))
    assert "100 MB" in found.chosen["u001"].problem and "link" in found.chosen["u003"].problem
    assert "not a zip" in found.unknown[0]


def test_nobody_can_hand_in_for_somebody_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "byronada_501_7001_mine.zip", "w") as archive:
        archive.writestr("mullermax_502_9999_attention.ipynb", b"not Max")
        archive.writestr("u003.ipynb", b"not Li Na")
    put(tmp_path / "Nobody Known_999_assignsubmission_file" / "u003.ipynb", b"not Li Na")
    put(tmp_path / "u0031" / "u003.ipynb", b"Zoe's")
    found = collect(tmp_path, ROSTER, None)
    assert set(found.chosen) == {"u001", "u0031"}
    assert found.chosen["u0031"].data == b"Zoe's"
    assert "999" in found.unknown[0]


def test_one_file_and_no_file(tmp_path: Path) -> None:
    assert list(collect(put(tmp_path / "u003.ipynb"), ROSTER, None).chosen) == ["u003"]
    with pytest.raises(InputError, match="nothing"):
        collect(tmp_path / "absent", ROSTER, None)


def test_roster(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv"
    path.write_text("\ufeffid,name,email\nu1,Ada,ada@example.org\nu2,Max,\n", encoding="utf-8")
    assert [one.name for one in read_roster(path)] == ["Ada", "Max"]
    for text, words in (
        ("name\nAda\n", "columns id and name"),
        ("id,name\nu1,A\nu1,B\n", "twice"),
        ("id,name\n../x,A\n", "line 2"),
        ("", "columns"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_roster(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_roster(tmp_path / "absent.csv")


def test_code_cells_reads_lists_strings_and_old_notebooks() -> None:
    new = {"cells": [{"cell_type": "code", "source": ["a\n", "b"]}, {"cell_type": "markdown", "source": "x"}]}
    assert code_cells(json.dumps(new).encode()) == [(1, "a\nb")]
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "a"}]}]}
    assert code_cells(json.dumps(old).encode()) == [(1, "a")]
