"""Which files of the package a piece of code depends on."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def imported(tree: ast.AST) -> set[str]:
    """Return the package's modules that a piece of code imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "llmsafety_lab"}


def closure(modules: Iterable[str]) -> set[Path]:
    """Return the files of modules of the package and of everything in it that they import."""
    files: set[Path] = set()
    waiting = set(modules)
    while waiting:
        parts = waiting.pop().split(".")[1:]
        for end in range(len(parts) + 1):
            base = _PACKAGE.joinpath(*parts[:end])
            for path in (base / "__init__.py", base.with_suffix(".py")):
                if path.is_file() and path not in files:
                    files.add(path)
                    waiting |= imported(ast.parse(path.read_text(encoding="utf-8")))
    return files
