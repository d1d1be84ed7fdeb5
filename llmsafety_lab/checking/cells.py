"""A notebook's cells as a graded run reads them: Python without magics, and of it the definitions."""

from __future__ import annotations

import ast
import dis
import re
import types
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

GRADED = "of a notebook, only imports, functions, classes and constants are run"

_CALLABLE = {
    "float",
    "int",
    "str",
    "bool",
    "list",
    "dict",
    "set",
    "tuple",
    "frozenset",
    "range",
    "len",
    "min",
    "max",
    "abs",
    "sum",
    "chr",
    "ord",
    "bytes",
    "sorted",
    "zip",
    "enumerate",
}
_CALLABLE |= {"partial", "defaultdict", "Counter", "deque", "namedtuple", "product", "map", "filter", "reversed"}
_CALLABLE_ROOTS = {"math", "torch", "nn", "F", "np", "numpy", "re", "regex", "string", "codecs", "unicodedata", "sys"}
_CALLABLE_ROOTS |= {"functools", "itertools", "collections", "operator"}
_CHANGES = {"append", "extend", "insert", "add", "update", "setdefault", "sort", "reverse", "remove", "discard", "pop"}
_METHODS = _CHANGES | {"items", "keys", "values", "get", "copy", "encode", "decode", "split", "join", "strip", "lower"}
_METHODS |= {"upper", "casefold", "replace", "startswith", "endswith", "index", "count", "format", "union"}
_IN_A_NOTEBOOK = ("__name__ == '__main__'", "'__main__' == __name__")
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try)
_BODY_RUNS = re.compile(r"%%(time|capture|prun)\b")


class _Shell:
    """Stands for the notebook's shell: whatever it is asked, it does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def names() -> dict[str, Any]:
    """Return the names that every notebook has without defining them; in a graded run nothing is shown."""
    shell = _Shell()
    return {"display": lambda *args, **kwargs: None, "get_ipython": lambda: shell}


def as_python(source: str) -> str:
    """Return a cell as the Python that IPython makes of it: its magics, shell lines and questions become calls.

    Raises
    ------
    SyntaxError
        If IPython cannot read it.
    """
    lines = source.split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    text = "\n".join(lines[start:])
    if _BODY_RUNS.match(text):
        return "\n" * (start + 1) + as_python("\n".join(lines[start + 1 :]))
    return "\n" * start + TransformerManager().transform_cell(text)


def flat(tree: ast.Module) -> Iterator[ast.stmt]:
    """Give a cell's statements; those under ``if __name__ == "__main__"``, which is true in a notebook, as its own."""
    for node in tree.body:
        if isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) in _IN_A_NOTEBOOK:
            yield from flat(ast.Module(node.body, []))
        else:
            yield node


