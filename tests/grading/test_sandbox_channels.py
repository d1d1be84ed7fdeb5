"""Nothing passes from one submission to another, and limits hold for all that an exercise does."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator

import pytest
from test_hostile import HONEST, graded

from llmsafety_lab.course.grading import withheld
from llmsafety_lab.course.grading.frames import TimedOut
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.unsafe import Unsafe


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox("attention", Limits(seconds=5, memory=512 << 20)) as sandbox:
        yield sandbox


HEAD = """
import ctypes, fcntl, os, re, socket, time
def libc(): return ctypes.CDLL(None, use_errno=True)
def double(x):
    seen = []
"""
TAIL = '    raise ValueError("TRIED SEEN " + repr(seen))\n'

# what the first submission does, what the second finds
CHANNELS = {
    "the session's, the user's and the thread's keyring": (
        """
    for ring in (-3, -4, -5):
        libc().syscall(248, b"user", b"planted", b"secret", 6, ring)
""",
        """
    for ring in (-3, -4, -5):
        key = libc().syscall(250, 10, ring, b"user", b"planted", 0)
        if key > 0: seen.append(ring)
""",
    ),
    "an abstract socket, held by a process that stays": (
        """
    try:
        if os.fork() == 0:
            held = socket.socket(socket.AF_UNIX); held.bind("\\0planted"); held.listen(); time.sleep(3)
    except OSError: pass
""",
        """
    try:
        with socket.socket(socket.AF_UNIX) as asked: asked.connect("\\0planted")
        seen.append("connected")
    except OSError: pass
""",
    ),
    "System V": (
        """
    libc().shmget(4242, 4096, 0o1666); libc().msgget(4242, 0o1666); libc().semget(4242, 1, 0o1666)
""",
        """
    for kind, got in (("shm", libc().shmget(4242, 0, 0)), ("msg", libc().msgget(4242, 0)),
                      ("sem", libc().semget(4242, 0, 0))):
        if got >= 0: seen.append(kind)
""",
    ),
    "a message queue": (
        """
    libc().syscall(240, b"planted", 0o102, 0o666, None)
""",
        """
    if libc().syscall(240, b"planted", 2, 0, None) >= 0: seen.append("queue")
""",
    ),
    "files": (
        """
    for folder in ("/tmp", "/dev/shm", "/student", "/var/tmp", "/run", "."):
        try: open(folder + "/planted", "w").close()
        except OSError: pass
""",
        """
    for folder in ("/tmp", "/dev/shm", "/student", "/var/tmp", "/run", "."):
        if os.path.exists(folder + "/planted"): seen.append(folder)
""",
    ),
    "the time of a file's last access": (
        """
    import llmsafety_lab.tables as tables
    open(tables.__file__).read()
""",
        """
    import llmsafety_lab.tables as tables
    found = os.stat(tables.__file__)
    if found.st_atime_ns > found.st_ctime_ns: seen.append("read")
""",
    ),
}


@pytest.mark.parametrize(("plant", "look"), [pytest.param(*pair, id=name) for name, pair in CHANNELS.items()])
def test_what_one_submission_leaves_the_next_does_not_find(plant: str, look: str, box: Sandbox) -> None:
    assert "TRIED SEEN []" in graded(HEAD + plant + TAIL, box).message
    assert "TRIED SEEN []" in graded(HEAD + look + TAIL, box).message


def test_a_key_in_the_graders_session_is_not_found() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    name = f"planted{secrets.token_hex(4)}"
    key = libc.syscall(248, b"user", name.encode(), b"secret", 6, -3)
    if key < 0:
        pytest.skip("this machine keeps no keys")
    look = f"""
    for ring in (-3, -4, -5):
        if libc().syscall(250, 10, ring, b"user", b"{name}", 0) > 0: seen.append(ring)
    buffer = ctypes.create_string_buffer(64)
    if libc().syscall(250, 11, {key}, buffer, 64) > 0: seen.append(buffer.value)
    if "{name}" in open("/proc/keys").read(): seen.append("listed")
