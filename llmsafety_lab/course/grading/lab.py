"""A lab graded for a whole class: collected, shared out to workers, kept, reported."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course import depends
from llmsafety_lab.course.grading import overrides, reports
from llmsafety_lab.course.grading.foreign import quoted
from llmsafety_lab.course.grading.grade import LIMITED, read_key, write
from llmsafety_lab.course.grading.policy import read_policy
from llmsafety_lab.course.grading.roster import Student, read_roster
from llmsafety_lab.course.grading.sandbox import Limits, SandboxError, why_not
from llmsafety_lab.course.grading.sheets import Score
from llmsafety_lab.course.grading.submissions import Found, HandedIn, collect
from llmsafety_lab.course.grading.workers import Setting, Task, graded
from llmsafety_lab.errors import InputError

_GRADERS = ("llmsafety_lab.course.grading.grade", "llmsafety_lab.checking.session")


@dataclass(frozen=True)
class Again:
    """What is graded again although it is graded already: of one student or all, one exercise or all."""

    student: str = ""
    exercise: str = ""

    def holds(self, student: str, exercise_id: str) -> bool:
        return self.student in ("", student) and self.exercise in ("", exercise_id)


def grade_lab(
    submissions: Path,
    *,
    topic: str,
    roster: Path,
    key_file: Path,
    out: Path,
    limits: Limits,
    jobs: int = 2,
    due: datetime | None = None,
    policy_file: Path | None = None,
    overrides_file: Path | None = None,
    groups: bool = False,
    again: Again | None = None,
    unsafe: bool = False,
) -> reports.Summary:
    """Grade every submission of a lab and write the grade sheets and feedback pages.

    What is graded already, by the same checks, key and limits, is not graded again, unless a limit stopped it or the
    grader itself failed: a run that was killed goes on.

    Parameters
    ----------
    submissions
        A folder of notebooks and of platforms' downloads.
    topic
        The lab.
    roster
        A CSV file with the columns id and name (see `read_roster`).
    key_file
        The course's secret, at least 16 bytes.
    out
        The folder for the sheets, the report, ``feedback/`` and ``results/``.
    due
        What is newer is late; counts before that of ``policy_file`` (see `read_policy`).
    overrides_file
        Points given by hand (see `overrides.read_overrides`).
    groups
        Whether what one student of a group hands in counts for all of the group.
    again
        What to grade again.
    unsafe
        Run the students' code without a sandbox.

    Raises
    ------
    InputError
        If an input cannot be used.
    NotFoundError
        If there is no such lab.
    SandboxError
        If there is no sandbox on this machine.
    """
    exercises = exercise.exercises(topic)
    students = read_roster(roster)
    ids = {student.id for student in students}
    key = read_key(key_file)
    policy = read_policy(policy_file, due, ids)
    by_hand = overrides.read_overrides(overrides_file, students, exercises)
    if again is not None and again.student and again.student not in ids:
        raise InputError(f"no student of the roster has the id {again.student!r}")
    if again is not None and again.exercise:
        exercise.find(again.exercise)
    if not unsafe and (reason := why_not()):
        raise SandboxError(reason)
    (out / "state").mkdir(parents=True, exist_ok=True)
    with _alone(out):
        _only_lab(out, topic)
        found = collect(submissions, students, [asked.answer for asked in exercises], policy, groups)
        salt = _salt(topic, key, limits)
        states = {id: _State(out, handed, salt) for id, handed in sorted(found.chosen.items())}
        tasks = []
        for id, state in states.items():
            wanted = [asked.id for asked in exercises if state.needs(asked.id, again)]
            if wanted:
                tasks.append(Task(found.chosen[id], tuple(wanted)))
        setting = Setting(topic, key, limits, unsafe)
        _grade(tasks, setting, jobs, states)
        stopped = [Task(found.chosen[id], left) for id, state in states.items() if (left := state.stopped())]
        if stopped and tasks:
            _grade(stopped, setting, 1, states)  # once more, one by one: the machine may have been busy
        scores = []
        for student in students:
            results = states[student.id].ordered(exercises) if student.id in states else []
            if not results and any(line.student == student.id for line in by_hand):
                results = [Result(a.id, a.title, a.points, 0, "Nothing was handed in.") for a in exercises]
            days = found.chosen[student.id].days if student.id in found.chosen else 0
            if results:
                results = overrides.applied(results, by_hand, student.id)
            scores.append(Score(student, results, days, policy.kept(days)))
        return reports.write_all(out, topic, exercises, found, scores, policy.due)


def _grade(tasks: Sequence[Task], setting: Setting, jobs: int, states: Mapping[str, _State]) -> None:
    with contextlib.closing(graded(tasks, setting, jobs)) as done:
        for task, results in tqdm(done, total=len(tasks), unit="student", desc="grading", disable=not tasks):
            states[task.handed.student].add(results)


def plan(
    submissions: Path,
    *,
    topic: str,
    roster: Path,
    due: datetime | None,
    policy_file: Path | None,
    groups: bool = False,
) -> list[str]:
    """Return a line for each file and each student without one: what would be graded. Nothing is run or written."""
    students = read_roster(roster)
    policy = read_policy(policy_file, due, {student.id for student in students})
    found = collect(submissions, students, [asked.answer for asked in exercise.exercises(topic)], policy, groups)
    lines = [
        f"{verdict:11}  {quoted(student) if student else '':20}  {quoted(place)}: {quoted(why)}"
        for place, student, verdict, why in found.files
    ]
    return [*lines, *_without(students, found)]


def _without(students: Sequence[Student], found: Found) -> list[str]:
    return [
        f"{'missing':11}  {quoted(student.id):20}  {quoted(student.name)}"
        for student in students
        if student.id not in found.chosen
    ]


class _State:
    """What is kept of a student's graded exercises, in a file that is replaced whole."""

    def __init__(self, out: Path, handed: HandedIn, salt: bytes) -> None:
        self._path = out / "state" / f"{handed.student}.json"
        content = handed.digest or handed.problem
        self._fingerprint = hmac.new(salt, content.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
        self._results: dict[str, Result] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["fingerprint"] == self._fingerprint:
                self._results = {row["id"]: Result(**row) for row in kept["results"]}

    def needs(self, exercise_id: str, again: Again | None) -> bool:
        """Say whether an exercise is to be graded: it is not yet, was stopped, or is asked for again."""
        kept = self._results.get(exercise_id)
        asked = again is not None and again.holds(self._path.stem, exercise_id)
        return kept is None or bool(kept.again) or asked

    def stopped(self) -> tuple[str, ...]:
        """Return the exercises that a limit stopped."""
        return tuple(id for id, result in self._results.items() if result.again == LIMITED)

    def add(self, results: Sequence[Result]) -> None:
        """Keep results, in the place of earlier ones."""
        self._results |= {result.id: result for result in results}
        rows = [result.to_dict() for result in self._results.values()]
        write(self._path, json.dumps({"fingerprint": self._fingerprint, "results": rows}))

    def ordered(self, exercises: Sequence[Exercise]) -> list[Result]:
        return [self._results[asked.id] for asked in exercises]


def _salt(topic: str, key: bytes, limits: Limits) -> bytes:
    digest = hmac.new(key, json.dumps([topic, asdict(limits)]).encode(), hashlib.sha256)
    for path in sorted(depends.closure({*_GRADERS, f"llmsafety_lab.checks.{topic}"})):
        digest.update(path.read_bytes())
    return digest.digest()


def _only_lab(out: Path, topic: str) -> None:
    """Refuse a folder that holds the grades of another lab."""
    path = out / "state" / "lab.txt"
    with contextlib.suppress(FileNotFoundError):
        if (other := path.read_text(encoding="utf-8").strip()) != topic:
            raise InputError(f"{out} holds the grades of the lab {other}: name another folder for {topic}")
    write(path, topic + "\n")


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        with FileLock(out / "state" / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another run is grading into {out}: wait for it, or name another folder") from None
