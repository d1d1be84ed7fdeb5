"""Which file counts, and whose it is: names and zips as platforms, editors and students make them."""

from __future__ import annotations

import io
import json
import os
import time
import unicodedata
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import classroom
import pytest

from llmsafety_lab.course.grading import archives
from llmsafety_lab.course.grading.notebooks import LARGEST, LONGEST, code_cells
from llmsafety_lab.course.grading.policy import Policy
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.course.grading.submissions import Found, collect, of_one
from llmsafety_lab.errors import InputError

ROSTER = [
    Student("u001", "Ada Byron", canvas_id="501", moodle_id="901"),
    Student("u002", "Max Müller", canvas_id="502", moodle_id="902"),
    Student("u003", "Li Na"),
    Student("u0031", "Zoe"),
    Student("k19", "Kim Park"),
    Student("t1", "Tom Same", moodle_id="911"),
    Student("t2", "Tom Same", moodle_id="912"),
    Student("j1", "José Núñez-Ruiz", "jose@example.org"),
    Student("l1", "李娜", canvas_id="x7Yq2"),
    Student("m1", "Ann Moller"),
    Student("m2", "Ann Møller"),
]
LAB = classroom.plain("def mask(x):\n    return x")
OTHER = classroom.plain("def something_else(x):\n    return x")


def marked(word: str) -> bytes:
    """Return a notebook of this lab that can be told from others."""
    return classroom.plain(f"def mask(x):\n    return {word!r}")


def put(path: Path, data: bytes = LAB, when: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if when is not None:
        os.utime(path, (when, when))
    return path


def zipped(entries: dict[str, bytes], date: tuple[int, ...] = (2026, 11, 20, 10, 0, 0)) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return data.getvalue()


def found_in(folder: Path, due: datetime | None = None) -> Found:
    return collect(folder, ROSTER, ["mask"], Policy(due.astimezone() if due else None))


def places(found: Found) -> dict[str, str]:
    return {student: handed.file.place for student, handed in found.chosen.items()}


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("u003.ipynb", "u003"),
        ("U003.ipynb", "u003"),
        ("u003_final version (2).ipynb", "u003"),
        ("u003-lab.ipynb", "u003"),
        ("u003.lab.ipynb", "u003"),
        ("u003, at last.ipynb", "u003"),
        ("u0031/attention.ipynb", "u0031"),
        ("week1/u003.ipynb", "u003"),
        ("k19_2026_11_27_lab.ipynb", "k19"),
        ("byronada_501_7001_attention.ipynb", "u001"),
        ("byronada_LATE_501_7001_attention-2.ipynb", "u001"),
        ("nali_77_7001_attention.ipynb", "u003"),
        ("Max Müller_333_assignsubmission_file_/attention.ipynb", "u002"),
        ("Max Müller_333_assignsubmission_file_attention.ipynb", "u002"),
        (unicodedata.normalize("NFD", "Max Müller") + "_333_assignsubmission_file_/attention.ipynb", "u002"),
        ("MÜLLER Max_333_assignsubmission_file/attention.ipynb", "u002"),
        ("Participant_902_assignsubmission_file_/attention.ipynb", "u002"),
        ("Tom Same_912_assignsubmission_file_/attention.ipynb", "t2"),
        ("Lab 1_u003_attempt_2026-11-20-10-30-00_attention.ipynb", "u003"),
        ("Lab_1_K19_attempt_2026-11-20-10-30-00_attention.ipynb", "k19"),
        ("4711-815 - Li Na - Nov 20, 2026 1130 PM/attention.ipynb", "u003"),
        ("4711-815 - Li Na - Nov 20, 2026 1130 PM - attention.ipynb", "u003"),
        ("4711-815 - Li Na - 20 November, 2026 2330/attention.ipynb", "u003"),
        ("Max Mueller_333_assignsubmission_file_/attention.ipynb", "u002"),
        ("Max Muller_333_assignsubmission_file_attention.ipynb", "u002"),
        ("Jose Nunez-Ruiz_333_assignsubmission_file_/attention.ipynb", "j1"),
        ("Team-1 a-José Núñez-Ruiz_333_assignsubmission_file_/attention.ipynb", "j1"),
        ("Team 1-Teilnehmerin_902_assignsubmission_file_/attention.ipynb", "u002"),
        ("李 娜_333_assignsubmission_file_/attention.ipynb", "l1"),
        ("anon_x7Yq2_9001_attention.ipynb", "l1"),
        ("anon_LATE_x7Yq2_9001_attention.ipynb", "l1"),
        ("Ann Møller_333_assignsubmission_file_/attention.ipynb", "m2"),
        ("Copy of u003.ipynb", "u003"),
        ("Lab 1/Kopie von Copy of k19 (1).ipynb", "k19"),
        ("Kim Park - attention.ipynb", "k19"),
        ("Kim Park/attention.ipynb", "k19"),
        ("park_kim_attention.ipynb", "k19"),
        ("李娜.ipynb", "l1"),
        ("submitted/u003/attention/attention.ipynb", "u003"),
    ],
)
def test_every_platform_s_names_find_their_student_unpacked_and_in_a_zip(
    tmp_path: Path, name: str, student: str
) -> None:
    put(tmp_path / "a" / name)
    put(tmp_path / "b" / "download.zip", zipped({name: LAB}))
    assert list(found_in(tmp_path / "a").chosen) == [student]
    assert list(found_in(tmp_path / "b").chosen) == [student]