"""
    try:
        with Sandbox("attention", Limits(seconds=5)) as box:
            assert "TRIED SEEN []" in graded(HEAD + look + TAIL, box).message
    finally:
        libc.syscall(250, 3, key)


CALLS = {
    "flock on a file that others see": "fcntl.flock(open(Place.file), fcntl.LOCK_EX)",
    "a lock on a part of a file": "fcntl.lockf(open(Place.file), fcntl.LOCK_SH)",
    "who locks a file": "fcntl.fcntl(open(Place.file), fcntl.F_GETLK, bytes(32))",
    "a lease": "fcntl.fcntl(open(Place.file), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
    "what others open": "check(libc().inotify_init1(0))",
    "what is in the page cache": "os.preadv(os.open(Place.file, 0), [bytearray(9)], 0, os.RWF_NOWAIT)",
    "out of the page cache": "os.posix_fadvise(os.open(Place.file, 0), 0, 0, os.POSIX_FADV_DONTNEED)",
    "an anonymous file": "os.memfd_create('m')",
    "a secret anonymous file": "check(libc().syscall(447, 0))",
    "a new process": "os.fork()",
    "a new process by clone": "check(libc().syscall(56, 17, 0, 0, 0, 0))",
    "a new process by clone3": "check(libc().syscall(435, ctypes.create_string_buffer(88), 88))",
    "a new program": "os.execv('/proc/self/exe', ['python', '-c', ''])",
    "a socket": "socket.socket(socket.AF_UNIX)",
    "a network socket": "socket.socket(socket.AF_INET)",
    "a name for a socket of a pair": "socket.socketpair()[0].bind(chr(0) + 'planted')",
    "io_uring": "check(libc().syscall(425, 8, ctypes.create_string_buffer(120)))",
    "userfaultfd": "check(libc().syscall(323, 1))",
    "ptrace": "check(libc().ptrace(0, 0, 0, 0))",
    "another's memory": "check(libc().process_vm_readv(1, None, 0, None, 0, 0))",
    "a process by a descriptor": "check(libc().syscall(434, os.getpid(), 0))",
    "bpf": "check(libc().syscall(321, 0, ctypes.create_string_buffer(72), 72))",
    "perf": "check(libc().syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))",
    "new namespaces": "check(libc().unshare(0x10000000))",
    "a mount": "check(libc().mount(b'tmpfs', b'/student', b'tmpfs', 0, None))",
    "a mount by descriptor": "check(libc().syscall(430, b'tmpfs', 0))",
    "a handle of a file": "check(libc().name_to_handle_at(-100, b'/', ctypes.create_string_buffer(128), "
    "ctypes.byref(ctypes.c_int()), 0))",
    "the 32-bit calls of x86": "check(libc().syscall(0x40000000 + 39))",
}


@pytest.mark.parametrize("way", ["Sandbox", "Unsafe"])
def test_calls_that_carry_data_or_pass_limits_are_refused(way: str, box: Sandbox) -> None:
    code = HEAD + "    for name, do in CALLS.items():\n        try: do()\n        except OSError as error:\n"
    code += "            if error.errno in (1, 38): continue\n            seen.append((name, str(error)))\n"
    code += f"        else: seen.append(name)\n    seen.insert(0, len(CALLS))\n{TAIL}"
    check = "import llmsafety_lab\nclass Place: file = llmsafety_lab.__file__\n"
    check += "def check(got):\n    if got < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
    calls = "CALLS = {" + ", ".join(f"{name!r}: lambda: {call}" for name, call in CALLS.items()) + "}\n"
    code = check + calls + code
    if way == "Sandbox":
        message = graded(code, box).message
    else:
        with Unsafe("attention", Limits(), uid=65534 if os.getuid() == 0 else 0) as other:
            message = graded(code, other).message
    assert f"TRIED SEEN [{len(CALLS)}]" in message, message


def test_all_memory_that_an_exercise_can_hold_is_within_its_limit(box: Sandbox) -> None:
    """Files without names, shared maps, files and plain memory, by every process that it can start, one by one."""
    code = """
import mmap, os
def grow(kept, make):
    try:
        while True: kept.append(make())
    except (OSError, MemoryError, ValueError): return
def file_of(folder):
    number = os.open(f"{folder}/{os.urandom(8).hex()}", os.O_CREAT | os.O_RDWR)
    if os.write(number, bytes(1 << 20)) < 1 << 20: raise OSError
def anonymous():
    if os.write(os.memfd_create("m"), bytes(1 << 20)) < 1 << 20: raise OSError
def shared():
    held = mmap.mmap(-1, 8 << 20)
    for place in range(0, 8 << 20, 4096): held[place] = 1
    return held
def child():
    if os.fork() == 0:
        held = []
        grow(held, lambda: bytearray(8 << 20))
        os.kill(os.getpid(), 19)
    import time; time.sleep(0.3)
def double(x):
    total = 0
    for make, size in ((lambda: file_of("/student"), 1), (lambda: file_of("/dev/shm"), 1), (anonymous, 1), (child, 512),
                       (shared, 8), (lambda: bytearray(8 << 20), 8)):
        kept = []
        grow(kept, make)
        total += size * len(kept)
        globals().setdefault("all", []).append(kept)
    del all[-1]
    raise ValueError(f"TRIED {total} MB")
"""
    message = graded(code, box).message
    megabytes = int(message.partition("TRIED ")[2].partition(" MB")[0])
    assert megabytes <= 512 + 16 + 1, message


def test_a_line_knows_that_the_time_was_up_and_asks_no_more(box: Sandbox) -> None:
    from llmsafety_lab.checking.wire import dumps

    with box.run(seconds=0.3) as line:
        assert line.ended is None
        request = {
            "do": "load",
            "cells": [[1, "def double(x):\n    while True: pass\n"]],
            "answer": "double",
            "forbid": [],
        }
        line(dumps(request))
        line(dumps({"do": "run", "forbid": [], "hide": []}))
        call = {"do": "call", "name": "double", "args": [1], "kwargs": {}, "keep": False, "object": None}
        for _ in range(2):
            with pytest.raises(TimedOut, match=r"0.3 seconds"):
                line(dumps({**call, "gradients": True}))
        assert isinstance(line.ended, TimedOut)
    assert graded(HONEST, box).earned == 5


def test_a_sandbox_that_ended_between_two_submissions_is_started_again() -> None:
    with Sandbox("attention", Limits(seconds=5)) as other:
        assert graded(HONEST, other).earned == 5
        assert other._process is not None
        other._process.kill()
        other._process.wait()
        assert graded(HONEST, other).earned == 5


def test_a_module_that_nothing_has_imported_yet_can_be_imported(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """However Python's files are listed, a link first: no folder on the way to them is closed."""
    links_first = sorted(withheld.visible(), key=lambda place: not place[0].is_symlink())
    monkeypatch.setattr(withheld, "visible", lambda: links_first)
    code = HEAD + "    import wave, encodings.idna\n    open(os.__file__).read()\n    os.listdir('/etc')\n" + TAIL
    with Sandbox("attention", Limits(seconds=5)) as other:
        assert "TRIED SEEN []" in graded(code, other).message
