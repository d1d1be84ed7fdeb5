"""The grade sheets: for Canvas, for Moodle, and by question."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading.foreign import cell, plain
from llmsafety_lab.course.grading.roster import Student


@dataclass(frozen=True)
class Score:
    """What a student has earned; of one who has handed in nothing and got no points by hand, ``results`` is empty.

    Parameters
    ----------
    days
        How many days late it was.
    kept
        The part of the points that being late leaves.
    """

    student: Student
    results: list[Result]
    days: int = 0
    kept: float = 1.0

    @property
    def total(self) -> float | None:
        """The points, after what being late costs; None where there is nothing to give points for."""
        if not self.results:
            return None
        return round(self.kept * sum(result.earned for result in self.results), 2)


def canvas(topic: str, scores: Sequence[Score], points: float) -> str:
    """Return the sheet that Canvas imports. An empty cell, of who has handed in nothing, changes no grade there."""
    rows: list[list[object]] = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", topic]]
    rows.append(["    Points Possible", "", "", "", "", _number(points)])
    for score in scores:
        student = score.student
        rows.append([student.name, student.canvas_id, student.id, student.email, "", _number(score.total)])
    return _csv(rows)


def moodle(topic: str, scores: Sequence[Score]) -> str:
    """Return the sheet that Moodle imports."""
    rows: list[list[object]] = [["Identifier", "ID number", "Full name", "Email address", topic]]
    for score in scores:
        student = score.student
        identifier = f"Participant {student.moodle_id}" if student.moodle_id else ""
        rows.append([identifier, student.id, student.name, student.email, _number(score.total)])
    return _csv(rows)


def by_question(titles: Sequence[str], scores: Sequence[Score]) -> str:
    """Return a sheet with a column for each exercise."""
    rows: list[list[object]] = [["id", "name", *titles, "days late", "points"]]
    for score in scores:
        earned: list[object] = [_number(result.earned) for result in score.results] or [""] * len(titles)
        rows.append([score.student.id, score.student.name, *earned, score.days or "", _number(score.total)])
    return _csv(rows)


def files(found: Sequence[tuple[str, str, str, str]]) -> str:
    """Return a sheet of every file that was found: whose it is, whether it counts, and why."""
    return _csv([["file", "student", "verdict", "why"], *([plain(text, 400) for text in row] for row in found)])


def _number(value: float | None) -> object:
    if value is None:
        return ""
    return int(value) if value == int(value) else value


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()
