"""Points that a teacher gives by hand: in place of the grader's, or for what no grader reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading.roster import Student, table
from llmsafety_lab.errors import InputError


@dataclass(frozen=True)
class Override:
    """A line of the file: what a student gets for an exercise, of how many points, and why."""

    student: str
    exercise: str
    points: float
    comment: str
    of: float


def read_overrides(path: Path | None, students: Sequence[Student], exercises: Sequence[Exercise]) -> list[Override]:
    """Read a CSV file with the columns student, exercise and points, and comment and of where there are any.

    What is not an exercise of the lab (an essay) is added to the sheets and pages; ``of`` says out of how many points,
    once for each such name.

    Raises
    ------
    InputError
        If the file cannot be read, or a line names no student, or points that are no number or too many.
    """
    if path is None:
        return []
    most = {exercise.id: float(exercise.points) for exercise in exercises}
    ids = {student.id.casefold(): student.id for student in students}
    lines = table(path, "the overrides")
    for number, row in lines:
        if row.get("of") and row.get("exercise") not in {exercise.id for exercise in exercises}:
            most[row["exercise"]] = max(most.get(row["exercise"], 0), _number(row["of"], path, number))
    found: dict[tuple[str, str], Override] = {}
    for number, row in lines:
        student = ids.get(row.get("student", "").casefold())
        name = row.get("exercise", "")
        if student is None:
            raise InputError(f"{path}, line {number}: no student of the roster has the id {row.get('student', '')!r}")
        if name not in most:
            raise InputError(
                f"{path}, line {number}: {name!r} is no exercise of this lab; "
                "a column `of` has to say how many points it has"
            )
        points = _number(row.get("points", ""), path, number)
        if points > most[name]:
            raise InputError(f"{path}, line {number}: {points:g} points are more than the {most[name]:g} of {name}")
        if (student, name) in found:
            raise InputError(f"{path}, line {number}: {student} and {name} stand there twice")
        found[student, name] = Override(student, name, points, row.get("comment", ""), most[name])
    return list(found.values())


def applied(results: list[Result], overrides: Sequence[Override], student: str) -> list[Result]:
    """Return a student's results with the teacher's points in place of the grader's, and those of the other names."""
    mine = {override.exercise: override for override in overrides if override.student == student}
    extra = {override.exercise: override.of for override in overrides}
    changed = []
    for result in results:
        extra.pop(result.id, None)
        if override := mine.get(result.id):
            said = override.comment or "The teacher gave these points."
            result = Result(result.id, result.title, result.points, override.points, said)
        changed.append(result)
    for name, of in extra.items():
        given = mine.get(name)
        said = (given.comment or "The teacher gave these points.") if given else "The teacher has given no points yet."
        changed.append(Result(name, name, of, given.points if given else 0, said))
    return changed


def _number(text: str, path: Path, line: int) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 10_000:
        raise InputError(f"{path}, line {line}: points are a number from 0, not {text!r}")
    return number
