"""Whose file it is, by the names that the platforms give to the files of a download."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from llmsafety_lab.course.grading.roster import Student

_CANVAS = re.compile(r"^(?P<name>[^_]+)_(?P<late>LATE_)?(?P<user>\d+)_(?P<number>\d{1,18})_.")
_CANVAS_ANONYMOUS = re.compile(r"^(?P<name>anon)_(?P<late>LATE_)?(?P<user>[0-9A-Za-z]+)_(?P<number>\d{1,18})_.")
_MOODLE = re.compile(r"^(?P<name>.+?)_(?P<user>\d+)_assignsubmission_(?:file|onlinetext)(?:_|$)")
_MOODLE_ANONYMOUS = re.compile(r"(?:.*-)?(?:Participant|Teilnehmer(?:in)?|Participante|Partecipante|Deelnemer)[ _]?\d*")
_BLACKBOARD = re.compile(r"^(?P<before>.+?)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:[_.]|$)")
_BRIGHTSPACE = re.compile(r"^\d+-\d+ - (?P<name>.+?) - (?P<when>[^-]*\b\d{4}\b[^-]*?)(?: - |$)")
_BRIGHTSPACE_DATES = ("%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p", "%d %B, %Y %H%M", "%d %b, %Y %H%M", "%B %d, %Y %H%M")
_COPY = re.compile(r"^(?:(?:copy of|kopie von|copie de|c[oó]pia de)\s+)+", re.IGNORECASE)
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ı": "i"})


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
        The time of the submission, where the platform has it.
    number
        Canvas's number of the file: it grows from one to the next.
    mates
        The others who handed it in together.
    depth
        Which part of the name it was found by.
    """

    student: str | None
    how: str
    late: bool = False
    when: datetime | None = None
    number: int = 0
    mates: tuple[str, ...] = ()
    depth: int = 0


NOBODY = Owner(None, "no student of the roster has this name or number: begin the file's name with the id")


