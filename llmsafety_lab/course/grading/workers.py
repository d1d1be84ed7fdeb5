"""Processes that grade, each with a sandbox of its own: nothing global is shared, and one may die."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, lost
from llmsafety_lab.course.grading.grade import BROKEN, Box, grade_one
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox, SandboxError
from llmsafety_lab.course.grading.submissions import HandedIn
from llmsafety_lab.course.grading.unsafe import Unsafe

_TRIES = 2
_GRACE = 240
"""Seconds that starting a sandbox, and the checks' own work, may add to the time of a submission."""


@dataclass(frozen=True)
class Task:
    """A submission, and the ids of the exercises of it that are to be graded."""

    handed: HandedIn
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What every worker needs to know."""

    topic: str
    key: bytes
    limits: Limits
    unsafe: bool


def graded(tasks: Iterable[Task], setting: Setting, jobs: int) -> Generator[tuple[Task, list[Result]], None, None]:
    """Grade in ``jobs`` processes; give each submission's results as they come.

    A submission that the grader cannot work with, or that ends its worker or holds it up, gets results that say so and
    are marked to be tried again (`Result.again`); the others go on.

    Raises
    ------
    SandboxError
        If no sandbox can be started.
    """
    waiting = list(reversed(list(tasks)))
    context = multiprocessing.get_context("spawn")
    busy: dict[Connection, Task | None] = {}
    processes: dict[Connection, multiprocessing.process.BaseProcess] = {}
    ends: dict[Connection, float] = {}

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, setting), daemon=False)
        process.start()
        theirs.close()
        busy[ours], processes[ours] = None, process
        cleanup.callback(_end, process, ours)

    with ExitStack() as cleanup:
        for _ in range(min(jobs, len(waiting))):
            start()
        while busy:
            for late in [one for one, end in ends.items() if end < time.monotonic()]:
                processes[late].kill()
                del ends[late]
            for connection in wait(list(busy), timeout=1):
                assert isinstance(connection, Connection)
                task = busy[connection]
                ends.pop(connection, None)
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    del busy[connection]
                    if task is None:
                        raise SandboxError("a process that grades ended before it began; run it again") from None
                    yield task, _troubled(task, "the process that graded it ended, or took too long")
                    if waiting:
                        start()
                    continue
                if isinstance(answer, SandboxError):
                    raise answer
                if task is not None:
                    yield task, answer
                if waiting:
                    busy[connection] = waiting.pop()
                    with suppress(OSError):  # one that has just ended is noticed when its answer is awaited
                        connection.send(busy[connection])
                    ends[connection] = time.monotonic() + _TRIES * setting.limits.submission + _GRACE
                else:
                    del busy[connection]
                    connection.close()


def _end(process: multiprocessing.process.BaseProcess, connection: Connection) -> None:
    connection.close()
    process.join(2)
    process.kill()
    process.join()


def _work(parent: Connection, setting: Setting) -> None:
    """Grade what the parent sends until it closes the connection or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ExitStack() as boxes:
        try:
            box: Box = (
                Unsafe(setting.topic, setting.limits) if setting.unsafe else Sandbox(setting.topic, setting.limits)
            )
            boxes.callback(box.close)
            with box.run():
                pass
        except SandboxError as error:
            parent.send(error)
            return
        try:
            parent.send("ready")
            while True:
                task = parent.recv()
                parent.send(_results(task, setting, box))
        except (EOFError, OSError):
            return


def _results(task: Task, setting: Setting, box: Box) -> list[Result]:
    every = [exercise.find(id) for id in task.ids]
    trouble = ""
    for _ in range(_TRIES):
        try:
            return grade_one(task.handed.read(), every, setting.key, box)
        except SandboxError as error:
            trouble = str(error)
        except Exception as error:
            return _troubled(task, f"{type(error).__name__}: {error}")
    return _troubled(task, trouble)


def _troubled(task: Task, why: str) -> list[Result]:
    said = Failed(
        f"The grader could not grade this ({why[:300]}).",
        hint="It is not known whether the answer is right. Tell the teacher.",
    )
    return [replace(lost(exercise.find(id), said), again=BROKEN) for id in task.ids]
