"""Which notebook each student handed in: loose files and platforms' downloads in any mix."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from llmsafety_lab.course.grading.archives import File, files
from llmsafety_lab.course.grading.notebooks import NAMES, code_cells, named, version
from llmsafety_lab.course.grading.owners import Owner, Owners
from llmsafety_lab.course.grading.policy import Policy
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.errors import InputError


@dataclass(frozen=True)
class Submission:
    """What a student handed in, read.

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


@dataclass(frozen=True)
class HandedIn:
    """A file that a student handed in: where it is and what is known of it, not what it holds.

    Parameters
    ----------
    how
        What the student was found by.
    direct
        Whether the student was found by a name on the disk, and not by one inside a zip.
    days
        How many days late it is.
    digest
        Of what it holds; empty where it was not read, and ``problem`` says why.
    defines
        The names of the lab that it defines.
    """

    student: str
    file: File
    when: datetime
    how: str
    direct: bool
    days: int
    digest: str = ""
    problem: str = ""
    defines: frozenset[str] = frozenset()
    version: str = ""

    def read(self) -> Submission:
        """Return it with what it holds."""
        data, problem = None, self.problem
        if not problem:
            try:
                data = self.file.read()
                if hashlib.sha256(data).hexdigest() != self.digest:
                    data, problem = None, "it changed while the class was graded: run the same command again"
            except InputError as error:
                problem = str(error)
        return Submission(self.student, self.file.place, data, problem, self.when, self.days > 0)


@dataclass
class Found:
    """The submission that counts of each student, and what became of every file."""

    chosen: dict[str, HandedIn] = field(default_factory=dict)
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Of every file: the place, the student, "counted" or "passed over", and why."""


def collect(folder: Path, roster: Sequence[Student], answers: Collection[str], policy: Policy) -> Found:
    """Find every file under a folder, or one file, the student it belongs to, and which of a student's files counts.

    Known are names that begin with the id (of the file or of its folder), and those that Canvas, Moodle, Blackboard and
    Brightspace give to the files of a download, in a zip or unpacked. Of several by one student, one found by a name
    on the disk counts before one found by a name in a zip, then a notebook before what is none, one that defines names
    of this lab before one that does not, and the newest.

    Parameters
    ----------
    answers
        The names of the lab's functions and classes.

    Raises
    ------
    InputError
        If there is no such folder or file.
    """
    if not folder.exists():
        raise InputError(f"there is nothing at {folder}")
    owner_of = functools.lru_cache(Owners(roster).of)
    found = Found()
    candidates: dict[str, list[HandedIn]] = {}
    for file in files(folder, lambda name: owner_of(name).student is not None):
        if file.junk:
            found.files.append((file.place, "", "passed over", "a file of an operating system or an editor"))
            continue
        outer = owner_of(file.outer)
        direct = outer.student is not None
        owner = outer if direct or not file.inner else owner_of(file.inner)
        if owner.student is None:
            why = file.problem or owner.how
            found.files.append((file.place, "", "passed over", why))
            found.unknown.append((file.place, why))
        else:
            candidates.setdefault(owner.student, []).append(_examined(file, owner, direct, answers, policy))
    for student, several in candidates.items():
        several.sort(key=_precedence)
        best = found.chosen[student] = several[-1]
        for handed in several[:-1]:
            found.files.append((handed.file.place, student, "passed over", _why_not(handed, best)))
        found.files.append((best.file.place, student, "counted", best.problem or f"found by {best.how}"))
        others = [handed.file.place for handed in several[:-1] if handed.digest]
        if others and best.digest:
            found.duplicates[student] = others
    found.files.sort()
    return found


def of_one(folder: Path, student: str, answers: Collection[str]) -> Submission:
    """Return the notebook that counts where every file below a folder is by one student, as on Gradescope."""
    read = [
        _examined(file, Owner(student, "the platform"), True, answers, Policy())
        for file in files(folder, lambda name: True)
        if not file.junk
    ]
    if not read:
        return Submission(student, "", None, "no file was handed in", datetime.now().astimezone(), False)
    return max(read, key=_precedence).read()


def _examined(file: File, owner: Owner, direct: bool, answers: Collection[str], policy: Policy) -> HandedIn:
    """Look into one file; what it holds is not kept.

    It was handed in when the platform says, else when the file that has the student's name was written. Dates inside
    a zip of the student's own are the student's.
    """
    assert owner.student is not None
    when = owner.when or file.dates[0 if direct else min(1, len(file.dates) - 1)]
    days = policy.days_late(owner.student, when, owner.late)
    handed = HandedIn(owner.student, file, when, owner.how, direct, days)
    suffix = _suffix(file)
    if suffix not in NAMES:
        return replace(handed, problem=file.problem or f"a file {suffix} is no notebook: hand in the .ipynb")
    try:
        data = file.read()
    except InputError as error:
        return replace(handed, problem=str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        cells = code_cells(data)
    except InputError as error:
        return replace(handed, problem=str(error))
    return replace(handed, digest=digest, defines=frozenset(named(cells, answers)), version=version(cells))


def _suffix(file: File) -> str:
    return os.path.splitext(file.name)[1].lower()


def _precedence(handed: HandedIn) -> tuple[bool, bool, bool, bool, datetime, datetime, int]:
    numbered = re.search(r"-(\d{1,9})\.ipynb$", handed.file.place)
    return (
        handed.direct,
        bool(handed.digest),
        _suffix(handed.file) == ".ipynb",
        bool(handed.defines),
        handed.when,
        handed.file.dates[-1],
        int(numbered[1]) if numbered else 0,
    )


def _why_not(handed: HandedIn, best: HandedIn) -> str:
    if handed.problem:
        return handed.problem
    if not handed.direct and best.direct:
        return "the name is one inside a zip, and another file has the student's name on the disk"
    if best.defines and not handed.defines:
        return "it defines no name of this lab, and another file does"
    return "another file by this student is newer, or more of a notebook"
