"""The student's side of a check: runs a notebook's definitions and answers calls with plain data.

The same code serves the notebook (in the learner's own kernel) and the grader (inside the sandbox, see `sandbox`).
"""

from __future__ import annotations

import ast
import builtins
import copy
import linecache
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from llmsafety_lab.checking import disarm, forbidden
from llmsafety_lab.checking.handles import SmallModel
from llmsafety_lab.checking.wire import NotPlain, dumps, loads

_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = tuple({_PACKAGE, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), "<frozen"})
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
_CALLABLE_ROOTS = {"math", "torch", "nn", "F", "np", "numpy", "re", "regex", "string", "codecs", "unicodedata", "sys"}
GRADED = "of a notebook, only imports, functions, classes and constants are run"


class Session:
    """The names that a student's notebook defines, and calls to them.

    Parameters
    ----------
    namespace
        The notebook's globals where it runs already, or an empty dict into which `load` and `run` put its definitions.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.definitions: list[tuple[str, ast.Module]] = []
        self.objects: dict[int, Any] = {}
        self.changed: list[int] = []
        self.dropped: set[str] = set()

    def handle(self, data: bytes) -> bytes:
        """Carry out one request; a student's error is part of the answer, never raised."""
        request = loads(data)
        try:
            result = getattr(self, "_" + request.pop("do"))(**request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            described = describe(error)
            if isinstance(error, NameError) and error.name in self.dropped:
                described["where"] += f" ({GRADED}, so not what defines {error.name})"
            return dumps({"error": described})
        try:
            return dumps({"ok": result, "changed": self.changed, "traced": _traced(result)})
        except NotPlain as error:
            text = f"{request.get('name')} returned {error}; it has to return tensors, numbers, strings, lists or dicts"
            return dumps({"error": {"text": text, "where": ""}})

    def _load(self, cells: list[tuple[int, str]], answer: str, forbid: list[str]) -> list[str]:
        """Parse the cells, keep what the answer uses, refuse what is forbidden; return what could not be read.

        No student code runs here.
        """
        problems = []
        for number, source in cells:
            name = f"<cell {number}>"
            source = without_magics(source)
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            try:
                tree = ast.parse(source, name)
                self.definitions.append((name, definitions(tree)))
                self.dropped |= {name for node in tree.body if not _is_definition(node) for name in _assigned(node)}
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                problems.append(f"Cell {number} cannot be read{f', line {line}' if line else ''}: {_message(error)}")
        trees = [tree for _, tree in self.definitions]
        forbidden.refuse(trees, answer, forbid)
        needed = {id(node) for _, node in forbidden.used(trees, answer)}
        for tree in trees:
            tree.body = [node for node in tree.body if id(node) in needed]
        return problems

    def _run(self, forbid: list[str], hide: list[str]) -> list[str]:
        """Run the definitions that were kept; return what went wrong in them."""
        disarm.disarm(forbid, hide)
        problems = []
        for name, tree in self.definitions:
            for statement in tree.body:
                try:
                    exec(compile(ast.Module([statement], []), name, "exec"), self.namespace)
                except BaseException as error:
                    problems.append(describe(error)["text"])
        return problems

    def _has(self, name: str) -> bool:
        return callable(self.namespace.get(name))

    def _call(
        self, name: str, args: list[Any], kwargs: dict[str, Any], keep: bool, object: int | None, gradients: bool
    ) -> Any:
        import torch

        target = self.namespace[name] if object is None else getattr(self.objects[object], name)
        before = list(map(_plain, args))
        with torch.set_grad_enabled(gradients):
            result = target(*map(_built, args), **{key: _built(value) for key, value in kwargs.items()})
        self.changed = [place for place, value in enumerate(args) if _plain(value) != before[place]]
        if object is not None and result is self.objects[object]:
            return None
        if not keep:
            return result
        self.objects[len(self.objects)] = result
        return len(self.objects) - 1

    def _assign(self, object: int, state: dict[str, Any]) -> None:
        import torch

        target = self.objects[object]
        if not isinstance(target, torch.nn.Module):
            raise TypeError(f"{type(target).__name__} has to be a torch.nn.Module: its weights are loaded by name")
        try:
            target.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"the weights {sorted(state)} do not fit: {error}") from None


def _plain(value: Any) -> bytes:
    """Return a value as it travels, or nothing where a student has put into it what does not travel."""
    try:
        return dumps(value)
    except NotPlain:
        return b""


def _traced(result: Any) -> bool:
    """Say whether a gradient flows through a result: a tensor, or the first of several."""
    first = result[0] if isinstance(result, list | tuple) and result else result
    return getattr(first, "requires_grad", False) is True


def _built(value: Any) -> Any:
    return copy.deepcopy(value.build()) if type(value) is SmallModel else value


def definitions(tree: ast.Module) -> ast.Module:
    """Return a cell's imports, functions, classes and constants: what a graded run keeps of it."""
    kept: list[ast.stmt] = [node for node in tree.body if _is_definition(node)]
    return ast.Module(kept, [])


def _assigned(node: ast.stmt) -> set[str]:
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return node.value is not None and _is_constant(node.value)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def _is_constant(node: ast.AST) -> bool:
    if isinstance(node, ast.Lambda):
        return True
    if isinstance(node, ast.Call) and not _is_cheap(node):
        return False
    return all(map(_is_constant, ast.iter_child_nodes(node)))


def _is_cheap(call: ast.Call) -> bool:
    root = call.func
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and (root.id in _CALLABLE if root is call.func else root.id in _CALLABLE_ROOTS)


def without_magics(source: str) -> str:
    """Return a cell with its IPython magics and shell lines blanked, line for line."""
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "").lstrip()
    if first.startswith("%%") and not first.startswith(("%%time", "%%capture")):
        return ""
    blank = [line[: len(line) - len(line.lstrip())] + "pass" for line in lines]
    return "\n".join(
        empty if line.lstrip().startswith(("%", "!")) or line.rstrip().endswith("?") else line
        for line, empty in zip(lines, blank, strict=True)
    )


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error as plain words: its type, its message, and the student's own line."""
    message = _message(error)
    text = builtins.type(error).__name__ + (f": {message}" if message else "")
    mine = None
    for frame in traceback.extract_tb(error.__traceback__, limit=-200):
        if not frame.filename.startswith(_LIBRARIES):
            mine = frame
    if isinstance(error, forbidden.Forbidden):
        text = message
    return {"text": text, "where": _where(mine) if mine else ""}


def _where(frame: traceback.FrameSummary) -> str:
    cell = frame.filename.strip("<>") if frame.filename.startswith("<cell") else "your code"
    line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f"line {frame.lineno} of {cell}, in {frame.name}: {line}"[:400]


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except BaseException:
        return ""