class Owners:
    """Finds students by id, by the platform's number, and by name.

    Parameters
    ----------
    groups
        Whether students of one group hand in together.
    """

    def __init__(self, roster: Sequence[Student], groups: bool = False) -> None:
        self._groups: dict[str, list[str]] = defaultdict(list)
        self._group_of = {student.id: student.group for student in roster if groups and student.group}
        for id, group in self._group_of.items():
            self._groups[group].append(id)
        known = [*roster, *(Student(group, group) for group in self._groups)]
        self._longest_first = sorted(known, key=lambda student: -len(student.id))
        self._canvas = {student.canvas_id: student for student in roster if student.canvas_id}
        self._moodle = {student.moodle_id: student for student in roster if student.moodle_id}
        self._names: dict[tuple[str, ...], list[Student]] = defaultdict(list)
        self._joined: dict[str, list[Student]] = defaultdict(list)
        self._plainly: dict[str, list[Student]] = defaultdict(list)
        for student in known:
            words = _words(student.name)
            turns = {"".join(words[k:] + words[:k]) for k in range(len(words))}
            if words:
                self._names[tuple(sorted(words))].append(student)
            for turn in turns:
                self._joined[turn].append(student)
            for letters in {letters for turn in turns for letters in _letters(turn)}:
                self._plainly[letters].append(student)

    def of(self, parts: Iterable[str]) -> Owner:
        """Find the owner by the first part of a file's name that says something.

        What the platform wrote is at the beginning of a name. What follows, the student chose: it may look like the
        name that another platform gives, and says nothing of whose the file is.

        Parameters
        ----------
        parts
            Folders first, the file last.
        """
        for depth, part in enumerate(unicodedata.normalize("NFC", part) for part in parts):
            found = self._brightspaced(part)
            if found is None and not _CANVAS.match(part):
                found = self._moodled(part) or self._blackboarded(part)
            if found is None:
                found = self._plain(part)
            if found is not None:
                return replace(self._together(found), depth=depth)
        return NOBODY

    def _together(self, found: Owner) -> Owner:
        """Return an owner with the others of the group, where students hand in by group."""
        if found.student is None:
            return found
        group = self._group_of.get(found.student, found.student)
        members = self._groups.get(group, [])
        if not members:
            return found
        first = found.student if found.student in members else members[0]
        return replace(found, student=first, mates=tuple(id for id in members if id != first))

    def _moodled(self, part: str) -> Owner | None:
        match = _MOODLE.match(part)
        if not match:
            return None
        known = self._moodle.get(match["user"])
        if _MOODLE_ANONYMOUS.fullmatch(match["name"]):
            return Owner(known.id, "Moodle's number") if known else NOBODY
        words = match["name"].split("-")  # a team's name and a hyphen come before the student's
        found = (self._named("-".join(words[k:]), known) for k in range(len(words)))
        return next((owner for owner in found if owner is not NOBODY), NOBODY)

    def _blackboarded(self, part: str) -> Owner | None:
        match = _BLACKBOARD.match(part)
        if not match:
            return None
        when = _date(match["when"], "%Y-%m-%d-%H-%M-%S")
        for student in self._longest_first:
            if re.search(rf"(?:^|_){re.escape(student.id)}$", match["before"], re.IGNORECASE):
                return Owner(student.id, "Blackboard's login", when=when)
        return NOBODY

    def _brightspaced(self, part: str) -> Owner | None:
        match = _BRIGHTSPACE.match(part)
        if not match:
            return None
        return replace(self._named(match["name"], None), when=_date(match["when"].strip(), *_BRIGHTSPACE_DATES))

    def _plain(self, part: str) -> Owner | None:
        match = _CANVAS.match(part) or _CANVAS_ANONYMOUS.match(part)
        if match and match["user"] in self._canvas:
            id = self._canvas[match["user"]].id
            return Owner(id, "Canvas's number", bool(match["late"]), number=int(match["number"]))
        part = _COPY.sub("", part)
        for same in (str, str.casefold):
            for student in self._longest_first:
                id = same(unicodedata.normalize("NFC", student.id))
                if same(part).startswith(id) and not same(part)[len(id) :][:1].isalnum():
                    return Owner(student.id, "id")
        if match:
            fitting = self._fitting(match["name"])
            if len(fitting) == 1 and not fitting[0].canvas_id:
                return Owner(fitting[0].id, "name", bool(match["late"]), number=int(match["number"]))
            return _several(fitting) if len(fitting) > 1 else NOBODY
        return self._begins_with_a_name(part)

    def _begins_with_a_name(self, part: str) -> Owner | None:
        """Find a student by a name before a hyphen, an underscore or the end, as Google Classroom writes it."""
        stem = re.sub(r"\.\w{1,8}$", "", part)
        words = stem.split("_")
        heads = [stem, stem.partition(" - ")[0], *(" ".join(words[:k]) for k in range(len(words) - 1, 1, -1))]
        found = (self._named(head, None) for head in heads)
        return next((owner for owner in found if owner is not NOBODY), None)

    def _named(self, name: str, known: Student | None) -> Owner:
        """Find a student by name; where several have it, the platform's number decides."""
        fitting = self._fitting(name)
        if len(fitting) == 1:
            return Owner(fitting[0].id, "name")
        if known in fitting:
            return Owner(known.id, "name and Moodle's number") if known else NOBODY
        return _several(fitting) if fitting else NOBODY

    def _fitting(self, name: str) -> list[Student]:
        """Return who has this name: as it is, with the words joined, or in letters without accents.

        A name without accents may be all that is left of one that had some; so it fits both.
        """
        words = _words(name)
        joined = "".join(words)
        plainly: list[Student] = []
        for letters in sorted(_letters(joined)):
            plainly += [student for student in self._plainly.get(letters, []) if student not in plainly]
        exact = self._names.get(tuple(sorted(words))) or self._joined.get(joined)
        return plainly if not exact or name.isascii() else exact


def _several(students: list[Student]) -> Owner:
    ids = ", ".join(student.id for student in students)
    return Owner(None, f"the name fits {ids}: rename the file to begin with the id of the right one")


def _words(name: str) -> list[str]:
    """Return a name's words in one form, whatever form of Unicode and of capitals it is written in."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.findall(r"\w+", folded.replace("_", " "))


def _letters(text: str) -> set[str]:
    """Return how a text may read where letters with accents cannot be written: ``müller`` as muller and mueller."""
    found = set()
    for form in (text, text.translate(_GERMAN)):
        split = unicodedata.normalize("NFKD", form.translate(_LETTERS))
        found.add("".join(letter for letter in split if not unicodedata.combining(letter)))
    return found - {""}


def _date(text: str, *forms: str) -> datetime | None:
    for form in forms:
        with contextlib.suppress(ValueError, OverflowError):
            return datetime.strptime(text, form).astimezone()
    return None
