"""A cache folder that is whole or absent: built beside its place, sealed with a manifest, moved into place in one step.

`keep` is all that the rest of the package needs: give it a folder, a key that says what belongs in it, and a function
that fills an empty folder. Killed at any moment, started twice at once, or out of disk, it leaves either the whole
folder or none.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from llmsafety_lab import files
from llmsafety_lab.errors import CourseError

MANIFEST = "manifest.json"


class CarrierError(CourseError, RuntimeError):
    """A model or data set could not be had; the message says what was wrong, where, and what to do."""


class HashError(CarrierError):
    """A file is whole but is not the file that the registry names."""


class TruncatedError(CarrierError):
    """An archive ends early or is damaged."""


class UnreachableError(CarrierError):
    """A source could not be reached, or the tool that reaches it is missing."""


class DiskFullError(CarrierError):
    """There is no room left for the cache."""


class UnknownNameError(CarrierError, LookupError):
    """No registry has an entry of this name."""


def root() -> Path:
    """Return the cache's folder: `LLMSAFETY_CACHE` where it is set, else `llmsafety-lab` in the user's cache folder."""
    if named := os.environ.get("LLMSAFETY_CACHE"):
        return Path(named).expanduser()
    return platformdirs.user_cache_path("llmsafety-lab", appauthor=False, opinion=False)


def shown_root() -> str:
    """Return the cache's folder as a message shows it: `$LLMSAFETY_CACHE`, or a path from `~`."""
    if os.environ.get("LLMSAFETY_CACHE"):
        return "$LLMSAFETY_CACHE"
    home = Path.home()
    return f"~/{root().relative_to(home).as_posix()}" if root().is_relative_to(home) else str(root())


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def intact(folder: Path, key: str, thorough: bool = False) -> bool:
    """Say whether `folder` was finished under `key` and still holds what it held then.

    Parameters
    ----------
    folder : Path
    key : str
    thorough : bool
        Compare every file's digest; otherwise its size alone, which costs next to nothing.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest["key"] == key and all(
            (folder / name).stat().st_size == kept["size"] and (not thorough or sha256(folder / name) == kept["sha256"])
            for name, kept in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def discard(folder: Path, key: str) -> bool:
    """Remove a folder whose files are no longer those of its manifest, digest by digest; say whether it was removed."""
    if not folder.exists() or intact(folder, key, thorough=True):
        return False
    with _explained(folder.name), _alone(folder):
        old = folder.with_name(f".{folder.name}.old")
        os.replace(folder, old)
        _sweep(folder)
    return True


def keep(folder: Path, key: str, build: Callable[[Path], None]) -> Path:
    """Return `folder`, filled by `build` first where it is missing, damaged, or was filled under another key.

    Parameters
    ----------
    folder : Path
    key : str
        Says what belongs in the folder: another key, another content.
    build : callable
        Called with a new empty folder beside `folder`; what it leaves there is kept.

    Raises
    ------
    DiskFullError
        If there is no room; nothing half-written stays.
    CarrierError
        If the cache cannot be written, or as `build` raises it.
    """
    if intact(folder, key):
        return folder
    with _explained(folder.name):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if intact(folder, key):
                return folder
            _sweep(folder)
            with files.replacing_folder(folder) as new:
                build(new)
                _seal(new, key)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the system lets go of it when the process dies, however it dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"{folder.name}: waiting for another process that is preparing it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    """Remove what an interrupted build of `folder` left beside it."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)


def _seal(folder: Path, key: str) -> None:
    """Write the manifest of a finished folder, and let its files be read as widely as new files are."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    kept = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in paths
    }
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"key": key, "files": kept}, indent=1), encoding="utf-8")
    for path in paths:
        path.chmod(manifest.stat().st_mode)


def no_room(error: BaseException | None) -> bool:
    """Say whether an error, or one that it came from, means a full disk or a used-up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if says_no_room(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def says_no_room(text: str) -> bool:
    """Say whether a program's message tells of a full disk."""
    return any(words in text for words in ("No space left on device", "File too large", "Disk quota exceeded"))


def disk_full(name: str) -> DiskFullError:
    """Return the error for a disk that filled up while `name` was prepared."""
    return DiskFullError(
        f"{name}: the disk is full, or a quota is used up, in {shown_root()}. Nothing half-written was kept. "
        "Free some room, or set LLMSAFETY_CACHE to a folder on a larger disk, and run it again."
    )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn a full disk and a folder that cannot be written into an error for people."""
    try:
        yield
    except CarrierError:
        raise
    except Exception as error:
        if no_room(error):
            raise disk_full(name) from error
        if isinstance(error, OSError):
            raise CarrierError(
                f"{name}: the cache in {shown_root()} cannot be written ({error}). "
                "Set LLMSAFETY_CACHE to a folder of your own and run it again."
            ) from error
        raise