@pytest.mark.parametrize(
    "name",
    [
        "stranger_999_1_attention.ipynb",
        "Nobody Known_902_assignsubmission_file/u003.ipynb",
        "Tom Same_333_assignsubmission_file_/attention.ipynb",
        "u003x.ipynb",
        "Lab 1_nobody_attempt_2026-11-20-10-30-00_u003.ipynb",
        "4711-815 - No One - Nov 20, 2026 1130 PM/u003.ipynb",
        "anon_zzzzz_9001_u003.ipynb",
        "Kim Parker - attention.ipynb",
        "kim_attention.ipynb",
        "Ann Moller_333_assignsubmission_file_/attention.ipynb",
        "---_333_assignsubmission_file_/attention.ipynb",
    ],
)
def test_what_fits_nobody_or_two_is_given_to_nobody(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)
    found = found_in(tmp_path)
    assert not found.chosen and found.unknown[0][0] == name
    assert ("t1, t2" in found.unknown[0][1]) == name.startswith("Tom")


def test_the_time_in_a_platform_s_name_counts_before_the_file_s(tmp_path: Path) -> None:
    put(tmp_path / "Lab 1_u003_attempt_2026-11-20-10-30-00_a.ipynb", marked("late"), when=1)
    put(tmp_path / "Lab 1_u003_attempt_2026-11-19-10-30-00_a.ipynb", marked("early"), when=2_000_000_000)
    put(tmp_path / "4711-815 - Zoe - Nov 20, 2026 1130 PM - a.ipynb", when=1)
    found = found_in(tmp_path, datetime(2026, 11, 20, 9))
    assert "2026-11-20" in places(found)["u003"]
    assert found.chosen["u003"].days == 1 and found.chosen["u0031"].days == 1


def test_what_is_no_notebook_or_another_lab_s_does_not_displace_the_notebook(tmp_path: Path) -> None:
    put(tmp_path / "u001" / "attention.ipynb", when=1_000_000)
    for name in (
        "screenshot.png",
        ".DS_Store",
        ".ipynb_checkpoints/attention-checkpoint.ipynb",
        "Thumbs.db",
        "notes.txt",
    ):
        put(tmp_path / "u001" / name, b"x", when=2_000_000)
    put(tmp_path / "u001" / "tokenization.ipynb", OTHER, when=2_000_000)
    mac = {"lab/attention.ipynb": LAB, "__MACOSX/lab/._attention.ipynb": b"\0\5\x16\7", "lab/.DS_Store": b"x"}
    put(tmp_path / "u002.zip", zipped(mac))
    put(tmp_path / "u003.ipynb.txt")
    put(tmp_path / "u0031.pdf", b"%PDF-1.4")
    found = found_in(tmp_path)
    assert places(found) == {
        "u001": "u001/attention.ipynb",
        "u002": "u002.zip/lab/attention.ipynb",
        "u003": "u003.ipynb.txt",
        "u0031": "u0031.pdf",
    }
    assert ".pdf is no notebook" in found.chosen["u0031"].problem
    assert found.duplicates == {"u001": ["u001/tokenization.ipynb"]}
    verdicts = {place: (verdict, why) for place, _, verdict, why in found.files}
    assert len(verdicts) == 12
    assert verdicts["u001/attention.ipynb"][0] == "counted"
    assert "no name of this lab" in verdicts["u001/tokenization.ipynb"][1]
    assert "no notebook" in verdicts["u001/screenshot.png"][1]


