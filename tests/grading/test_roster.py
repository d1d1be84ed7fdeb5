"""Rosters, policies and overrides as platforms and spreadsheets write them; what is said of those of no use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import classroom
import pytest

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import lost
from llmsafety_lab.course.grading.overrides import applied, read_overrides
from llmsafety_lab.course.grading.policy import Policy, moment, read_policy
from llmsafety_lab.course.grading.roster import Student, read_roster
from llmsafety_lab.errors import InputError

ADA = Student("s1", "Ada Müller", "ada@example.org")


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "id,name,email\ns1,Ada Müller,ada@example.org\n",
        "\ufeffid,name,email\ns1,Ada Müller,ada@example.org\n",
        "ID;Name;E-Mail\r\ns1;Ada Müller;ada@example.org\r\n;;\r\n;;\r\n",
        "id\tname\temail\ns1\tAda Müller\tada@example.org",
        ",,\n\nid,name,email\n,,\ns1 , Ada Müller,ada@example.org\n",
        "id,name,email\ns1,Ada Müller,ada@example.org\n".encode("cp1252"),
        "id;name;email\ns1;Ada Müller;ada@example.org\n".encode("utf-16"),
        "First name,Last name,ID number,Email address\nAda,Müller,s1,ada@example.org\n",
        "Username,Full name,Email address,Department\ns1,Ada Müller,ada@example.org,A\n",
    ],
)
def test_a_roster_is_read_as_spreadsheets_and_moodle_write_it(tmp_path: Path, content: str | bytes) -> None:
    assert read_roster(written(tmp_path, content)) == [ADA]


def test_groups_are_read_from_moodle_s_list(tmp_path: Path) -> None:
    text = "Username,Full name,Groups\ns1,Ada Müller,Team 1\n"
    assert read_roster(written(tmp_path, text)) == [Student("s1", "Ada Müller", group="Team 1")]


def test_canvas_s_export_with_points_possible_and_test_student(tmp_path: Path) -> None:
    text = "Student,ID,SIS User ID,SIS Login ID,Section,Lab 1 (77)\n    Points Possible,,,,,10\n"
    text += '"Byron, Ada",501,s1,ada@example.org,A,7\n"Student, Test",599,,abc,A,\n'
    assert read_roster(written(tmp_path, text)) == [Student("s1", "Byron, Ada", "ada@example.org", "501")]


def test_moodle_s_worksheet(tmp_path: Path) -> None:
    text = "Identifier,Full name,ID number,Email address,Status\nTeilnehmer/in311,Ada Byron,,ada@example.org,No\n"
    assert read_roster(written(tmp_path, text)) == [
        Student("ada@example.org", "Ada Byron", "ada@example.org", "", "311")
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name\nAda\n", "needs the columns id and name; its first line has: name"),
        ("id,name\nu1,A\nU1,B\n", "line 3: the id U1 stands there twice"),
        ("id,name\n../x,A\n", "line 2"),
        ("id,name\n.x,A\n", "line 2"),
        ("id,name\nu1,B\n\n+x,A\n", "line 4"),
        ("id,name\n-x,A\n", "line 2"),
        ("id,name\n@x,A\n", "line 2"),
        ("id,name\n=x,A\n", "line 2"),
        ("id,name\n,Ada\n", "line 2: Ada has no id"),
        ("id,name\n" + "学" * 84 + ",A\n", "longer than 100 bytes"),
        ("", "is empty"),
        ("id,name\n", "no line after it"),
    ],
)
def test_what_is_wrong_with_a_roster_is_said_with_its_line(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        read_roster(written(tmp_path, content))
    assert words in str(raised.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_roster(tmp_path / "absent.csv")


def test_a_day_alone_means_its_end_and_time_zones_work() -> None:
    assert moment("2026-11-20").replace(tzinfo=None) == datetime(2026, 11, 20, 23, 59, 59, 999999)
    assert moment("2026-11-20T18:00").replace(tzinfo=None) == datetime(2026, 11, 20, 18)
    assert moment("2026-11-20T18:00+02:00") == datetime(2026, 11, 20, 16, tzinfo=UTC)
    assert moment("2026-11-20+01:00") == datetime(2026, 11, 20, 22, 59, 59, 999999, tzinfo=UTC)
    assert moment("2026-07-20 Europe/Berlin") == datetime(2026, 7, 20, 21, 59, 59, 999999, tzinfo=UTC)
    assert moment("2026-11-20T18:00 Asia/Kolkata") == datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    assert moment("2026-11-20 18:00 Asia/Kolkata") == moment("2026-11-20 18:00+05:30")
    assert moment("2026-11-20", "Europe/Berlin") == datetime(2026, 11, 20, 22, 59, 59, 999999, tzinfo=UTC)
    assert moment("2026-11-20T18:00Z", "Europe/Berlin") == datetime(2026, 11, 20, 18, tzinfo=UTC)
    for nonsense in ("soon", "2026-13-01", 7, "2026-11-20 Europe/Nowhere", "2026-11-20 ../../etc", "2026-11-20T"):
        with pytest.raises(ValueError):
            moment(nonsense)


def test_the_policy_knows_extensions_grace_and_what_days_cost(tmp_path: Path) -> None:
    path = tmp_path / "late.yml"
    text = "due: 2026-11-20T12:00+00:00\ngrace_minutes: 10\npercent_a_day: 20\nmost_percent: 50\nextensions:\n"
    path.write_text(text + "  s2: 2026-11-27T12:00+00:00\n")
    policy = read_policy(path, None, {"s1", "s2"})
    due = datetime(2026, 11, 20, 12, tzinfo=UTC)
    days = [policy.days_late("s1", due + timedelta(hours=hours), False) for hours in (-1, 0.1, 1, 25, 24 * 6)]
    assert days == [0, 0, 1, 2, 6]
    assert [policy.kept(number) for number in days] == [1, 1, 0.8, 0.6, 0.5]
    assert policy.days_late("s2", due + timedelta(days=6), True) == 0
    assert policy.days_late("s2", due + timedelta(days=8), False) == 1
    assert policy.days_late("s1", due, True) == 1
    path.write_text("due: 2026-11-20\nzone: Europe/Berlin\nextensions: {s2: 2026-11-27}\n")
    assert read_policy(path, None, {"s2"}).due == datetime(2026, 11, 20, 22, 59, 59, 999999, tzinfo=UTC)
    assert read_policy(path, None, {"s2"}).extensions["s2"] == datetime(2026, 11, 27, 22, 59, 59, 999999, tzinfo=UTC)
    assert Policy().days_late("s1", due, False) == 0
    assert read_policy(path, due + timedelta(days=9), {"s2"}).due == due + timedelta(days=9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dew: 2026-11-20", "may hold"),
        ("due: soon", "soon"),
        ("extensions: [s1]", "a line for each"),
        ("extensions: {s9: 2026-11-20}", "s9"),
        ("percent_a_day: 120", "0 to 100"),
        ("grace_minutes: -1", "not below 0"),
        ("due: 2026-11-20\nzone: Mars", "no time zone 'Mars'"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "late.yml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_policy(tmp_path / "late.yml", None, {"s1"})


def test_points_given_by_hand_replace_the_grader_s_and_bring_essays(tmp_path: Path) -> None:
    first, second = classroom.EXERCISES[:2]
    text = f"student;exercise;points;comment;of\nS1;{first.id};1,5;half right;\ns1;essay;4;well argued;5\n"
    students = [ADA, Student("s2", "Max")]
    by_hand = read_overrides(written(tmp_path, text), students, [first, second])
    failed = [lost(exercise, Failed("wrong")) for exercise in (first, second)]
    mine, other = applied(failed, by_hand, "s1"), applied(failed, by_hand, "s2")
    assert [(result.id, result.earned, result.points) for result in mine] == [
        (first.id, 1.5, first.points),
        (second.id, 0, second.points),
        ("essay", 4, 5),
    ]
    assert mine[0].message == "half right" and mine[2].message == "well argued"
    assert [result.earned for result in other] == [0, 0, 0] and "no points yet" in other[2].message
    assert read_overrides(None, students, [first]) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("s9,attention.mask,1,", "s9"),
        ("s1,attention.nothing,1,", "is no exercise"),
        ("s1,{first},many,", "many"),
        ("s1,{first},99,", "more than"),
        ("s1,{first},-1,", "from 0"),
        ("s1,{first},nan,", "from 0"),
        ("s1,{first},1,\ns1,{first},1,", "twice"),
    ],
)
def test_points_by_hand_that_cannot_be_given_are_refused_with_their_line(tmp_path: Path, line: str, words: str) -> None:
    first = classroom.EXERCISES[0]
    text = "student,exercise,points,comment\n" + line.replace("{first}", first.id)
    with pytest.raises(InputError, match=words):
        read_overrides(written(tmp_path, text), [ADA], [first])
