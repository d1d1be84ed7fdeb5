"""Grades a lab's submissions: each exercise's check outside, the student's code in the sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import queue
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, assess, lost
from llmsafety_lab.checking.session import GRADED
from llmsafety_lab.course import depends
from llmsafety_lab.course.grading import reports
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.submissions import InputError, Submission, code_cells, collect, read_roster
from llmsafety_lab.course.grading.unsafe import Unsafe

Box = Sandbox | Unsafe


def grade(
    submissions: Path,
    *,
    topic: str,
    roster: Path,
    key_file: Path,
    out: Path,
    limits: Limits,
    jobs: int = 2,
    due: datetime | None = None,
    unsafe: bool = False,
) -> reports.Summary:
    """Grade every submission of a lab and write the grade sheets and feedback pages.

    What is graded already, by the same checks, key and limits, is not graded again: a run that was killed goes on.

    Parameters
    ----------
    submissions
        A folder of notebooks and LMS downloads.
    topic
        The lab.
    roster
        A CSV file with the columns id and name (see `read_roster`).
    key_file
        The course's secret, at least 16 bytes.
    out
        The folder for ``grades.csv``, ``grades-moodle.csv``, ``report.md``, ``feedback/`` and ``results/``.
    unsafe
        Run the students' code without a sandbox.

    Raises
    ------
    InputError
        If an input cannot be used.
    SandboxError
        If there is no sandbox on this machine.
    """
    every = exercise.exercises(topic)
    students = read_roster(roster)
    key = read_key(key_file)
    found = collect(submissions, students, due)
    (out / "state").mkdir(parents=True, exist_ok=True)
    with _alone(out), contextlib.ExitStack() as boxes:
        salt = _salt(topic, key, limits)
        open_boxes: queue.SimpleQueue[Box] = queue.SimpleQueue()
        for _ in range(min(jobs, max(1, len(found.chosen)))):
            box: Box = Unsafe(topic, limits) if unsafe else Sandbox(topic, limits)
            boxes.callback(box.close)
            open_boxes.put(box)

        def one(submission: Submission) -> dict[str, Any]:
            state = out / "state" / f"{submission.student}.json"
            content = submission.data if submission.data is not None else submission.problem.encode()
            fingerprint = hmac.new(salt, content, hashlib.sha256).hexdigest()
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads(state.read_text(encoding="utf-8"))
                if kept["fingerprint"] == fingerprint:
                    return kept
            box = open_boxes.get()
            try:
                results = grade_one(submission, every, key, box)
            finally:
                open_boxes.put(box)
            graded = {"fingerprint": fingerprint, "results": [result.to_dict() for result in results]}
            write(state, json.dumps(graded))
            return graded

        with ThreadPoolExecutor(jobs) as pool:
            order = sorted(found.chosen)
            graded = pool.map(one, [found.chosen[student] for student in order])
            try:
                states = dict(zip(order, tqdm(graded, total=len(order), unit="student", desc="grading"), strict=True))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        results = {student: [Result(**one) for one in states[student]["results"]] for student in order}
        return reports.write_all(out, topic, students, every, found, results)


def grade_one(submission: Submission, every: list[Exercise], key: bytes, box: Box) -> list[Result]:
    """Return the results of one submission, exercise by exercise, each in a process of its own."""
    try:
        if submission.data is None:
            raise InputError(f"This file was not read: {submission.problem}.")
        cells = code_cells(submission.data)
    except InputError as error:
        return [lost(one, Failed(str(error))) for one in every]
    return [_grade_exercise(cells, one, Dice.of(key, one.id, submission.student), box) for one in every]


def _grade_exercise(cells: list[tuple[int, str]], one: Exercise, dice: Dice, box: Box) -> Result:
    with box.run() as transport:
        answer = Answer(one.answer, transport)
        try:
            problems = answer.ask(
                "load", cells=[list(cell) for cell in cells], answer=one.answer, forbid=list(one.forbid)
            )
            hide = [f"llmsafety_lab.{module}" for module in exercise.homes(one.topic)]
            ran = answer.ask("run", forbid=list(one.forbid), hide=hide)
            if answer.ask("has", name=one.answer) is not True:
                reasons = [str(text)[:500] for text in [*problems, *ran][:3]] if isinstance(ran, list) else []
                raise Failed(f"There is no function or class {one.answer} ({GRADED}).", hint=" ".join(reasons))
        except Failed as failed:
            message = re.sub(rf"^{re.escape(one.answer)} stopped with ", "", failed.message)
            return lost(one, Failed(message, hint=failed.hint))
        return assess(one, answer, dice)


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
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _salt(topic: str, key: bytes, limits: Limits) -> bytes:
    digest = hmac.new(key, json.dumps([topic, asdict(limits)]).encode(), hashlib.sha256)
    for path in sorted(depends.closure({"llmsafety_lab.course.grading.grade", f"llmsafety_lab.checks.{topic}"})):
        digest.update(path.read_bytes())
    return digest.digest()


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        with FileLock(out / "state" / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another run is grading into {out}: wait for it, or name another folder") from None
