"""Hostile submissions earn nothing and harm nothing, and an honest one after them still earns its points."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import hostile
import pytest

from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.expect import expect_close
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading.grade import grade_one
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.submissions import Submission

HONEST = "def double(x):\n    return 2 * x\n"
KEY = b"a secret of enough bytes"


def check_double(answer, dice: Dice) -> None:
    for _ in range(2):
        x = dice.normal(dice.integer(2, 4), 3)
        expect_close(answer(x), 2 * x, "The double")


DOUBLE = Exercise("attention.double", "Double", 5, 1, 1, 1, "double", check_double)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox("attention", Limits(seconds=3, memory=512 << 20)) as sandbox:
        yield sandbox


def graded(code: str, box: Sandbox) -> Result:
    notebook = {"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": code}]}
    data = json.dumps(notebook).encode()
    submission = Submission("s1", "s1.ipynb", data, "", datetime.now(), False)
    return grade_one(submission, [DOUBLE], KEY, box)[0]


def cases(group: dict[str, str]) -> list:
    return [pytest.param(code, id=name) for name, code in group.items()]


GROUPS = (
    hostile.LYING_OBJECTS,
    hostile.PATCHES,
    hostile.FORGERIES,
    hostile.ENDINGS,
    hostile.FLOODS,
)


@pytest.mark.parametrize("code", [case for group in GROUPS for case in cases(group)])
def test_earns_nothing_and_the_next_is_graded_right(code: str, box: Sandbox) -> None:
    result = graded(code, box)
    assert result.earned == 0
    assert not any(words in result.message for words in NOT_STARTED), "the attack did not take place"
    assert result.message and all(letter.isprintable() or letter == "\n" for letter in result.to_text())
    result.to_html().encode("utf-8")
    assert graded(HONEST, box).earned == 5


NOT_STARTED = (
    "There is no function",
    "ImportError",
    "ModuleNotFoundError",
    "AttributeError",
    "NameError",
    "SyntaxError",
)


@pytest.mark.parametrize("code", cases(hostile.PATCHES))
def test_a_patch_is_carried_out_to_its_end(code: str, box: Sandbox) -> None:
    assert "stopped with" not in graded(code, box).message


@pytest.mark.parametrize("code", cases(hostile.PARSER))
def test_a_cell_that_cannot_be_parsed_earns_nothing(code: str, box: Sandbox) -> None:
    assert graded(code, box).earned == 0
    assert graded(HONEST, box).earned == 5


@pytest.mark.parametrize("code", cases(hostile.SPIES))
def test_sees_nothing_that_is_not_its_own(code: str, box: Sandbox, tmp_path: Path, monkeypatch) -> None:
    secret = tmp_path / "course.key"
    secret.write_text("secret")
    monkeypatch.setenv("CANARY", "CANARY")
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = [str(secret), str(Path(__file__)), f"/proc/{os.getpid()}/environ", "/etc/shadow", "/proc/1/environ"]
        code = code.replace("{places!r}", repr(places)).replace("{port}", str(server.getsockname()[1]))
        result = graded(code, box)
    assert result.earned == 0
    seen = result.message.partition("SEEN ")[2]
    if "/proc/1/environ" in seen:
        seen = "[]" if "CANARY" not in seen and "secret" not in seen else seen
    assert seen == "[]", result.message


def test_nothing_is_left_on_the_machine(box: Sandbox) -> None:
    before = set(os.listdir("/tmp")) | set(os.listdir("/dev/shm"))
    graded("open('/tmp/planted', 'w').write('x')\n" + HONEST, box)
    graded("class C:\n    open('/tmp/planted', 'w').write('x')\n" + HONEST + "double.c = C\n", box)
    assert not {"planted"} & ((set(os.listdir("/tmp")) | set(os.listdir("/dev/shm"))) - before)


def test_no_process_is_left(box: Sandbox) -> None:
    for code in (hostile.FLOODS["processes that outlive"], hostile.ENDINGS["threads left behind"]):
        graded(code, box)
    deadline = time.monotonic() + 2
    while (left := students_processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def students_processes() -> list[str]:
    """Return the processes below this one inside a process namespace that a warden made: three levels deep."""
    parents, deep = {}, []
    depth = len(Path("/proc/self/status").read_text().partition("NSpid:")[2].splitlines()[0].split())
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
            parents[status.parent.name] = facts["PPid"].strip()
            if len(facts["NSpid"].split()) >= depth + 2:
                deep.append(status.parent.name)
    return [process for process in deep if str(os.getpid()) in _above(process, parents)]


def _above(process: str, parents: dict[str, str]) -> list[str]:
    above = []
    while process in parents:
        process = parents[process]
        above.append(process)
    return above


def test_one_exercise_cannot_prepare_the_next(box: Sandbox) -> None:
    """Every exercise has a process of its own: what one leaves in memory or in its folder, the next does not find."""
    planted = "class C:\n    import os\n    found = os.path.exists('/student/x')\n    open('/student/x', 'w').close()\n"
    code = planted + "def double(x):\n    assert not C.found\n    return 2 * x\n"
    assert [graded(code, box).earned for _ in range(2)] == [5, 5]


NOTEBOOKS = {
    "truncated": b'{"cells": [{"cell_type": "code", "source": "def double(x): re',
    "not a notebook": b"%PDF-1.4",
    "empty": b"",
    "a list": b"[1, 2, 3]",
    "deep": b"[" * 100000,
    "cells of the wrong kind": b'{"cells": [1, 2]}',
    "cells is a number": b'{"cells": 7}',
    "wrong kernel": b'{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}',
    "no cells": b'{"cells": [], "metadata": {}}',
    "binary": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in NOTEBOOKS.items()])
def test_what_is_not_a_notebook_earns_nothing_and_says_why(data: bytes, box: Sandbox) -> None:
    result = grade_one(Submission("s1", "x", data, "", datetime.now(), False), [DOUBLE], KEY, box)[0]
    assert result.earned == 0
    assert "notebook" in result.message


def test_magics_and_extra_cells_do_no_harm(box: Sandbox) -> None:
    code = "!rm -rf /\n%cd /\n%load_ext evil\nprint('hello')\nopen('/x')\n" + HONEST + "\ndouble?\n"
    assert graded(code, box).earned == 5
    assert graded("%%bash\necho hello\n" + HONEST, box).earned == 0


def test_feedback_escapes_what_came_from_the_student(box: Sandbox) -> None:
    result = graded("def double(x): raise ValueError('<script>alert(1)</script>')", box)
    assert "<script>" in result.message
    assert "<script>" not in result.to_html()
