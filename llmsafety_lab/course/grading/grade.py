"""Grades one submission: each exercise's check outside, the student's code in the sandbox."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

from llmsafety_lab import files
from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.cells import GRADED, why_missing
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, assess, lost
from llmsafety_lab.course.grading.frames import Line, TimedOut
from llmsafety_lab.course.grading.notebooks import code_cells, in_text
from llmsafety_lab.course.grading.sandbox import Sandbox
from llmsafety_lab.course.grading.submissions import Submission
from llmsafety_lab.course.grading.unsafe import Unsafe
from llmsafety_lab.errors import InputError

Box = Sandbox | Unsafe
Cells = list[tuple[int, str]]

LIMITED = "limit"
BROKEN = "grader"


def grade_one(submission: Submission, exercises: list[Exercise], key: bytes, box: Box) -> list[Result]:
    """Return the results of one submission, exercise by exercise, each in a process of its own.

    All exercises together have the time that the box's limits give to a submission; what is not started in it, or was
    stopped by a limit, is marked as such (`Result.again`).
    """
    try:
        if submission.data is None:
            raise InputError(f"Not read: {submission.problem.rstrip('.')}.")
        cells = code_cells(submission.data)
    except InputError as error:
        return [lost(exercise, Failed(str(error))) for exercise in exercises]
    left = box.limits.submission
    results = []
    for asked in exercises:
        if left <= 0:
            spent = f"The {box.limits.submission:g} seconds of the submission were spent before this exercise was run."
            results.append(replace(lost(asked, TimedOut(spent)), again=LIMITED))
            continue
        dice = Dice.of(key, asked.id, submission.student)
        with box.run(min(box.limits.seconds, left)) as line:
            started = time.monotonic()  # what the box needs to start is not the student's
            result = _grade_exercise(cells, asked, dice, line)
            left -= time.monotonic() - started
            results.append(replace(result, again=LIMITED) if line.ended and not result.passed else result)
    return [
        _explained(result, asked, submission.data, cells)
        if result.message.startswith("There is no function or class")
        else result
        for result, asked in zip(results, exercises, strict=True)
    ]


def _grade_exercise(cells: Cells, asked: Exercise, dice: Dice, line: Line) -> Result:
    answer = Answer(asked.answer, line)
    notes: list[str] = []
    try:
        forbid = list(asked.forbid)
        sent = [list(cell) for cell in cells]
        notes += _texts(answer.ask("load", cells=sent, answer=asked.answer, forbid=forbid))
        hide = [f"llmsafety_lab.{module}" for module in exercise.homes(asked.topic)]
        notes += _texts(answer.ask("run", forbid=forbid, hide=hide))
        if answer.ask("has", name=asked.answer) is not True:
            raise Failed(f"There is no function or class {asked.answer} ({GRADED}).")
    except Failed as failed:
        message = re.sub(rf"^{re.escape(asked.answer)} stopped with ", "", failed.message)
        result = lost(asked, Failed(message, hint=failed.hint))
    else:
        result = assess(asked, answer, dice)
    if result.passed or not notes:
        return result
    return replace(result, hint=Failed("", hint=" ".join([result.hint, *notes[:3]]).strip()).hint)


def _texts(value: object) -> list[str]:
    return [str(text)[:500] for text in value[:3]] if isinstance(value, list) else []


def _explained(result: Result, asked: Exercise, data: bytes, cells: Cells) -> Result:
    """Add to a result why the function was not found, as far as the notebook shows it."""
    reason = why_missing(cells, asked.answer)
    if not reason and in_text(data, asked.answer):
        reason = f"{asked.answer} is in a Markdown or raw cell: make it a code cell."
    if not reason and (others := _labs_of(cells) - {asked.topic}):
        reason = f"This looks like the notebook of the lab {' or '.join(sorted(others))}."
    return replace(result, hint=Failed("", hint=f"{reason} {result.hint}".strip()).hint)


def _labs_of(cells: Cells) -> set[str]:
    """Return the labs whose checks a notebook calls."""
    called = re.findall(r"""check\(["'](\w+)\.\w+["']\)""", "\n".join(source for _, source in cells))
    return set(called) & set(exercise.topics())


def read_key(path: Path) -> bytes:
    """Read the course's secret.

    Raises
    ------
    InputError
        If it cannot be read or is shorter than 16 bytes.
    """
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise InputError(f"the key file cannot be read ({error}); llmsafety-lab key {path} makes one") from None
    if len(key) < 16:
        raise InputError(f"the key in {path} has {len(key)} bytes, at least 16 are needed; llmsafety-lab key makes one")
    return key


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; a letter that is no Unicode becomes its number."""
    files.replace(path, text.encode("utf-8", "backslashreplace"))
