"""The environment that a lab meets in Colab: this package as it is installed, what it requires, and nothing else.

It is made of links to what is installed here, in a second: a distribution that the package does not require is simply
not there, so a lab that needs it fails as it would at a student's.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmsafety_lab.errors import CourseError

RUNNERS = ("ipykernel", "papermill", "pip")
"""What runs a notebook there, and what fetches a package."""


def light(root: Path, folder: Path) -> Path:
    """Make the light environment in an empty folder; return its Python.

    Parameters
    ----------
    root
        The checkout; its package is built into a wheel, and the wheel unpacked.

    Raises
    ------
    CourseError
        If the wheel cannot be built.
    """
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    made = subprocess.run(build, cwd=root, capture_output=True, text=True)
    if made.returncode:
        raise CourseError(f"The package's wheel cannot be built:\n{made.stderr[-2000:]}")
    venv.create(folder / "environment", symlinks=True)
    python = folder / "environment" / "bin" / "python"
    site = folder / "environment" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    package = metadata.Distribution.at(next(site.glob("*.dist-info")))
    for distribution in required([*(package.requires or []), *RUNNERS]):
        _link(distribution, site)
    return python


def required(requirements: list[str]) -> list[metadata.Distribution]:
    """Return the installed distributions that some requirements need, and those that these need, and so on.

    Requirements that are met only with an extra that nobody asked for are left out, as pip does.
    """
    found: dict[tuple[str, str], metadata.Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), wanted)
            if key not in found:
                found[key] = metadata.distribution(requirement.name)
                waiting += [(Requirement(text), wanted) for text in found[key].requires or []]
    return [distribution for (_, extra), distribution in found.items() if not extra]


def _link(distribution: metadata.Distribution, site: Path) -> None:
    """Link what a distribution has installed: whole packages, and its own part of namespaces that several share."""
    for file in distribution.files or []:
        if file.parts[0] in ("..", "__pycache__"):
            continue
        source = Path(str(distribution.locate_file("")))
        target = site
        for part in file.parts:
            source, target = source / part, target / part
            whole = source.is_file() or (source / "__init__.py").exists() or source.suffix == ".dist-info"
            if whole and not target.exists():
                target.symlink_to(source)
            if whole or target.is_symlink():
                break
            target.mkdir(exist_ok=True)
