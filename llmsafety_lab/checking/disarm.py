"""Switches off, for the rest of a process, what an exercise asks the student to write.

What is forbidden is switched off itself, not its names: a function loses its code, a class its methods, and where a
library's function has no Python code, each reference to it is replaced. So it does not matter by which name or through
which private module an answer comes to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from llmsafety_lab.checking.forbidden import Forbidden, resolve

_MARK = "what is raised"
_FOREIGN = (
    staticmethod,
    classmethod,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.BuiltinFunctionType,
)
_LEFT = ("__repr__", "__str__", "__del__", "__init_subclass__", "__class_getitem__")


def disarm(forbid: Sequence[str], hide: Sequence[str]) -> None:
    """Make what is forbidden raise, and the modules ``hide`` give no answers, for the rest of this process.

    An operator (``aten::name``) is overridden in torch's dispatcher, so that no other way to it is left open. After
    this, gc does not look through the process's objects, and what defines the forbidden cannot be read or run again.
    """
    for module in [name for name in sys.modules if _below(name, hide)]:
        del sys.modules[module]
    sys.meta_path.insert(0, _Finder(tuple(hide)))
    things = {id(thing): (name, thing) for name in forbid if (thing := resolve(name)) is not None}
    files = [file for _, thing in things.values() for file in _files(thing)]
    for name, thing in things.values():
        _empty(thing, name)
    _replace(things)
    for name in forbid:
        if name.startswith("aten::"):
            _override(name.removeprefix("aten::"))
    if forbid:
        sys.addaudithook(_guard(files))


def _below(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _error(name: str) -> Forbidden:
    return Forbidden(f"{name} is what this exercise asks you to write yourself.")


def _empty(thing: Any, name: str) -> None:
    """Take the code out of a Python function, and of the functions that it wraps; out of a class's methods."""
    if isinstance(thing, type):
        for attribute, value in list(vars(thing).items()):
            if attribute not in _LEFT:
                _empty_method(thing, attribute, value, name)
        if not any(isinstance(vars(thing).get(made), types.FunctionType) for made in ("__init__", "__new__")):
            _set(thing, "__new__", _refusal(name))
    elif isinstance(thing, types.FunctionType):
        inner = [thing.__wrapped__] if hasattr(thing, "__wrapped__") else []
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
        inner += [value for value in cells if getattr(value, "__qualname__", None) == thing.__qualname__]
        thing.__code__ = _raising(thing.__code__, _error(name))
        for function in inner:
            if not (
                isinstance(function, types.FunctionType)
                and any(isinstance(const, Forbidden) for const in function.__code__.co_consts)
            ):
                _empty(function, name)


def _empty_method(owner: type, attribute: str, value: Any, name: str) -> None:
    if isinstance(value, types.FunctionType):
        _empty(value, name)
    elif isinstance(value, staticmethod | classmethod) and isinstance(value.__func__, types.FunctionType):
        _empty(value.__func__, name)
    elif isinstance(value, _FOREIGN) and attribute != "__new__":
        _set(owner, attribute, _refusal(name))


def _set(owner: type, attribute: str, value: Any) -> None:
    with contextlib.suppress(TypeError):
        setattr(owner, attribute, value)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _raising(code: types.CodeType, error: Forbidden) -> types.CodeType:
    """Return code that raises an error, for a function that has the free variables of ``code``."""
    free = ", ".join(code.co_freevars)
    lines = [f"def outer({free}):", " def refused(*args, **kwargs):", f"  if 0: {free or None}", f"  raise {_MARK!r}"]
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, " return refused"]), scope)
    made = scope["outer"](*code.co_freevars).__code__
    return made.replace(co_consts=tuple(error if const == _MARK else const for const in made.co_consts))


def _replace(things: dict[int, tuple[str, Any]]) -> None:
    """Put a refusal in the place of every reference to what has no Python code of its own."""
    foreign = {key: pair for key, pair in things.items() if not isinstance(pair[1], types.FunctionType)}
    if not foreign:
        return
    refusals = {key: _refusal(name) for key, (name, _) in foreign.items() if not _is_python_class(foreign[key][1])}
    for holder in gc.get_referrers(*(thing for key, (_, thing) in foreign.items() if key in refusals)):
        if holder is foreign or holder is things:
            continue
        if isinstance(holder, dict):
            owner = _owner(holder)
            for key, value in list(holder.items()):
                if id(value) in refusals and owner is None:
                    holder[key] = refusals[id(value)]
                elif id(value) in refusals:
                    _set(owner, key, refusals[id(value)])
        elif isinstance(holder, list):
            holder[:] = [refusals.get(id(value), value) for value in holder]
        elif isinstance(holder, types.CellType):
            holder.cell_contents = refusals.get(id(holder.cell_contents), holder.cell_contents)


def _is_python_class(thing: Any) -> bool:
    return isinstance(thing, type) and any(isinstance(value, types.FunctionType) for value in vars(thing).values())


def _owner(namespace: dict[Any, Any]) -> Any:
    """Return the class whose names a dict holds, or None: a class does not see what is put into its dict."""
    if "__module__" not in namespace:
        return None
    holders = [holder for holder in gc.get_referrers(namespace) if isinstance(holder, type)]
    return next((one for one in holders if gc.get_referents(one).count(namespace)), None)


def _override(name: str) -> None:
    import torch

    library = torch._C._dispatch_library("IMPL", "aten", "", __file__, 0)
    for key in ("CPU", "AutogradCPU"):
        library.impl(name, key, _refusal(f"torch's {name}"))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise _error(name)

    return refused


def _files(thing: Any) -> Iterator[str]:
    """Yield the files that define a thing: source, byte code, or a library."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if file := getattr(module, "__file__", None):
        yield file
        if file.endswith(".py"):
            yield importlib.util.cache_from_source(file)


def _guard(files: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook, which cannot be removed: it closes some files, code from them, and gc's view of objects."""
    whole = frozenset(files)
    closed = frozenset(
        (found.st_dev, found.st_ino) for file in files if os.path.exists(file) and (found := os.stat(file))
    )
    looks = frozenset(("gc.get_objects", "gc.get_referrers", "gc.get_referents"))
    # names of modules and the code of Python functions can be changed by what is graded: these cannot
    stat, attribute, kind, number, text, raw = os.stat, getattr, type, int, str, bytes
    absent, refused, access, begins = FileNotFoundError, PermissionError, errno.EACCES, str.startswith
    error, forbidden = _error, Forbidden

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and kind(arguments[0]) is not number:
            path = arguments[0]
            if kind(path) is raw:
                path = text(path, "latin-1")
            try:
                found = stat(arguments[0]) if kind(path) is text else None
            except absent:
                if begins(path, "/"):
                    return
                found = None  # it may be in a folder that has a number
            if found is None or (found.st_dev, found.st_ino) in closed:
                raise refused(access, "it is what this exercise asks you to write yourself", path)
        elif event == "exec":
            if attribute(arguments[0], "co_filename", None) in whole:
                raise error(arguments[0].co_filename)
        elif event == "import" and arguments[1] in whole:
            raise error(arguments[0])
        elif event in looks:
            raise forbidden("A graded answer cannot look through the objects of its process.")

    return guard


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for each module whose functions the lab asks for."""

    def __init__(self, hide: tuple[str, ...]) -> None:
        self._hide = hide

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if _below(name, self._hide) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Hidden(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


class _Hidden(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


class _Absent:
    """Stands in for something of a hidden module: it can be imported, and says why it cannot be used."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _error(self.__name__)

    __call__ = __mro_entries__ = __getitem__ = __iter__ = __len__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _error(self.__name__)
