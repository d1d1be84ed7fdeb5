"""What an answer must not call, refused on its syntax tree. In the sandbox `disarm` switches it off as well."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Any

from llmsafety_lab.checking import cells


class Forbidden(Exception):
    """The answer calls what the exercise asks the student to write."""


def refuse(trees: Sequence[ast.Module], answer: str, forbid: Sequence[str]) -> None:
    """Raise if the answer's definition, or a definition that it uses, names something forbidden.

    Parameters
    ----------
    trees
        The notebook's definitions, cell by cell.
    answer
        The name of the student's function or class.
    forbid
        Dotted names; those that name an operator (``aten::``) count by their last part too.

    Raises
    ------
    Forbidden
        Says which name, and in which line.
    """
    last = {name.replace("::", ".").rpartition(".")[2] for name in forbid}
    for name, node in used(trees, answer):
        for found, line in _forbidden_names(node, last, only=name):
            raise Forbidden(f"{answer} uses {found} (line {line}), which this exercise asks you to write yourself.")


def used(trees: Sequence[ast.Module], answer: str) -> list[tuple[str, ast.stmt]]:
    """Return the statements that define the answer and what it uses, each with the name that it defines."""
    bound: dict[str, list[ast.stmt]] = {}
    for tree in trees:
        for node in tree.body:
            for name in _binds(node):
                bound.setdefault(name, []).append(node)
    found: dict[str, list[ast.stmt]] = {}
    waiting = [answer, "*"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = bound.get(name, [])
            waiting += [read for node in found[name] for read in cells.read(node)]
    return [(name, node) for name, nodes in found.items() for node in nodes]


def _binds(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return sorted(cells.assigned(node))


def _forbidden_names(node: ast.stmt, last: set[str], only: str) -> Iterator[tuple[str, int]]:
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            for alias in part.names:
                if alias.name in last and (part is not node or (alias.asname or alias.name) == only):
                    yield f"{part.module}.{alias.name}", part.lineno
        elif isinstance(part, ast.Attribute) and part.attr in last and not _is_own(part.value, only):
            yield ast.unparse(part)[:80], part.lineno
        for text in _looked_up(part):
            if isinstance(text, ast.Constant) and text.value in last:
                yield repr(text.value), text.lineno


def _is_own(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls", name)


def _looked_up(node: ast.AST) -> list[ast.expr]:
    """Return what may name an attribute: a call's arguments, and what is looked up in a module's or object's dict."""
    if isinstance(node, ast.Call):
        return [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call | ast.Attribute):
        return [node.slice]
    return []


def trees_of(namespace: dict[str, Any], forbid: Sequence[str]) -> list[ast.Module]:
    """Return the syntax trees of what a running notebook has defined, for `refuse`."""
    trees = []
    objects = {id(thing): name for name in forbid if (thing := resolve(name)) is not None}
    for name, value in list(namespace.items()):
        if id(value) in objects:
            module, _, attribute = objects[id(value)].rpartition(".")
            trees.append(ast.parse(f"from {module} import {attribute} as {name}"))
        elif isinstance(value, types.FunctionType | type) and value.__module__ == namespace.get("__name__"):
            try:
                trees.append(ast.parse(textwrap.dedent(inspect.getsource(value))))
            except (OSError, TypeError, SyntaxError):
                continue
    return trees


def resolve(name: str) -> Any:
    if "::" in name:
        return None
    home, attribute = _home(name)
    return getattr(home, attribute, None)


def _home(name: str) -> tuple[Any, str]:
    """Return what holds a name, and the name in it; None where its library is not installed, so nobody can use it."""
    home, _, attribute = name.rpartition(".")
    try:
        return pkgutil.resolve_name(home), attribute
    except ModuleNotFoundError:
        return None, attribute