def defined(tree: ast.Module) -> set[str]:
    """Return the functions and classes that a cell defines."""
    return {node.name for node in flat(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def definitions(tree: ast.Module, own: Collection[str] = ()) -> ast.Module:
    """Return a cell's imports, functions, classes and constants: what a graded run keeps of it.

    Parameters
    ----------
    own
        The functions and classes that the notebook defines (see `defined`). What is made by them is a constant, too.
    """
    return ast.Module([node for node in flat(tree) if is_definition(node, own)], [])


def assigned(node: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value to, and those that it changes in place."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            found.add(_root(part))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _CHANGES:
            found.add(_root(part.func))
        elif isinstance(part, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
    return found - {""}


def dropped(tree: ast.Module, own: Collection[str] = ()) -> list[tuple[ast.stmt, set[str]]]:
    """Return the statements of a cell that a graded run leaves out, each with the names that it gives a value to."""
    return [(node, assigned(node)) for node in flat(tree) if not is_definition(node, own)]


def read(tree: ast.Module | ast.stmt) -> set[str]:
    """Return the names that a statement takes from the notebook, and not from its own functions."""
    module = tree if isinstance(tree, ast.Module) else ast.Module([tree], [])
    try:
        waiting = [compile(module, "<cell>", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
    found = set()
    while waiting:
        code = waiting.pop()
        found |= {step.argval for step in dis.get_instructions(code) if step.opname in _LOADS}
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found


def not_kept(sources: Iterable[str], answer: str) -> dict[str, str]:
    """Return the names that an answer reads and that a graded run would not have, or not with this value.

    Parameters
    ----------
    sources
        The cells that a notebook has run, in that order. Of what was run twice, the last run counts.
    answer
        The name of the student's function or class.

    Returns
    -------
    dict
        For each name the first line of the statement that gives it its value.
    """
    trees = []
    for source in sources:
        try:
            trees.append(ast.parse(as_python(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError):
            continue
    own = {name for tree in trees for name in defined(tree)}
    latest: dict[str, ast.stmt] = {}
    for node in (node for tree in trees for node in flat(tree)):
        bound = {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else assigned(node)
        for name in bound:
            if not isinstance(latest.get(name), ast.Import | ast.ImportFrom) or name in _bound(node):
                latest[name] = node
    lost: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [answer]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in latest:
            continue
        seen.add(name)
        node = latest[name]
        if is_definition(node, own):
            waiting += sorted(read(node))
        elif name != answer:
            lost[name] = ast.unparse(node).partition("\n")[0]
    return lost


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds, without those that it changes in place."""
    stored = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return stored | {getattr(node, "name", "")}


def is_definition(node: ast.stmt, own: Collection[str] = ()) -> bool:
    """Say whether a graded run keeps a statement."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return node.value is not None and _is_constant(node.value, own)
    if isinstance(node, _COMPOUND) and any(isinstance(part, ast.FunctionDef | ast.ClassDef) for part in ast.walk(node)):
        return False
    return isinstance(node, (*_COMPOUND, ast.Expr)) and bool(assigned(node)) and _is_constant(node, own)


def why_missing(cells: Iterable[tuple[int, str]], name: str) -> str:
    """Say why a graded run finds no function or class of this name, as far as the cells show it.

    Parameters
    ----------
    cells
        The code cells with their numbers.
    """
    for number, source in reversed(list(cells)):
        try:
            tree = ast.parse(as_python(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError):
            if re.search(rf"\b{re.escape(name)}\b", source):
                return f"Cell {number} holds the name, but Python cannot read that cell."
            continue
        for node in flat(tree):
            place = f"Cell {number}, line {node.lineno}"
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in assigned(node):
                kept = "is no function and no class" if is_definition(node, defined(tree)) else f"is not kept: {GRADED}"
                return f"{place}: what is given to {name} there {kept}. Write it with def or class."
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                if name.lower() == node.name.lower() and name != node.name:
                    return f"{place} defines {node.name}; the name has to be {name}."
                if isinstance(node, ast.ClassDef) and any(getattr(inner, "name", "") == name for inner in node.body):
                    return f"{place}: {name} is a method of the class {node.name} there. Put it at the left margin."
            elif isinstance(node, ast.AsyncFunctionDef) and node.name == name:
                return f"{place}: {name} is an async function there. Write it with def alone."
            elif any(getattr(inner, "name", "") == name for inner in ast.walk(node)):
                return f"{place}: {name} is defined inside {_kind(node)}, which is not run. Put it at the left margin."
    return ""


def _kind(node: ast.stmt) -> str:
    return f"a statement with {type(node).__name__.lower().removeprefix('async')}"


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_constant(node: ast.AST, own: Collection[str]) -> bool:
    if isinstance(node, ast.Lambda):
        return True
    if isinstance(node, ast.Call) and not _is_cheap(node, own):
        return False
    return all(_is_constant(part, own) for part in ast.iter_child_nodes(node))


def _is_cheap(call: ast.Call, own: Collection[str]) -> bool:
    root = call.func
    if isinstance(root, ast.Attribute) and root.attr in _METHODS:
        return True
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    return root.id in _CALLABLE or root.id in own if root is call.func else root.id in _CALLABLE_ROOTS
