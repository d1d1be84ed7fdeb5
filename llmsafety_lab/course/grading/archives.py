"""Every file below a folder, and in the zips there, one by one; nothing is unpacked onto the disk."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from lzma import LZMAError
from pathlib import Path

from llmsafety_lab.course.grading.notebooks import LARGEST, too_large
from llmsafety_lab.errors import InputError

LARGEST_ZIP = 100 * 2**20
"""The largest zip inside a zip that is opened, in bytes."""
MOST_ENTRIES = 1000
"""The most files of a zip inside a zip; the zip on the disk may have more, it comes from the platform."""
DEEPEST = 3
"""How many zips may lie inside one another."""
_JUNK = {"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"}
_DAMAGE = (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, zlib.error, LZMAError)


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
    problem
        Why it is not read; empty where it can be.
    """

    path: Path
    inside: tuple[int, ...]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    place: str
    when: datetime
    problem: str = ""

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]

    @property
    def junk(self) -> bool:
        """Whether the file belongs to an operating system or an editor, and to no student."""
        parts = self.place.split("/")
        hidden = any(part.startswith((".", "~$")) and part not in (".", "..") for part in parts)
        return hidden or not _JUNK.isdisjoint(parts)

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
                archive = zipfile.ZipFile(self.path)
                for number in self.inside[:-1]:
                    archive = zipfile.ZipFile(io.BytesIO(_unpacked(archive, number, LARGEST_ZIP)))
                data = _unpacked(archive, self.inside[-1], LARGEST)
        except _DAMAGE as error:
            raise InputError(f"it cannot be {'unpacked' if self.inside else 'read'} ({error})") from None
        if len(data) > LARGEST:
            raise InputError(too_large(len(data)))
        return data


def files(folder: Path) -> Iterator[File]:
    """Find every file below a folder, or the one file that is named, in the order of the names."""
    if not folder.is_dir():
        yield from _on_disk(folder, folder.parent)
        return
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield from _on_disk(Path(base, name), folder)


def _on_disk(path: Path, base: Path) -> Iterator[File]:
    outer = path.relative_to(base).parts
    shown = "/".join(outer)
    status = path.lstat()
    when = datetime.fromtimestamp(max(0, status.st_mtime)).astimezone()
    problem = ""
    if path.is_symlink() or not path.is_file():
        problem = "a link or a device, not a file"
    elif path.suffix.lower() == ".zip":
        yield from _zipped(path, (), outer, (), shown, when)
        return
    elif status.st_size > LARGEST:
        problem = too_large(status.st_size)
    yield File(path, (), outer, (), shown, when, problem)


def _zipped(
    path: Path, inside: tuple[int, ...], outer: tuple[str, ...], inner: tuple[str, ...], shown: str, when: datetime
) -> Iterator[File]:
    """Find the files of a zip: on the disk, or, where ``inside`` says so, of one inside it."""
    whole = File(path, inside, outer, inner, shown, when)
    try:
        archive = zipfile.ZipFile(path)
        for number in inside:
            archive = zipfile.ZipFile(io.BytesIO(_unpacked(archive, number, LARGEST_ZIP)))
        entries = archive.infolist()
    except _DAMAGE as error:
        yield _refused(whole, f"it is not a zip file, or damaged ({error})")
        return
    if len(inside) >= DEEPEST or (inside and len(entries) > MOST_ENTRIES):
        yield _refused(whole, f"a zip of {len(entries)} files, {len(inside)} deep in others, is not opened")
        return
    for number, entry in enumerate(entries):
        if entry.is_dir():
            continue
        name = _name(entry)
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        within = parts if not inside else inner
        place = f"{shown}/{name}"
        found = File(path, (*inside, number), outer, within, place, _date(entry, when))
        if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
            nobody = File(path, found.inside, outer, (), place, found.when)  # such a name says nothing of whose it is
            yield _refused(nobody, "its name in the zip leads out of the zip")
        elif name.lower().endswith(".zip") and not found.junk:
            yield from _zipped(path, found.inside, outer, within, place, found.when)
        elif entry.file_size > LARGEST:
            yield _refused(found, too_large(entry.file_size))
        else:
            yield found


def _refused(file: File, problem: str) -> File:
    return File(file.path, file.inside, file.outer, file.inner, file.place, file.when, problem)


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
