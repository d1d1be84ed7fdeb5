"""The student's side of a check: runs a notebook's definitions and answers calls with plain data.

The same code serves the notebook (in the learner's own kernel) and the grader (inside the sandbox, see `sandbox`).
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from llmsafety_lab.checking import cells as notebook
from llmsafety_lab.checking import disarm, forbidden
from llmsafety_lab.checking.handles import Handle
from llmsafety_lab.checking.remote import Errand, RemoteModel
from llmsafety_lab.checking.trace import traced
from llmsafety_lab.checking.wire import NotPlain, dumps, loads

_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = tuple({_PACKAGE, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), "<frozen"})


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
        self.dropped: set[str] = set()
        self.errand: Errand | None = None

    def handle(self, data: bytes) -> bytes:
        """Carry out one request; a student's error is part of the answer, never raised."""
        request = loads(data)
        if request["do"] == "resume":
            assert self.errand
            return self.errand.resume(request["heard"])
        if any(isinstance(value, RemoteModel) for value in request.get("args", ())):
            self.errand = Errand(lambda: self._reply(request))
            return self.errand.wait()
        return self._reply(request)

    def _reply(self, request: dict[str, Any]) -> bytes:
        try:
            do = request.pop("do")
            result = getattr(self, "_" + do)(**request)
            result = result if do == "call" else {"ok": result}
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            described = describe(error)
            if isinstance(error, NameError) and error.name in self.dropped:
                described["where"] += f" ({notebook.GRADED}, so not what defines {error.name})"
            return dumps({"error": described})
        try:
            return dumps(result)
        except NotPlain as error:
            text = f"{request.get('name')} returned {error}; it has to return tensors, numbers, strings, lists or dicts"
            return dumps({"error": {"text": text, "where": ""}})

    def _load(self, cells: list[tuple[int, str]], answer: str, forbid: list[str]) -> list[str]:
        """Parse the cells, keep what the answer uses, refuse what is forbidden; return what could not be read.

        No student code runs here.
        """
        problems = []
        parsed: list[tuple[int, str, ast.Module]] = []
        for number, source in cells:
            name = f"<cell {number}>"
            try:
                source = notebook.as_python(source)
                linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
                parsed.append((number, name, ast.parse(source, name)))
            except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError) as error:
                line = getattr(error, "lineno", None)
                problems.append(f"Cell {number} cannot be read{f', line {line}' if line else ''}: {_message(error)}")
        own = {name for _, _, tree in parsed for name in notebook.defined(tree)}
        left_out: list[tuple[str, set[str]]] = []
        for number, name, tree in parsed:
            self.definitions.append((name, notebook.definitions(tree, own)))
            left_out += [(f"line {node.lineno} of cell {number}", names) for node, names in notebook.dropped(tree, own)]
        self.dropped = {name for _, names in left_out for name in names}
        trees = [tree for _, tree in self.definitions]
        forbidden.refuse(trees, answer, forbid)
        needed = {id(node) for _, node in forbidden.used(trees, answer)}
        for tree in trees:
            tree.body = [node for node in tree.body if id(node) in needed]
        uses = {name for tree in trees for node in tree.body for name in notebook.read(node)}
        for place, names in left_out:
            if shared := sorted(names & uses):
                problems.append(f"What {place} does to {', '.join(shared)} is not run: {notebook.GRADED}.")
        return problems

    def _run(self, forbid: list[str], hide: list[str]) -> list[str]:
        """Run the definitions that were kept; return what went wrong in them."""
        self.namespace.update(notebook.names())
        disarm.disarm(forbid, hide)
        problems = []
        for name, tree in self.definitions:
            for statement in tree.body:
                try:
                    exec(compile(ast.Module([statement], []), name, "exec"), self.namespace)
                except BaseException as error:
                    lost = ", ".join(sorted(notebook.assigned(statement)))
                    problems.append(
                        describe(error)["text"] + f" (so {lost} of {name.strip('<>')} is not there)" * bool(lost)
                    )
        return problems

    def _has(self, name: str) -> bool:
        return callable(self.namespace.get(name))

    def _call(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        keep: bool = False,
        object: int | None = None,
        gradients: bool = True,
        trace: bool = False,
        by: list[int | str] | None = None,
        along: Any = None,
    ) -> dict[str, Any]:
        import torch

        target = self.namespace[name] if object is None else getattr(self.objects[object], name)
        args, kwargs = list(map(_built, args)), {key: _built(value) for key, value in kwargs.items()}
        told: dict[str, Any] = {}
        with torch.set_grad_enabled(gradients):
            if trace:
                given: dict[int | str, Any] = dict(enumerate(args))
                given.update(kwargs if object is None else {**kwargs, "self": self.objects[object]})
                result, told = traced(lambda: target(*args, **kwargs), given, by or [], along)
            else:
                result = target(*args, **kwargs)
        if object is not None and result is self.objects[object]:
            result = None
        if keep:
            self.objects[len(self.objects)] = result
            result = len(self.objects) - 1
        return {"ok": result, "told": told}

    def _assign(self, object: int, state: dict[str, Any]) -> None:
        import torch

        target = self.objects[object]
        if not isinstance(target, torch.nn.Module):
            raise TypeError(f"{type(target).__name__} has to be a torch.nn.Module: its weights are loaded by name")
        try:
            target.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"the weights {sorted(state)} do not fit: {error}") from None


def _built(value: Any) -> Any:
    return value.build() if isinstance(value, Handle) else value


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
