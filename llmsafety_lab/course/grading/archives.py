"""Every file below a folder, and in the zips there, one by one; nothing is unpacked onto the disk."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from lzma import LZMAError
from pathlib import Path

from llmsafety_lab.course.grading.notebooks import LARGEST, NAMES, too_large
from llmsafety_lab.errors import InputError

LARGEST_ZIP = 100 * 2**20
"""The largest zip inside a zip that is opened, in bytes."""
MOST_ENTRIES = 1000
"""The most files of a zip that was handed in, with the zips inside it; a platform's download may have more."""
MOST_DATA = 200 * 2**20
"""The most that is unpacked of a zip that was handed in, in bytes: of its zips and of what may be a notebook."""
DEEPEST = 3
"""How many zips may lie inside one another."""
_JUNK = {"__MACOSX", ".ipynb_checkpoints", ".git", "__pycache__", "Thumbs.db", "desktop.ini"}
_DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
)


@dataclass(frozen=True)
class File:
    """A file that was handed in: where it is, not what it holds.

    Parameters
    ----------
    path
        The file on the disk: itself, or the zip that holds it.
    inside
        The places of the entry in its zip, and of that zip in the one around it.
    outer, inner
        The parts of its name on the disk, and in the zip on the disk.
    dates
        Of the file on the disk, of the entry in it, of the entry in that; the last is the file's own.
    problem
        Why it is not read; empty where it can be.
    """

    path: Path
    inside: tuple[int, ...]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    place: str
    dates: tuple[datetime, ...]
    problem: str = ""

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]

    @property
    def junk(self) -> bool:
        """Whether the file belongs to an operating system or an editor, and to no student."""
        parts = self.place.split("/")
        return not _JUNK.isdisjoint(parts) or parts[-1].startswith(".")

    def read(self) -> bytes:
        """Return what the file holds.

        Raises
        ------
        InputError
            If it cannot be read or unpacked, or is larger than `LARGEST`.
        """
        if self.problem:
            raise InputError(self.problem)
        try:
            if not self.inside:
                with open(self.path, "rb") as file:
                    data = file.read(LARGEST + 1)
            else:
                data = _unpacked(_opened(self.path, self.inside[:-1]), self.inside[-1], LARGEST)
        except _DAMAGE as error:
            raise InputError(f"it cannot be {'unpacked' if self.inside else 'read'} ({error})") from None
        if len(data) > LARGEST:
            raise InputError(too_large(len(data)))
        return data


@dataclass
class _Room:
    """What may still be looked at of what one student handed in."""

    entries: int = MOST_ENTRIES
    data: int = MOST_DATA

    def takes(self, entries: int, data: int) -> bool:
        """Use some of it, and say whether there was enough."""
        self.entries -= entries
        self.data -= data
        return self.entries >= 0 and self.data >= 0


def files(folder: Path, of_a_student: Callable[[tuple[str, ...]], bool]) -> Iterator[File]:
    """Find every file below a folder, or the one file that is named, in the order of the names.

    Parameters
    ----------
    of_a_student
        Says of a name on the disk whether it is a student's; a zip of that name is not a platform's download.
    """
    if not folder.is_dir():
        yield from _on_disk(folder, folder.parent, of_a_student)
        return
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield from _on_disk(Path(base, name), folder, of_a_student)


def _on_disk(path: Path, base: Path, of_a_student: Callable[[tuple[str, ...]], bool]) -> Iterator[File]:
    outer = path.relative_to(base).parts
    status = path.lstat()
    file = File(path, (), outer, (), "/".join(outer), (datetime.fromtimestamp(max(0, status.st_mtime)).astimezone(),))
    if path.is_symlink() or not path.is_file():
        yield replace(file, problem="a link or a device, not a file")
    elif path.suffix.lower() == ".zip":
        yield from _zipped(file, _Room() if of_a_student(outer) else None)
    else:
        yield replace(file, problem=too_large(status.st_size)) if status.st_size > LARGEST else file


def _zipped(whole: File, room: _Room | None) -> Iterator[File]:
    """Find the files of a zip: one on the disk, or one in it. Without ``room`` it is a platform's, of many students."""
    try:
        entries = _opened(whole.path, whole.inside).infolist()
    except _DAMAGE as error:
        yield replace(whole, problem=f"it is not a zip file, or damaged ({error})")
        return
    if room and not room.takes(len(entries), 0):
        yield replace(whole, problem=f"a zip with more than {MOST_ENTRIES} files is not opened")
        return
    for number, entry in enumerate(entries):
        if entry.is_dir():
            continue
        name = _name(entry)
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        found = replace(
            whole,
            inside=(*whole.inside, number),
            inner=whole.inner if whole.inside else parts,
            place=f"{whole.place}/{name}",
            dates=(*whole.dates, _date(entry, whole.dates[-1])),
        )
        mine = room or _Room()
        zipped = name.lower().endswith(".zip") and not found.junk
        if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
            # such a name says nothing of whose it is
            yield replace(found, inner=(), problem="its name in the zip leads out of the zip")
        elif entry.file_size > (LARGEST_ZIP if zipped else LARGEST):
            yield replace(found, problem=too_large(entry.file_size))
        elif zipped and len(found.inside) >= DEEPEST:
            yield replace(found, problem=f"a zip that lies {DEEPEST} deep in others is not opened")
        elif (zipped or os.path.splitext(name)[1].lower() in NAMES) and not mine.takes(0, entry.file_size):
            yield replace(found, problem=f"more than {MOST_DATA // 2**20} MB of zips and notebooks are not read")
        elif zipped:
            yield from _zipped(found, mine)
        else:
            yield found


def _opened(path: Path, inside: tuple[int, ...]) -> zipfile.ZipFile:
    """Return a zip on the disk, or one in it."""
    status = path.stat()
    return _kept(path, inside, (status.st_mtime_ns, status.st_size, status.st_ino))


@functools.lru_cache(maxsize=DEEPEST)
def _kept(path: Path, inside: tuple[int, ...], state: tuple[int, ...]) -> zipfile.ZipFile:
    if not inside:
        return zipfile.ZipFile(path)
    return zipfile.ZipFile(io.BytesIO(_unpacked(_kept(path, inside[:-1], state), inside[-1], LARGEST_ZIP)))


def _unpacked(archive: zipfile.ZipFile, number: int, most: int) -> bytes:
    with archive.open(archive.infolist()[number]) as file:
        data = file.read(most + 1)
    if most == LARGEST_ZIP and len(data) > most:
        raise ValueError(f"more than {most // 2**20} MB")
    return data


def _name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; zips without the mark for UTF-8 hold it all the same where it can be read as such."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _date(entry: zipfile.ZipInfo, otherwise: datetime) -> datetime:
    try:
        return datetime(*entry.date_time).astimezone()
    except (ValueError, OverflowError, OSError):
        return otherwise