def test_a_zip_in_a_zip_is_opened_within_bounds(tmp_path: Path) -> None:
    inner = zipped({"handed_in/attention.ipynb": LAB})
    put(tmp_path / "download.zip", zipped({"byronada_501_7001_work.zip": inner}))
    put(tmp_path / "u002.zip", zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": inner})})}))
    put(tmp_path / "u003.zip", zipped({"a.zip": zipped({f"{k}.txt": b"" for k in range(archives.MOST_ENTRIES + 1)})}))
    found = found_in(tmp_path)
    assert found.chosen["u001"].read().data == LAB
    assert "is not opened" in found.chosen["u002"].problem and "is not opened" in found.chosen["u003"].problem


EXPORT = b"""---
submission_77:
  :submitters:
  - :name: Somebody Else
    :sid: U003
    :email: x@example.org
  - :name: Kim Park
  :created_at: 2026-11-20 10:00:00.000000000 Z
submission_78:
  :submitters:
  - :name: No One
"""


def test_gradescope_s_export_says_whose_each_folder_is_and_no_student_s_list_does(tmp_path: Path) -> None:
    export = {
        "assignment_1_export/submission_metadata.yml": EXPORT,
        "assignment_1_export/submission_77/lab.ipynb": LAB,
        "assignment_1_export/submission_77/u001.ipynb": OTHER,
        "assignment_1_export/submission_78/u002.ipynb": LAB,
    }
    for name, data in export.items():
        put(tmp_path / "a" / name, data)
    put(tmp_path / "b" / "assignment_1_export.zip", zipped(export))
    for folder in ("a", "b"):
        found = found_in(tmp_path / folder, datetime(2026, 11, 19))
        assert {student: place.rpartition("/")[2] for student, place in places(found).items()} == {
            "u003": "lab.ipynb",
            "k19": "lab.ipynb",
        }
        assert found.chosen["u003"].days == 2 and "the group of u003" in found.chosen["k19"].how
        assert [place.rpartition("/")[2] for place, _ in found.unknown] == ["u002.ipynb"]
    forged = EXPORT.replace(b"submission_77", b"u001.ipynb")
    put(tmp_path / "c" / "u001.zip", zipped({"submission_metadata.yml": forged, "u001.ipynb": LAB}))
    put(tmp_path / "c" / "Nobody_1_assignsubmission_file_" / "submission_metadata.yml", forged)
    put(tmp_path / "c" / "Nobody_1_assignsubmission_file_" / "u001.ipynb", LAB)
    put(
        tmp_path / "c" / "all.zip",
        zipped({"x.zip": zipped({"submission_metadata.yml": EXPORT, "submission_77/a": LAB})}),
    )
    assert set(found_in(tmp_path / "c").chosen) == {"u001"}


def test_of_several_files_of_canvas_its_numbers_decide_and_not_the_dates_of_the_download(tmp_path: Path) -> None:
    put(tmp_path / "byronada_501_7002_attention-2.ipynb", marked("second"), when=1_000_000)
    put(tmp_path / "byronada_501_7001_attention.ipynb", marked("first"), when=1_000_009)
    assert "7002" in places(found_in(tmp_path))["u001"]
    put(tmp_path / "u001_by_mail.ipynb", marked("third"), when=1_000_010)
    assert places(found_in(tmp_path))["u001"] == "u001_by_mail.ipynb"


def test_a_date_in_the_future_is_today(tmp_path: Path) -> None:
    put(tmp_path / "u003.ipynb", when=4_070_908_800)
    found = found_in(tmp_path, datetime.now() - timedelta(hours=1))
    assert found.chosen["u003"].days == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\xef\xbb\xbf<html>", "it is a web page"),
        (b"%PDF-1.4", "it is a PDF"),
        (b"PK\x03\x04", "it is a zip"),
        (LAB[:60], "damaged or was cut off"),
        (LAB[:20] + b"\n<<<<<<< HEAD\n" + LAB[20:], "conflict in git"),
        (b'{"a": 1}', "it has no cells"),
        (b"import math", "it is no JSON"),
    ],
)
def test_what_a_file_is_that_is_no_notebook_is_said_in_words(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        code_cells(data)


def test_what_one_of_a_group_hands_in_counts_for_all_of_it(tmp_path: Path) -> None:
    students = [Student(id, f"Name {id}", group=group) for id, group in (("a", "Team 1"), ("b", "Team 1"), ("c", ""))]
    put(tmp_path / "a.ipynb", marked("a's"), when=1_000_000)
    put(tmp_path / "b.ipynb", marked("b's"), when=2_000_000)
    put(tmp_path / "c.ipynb", marked("c's"))
    found = collect(tmp_path, students, ["mask"], Policy(), groups=True)
    assert places(found) == {"a": "b.ipynb", "b": "b.ipynb", "c": "c.ipynb"}
    assert places(collect(tmp_path, students, ["mask"], Policy())) == {"a": "a.ipynb", "b": "b.ipynb", "c": "c.ipynb"}
    put(tmp_path / "only" / "Team 1_lab.ipynb", marked("the team's"))
    assert set(collect(tmp_path / "only", students, ["mask"], Policy(), groups=True).chosen) == {"a", "b"}


def test_the_newest_of_several_counts_and_what_is_after_the_deadline_is_late(tmp_path: Path) -> None:
    put(tmp_path / "u003_a.ipynb", marked("old"), when=1_000_000)
    put(tmp_path / "again" / "u003_b.ipynb", marked("new"), when=2_000_000)
    found = found_in(tmp_path, datetime.fromtimestamp(1_500_000))
    assert places(found)["u003"] == "again/u003_b.ipynb" and found.chosen["u003"].days == 6
    assert found.duplicates == {"u003": ["u003_a.ipynb"]}


def test_giants_bombs_links_and_broken_zips_are_reported_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "u001.ipynb", "wb") as file:
        file.truncate(LARGEST + (1 << 20))
    put(tmp_path / "u002.zip", zipped({"a.ipynb": b"0" * (LARGEST + 1)}))
    (tmp_path / "u003.ipynb").symlink_to("/etc/passwd")
    put(tmp_path / "broken.zip", b"PK\x03\x04 nothing")
    found = found_in(tmp_path)
    problems = {student: handed.problem for student, handed in found.chosen.items()}
    assert "21.0 MB" in problems["u001"] and "clear the outputs" in problems["u001"]
    assert "20.0 MB" in problems["u002"] and "link" in problems["u003"]
    assert "not a zip" in found.unknown[0][1]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_corrupt_entry_loses_nobody_else_s(tmp_path: Path, method: int) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        archive.writestr("u001.ipynb", LAB + b" " * 5000)
        archive.writestr("u002.ipynb", LAB)
        start = archive.infolist()[0].header_offset + 30 + len("u001.ipynb")
        size = archive.infolist()[0].compress_size
    raw = bytearray(data.getvalue())
    raw[start + 9 : start + size] = b"\xff" * (size - 9)
    put(tmp_path / "download.zip", bytes(raw))
    found = found_in(tmp_path)
    assert "cannot be unpacked" in found.chosen["u001"].problem
    assert found.chosen["u002"].read().data == LAB


