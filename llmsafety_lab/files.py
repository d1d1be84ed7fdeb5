"""Files and folders that are there as a whole or not at all: killed half-way, the old one stays."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def replace(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, in UTF-8, see it onto the disk, and move it there; make its folder if need be.

    Two processes that write the same file at the same time do not mix: the last one's stays.

    Raises
    ------
    OSError
        If it cannot be written. Nothing half-written is left, and a file that was there stays as it was.
    """
    with replacing(path) as new:
        new.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, which takes the place of `path` when the block ends well, and else vanishes.

    For what writes files itself: `with replacing(path) as new: torch.save(state, new)`.
    """
    with _beside(path) as room:
        yield room / path.name
        _flush(room / path.name)
        os.replace(room / path.name, path)
        _flush(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path, flushed: bool = True) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path` when the block ends well, and else vanishes.

    Between the old folder and the new one there is an instant without any: no system call swaps two folders everywhere.

    Parameters
    ----------
    flushed : bool
        See every file onto the disk; not needed for what is made anew in a minute.
    """
    with _beside(path) as room:
        new = room / "new"
        new.mkdir()
        yield new
        for part in (*new.rglob("*"), new) if flushed else ():
            _flush(part)
        if path.exists():
            os.replace(path, room / "old")
        try:
            os.replace(new, path)
        except OSError:
            if (room / "old").exists():
                os.replace(room / "old", path)
            raise
        _flush(path.parent)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a folder of this call's own on the same disk as `path`; remove what killed processes left of such."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:50]}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*.room-*"):
        if not _runs(int(left.suffix.removeprefix(".room-"))):
            shutil.rmtree(left, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=prefix, suffix=f".room-{os.getpid()}", dir=path.parent))
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _runs(process: int) -> bool:
    """Say whether a process of this number may be running."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _flush(path: Path) -> None:
    """See a file or a folder's entries onto the disk."""
    if path.is_symlink() or not (path.is_file() or (path.is_dir() and os.name == "posix")):
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
