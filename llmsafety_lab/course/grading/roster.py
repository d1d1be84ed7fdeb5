"""Who is in the course: a CSV file of the teacher's own, or what Canvas and Moodle export."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmsafety_lab.errors import InputError

LONGEST_ID = 100
"""The longest id, in bytes of UTF-8: files are named for it."""

_COLUMNS = {
    "id": ("id", "student id", "id number", "org defined id", "orgdefinedid", "username", "user name", "email address"),
    "name": ("name", "student", "full name", "student name"),
    "email": ("email", "e-mail", "mail", "email address"),
    "canvas_id": ("canvas_id", "canvas id"),
    "moodle_id": ("moodle_id", "moodle id", "identifier"),
    "group": ("group", "groups", "team"),
}
_CANVAS = {**_COLUMNS, "id": ("sis user id", "sis login id"), "email": ("sis login id",), "canvas_id": ("id",)}


@dataclass(frozen=True)
class Student:
    """A line of the roster."""

    id: str
    name: str
    email: str = ""
    canvas_id: str = ""
    moodle_id: str = ""
    group: str = ""


def read_roster(path: Path) -> list[Student]:
    """Read who is in the course.

    The columns are id and name, and where there are any email, canvas_id, moodle_id and group; the column names that
    Canvas and Moodle export are known. Commas, semicolons or tabs; UTF-8, UTF-16 or a spreadsheet's Western encoding.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or a line of it has no id that can be used; says which.
    """
    lines = table(path, "the roster")
    if not lines:
        raise InputError(f"the roster {path} is empty: it needs a line with the columns id and name, then the students")
    header = lines[0][1]
    columns = _CANVAS if "sis user id" in header else _COLUMNS
    if not set(columns["id"]) & header.keys() or not (set(columns["name"]) | {"first name"}) & header.keys():
        raise InputError(f"the roster {path} needs the columns id and name; its first line has: {', '.join(header)}")
    students: dict[str, Student] = {}
    for number, row in lines:
        values = {field: _first(row, names) for field, names in columns.items()}
        values["name"] = (
            values["name"] or f"{row.get('first name', '')} {_first(row, ('last name', 'surname'))}".strip()
        )
        values["moodle_id"] = re.sub(r"^\D+(?=\d+$)", "", values["moodle_id"])
        if columns is _CANVAS and (values["name"] in ("Points Possible", "Student, Test") or not any(row.values())):
            continue
        id = values["id"]
        if not id:
            raise InputError(f"{path}, line {number}: {values['name'] or 'this line'} has no id")
        if not re.fullmatch(r"[^\W_][\w.@+-]*|_[\w.@+-]*", id):
            raise InputError(
                f"{path}, line {number}: an id is letters, digits and . _ @ + - and begins with a letter or a digit, "
                f"not {id!r}"
            )
        if len(id.encode()) > LONGEST_ID:
            raise InputError(f"{path}, line {number}: the id {id[:20]}... is longer than {LONGEST_ID} bytes")
        if id.casefold() in students:
            raise InputError(f"{path}, line {number}: the id {id} stands there twice")
        students[id.casefold()] = Student(**values)
    return list(students.values())


def table(path: Path, what: str) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file: each row's line number, and its cells by the column's name in small letters; no empty rows.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        text = _decoded(path.read_bytes())
        first = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
        separator = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{what} {path} cannot be read: {error}") from None
    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        return []
    header = [" ".join(name.casefold().split()) for name in rows[0][1]]
    if len(rows) == 1:
        raise InputError(f"{what} {path} has a first line with the columns {', '.join(header)}, and no line after it")
    return [(number, dict(itertools.zip_longest(header, row[: len(header)], fillvalue=""))) for number, row in rows[1:]]


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name)), "")