def test_an_entry_of_date_zero_loses_no_other_entry(tmp_path: Path) -> None:
    raw = zipped({"u001.ipynb": LAB, "u002.ipynb": LAB}, date=(1980, 1, 1, 0, 0, 0))
    put(tmp_path / "download.zip", raw.replace(b"\x21\x00", b"\x00\x00"))
    assert set(found_in(tmp_path).chosen) == {"u001", "u002"}


def test_nobody_can_hand_in_for_somebody_else(tmp_path: Path) -> None:
    put(tmp_path / "u003.ipynb", marked("Li Na's own"), when=1_000_000)
    future = (2099, 1, 1, 0, 0, 0)
    names = ("../../u003.ipynb", "/u003.ipynb", "C:\\u003.ipynb", "..\\u003.ipynb", "u003.ipynb", "u003/lab.ipynb")
    put(tmp_path / "stranger.zip", zipped({name: marked("not Li Na's") for name in names}, future))
    inner = zipped({"mullermax_502_9999_attention.ipynb": LAB, "u003.ipynb": LAB, "u0031.ipynb": LAB}, future)
    put(tmp_path / "byronada_501_7001_mine.zip", inner)
    put(tmp_path / "download.zip", zipped({"nobody.zip": zipped({"u0031.ipynb": LAB}, future)}))
    put(tmp_path / "u0031" / "u003.ipynb", marked("Zoe's"))
    found = found_in(tmp_path)
    assert set(found.chosen) == {"u001", "u003", "u0031"}
    assert places(found)["u003"] == "u003.ipynb" and places(found)["u0031"] == "u0031/u003.ipynb"
    refused = [place for place, why in found.unknown if "leads out" in why]
    assert len(refused) == 4


