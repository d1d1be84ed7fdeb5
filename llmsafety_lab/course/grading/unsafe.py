"""Where a student's code runs without bubblewrap: a process for each exercise, with what the kernel offers without it.

It runs from a copy of the package without the answers, is refused the calls of `syscalls`, and reads nothing but Python
where there is Landlock. With a ``uid`` it is another user as well, a new one for each exercise.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmsafety_lab.course.grading import confine, frames, landlock, syscalls, withheld
from llmsafety_lab.course.grading.sandbox import Limits, SandboxError, python

_START_SECONDS = 120
_USERS = 1000


class Unsafe:
    """Runs a student's code in a process with no namespaces around it.

    Parameters
    ----------
    topic
        The lab's topic; what holds its answers is not in the copy of the package that runs.
    uid
        For a caller who is the superuser of a container that is thrown away: the highest of a thousand users who are
        nobody. Each exercise becomes one of them, and all that this user runs is ended after it. With 0 the code runs
        as the caller, and of the limits only the time is kept.

    Raises
    ------
    SandboxError
        If there is a ``uid``, and this user could read the answers.
    """

    def __init__(self, topic: str, limits: Limits, uid: int = 0) -> None:
        self.limits = limits
        self.uid = uid
        self._runs = 0
        if uid and landlock.version() < 1 and (files := _readable(topic, uid)):
            raise SandboxError(
                f"without bubblewrap and Landlock a submission could read the answers in {files[0]}; "
                "run chmod -R go-rwx on the folders that hold the package, as root"
            )
        self._package = tempfile.TemporaryDirectory(prefix="llmsafety-lab-")
        withheld.copy(topic, Path(self._package.name))

    def __enter__(self) -> Unsafe:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the copy of the package; no process is kept between exercises."""
        self._package.cleanup()

    @contextlib.contextmanager
    def run(self, seconds: float | None = None) -> Iterator[frames.Line]:
        """Give a fresh process for one exercise; it is gone when the block ends.

        Parameters
        ----------
        seconds
            Less time than the limit, where the submission has less left.

        Raises
        ------
        SandboxError
            If the process does not start.
        """
        seconds = seconds or self.limits.seconds
        uid = self.uid and self.uid - self._runs % _USERS
        self._runs += 1
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryDirectory(prefix="llmsafety-lab-") as own:
            if uid:
                os.chown(own, uid, uid)
            with theirs:
                process = subprocess.Popen(
                    [*python(self._package.name, __name__), str(theirs.fileno())],
                    env={**confine.ENVIRONMENT, "HOME": own, "TMPDIR": own},
                    cwd=own,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            places = [[str(place), shown] for place, shown in withheld.visible()]
            task = {"limits": {**asdict(self.limits), "seconds": seconds}, "uid": uid, "places": places}
            try:
                _start(ours, process, task)
                yield frames.Line(ours, seconds)
            finally:
                process.kill()
                process.communicate()
                if uid:
                    _end_all(uid)


def _start(connection: socket.socket, process: subprocess.Popen[bytes], task: dict[str, Any]) -> None:
    try:
        frames.send(connection, json.dumps(task).encode())
        frames.receive(connection, time.monotonic() + _START_SECONDS)
    except (TimeoutError, frames.Closed):
        process.kill()
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        raise SandboxError(f"the process for a submission did not start: {said[-2000:]}") from None


def _readable(topic: str, uid: int) -> list[str]:
    """Return the files of the checks and of a topic's answers that a user can read."""
    program = "import sys; [print(path) for path in sys.argv[1:] if os.access(path, os.R_OK)]"
    return _as_user(uid, program, *map(str, withheld.files(topic))).stdout.decode().splitlines()


def _end_all(uid: int) -> None:
    _as_user(uid, "os.kill(-1, 9)")


def _as_user(uid: int, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    program = f"import os; os.setgroups([]); os.setresgid(*3 * [{uid}]); os.setresuid(*3 * [{uid}]); {program}"
    command = [sys.executable, "-I", "-S", "-c", program, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, timeout=60)


def main() -> None:
    """Confine this process as the first message says, then answer requests on the file descriptor ``argv[1]``."""
    from llmsafety_lab.checking.handles import warm
    from llmsafety_lab.checking.session import Session

    connection = socket.socket(fileno=int(sys.argv[1]))
    task = json.loads(frames.receive(connection))
    if landlock.version() > 0:
        places = [(Path(place), shown) for place, shown in [*task["places"], (sys.path[0], True), ("/proc/self", True)]]
        landlock.only_read(places, Path.cwd())
    warm()
    if task["uid"]:
        confine.limit(task["limits"])
        confine.become(task["uid"])
    if sys.platform.startswith("linux"):
        syscalls.refuse()
    frames.send(connection, b"ready")
    for standard in (1, 2):
        os.dup2(0, standard)
    session = Session({"__name__": "__main__"})
    with contextlib.suppress(frames.Closed):
        while True:
            frames.send(connection, session.handle(frames.receive(connection)))
