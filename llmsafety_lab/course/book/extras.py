"""What a notebook needs beside what the package requires."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmsafety_lab.course import depends

NOT_FOR_NOTEBOOKS = {"site", "dev"}


def needed(root: Path, code: Iterable[str]) -> list[str]:
    """Return the optional requirements, as in `pyproject.toml`, of what pieces of code import.

    What the package's modules import on their behalf counts, too.

    Parameters
    ----------
    root
        The checkout.
    code : iterable of str
        Python without the magics of IPython.
    """
    optional = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {
        canonicalize_name(Requirement(text).name): text
        for extra, texts in optional.items()
        for text in texts
        if extra not in NOT_FOR_NOTEBOOKS
    }
    pieces = list(code)
    files = (path.read_text(encoding="utf-8") for path in depends.closure(pieces) if path.suffix == ".py")
    imported = {name for text in (*pieces, *files) for name in _imported(text)}
    of = packages_distributions()
    names = {canonicalize_name(distribution) for name in imported for distribution in of.get(name, [])}
    return sorted(wanted[name] for name in names & wanted.keys())


def _imported(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]
