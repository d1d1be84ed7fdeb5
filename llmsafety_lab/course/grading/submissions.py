"""Who is in the course, and which notebook each of them handed in: loose files and LMS downloads in any mix."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

LARGEST = 20 * 2**20
"""The largest notebook that is read, in bytes."""

_CANVAS = re.compile(r"^[^_]+_(?P<late>LATE_)?(?P<user>\d+)_\d+_.*$")
_MOODLE = re.compile(r"^(?P<name>.+?)_(?P<user>\d+)_assignsubmission_file_?$")


class InputError(ValueError):
    """What the teacher gave cannot be used: what, where, and what to do."""


@dataclass(frozen=True)
class Student:
    """A line of the roster."""

    id: str
    name: str
    email: str = ""
    canvas_id: str = ""
    moodle_id: str = ""


@dataclass(frozen=True)
class Submission:
    """One file that was handed in.

    Parameters
    ----------
    place
        Where it was found, for the reports.
    data
        Its bytes, or None where it is not read; ``problem`` says why.
    """

    student: str
    place: str
    data: bytes | None
    problem: str
    when: datetime
    late: bool


@dataclass
class Collection:
    """The submission that counts of each student, and what else was found."""

    chosen: dict[str, Submission] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_roster(path: Path) -> list[Student]:
    """Read a CSV file with the columns id and name, and email, canvas_id and moodle_id where there are any.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or names an id twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the roster {path} cannot be read: {error}") from None
    if not rows or not {"id", "name"} <= rows[0].keys():
        raise InputError(
            f"the roster {path} needs a first line with the columns id and name, and a line for each student"
        )
    students: dict[str, Student] = {}
    for number, row in enumerate(rows, start=2):
        values = {name: (row.get(name) or "").strip() for name in Student.__dataclass_fields__}
        if not re.fullmatch(r"[\w.@+-]{1,100}", values["id"]) or values["id"].startswith("."):
            raise InputError(f"{path}, line {number}: an id is letters, digits and . _ @ + -, not {values['id']!r}")
        if values["id"] in students:
            raise InputError(f"{path}, line {number}: the id {values['id']} stands there twice")
        students[values["id"]] = Student(**values)
    return list(students.values())


def collect(folder: Path, roster: list[Student], due: datetime | None) -> Collection:
    """Find every notebook under a folder, or in a file, and the student it belongs to.

    Known are ``<id>.ipynb``, ``<id>_anything.ipynb``, ``<id>/anything.ipynb``, and the names that Canvas and Moodle
    give to the files of a download, in a zip or unpacked. Of several by one student the newest counts.

    Parameters
    ----------
    due
        What is newer than this is late; so is what Canvas marks as late.

    Raises
    ------
    InputError
        If there is no such folder or file.
    """
    if not folder.exists():
        raise InputError(f"there is nothing at {folder}")
    found = Collection()
    others: dict[str, list[str]] = {}
    for place, name, data, problem, when in _files(folder):
        owner, late = _owner(name, roster)
        if owner is None:
            found.unknown.append(f"{place}: {problem or 'no student of the roster has this name or number'}")
            continue
        late = late or (due is not None and when > due)
        this = Submission(owner, place, data, problem, when, late)
        best = found.chosen.setdefault(owner, this)
        if best is not this:
            older, newer = sorted((best, this), key=_precedence)
            found.chosen[owner] = newer
            others.setdefault(owner, []).append(older.place)
    found.duplicates = [
        f"{owner}: {found.chosen[owner].place} counts, not {', '.join(rest)}" for owner, rest in others.items()
    ]
    return found


def _precedence(one: Submission) -> tuple[bool, datetime, int]:
    return one.data is not None, one.when, _version(one.place)


def _files(folder: Path) -> Iterator[tuple[str, PurePosixPath, bytes | None, str, datetime]]:
    base = folder if folder.is_dir() else folder.parent
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_dir():
            continue
        name = PurePosixPath(path.relative_to(base).as_posix())
        when = datetime.fromtimestamp(path.lstat().st_mtime)
        if path.is_symlink() or not path.is_file():
            yield str(name), name, None, "a link or a device, not a file", when
        elif path.suffix.lower() == ".zip":
            yield from _zipped(path, str(name))
        elif path.stat().st_size > LARGEST:
            yield str(name), name, None, _too_large(path.stat().st_size), when
        else:
            yield str(name), name, path.read_bytes(), "", when


def _zipped(path: Path, shown: str) -> Iterator[tuple[str, PurePosixPath, bytes | None, str, datetime]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
                    continue
                place = f"{shown}/{entry.filename}"
                name = PurePosixPath(place)
                when = datetime(*entry.date_time)
                if entry.file_size > LARGEST:
                    yield place, name, None, _too_large(entry.file_size), when
                    continue
                try:
                    with archive.open(entry) as file:
                        data = file.read(LARGEST + 1)
                except (OSError, RuntimeError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
                    yield place, name, None, f"it cannot be unpacked ({error})", when
                    continue
                too_large = len(data) > LARGEST
                yield place, name, None if too_large else data, _too_large(len(data)) if too_large else "", when
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        yield shown, PurePosixPath(shown), None, f"it is not a zip file ({error})", datetime.fromtimestamp(0)


def _too_large(size: int) -> str:
    return f"it has {size / 2**20:.0f} MB, more than the {LARGEST // 2**20} MB that a notebook may have"


def _owner(name: PurePosixPath, roster: list[Student]) -> tuple[str | None, bool]:
    """Find whose file this is, by what the LMS or the teacher named before what the student named."""
    for part in name.parts:
        if match := _MOODLE.match(part):
            by_number = (one for one in roster if one.moodle_id == match["user"])
            by_name = (one for one in roster if not one.moodle_id and one.name == match["name"])
            return next((one.id for one in (*by_number, *by_name)), None), False
        if (match := _CANVAS.match(part)) and any(one.canvas_id for one in roster):
            return next((one.id for one in roster if one.canvas_id == match["user"]), None), bool(match["late"])
        stem = part.removesuffix(".ipynb").removesuffix(".zip")
        for student in sorted(roster, key=lambda one: -len(one.id)):
            if stem == student.id or re.match(rf"{re.escape(student.id)}[_ (-]", stem):
                return student.id, False
    return None, False


def _version(place: str) -> int:
    match = re.search(r"-(\d+)\.ipynb$", place)
    return int(match[1]) if match else 0


def code_cells(data: bytes) -> list[tuple[int, str]]:
    """Return a notebook's code cells with their numbers, without running or parsing any of them.

    Raises
    ------
    InputError
        If this is not a notebook, or not one of Python.
    """
    try:
        notebook = json.loads(data)
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        kernel = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        found = []
        for number, cell in enumerate(cells, start=1):
            if cell.get("cell_type") == "code":
                source = cell.get("source", cell.get("input", ""))
                found.append((number, source if isinstance(source, str) else "".join(map(str, source))))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(
            f"This file is not a Jupyter notebook ({type(error).__name__}). Download it again as .ipynb."
        ) from None
    if str(kernel).lower() != "python":
        raise InputError(f"This notebook is written for {str(kernel)[:40]}, not for Python.")
    return found
