"""Inside the sandbox: a process with the imports done, forked for every exercise that is graded.

The template itself never runs a student's code. For each request it forks a warden; the warden moves a child into
namespaces of its own (processes, mounts, and users where the sandbox was started by an ordinary user), takes its
privileges away and waits; when the grader closes the leash or time is up, the warden kills the child, and with it, as
the first process of its namespace, everything that it has started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from llmsafety_lab.checking.handles import warm
from llmsafety_lab.course.grading import syscalls
from llmsafety_lab.course.grading.confine import ENVIRONMENT, become, limit

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 4, 24
_FIRST_UID = 61000


def main() -> None:
    """Serve fork requests on the socket that is file descriptor ``argv[1]`` until it closes."""
    import llmsafety_lab.checking.session  # noqa: F401

    warm()
    _prctl(_PR_SET_DUMPABLE, 0)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.sendall(b"ready")
    slot = 0
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 4096, 2)
        if not message:
            return
        slot += 1
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if os.fork() == 0:
            control.close()
            try:
                _warden(json.loads(message), descriptors[0], descriptors[1], _FIRST_UID + slot % 4096)
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _warden(limits: dict[str, Any], connection: int, leash: int, uid: int) -> None:
    root = os.getuid() == 0
    mine = os.getuid()
    _check(_LIBC.unshare(_NEWNS | _NEWIPC | _NEWPID | (0 if root else _NEWUSER)), "unshare")
    if not root:
        _prctl(_PR_SET_DUMPABLE, 1)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{mine} {mine} 1"), ("gid_map", f"{mine} {mine} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        _prctl(_PR_SET_DUMPABLE, 0)
    child = os.fork()
    if child == 0:
        os.close(leash)
        try:
            _child(limits, connection, uid if root else None)
        finally:
            os._exit(1)
    os.close(connection)
    ends = time.monotonic() + limits["seconds"] + 5
    while time.monotonic() < ends and os.waitpid(child, os.WNOHANG) == (0, 0):
        if select.select([leash], [], [], 0.05)[0]:
            break
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _child(limits: dict[str, Any], connection: int, uid: int | None) -> None:
    from llmsafety_lab.checking.session import Session
    from llmsafety_lab.course.grading.frames import Closed, receive, send

    _confine(limits, uid)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    wire = socket.socket(fileno=connection)
    session = Session({"__name__": "__main__", "__builtins__": __builtins__})
    with contextlib.suppress(Closed):
        while True:
            send(wire, session.handle(receive(wire)))


def _confine(limits: dict[str, Any], uid: int | None) -> None:
    _mount(None, "/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
    for place, size in (("/student", limits["disk"]), ("/dev/shm", 1 << 20)):
        _mount("tmpfs", place, "tmpfs", 0x6, f"size={size},mode=1777")  # MS_NOSUID | MS_NODEV
    _mount("proc", "/proc", "proc", 0xE, None)
    limit(limits)
    os.setsid()
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    os.chdir("/student")
    for capability in range(64):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        become(uid)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _check(_LIBC.capset(header, nothing), "capset")
    syscalls.refuse()


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    _check(_LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def _prctl(option: int, value: int) -> None:
    _check(_LIBC.prctl(option, value, 0, 0, 0), "prctl")


def _check(status: int, what: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
