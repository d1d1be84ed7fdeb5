"""The answers that a lab asks for cannot be read by what is graded: not in files, not in memory, by no road."""

from __future__ import annotations

import ast
import compileall
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import classroom
import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.course.book import masters
from llmsafety_lab.course.grading import landlock, withheld
from llmsafety_lab.course.grading.sandbox import Limits, SandboxError
from llmsafety_lab.course.grading.unsafe import Unsafe

PACKAGE = classroom.ROOT / "llmsafety_lab"
MARKER = "-".join(["the marker", "of the withheld", "reference"])

ROADS = """
import ast, glob, importlib, importlib.util, inspect, linecache, marshal, os, pkgutil, sys, types, zipfile, zipimport
import llmsafety_lab
class Base:
    base = os.path.dirname(llmsafety_lab.__file__)

def by_open():
    found = glob.glob(Base.base + "/attention*") + glob.glob(Base.base + "/attention/*.py")
    return [open(path).read() for path in found]

def by_the_grader_path():
    return [open({package!r} + "/attention/layers.py").read()]

def by_byte_code():
    found = glob.glob(Base.base + "/**/attention*.pyc", recursive=True)
    found += glob.glob({package!r} + "/attention/__pycache__/*")
    return [marshal.loads(open(path, "rb").read()[16:]) for path in found]

def by_inspect():
    import llmsafety_lab.attention.layers as layers
    return [inspect.getsource(layers)]

def by_linecache():
    return [text for file in (Base.base + "/attention/layers.py", {package!r} + "/attention/layers.py")
            if (text := "".join(linecache.getlines(file)))]

def by_importlib():
    found = []
    for name in ("attention", "attention.layers"):
        for finder in sys.meta_path[1:]:
            for place in ([Base.base], [{package!r}], [Base.base + "/attention"], [{package!r} + "/attention"]):
                spec = finder.find_spec("llmsafety_lab." + name, place)
                if spec and spec.origin and os.path.exists(spec.origin):
                    found.append(spec.origin)
    return found

def by_pkgutil():
    return [pkgutil.get_data("llmsafety_lab", "attention/layers.py")]

def by_wheel():
    found = [path for place in sys.path for path in glob.glob(place + "/**/*llmsafety*.whl", recursive=True)]
    return found + [zipimport.zipimporter(path).get_source("llmsafety_lab.attention.layers") for path in found]

def by_old_modules():
    return [name for name, module in sys.modules.items() if name.startswith("llmsafety_lab.attention")
            and getattr(module, "scaled_dot_product_attention", None).__class__ is types.FunctionType]

def by_the_checks():
    return glob.glob(Base.base + "/checks/*") + glob.glob({package!r} + "/checks/*")

def double(x):
    tried, seen = [], []
    for road in (by_open, by_the_grader_path, by_byte_code, by_inspect, by_linecache, by_importlib, by_pkgutil,
                 by_wheel, by_old_modules, by_the_checks):
        tried.append(road.__name__)
        try:
            got = road()
        except (OSError, TypeError, ImportError, AttributeError):
            continue
        if got: seen.append((road.__name__, str(got)[:80]))
    raise ValueError(f"TRIED {len(tried)} SEEN {seen}")
"""

WALK = """
import ctypes, os, re, sys
def double(x):
    marker = "-".join(["the marker", "of the withheld", "reference"]).encode()
    seen, files = [], 0
    places = ["/", "/tmp", *{places!r}, *sys.path]
    for base, below, names in (found for place in places for found in os.walk(place)):
        below[:] = [name for name in below if (base, name) not in (("/", "proc"), ("/", "sys"))]
        for name in names:
            path = os.path.join(base, name)
            try:
                files += 1
                if os.stat(path).st_ctime < {since} or not os.path.isfile(path): continue
                if marker in open(path, "rb").read(): seen.append(path)
            except OSError: pass
    regions = 0
    for line in open("/proc/self/maps"):
        start, end, rights = re.match("([0-9a-f]+)-([0-9a-f]+) (r?)", line).groups()
        if rights and "/" not in line and "[v" not in line:
            start, end = int(start, 16), int(end, 16)
            for place in range(start, end, 16 << 20):
                size = min(end - place, 16 << 20)
                part = bytes((ctypes.c_char * size).from_address(place))
                if re.search(rb"def secre[t]\\(", part): seen.append("memory " + line[:40])
            regions += 1
    raise ValueError(f"TRIED {files > 1000} {regions > 10} SEEN {seen}")
"""

