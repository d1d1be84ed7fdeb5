"""Where a student's code runs while it is graded: bubblewrap around a template process, forked for every exercise.

No network, a read-only system that shows nothing but the operating system, Python and the package, and limits on time,
memory, processes, disk and output. Needs Linux with bubblewrap; elsewhere `Unsafe` runs the code as the caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from llmsafety_lab.checking.exercise import homes
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.handles import warm
from llmsafety_lab.checking.wire import dumps
from llmsafety_lab.course.grading.frames import Line
from llmsafety_lab.errors import CourseError

_PACKAGE = Path(__file__).parents[2]
_START_SECONDS = 120


class SandboxError(CourseError, RuntimeError):
    """The sandbox cannot be had, or does not start."""


@dataclass(frozen=True)
class Limits:
    """What the code of one exercise may use.

    Parameters
    ----------
    seconds
        Of the clock, and of the processor.
    submission
        Seconds of the clock for all exercises of one submission; `grade` keeps them.
    memory, disk
        In bytes.
    processes
        Threads count too.
    """

    seconds: float = 20
    submission: float = 60
    memory: int = 1 << 30
    disk: int = 16 << 20
    processes: int = 8


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


class Sandbox:
    """A template process in bubblewrap. One at a time may run; use one sandbox per worker.

    Parameters
    ----------
    topic
        The lab's topic; the package's modules that hold its answers cannot be read inside.

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

    def close(self) -> None:
        """End the template and everything in its namespace."""
        if self._process is not None:
            self._control.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def run(self, seconds: float | None = None) -> Iterator[Line]:
        """Give a fresh process for one exercise; it is gone when the block ends."""
        if self._process is None:
            self._start()
        with self._fork(seconds) as transport:
            yield transport
        if self._process is None or self._process.poll() is not None:
            self.close()
            raise SandboxError("the sandbox ended while it was in use; nothing is lost, run the same command again")

    @contextlib.contextmanager
    def _fork(self, seconds: float | None = None) -> Iterator[Line]:
        ours, theirs = socket.socketpair()
        leash, held = socket.socketpair()
        with ours, leash:
            with theirs, held:
                limits = json.dumps(asdict(self.limits)).encode()
                socket.send_fds(self._control, [limits], [theirs.fileno(), held.fileno()])
            yield Line(ours, min(self.limits.seconds, seconds or self.limits.seconds))

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [
                "bwrap",
                *_namespaces(),
                *_view(self.topic),
                sys.executable,
                "-I",
                "-m",
                "llmsafety_lab.course.grading.template",
            ]
            environment = {
                "PATH": "/usr/bin:/bin",
                "HOME": "/student",
                "TMPDIR": "/student",
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
            }
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                env=environment,
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
            process, self._process = self._process, None
            process.kill()
            raise SandboxError(f"the sandbox did not start: {process.communicate()[1].decode()[-2000:]}")
        self._control.settimeout(None)
        with self._fork() as transport:
            try:
                transport(dumps({"do": "has", "name": "probe"}))
            except Failed:
                self.close()
                raise SandboxError("this machine does not let a sandbox divide itself (unshare): run as root") from None


def _view(topic: str) -> list[str]:
    """Return bubblewrap's options for what can be seen inside."""
    view = ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--tmpfs", "/student"]
    for place in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        if os.path.islink(place):
            view += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            view += ["--ro-bind", place, place]
    for place in ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"):
        view += ["--ro-bind-try", place, place]
    for needed in dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), _PACKAGE)):
        for parent in reversed(needed.parents[:-1]):
            view += ["--perms", "0755", "--dir", str(parent)]
        view += ["--ro-bind", str(needed), str(needed)]
    view += ["--perms", "0755", "--tmpfs", str(_PACKAGE / "checks")]
    for module in homes(topic):
        view += ["--ro-bind", "/dev/null", str(_PACKAGE / f"{module}.py")]
    for place in (str(_PACKAGE / "checks"), "/dev", "/"):
        view += ["--remount-ro", place]
    return view
