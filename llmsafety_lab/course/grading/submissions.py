"""Which notebook each student handed in: loose files and platforms' downloads in any mix."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from llmsafety_lab.course.grading import exports
from llmsafety_lab.course.grading.archives import File, files
from llmsafety_lab.course.grading.notebooks import NAMES, code_cells, named, version
from llmsafety_lab.course.grading.owners import Owner, Owners
from llmsafety_lab.course.grading.policy import Policy
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.errors import InputError

_PLATFORM = (exports.METADATA, "index.html")


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
    number
        The platform's number of the file, where it has one.
    known_as
        The name by which the platform knows the file, for what goes back.
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
    number: int = 0
    known_as: tuple[str, ...] = ()
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


def collect(
    folder: Path, roster: Sequence[Student], answers: Collection[str], policy: Policy, groups: bool = False
) -> Found:
    """Find every file under a folder, or one file, the student it belongs to, and which of a student's files counts.

    Known are names that begin with the id (of the file or of its folder), those that Canvas, Moodle, Blackboard and
    Brightspace give to the files of a download, in a zip or unpacked, Gradescope's export, and names that begin with
    the student's. Of several by one student, one found by a name on the disk counts before one found by a name in a
    zip, then a notebook before what is none, one that defines names of this lab before one that does not, and the
    newest.

    Parameters
    ----------
    answers
        The names of the lab's functions and classes.
    groups
        Whether what one student of a group hands in is handed in by all of the group.

    Raises
    ------
    InputError
        If there is no such folder or file.
    """
    if not folder.exists():
        raise InputError(f"there is nothing at {folder}")
    owner_of = functools.lru_cache(Owners(roster, groups).of)
    every = list(files(folder, lambda name: owner_of(name).student is not None))
    exported = exports.read(every, roster)
    found = Found()
    candidates: dict[str, list[HandedIn]] = {}
    for file in every:
        if file.junk:
            found.files.append((file.place, "", "passed over", "a file of an operating system or an editor"))
            continue
        owner, direct = _owner(file, owner_of, exported)
        if owner.student is None and file.name in _PLATFORM:
            found.files.append((file.place, "", "passed over", "the platform's own file"))
            continue
        if owner.student is None:
            why = file.problem or owner.how
            found.files.append((file.place, "", "passed over", why))
            found.unknown.append((file.place, why))
            continue
        for student in (owner.student, *owner.mates):
            how = owner.how if student == owner.student else f"{owner.how}, through the group of {owner.student}"
            mine = replace(owner, student=student, how=how)
            candidates.setdefault(student, []).append(_examined(file, mine, direct, answers, policy))
    for student, several in candidates.items():
        found.chosen[student] = best = _ordered(several)[-1]
        for handed in several:
            verdict = ("counted", best.problem or f"found by {best.how}")
            if handed is not best:
                verdict = ("passed over", _why_not(handed, best))
            found.files.append((handed.file.place, student, *verdict))
        others = [handed.file.place for handed in several if handed.digest and handed is not best]
        if others and best.digest:
            found.duplicates[student] = others
    found.files.sort()
    return found


def _owner(
    file: File, owner_of: Callable[[tuple[str, ...]], Owner], exported: Mapping[str, Owner]
) -> tuple[Owner, bool]:
    """Return whose a file is, and whether a name on the disk says so."""
    listed = exports.listed(file.place, exported)
    if listed and not file.inside:
        return listed, True
    outer = owner_of(file.outer)
    if outer.student is not None or not file.inner:
        return outer, outer.student is not None
    return listed or owner_of(file.inner), False


def _ordered(several: list[HandedIn]) -> list[HandedIn]:
    """Return a student's files with the one that counts last; of those that a platform numbers its numbers decide.

    A platform's files are as new as the newest of them: their dates are those of the download.
    """
    newest = max((handed.when for handed in several if handed.number), default=None)
    return sorted(several, key=lambda handed: _precedence(handed, newest if handed.number else None))


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
    written = file.dates[0 if direct else min(1, len(file.dates) - 1)]
    when = min(owner.when or written, datetime.now().astimezone())
    days = policy.days_late(owner.student, when, owner.late)
    parts = file.outer if direct or not file.inner else file.inner
    handed = HandedIn(owner.student, file, when, owner.how, direct, days, owner.number, parts[owner.depth :])
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


def _precedence(
    handed: HandedIn, when: datetime | None = None
) -> tuple[bool, bool, bool, bool, datetime, int, datetime, int]:
    numbered = re.search(r"-(\d{1,9})\.ipynb$", handed.file.place)
    return (
        handed.direct,
        bool(handed.digest),
        _suffix(handed.file) == ".ipynb",
        bool(handed.defines),
        when or handed.when,
        handed.number,
        handed.file.dates[-1],
        int(numbered[1]) if numbered else 0,
    )


def _why_not(handed: HandedIn, best: HandedIn) -> str:
    if handed.problem:
        return handed.problem
    if handed.digest == best.digest:
        return "it is the same file as the one that counts"
    if not handed.direct and best.direct:
        return "the name is one inside a zip, and another file has the student's name on the disk"
    if best.defines and not handed.defines:
        return "it defines no name of this lab, and another file does"
    if _suffix(handed.file) != ".ipynb" and _suffix(best.file) == ".ipynb":
        return "another file's name ends in .ipynb"
    return "another file by this student is newer"