def test_names_in_a_zip_without_the_mark_for_utf8_are_read_as_such(tmp_path: Path) -> None:
    name = "Max Müller_333_assignsubmission_file_/a.ipynb"
    raw = zipped({name: LAB})
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.index(signature) + offset
        raw = raw[:place] + b"\0\0" + raw[place + 2 :]
    put(tmp_path / "download.zip", raw)
    assert list(found_in(tmp_path).chosen) == ["u002"]


def test_one_file_and_no_file(tmp_path: Path) -> None:
    path = put(tmp_path / "u003.ipynb")
    assert list(found_in(path).chosen) == ["u003"]
    with pytest.raises(InputError, match="nothing"):
        found_in(tmp_path / "absent")


def test_what_changes_while_the_class_is_graded_is_not_graded_under_the_old_name(tmp_path: Path) -> None:
    path = put(tmp_path / "u003.ipynb")
    handed = found_in(tmp_path).chosen["u003"]
    path.write_bytes(OTHER)
    assert handed.read().data is None and "changed" in handed.read().problem


def test_of_a_folder_that_is_one_student_s_the_lab_s_notebook_counts(tmp_path: Path) -> None:
    put(tmp_path / "other.ipynb", OTHER, when=2_000_000)
    put(tmp_path / "work.zip", zipped({"__MACOSX/._a.ipynb": b"\0", "a.ipynb": LAB}))
    assert of_one(tmp_path, "s", ["mask"]).data == LAB
    (tmp_path / "empty").mkdir()
    assert "no file" in of_one(tmp_path / "empty", "s", ["mask"]).problem


def test_code_cells_reads_lists_strings_and_old_notebooks() -> None:
    new = {"cells": [{"cell_type": "code", "source": ["a\n", "b"]}, {"cell_type": "markdown", "source": "x"}]}
    assert code_cells(json.dumps(new).encode()) == [(1, "a\nb")]
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "a"}]}]}
    assert code_cells(json.dumps(old).encode()) == [(1, "a")]


def test_more_code_than_may_pass_is_refused_with_a_reason() -> None:
    with pytest.raises(InputError, match="characters, more than"):
        code_cells(classroom.plain("#" + "😀" * LONGEST))