DRIVER = """
import json, sys
from datetime import datetime
import llmsafety_lab
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.course.grading.grade import grade_one
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.submissions import Submission
from llmsafety_lab.course.grading.unsafe import Unsafe
assert llmsafety_lab.__file__.startswith(sys.argv[1]), llmsafety_lab.__file__
limits = Limits(seconds=200)
box = Sandbox("attention", limits) if sys.argv[2] == "Sandbox" else Unsafe("attention", limits, uid=int(sys.argv[3]))
one = Exercise("attention.double", "Double", 5, 1, 1, 1, "double", lambda answer, dice: answer(1))
with box:
    for code in json.load(sys.stdin):
        cells = [{"cell_type": "code", "source": code}]
        data = json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode()
        result = grade_one(Submission("s", "s", data, "", datetime.now(), False), [one], b"0" * 16, box)[0]
        print(result.message, flush=True)
"""


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package that has a marker in the answers' source and byte code."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "llmsafety_lab", ignore=shutil.ignore_patterns("__pycache__"))
    layers = tmp_path / "site" / "llmsafety_lab" / "attention" / "layers.py"
    layers.write_text(layers.read_text() + f"\n\ndef secret():\n    return {MARKER!r}\n")
    (tmp_path / "site" / "llmsafety_lab" / "checks" / "marked.py").write_text(f"{MARKER!r}\n")
    compileall.compile_dir(tmp_path / "site", quiet=2)
    return tmp_path / "site"


@pytest.mark.parametrize("box", ["Sandbox", "Unsafe"])
def test_no_road_leads_to_the_answers(marked: Path, box: str) -> None:
    since = time.time() - 60
    codes = [ROADS.replace("{package!r}", repr(str(marked / "llmsafety_lab"))), WALK.replace("{since}", str(since))]
    codes[1] = codes[1].replace("{places!r}", repr([str(marked), str(classroom.ROOT)]))
    user = "65534" if os.getuid() == 0 else "0"
    command = [sys.executable, "-c", DRIVER, str(marked), box, user]
    environment = {**os.environ, "PYTHONPATH": str(marked), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, cwd=marked, input=json.dumps(codes), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    roads, walk = done.stdout.splitlines()
    assert roads.endswith("TRIED 10 SEEN []"), roads
    assert walk.endswith("TRIED True True SEEN []"), walk


def test_without_bubblewrap_and_landlock_readable_answers_are_refused_in_words(monkeypatch, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("another user can be taken on by the superuser only")
    monkeypatch.setattr(landlock, "version", lambda: 0)
    public = tmp_path / "public.py"
    public.write_text("")
    monkeypatch.setattr(withheld, "files", lambda topic: [public])
    for path in (public, *public.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o005)
    with pytest.raises(SandboxError, match=r"could read the answers in .*chmod -R go-rwx"):
        Unsafe("attention", Limits(), uid=65534)
    public.chmod(0o600)
    Unsafe("attention", Limits(), uid=65534).close()


def test_copies_among_pythons_packages_are_found(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "site-packages"
    (packages / "llmsafety_lab" / "attention").mkdir(parents=True)
    (packages / "other" / "deep").mkdir(parents=True)
    (packages / "other" / "deep" / "llmsafety_lab-0.1.0-py3-none-any.whl").write_text("")
    assert withheld._copies({tmp_path / "lib"}) == {
        packages / "llmsafety_lab",
        packages / "other" / "deep" / "llmsafety_lab-0.1.0-py3-none-any.whl",
    }


def test_a_module_that_is_to_be_withheld_exists(monkeypatch) -> None:
    monkeypatch.setattr(withheld, "homes", lambda topic: ["no_such_module"])
    with pytest.raises(LookupError, match="no_such_module"):
        withheld.files("attention")


def shape(node: ast.AST) -> str:
    """Return a definition's code without its documentation, and with its names numbered in the order they come."""
    tree = ast.parse(ast.unparse(node)).body[0]
    names: dict[str, str] = {}
    for part in ast.walk(tree):
        body = getattr(part, "body", None)
        if isinstance(body, list) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
        if isinstance(part, ast.arg):
            part.annotation = None
        if isinstance(part, ast.FunctionDef):
            part.returns = None
        for field in ("id", "arg", "name"):
            if isinstance(name := getattr(part, field, None), str):
                setattr(part, field, names.setdefault(name, f"n{len(names)}"))
    return ast.unparse(tree)


def definitions(tree: ast.AST) -> dict[str, str]:
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name: shape(node) for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("lab", exercise.topics())
def test_what_solves_an_exercise_lies_nowhere_in_the_copy_for_its_lab(lab: str, tmp_path: Path) -> None:
    """Walk the package's syntax: no definition that is a solution's code, under whatever name, is in the copy."""
    withheld.copy(lab, tmp_path)
    answers = {one.id: one.answer for one in exercise.exercises(lab)}
    solutions = masters.solutions(classroom.ROOT / "labs" / f"{lab}.md")
    wanted = {definitions(ast.parse(solutions[id]))[answer]: answer for id, answer in answers.items()}
    found, known = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        seen = (tmp_path / path.relative_to(PACKAGE.parent)).exists()
        for name, code in definitions(ast.parse(path.read_text(encoding="utf-8"))).items():
            known += code in wanted
            if seen and code in wanted:
                found.append(f"{path.relative_to(PACKAGE)}: {name} is {wanted[code]}")
    master = masters.read(classroom.ROOT / "labs" / f"{lab}.md")
    laid_in = any(
        cell.source.startswith("from llmsafety_lab.") for cell in master.cells if "solution" in masters.tags(cell)
    )
    assert not found
    assert known or not laid_in
    assert not list(tmp_path.rglob("*.pyc")) and not (tmp_path / "llmsafety_lab" / "checks").exists()
    assert not list((tmp_path / "llmsafety_lab").glob(f"{lab}*"))
