"""Which files a process may read, kept by the kernel (Landlock) for the rest of it: all others are closed."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_NO_NEW_PRIVILEGES = 38
_LIBC = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of Landlock here; 0 or less where there is none."""
    return int(_LIBC.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))) if hasattr(_LIBC, "syscall") else 0


def only_read(places: Iterable[tuple[Path, bool]], own: Path) -> None:
    """Let this process read nothing but some files and folders, and write in one folder.

    Parameters
    ----------
    places
        Each with whether it can be read, the outer before the inner (see `withheld.visible`).
    own
        The folder in which it may do all.

    Raises
    ------
    OSError
        If there is no Landlock here.
    """
    places = list(places)
    closed = {path.resolve() for path, shown in places if not shown}
    rights = _RIGHTS[min(version(), 3)] if version() > 0 else 0
    attributes = struct.pack("@Q", rights)
    rules = _checked(_LIBC.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    for path, shown in places:
        if shown and path.exists():
            _open(rules, path.resolve(), closed)
    _allow(rules, own, rights)
    for device in _DEVICES:
        _allow(rules, Path(device), _READ_FILE | _WRITE_FILE)
    _checked(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(_LIBC.syscall(_RESTRICT, rules, ctypes.c_uint32(0)))
    os.close(rules)


def _open(rules: int, path: Path, closed: set[Path]) -> None:
    if path in closed:
        return
    if any(inner.is_relative_to(path) for inner in closed):
        _allow(rules, path, _READ_FOLDER)
        for below in path.iterdir():
            if below.exists() and not below.is_symlink():
                _open(rules, below, closed)
    else:
        _allow(rules, path, _EXECUTE | _READ_FILE | (_READ_FOLDER if path.is_dir() else 0))


def _allow(rules: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(_LIBC.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, place), ctypes.c_uint32(0)))
    finally:
        os.close(place)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return int(result)
