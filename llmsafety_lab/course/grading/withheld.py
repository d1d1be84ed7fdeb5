"""What a graded answer may see: a private copy of the package without the lab's answers, and the files of Python."""

from __future__ import annotations

import functools
import os
import shutil
import site
import sys
import sysconfig
from pathlib import Path

from llmsafety_lab.checking.exercise import homes

_PACKAGE = Path(__file__).parents[2]
_SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64")


def copy(topic: str, folder: Path) -> None:
    """Copy the package into a folder, readable for every user, without the checks and what a topic's lab withholds.

    Raises
    ------
    LookupError
        If the package lacks a module that is to be withheld.
    """
    left_out = _left_out(topic)

    def not_copied(directory: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if Path(directory, name) in left_out or name == "__pycache__" or name.endswith((".pyc", ".pyo"))
        }

    shutil.copytree(_PACKAGE, folder / _PACKAGE.name, ignore=not_copied, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def files(topic: str) -> list[Path]:
    """Return the package's own files that the copy for a topic's lab lacks."""
    return [path for place in _left_out(topic) for path in (place.rglob("*") if place.is_dir() else [place])]


def _left_out(topic: str) -> set[Path]:
    found = {_PACKAGE / "checks"}
    for name in homes(topic):
        base = _PACKAGE.joinpath(*name.split("."))
        places = {path for path in (base, base.with_suffix(".py")) if path.exists()}
        if not places:
            raise LookupError(f"the lab {topic} withholds llmsafety_lab.{name}, and the package has no such module")
        found |= places
    return found


@functools.cache
def visible() -> tuple[tuple[Path, bool], ...]:
    """Return what of the machine Python needs, and what in it is not shown, the outer before the inner.

    Needed are Python's library and packages and the shared libraries. Not shown are other copies of this package in
    them: an installed one, a wheel, the checkout.

    Returns
    -------
    A path and whether it is shown, for each.
    """
    paths = sysconfig.get_paths()
    packages = {Path(place) for place in (*site.getsitepackages(), paths["purelib"], paths["platlib"])}
    libraries = {Path(paths[name]) for name in ("stdlib", "platstdlib")}
    shown = {place for place in (*packages, *libraries, *map(Path, _SYSTEM)) if place.is_dir()}
    for prefix in {sys.prefix, sys.base_prefix}:
        shown |= {path for path in Path(prefix, "lib").glob("*.so*") if path.is_file()}
    shown |= {path for path in (Path(sys.prefix, "pyvenv.cfg"), Path(sys.executable).resolve()) if path.is_file()}
    unused = {place / "site-packages" for place in libraries} - packages
    hidden = {place for place in (*unused, *_copies(shown)) if place.exists()}
    places = {**dict.fromkeys(shown, True), **dict.fromkeys(hidden, False)}
    return tuple(sorted(places.items(), key=lambda item: len(item[0].parts)))


def _copies(places: set[Path]) -> set[Path]:
    """Return what holds a copy of this package under some folders: by its name, and the checkout."""
    found = set()
    if _PACKAGE.parent not in places and any(_PACKAGE.is_relative_to(place) for place in places):
        found.add(_PACKAGE.parent)
    for place in places:
        for folder, below, files in os.walk(place):
            names = {name for name in (*below, *files) if name.lower().replace("-", "_").startswith(_PACKAGE.name)}
            found |= {Path(folder, name) for name in names}
            below[:] = [name for name in below if Path(folder, name) not in {*found, *places}]
    return found