PLATFORMS = [
    ("Lab 1_u003_attempt_2026-11-20-10-30-00_lab.ipynb", "Lab 1_u0031_attempt_2026-11-20-10-30-00_{}"),
    ("byronada_501_7001_attention.ipynb", "muellermax_502_9001_{}"),
    ("Lab 1_u003_attempt_2026-11-20-10-30-00_lab.ipynb", "nobody_999_9001_{}"),
    ("Lab 1_u003_attempt_2026-11-20-10-30-00_lab.ipynb", "4711-815 - Kim Park - Nov 20, 2026 1130 AM - {}"),
    ("Lab 1_u003_attempt_2026-11-20-10-30-00_lab.ipynb", "Max Müller_902_assignsubmission_file_{}"),
]


@pytest.mark.parametrize(("own", "name"), PLATFORMS)
def test_what_a_student_writes_after_the_platform_s_name_takes_nobody_s_place(
    tmp_path: Path, own: str, name: str
) -> None:
    [owner] = found_in(put(tmp_path / "alone" / own).parent).chosen
    put(tmp_path / "all" / own, when=1_000_000_000)
    put(tmp_path / "all" / name.format(f"x_{owner}_attempt_2099-01-01-00-00-00.ipynb"))
    found = found_in(tmp_path / "all")
    assert places(found)[owner] == own and owner not in found.duplicates


def test_an_accent_written_as_a_letter_of_its_own_is_part_of_the_id(tmp_path: Path) -> None:
    put(tmp_path / (unicodedata.normalize("NFD", "josé") + "_lab.ipynb"))
    found = collect(tmp_path, [Student("jose", "A"), Student("josé", "B")], ["mask"], Policy())
    assert list(found.chosen) == ["josé"]


def test_a_date_inside_a_student_s_own_zip_makes_nothing_earlier_or_newer(tmp_path: Path) -> None:
    old, handed_in = (2020, 1, 1, 0, 0, 0), datetime(2026, 11, 25).timestamp()
    put(tmp_path / "direct" / "u003.zip", zipped({"lab.ipynb": LAB}, old), when=handed_in)
    inner = zipped({"lab.ipynb": LAB}, old)
    put(tmp_path / "download" / "all.zip", zipped({"nali_77_7001_lab.zip": inner}, (2026, 11, 25, 0, 0, 0)))
    for folder in ("direct", "download"):
        assert found_in(tmp_path / folder, datetime(2026, 11, 20)).chosen["u003"].days == 5, folder
    put(tmp_path / "direct" / "u003_again.zip", zipped({"lab.ipynb": LAB}, old), when=handed_in + 60)
    put(tmp_path / "direct" / "u003_first.zip", zipped({"lab.ipynb": LAB}, (2099, 1, 1, 0, 0, 0)), when=handed_in - 60)
    assert places(found_in(tmp_path / "direct")) == {"u003": "u003_again.zip/lab.ipynb"}


def test_no_code_makes_the_search_for_the_version_slow(tmp_path: Path) -> None:
    put(tmp_path / "u003.ipynb", classroom.plain("#" + "git+http://" * (LONGEST // 12)))
    started = time.perf_counter()
    assert found_in(tmp_path).chosen["u003"].version == ""
    assert time.perf_counter() - started < 10


def test_a_student_s_zip_is_looked_at_within_bounds_however_it_is_nested(tmp_path: Path) -> None:
    small = zipped({f"{k}.ipynb": LAB for k in range(300)})
    large = zipped({"x.bin": bytes(50 << 20)})
    put(tmp_path / "a" / "u003.zip", zipped({f"{k}.zip": small for k in range(300)}))
    put(tmp_path / "b" / "all.zip", zipped({"nali_77_7001_lab.zip": zipped({f"{k}.zip": large for k in range(300)})}))
    put(tmp_path / "c" / "u003.zip", zipped({f"{k}.ipynb": bytes(19 << 20) for k in range(30)}))
    put(tmp_path / "d" / "u003.zip", zipped({f"{k}.ipynb": LAB for k in range(20_000)}))
    for folder in "abcd":
        put(tmp_path / folder / "u001.ipynb")
        started = time.perf_counter()
        found = found_in(tmp_path / folder)
        assert time.perf_counter() - started < 20, folder
        assert places(found)["u001"] == "u001.ipynb"
        assert len([row for row in found.files if row[1] == "u003"]) <= 2 * archives.MOST_ENTRIES
