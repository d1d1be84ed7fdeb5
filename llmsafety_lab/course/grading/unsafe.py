"""Where there is no sandbox: a student's code in a process beside the caller."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict

from llmsafety_lab.course.grading.frames import Line
from llmsafety_lab.course.grading.sandbox import _START_SECONDS, Limits


class Unsafe:
    """Runs a student's code in a process of the caller's own, with nothing between it and the caller's files.

    Parameters
    ----------
    limits
        Only the time is kept, unless there is a ``uid``.
    uid
        Another user for the process to become, for a caller who is the superuser of a container that is thrown away.
    """

    def __init__(self, topic: str, limits: Limits, uid: int = 0) -> None:
        self.topic = topic
        self.limits = limits
        self.uid = uid

    def __enter__(self) -> Unsafe:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is kept between exercises."""

    @contextlib.contextmanager
    def run(self, seconds: float | None = None) -> Iterator[Line]:
        """Give a fresh process for one exercise; it is gone when the block ends."""
        token = secrets.token_bytes(16)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_START_SECONDS)
            port = server.getsockname()[1]
            command = [sys.executable, "-m", "llmsafety_lab.checking.session", str(port), token.hex()]
            command += [json.dumps(asdict(self.limits)), str(self.uid)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(_START_SECONDS)
                    if secrets.compare_digest(connection.recv(len(token), socket.MSG_WAITALL), token):
                        break
                    connection.close()
                with connection:
                    yield Line(connection, min(self.limits.seconds, seconds or self.limits.seconds))
            finally:
                process.kill()
                process.wait()
