"""Where a student's code runs while it is graded: bubblewrap around a template process, forked for every exercise.

No network, a read-only system that shows nothing but Python and a copy of the package without the answers, and limits
on time, memory, threads, disk and output. Needs Linux with bubblewrap; elsewhere there is `Unsafe`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.handles import warm
from llmsafety_lab.checking.wire import dumps
from llmsafety_lab.course.grading import withheld
from llmsafety_lab.course.grading.confine import ENVIRONMENT
from llmsafety_lab.course.grading.frames import Line
from llmsafety_lab.errors import CourseError

_COURSE = "/course"
_START_SECONDS = 120


class SandboxError(CourseError, RuntimeError):
    """The sandbox cannot be had, or does not start."""


@dataclass(frozen=True)
class Limits:
    """What the code of one exercise may use. It has one process, so what it may use holds for all that it does.

    Parameters
    ----------
    seconds
        Of the clock, and of the processor.
    submission
        Seconds of the clock for all exercises of a submission; the grader counts them.
    memory, disk
        In bytes.
    threads
        At one time.
    """

    seconds: float = 20
    submission: float = 60
    memory: int = 1 << 30
    disk: int = 16 << 20
    threads: int = 8


def why_not() -> str | None:
    """Return why there is no sandbox on this machine, with what to do, or None where there is one."""
    if not sys.platform.startswith("linux"):
        return "grading needs Linux's namespaces: run it on Linux, in WSL or in a virtual machine"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: sudo apt-get install bubblewrap"
    probe = ["bwrap", *_namespaces(), "--ro-bind", "/", "/", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=30)
    if done.returncode:
        return f"bubblewrap does not run here ({done.stderr.strip()}): allow user namespaces, or run as root"
    return None


def _namespaces() -> list[str]:
    flags = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    flags += ["--die-with-parent", "--new-session"]
    if os.getuid() == 0:
        flags += ["--cap-drop", "ALL"]
        for capability in ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"):
            flags += ["--cap-add", capability]
    return flags


def python(course: str, module: str) -> list[str]:
    """Return the command that runs the function ``main`` of a module of the package's copy in the folder ``course``."""
    program = f"import sys; sys.path.insert(0, {course!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-B", "-c", program]


class Sandbox:
    """A template process in bubblewrap. One at a time may run; use one sandbox per worker.

    Parameters
    ----------
    topic
        The lab's topic; what holds its answers is not there inside.

    Raises
    ------
    SandboxError
        If there is no sandbox here (`why_not`), or it does not start.
    """

    def __init__(self, topic: str, limits: Limits) -> None:
        if reason := why_not():
            raise SandboxError(reason)
        self.topic = topic
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> str:
        """End the template and everything in its namespace; return what it wrote as errors."""
        if self._process is None:
            return ""
        self._control.close()
        self._process.kill()
        said = self._process.communicate()[1].decode(errors="replace")
        self._process = None
        self._package.cleanup()
        return said

    @contextlib.contextmanager
    def run(self, seconds: float | None = None) -> Iterator[Line]:
        """Give a fresh process for one exercise; it is gone when the block ends.

        Parameters
        ----------
        seconds
            Less time than the limit, where the submission has less left.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        with self._fork(seconds or self.limits.seconds) as line:
            yield line
        if self._process is None or self._process.poll() is not None:
            self.close()
            raise SandboxError("the sandbox ended while it was in use; nothing is lost, run the same command again")

    @contextlib.contextmanager
    def _fork(self, seconds: float) -> Iterator[Line]:
        ours, theirs = socket.socketpair()
        leash, held = socket.socketpair()
        with ours, leash:
            with theirs, held:
                limits = json.dumps({**asdict(self.limits), "seconds": seconds}).encode()
                socket.send_fds(self._control, [limits], [theirs.fileno(), held.fileno()])
            yield Line(ours, seconds)

    def _start(self) -> None:
        self.close()
        self._package = tempfile.TemporaryDirectory(prefix="llmsafety-lab-")
        withheld.copy(self.topic, Path(self._package.name))
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [
                "bwrap",
                *_namespaces(),
                *_view(Path(self._package.name)),
                *python(_COURSE, "llmsafety_lab.course.grading.template"),
            ]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                env=ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        warm()
        self._control.settimeout(_START_SECONDS)
        try:
            started = self._control.recv(16)
        except TimeoutError:
            started = b""
        if started != b"ready":
            said = self.close()
            raise SandboxError(f"the sandbox did not start: {said[-2000:]}")
        self._control.settimeout(None)
        with self._fork(_START_SECONDS) as line:
            try:
                line(dumps({"do": "has", "name": "probe"}))
            except Failed:
                self.close()
                raise SandboxError("this machine does not let a sandbox divide itself (unshare): run as root") from None


def _view(package: Path) -> list[str]:
    """Return bubblewrap's options for what can be seen inside: shared libraries, Python, the package."""
    view = ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--tmpfs", "/student"]
    hidden = []
    for place, shown in withheld.visible():
        for parent in reversed(place.parents[:-1]):
            view += ["--perms", "0755", "--dir", str(parent)]
        if place.is_symlink() and shown:
            view += ["--symlink", os.readlink(place), str(place)]
        elif shown:
            view += ["--ro-bind", str(place), str(place)]
        elif place.is_dir():
            view += ["--perms", "0755", "--tmpfs", str(place)]
            hidden.append(str(place))
        else:
            view += ["--ro-bind", "/dev/null", str(place)]
    view += ["--perms", "0755", "--dir", "/etc"]
    for file in ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"):
        view += ["--ro-bind-try", file, file]
    program = os.path.realpath(sys.executable)
    if program != sys.executable:
        view += ["--dir", os.path.dirname(sys.executable), "--symlink", program, sys.executable]
    view += ["--ro-bind", str(package), _COURSE]
    for folder in (*hidden, "/dev", "/"):
        view += ["--remount-ro", folder]
    return view
