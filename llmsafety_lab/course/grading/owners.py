"""Whose file it is, by the names that the platforms give to the files of a download."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmsafety_lab.course.grading.roster import Student

_CANVAS = re.compile(r"^(?P<name>[^_]+)_(?P<late>LATE_)?(?P<user>\d+)_\d+_.")
_MOODLE = re.compile(r"^(?P<name>.+?)_(?P<user>\d+)_assignsubmission_(?:file|onlinetext)(?:_|$)")
_BLACKBOARD = re.compile(r"^(?P<before>.+?)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:[_.]|$)")
_BRIGHTSPACE = re.compile(r"^\d+-\d+ - (?P<name>.+?) - (?P<when>[^-]*\d{4} \d{3,4} [AP]M)(?: - |$)")


@dataclass(frozen=True)
class Owner:
    """Whose file it is.

    Parameters
    ----------
    student
        The id, or None where nobody fits.
    how
        What the student was found by, or why nobody was.
    when
        The time of the submission, where the platform's name has it.
    """

    student: str | None
    how: str
    late: bool = False
    when: datetime | None = None


NOBODY = Owner(None, "no student of the roster has this name or number")


class Owners:
    """Finds students by id, by the platform's number, and by name."""

    def __init__(self, roster: Sequence[Student]) -> None:
        self._longest_first = sorted(roster, key=lambda student: -len(student.id))
        self._canvas = {student.canvas_id: student for student in roster if student.canvas_id}
        self._moodle = {student.moodle_id: student for student in roster if student.moodle_id}
        self._names: dict[tuple[str, ...], list[Student]] = defaultdict(list)
        self._joined: dict[str, list[Student]] = defaultdict(list)
        for student in roster:
            words = _words(student.name)
            self._names[tuple(sorted(words))].append(student)
            for turn in {"".join(words[k:] + words[:k]) for k in range(len(words))}:
                self._joined[turn].append(student)

    def of(self, parts: Iterable[str]) -> Owner:
        """Find the owner by the first part of a file's name that says something.

        What the platform wrote is at the beginning of a name. What follows, the student chose: it may look like the
        name that another platform gives, and says nothing of whose the file is.

        Parameters
        ----------
        parts
            Folders first, the file last.
        """
        for part in (unicodedata.normalize("NFC", part) for part in parts):
            found = self._brightspaced(part)
            if found is None and not _CANVAS.match(part):
                found = self._moodled(part) or self._blackboarded(part)
            if found is None:
                found = self._plain(part)
            if found is not None:
                return found
        return NOBODY

    def _moodled(self, part: str) -> Owner | None:
        match = _MOODLE.match(part)
        if not match:
            return None
        known = self._moodle.get(match["user"])
        if re.fullmatch(r"Participant[ _]?\d*", match["name"]):
            return Owner(known.id, "Moodle's number") if known else NOBODY
        return self._named(match["name"], known)

    def _blackboarded(self, part: str) -> Owner | None:
        match = _BLACKBOARD.match(part)
        if not match:
            return None
        when = None
        with contextlib.suppress(ValueError):
            when = datetime.strptime(match["when"], "%Y-%m-%d-%H-%M-%S").astimezone()
        for student in self._longest_first:
            if re.search(rf"(?:^|_){re.escape(student.id)}$", match["before"], re.IGNORECASE):
                return Owner(student.id, "Blackboard's login", when=when)
        return NOBODY

    def _brightspaced(self, part: str) -> Owner | None:
        match = _BRIGHTSPACE.match(part)
        if not match:
            return None
        when = None
        with contextlib.suppress(ValueError):
            when = datetime.strptime(match["when"].strip(), "%b %d, %Y %I%M %p").astimezone()
        found = self._named(match["name"], None)
        return Owner(found.student, found.how, when=when)

    def _plain(self, part: str) -> Owner | None:
        match = _CANVAS.match(part)
        if match and match["user"] in self._canvas:
            return Owner(self._canvas[match["user"]].id, "Canvas's number", bool(match["late"]))
        for same in (str, str.casefold):
            for student in self._longest_first:
                id = same(unicodedata.normalize("NFC", student.id))
                if same(part).startswith(id) and not same(part)[len(id) :][:1].isalnum():
                    return Owner(student.id, "id")
        if match:
            fitting = self._joined["".join(_words(match["name"]))]
            if len(fitting) == 1 and not fitting[0].canvas_id:
                return Owner(fitting[0].id, "name", bool(match["late"]))
            return _several(fitting) if len(fitting) > 1 else NOBODY
        return None

    def _named(self, name: str, known: Student | None) -> Owner:
        """Find a student by name; where several have it, the platform's number decides."""
        fitting = self._names[tuple(sorted(_words(name)))]
        if len(fitting) == 1:
            return Owner(fitting[0].id, "name")
        if known in fitting:
            return Owner(known.id, "name and Moodle's number") if known else NOBODY
        return _several(fitting) if fitting else NOBODY


def _several(students: list[Student]) -> Owner:
    ids = ", ".join(student.id for student in students)
    return Owner(None, f"the name fits {ids}: rename the file to begin with the id of the right one")


def _words(name: str) -> list[str]:
    """Return a name's words in one form, whatever form of Unicode and of capitals it is written in."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.findall(r"\w+", folded.replace("_", " "))
