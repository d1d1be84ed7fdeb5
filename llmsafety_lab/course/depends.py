"""Which files of the package a piece of code depends on."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]

_NAME = PACKAGE.name
_DOTTED = re.compile(rf"{_NAME}(\.\w+)+")
_CHECK = re.compile(r"\bcheck\(\s*[\"'](\w+)\.")


class Facts(NamedTuple):
    """What one piece of code says: the modules it imports, what it loads from which face, the files that it names."""

    modules: set[str]
    loads: set[tuple[str, str | None]]
    files: set[Path]


def closure(code: Iterable[str], modules: Iterable[str] = ()) -> set[Path]:
    """Return the files of the package that pieces of code use, followed through what these files use.

    Imports are followed wherever they stand, and so are modules and files of the package that a string names. Of a face
    such as `data`, an entry is followed where `data.load("its name")` stands, and all are where the name is computed.
    The checker is followed where `check("topic.exercise")` stands. The package's own `__init__` ties all of it
    together: it is not followed.

    Parameters
    ----------
    code : iterable of str
        Python without the magics of IPython.
    modules : iterable of str
        Modules of the package that are used besides.
    """
    facts = [read(text) for text in code]
    topics = {topic for text in code for topic in _CHECK.findall(text)}
    waiting = set(modules).union(*(one.modules for one in facts))
    if topics:
        waiting |= {f"{_NAME}.checking.notebook", *(f"{_NAME}.checks.{topic}" for topic in topics)}
    loads = set().union(*(one.loads for one in facts))
    files = set().union(*(one.files for one in facts))
    seen: set[Path] = set()
    while todo := (files | set(paths(waiting, loads))) - seen:
        for path in todo:
            seen.add(path)
            if path.suffix == ".py" and path != PACKAGE / "__init__.py":
                one = _read_file(path, path.stat().st_mtime_ns)
                face = path.name == "__init__.py" and path.parent.parent == PACKAGE
                used = {name for name in one.modules if not (face and any(map(_is_entry, _files(name))))}
                waiting, loads, files = waiting | used, loads | one.loads, files | one.files
    return seen


def paths(modules: Iterable[str], loads: Iterable[tuple[str, str | None]]) -> Iterator[Path]:
    """Yield the files of modules and of the packages around them, and those of the entries that are loaded."""
    for module in modules:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            yield from _files(".".join(parts[:end]))
    for face, name in loads:
        entries = [path for path in sorted((PACKAGE / face).glob("*.py")) if _is_entry(path)]
        chosen = [path for path in entries if name is None or name in _entries(path, path.stat().st_mtime_ns)]
        yield from chosen or entries


def _files(module: str) -> list[Path]:
    """Return the file of a module, or none where the name is not a module's."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return [path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()]


def read(code: str) -> Facts:
    """Return what a piece of code says.

    Raises
    ------
    ValueError
        If it imports relative to where it stands: nobody could tell what.
    """
    modules: set[str] = set()
    loads: set[tuple[str, str | None]] = set()
    files: set[Path] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            loads |= {(name, None) for alias in node.names if (name := _hidden(node, alias))}
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: a relative import; name the whole module")
            modules |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and (face := _face(node.func)):
            loads.add((face, _literal(node.args[0]) if node.args else None))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _DOTTED.fullmatch(node.value):
                modules.add(node.value)
            files |= _named(node.value)
    return Facts({name for name in modules if name.partition(".")[0] == _NAME}, loads, files)


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _face(function: ast.expr) -> str | None:
    """Return the face whose `load` a call calls, as `data` in `data.load(...)`."""
    if isinstance(function, ast.Attribute) and function.attr == "load":
        name = getattr(function.value, "id", getattr(function.value, "attr", ""))
        return name if name and (PACKAGE / name / "__init__.py").is_file() else None
    return None


def _hidden(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str | None:
    """Return the face that an import gives another name, or whose `load` it takes alone: its calls are not found."""
    module = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
    parts = module.split(".")
    if parts[0] == _NAME and (parts[2:] == ["load"] or (len(parts) == 2 and alias.asname not in (None, parts[1]))):
        return parts[1]
    return None


def _named(text: str) -> set[Path]:
    """Return the files of the package that a string names, as "declaration.json"."""
    return _data().get(text, set()) if text.endswith((".py", ".json", ".css")) else set()


@functools.cache
def _data() -> dict[str, set[Path]]:
    """Return the package's files by their name, but those whose name many share."""
    found: dict[str, set[Path]] = {}
    for path in PACKAGE.rglob("*.*"):
        if path.suffix in (".py", ".json", ".css") and path.name != "__init__.py":
            found.setdefault(path.name, set()).add(path)
    return found


def _is_entry(path: Path) -> bool:
    return path.parent.parent == PACKAGE and bool(_entries(path, path.stat().st_mtime_ns))


@functools.cache
def _entries(path: Path, changed: int) -> set[str]:
    """Return the names of what a module registers: every `name=...` in the value of its variable ENTRY or ENTRIES."""
    assigned = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    return {
        name
        for node in assigned
        if any(getattr(target, "id", "") in ("ENTRY", "ENTRIES") for target in node.targets)
        for keyword in ast.walk(node)
        if isinstance(keyword, ast.keyword) and keyword.arg == "name" and (name := _literal(keyword.value))
    }


@functools.cache
def _read_file(path: Path, changed: int) -> Facts:
    return read(path.read_text(encoding="utf-8"))
