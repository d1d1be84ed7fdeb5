"""What a file that was handed in holds: its code, the lab's names, the version it was made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from llmsafety_lab.errors import InputError

LARGEST = 20 * 2**20
"""The largest notebook that is read, in bytes."""
LONGEST = 1_000_000
"""The most code of a notebook, in characters."""
NAMES = (".ipynb", ".json", ".txt", "")
"""How a notebook's name may end: some browsers save it under another."""
_VERSION = re.compile(r"git\+https?://[^\s\"'@]{1,200}@(v?\d[\w.]{0,20})")


def too_large(size: int) -> str:
    """Say that a file is too large, and how to make it smaller."""
    return (
        f"it has {size / 2**20:.1f} MB, more than the {LARGEST // 2**20} MB that are read: clear the outputs of all "
        "cells, save it, and hand it in again"
    )


def code_cells(data: bytes) -> list[tuple[int, str]]:
    """Return a notebook's code cells with their numbers, without running or parsing any of them.

    Raises
    ------
    InputError
        If this is not a notebook, not one of Python, or holds more than `LONGEST` characters of code.
    """
    found = _cells(data, "code")
    length = sum(len(source) for _, source in found)
    if length > LONGEST:
        raise InputError(
            f"The code of this notebook has {length:,} characters, more than the {LONGEST:,} that are read. "
            "Read large data from a file, and do not write them into a cell."
        )
    return found


def named(cells: Iterable[tuple[int, str]], names: Iterable[str]) -> set[str]:
    """Return which of some functions and classes the code cells define."""
    code = "\n".join(source for _, source in cells)
    return {name for name in names if re.search(rf"^[ \t]*(?:def|class)[ \t]+{re.escape(name)}\b", code, re.MULTILINE)}


def in_text(data: bytes, name: str) -> bool:
    """Say whether a function or class of this name is in a cell that is not a code cell."""
    pattern = re.compile(rf"^[ \t]*(?:def|class)[ \t]+{re.escape(name)}\b", re.MULTILINE)
    return any(pattern.search(source) for kind in ("markdown", "raw") for _, source in _cells(data, kind))


def version(cells: Iterable[tuple[int, str]]) -> str:
    """Return the version of the course that a notebook's code cells install, or nothing."""
    match = _VERSION.search("\n".join(source for _, source in cells))
    return match[1] if match else ""


def _cells(data: bytes, kind: str) -> list[tuple[int, str]]:
    try:
        notebook: Any = json.loads(data)
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        kernel = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        found = []
        for number, cell in enumerate(cells, start=1):
            if cell.get("cell_type") == kind:
                source = cell.get("source", cell.get("input", ""))
                text = source if isinstance(source, str) else "".join(map(str, source))
                if text:
                    found.append((number, text))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, MemoryError) as error:
        raise InputError(
            f"This file is not a Jupyter notebook ({type(error).__name__}). Download it again as .ipynb."
        ) from None
    if str(kernel).lower() != "python":
        raise InputError(f"This notebook is written for {str(kernel)[:40]}, not for Python.")
    return found
