"""One submission graded: what earns points, what does not, and what the student reads."""

from __future__ import annotations

import contextlib
import itertools
import json
import textwrap
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import classroom
import nbformat
import pytest

from llmsafety_lab.checking import exercise, forbidden
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course import cli
from llmsafety_lab.course.book import masters
from llmsafety_lab.course.grading import grade, sandbox
from llmsafety_lab.course.grading.grade import grade_one, read_key
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox
from llmsafety_lab.course.grading.submissions import Submission
from llmsafety_lab.course.grading.unsafe import Unsafe
from llmsafety_lab.errors import InputError

FIRST = classroom.EXERCISES[0]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox("attention", Limits()) as sandbox:
        yield sandbox


def test_a_right_submission_takes_seconds_and_not_minutes(box: Sandbox) -> None:
    submission = Submission("s", "s.ipynb", classroom.notebook(), "", datetime.now(), False)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        results = grade_one(submission, classroom.EXERCISES, b"0" * 16, box)
        seconds.append(time.perf_counter() - started)
    assert all(result.passed for result in results), [result.to_text() for result in results]
    assert min(seconds) < 4  # 1.2 on an idle machine


@pytest.mark.parametrize("lab", exercise.topics())
def test_in_the_sandbox_the_solution_earns_all_points_and_what_is_borrowed_from_the_course_none(lab: str) -> None:
    student = masters.student(classroom.ROOT / "labs" / f"{lab}.md")
    classroom.fill_in(student, lab)

    def graded(data: bytes, only: list[exercise.Exercise]) -> list[Result]:
        return grade_one(Submission("s", "s.ipynb", data, "", datetime.now(), False), only, b"0" * 16, box)

    with Sandbox(lab, Limits()) as box:
        results = graded(nbformat.writes(student).encode(), exercise.exercises(lab))
        assert all(result.passed for result in results), [result.to_text() for result in results]
        for one, module in itertools.product(exercise.exercises(lab), exercise.homes(lab)):
            imported = f"from llmsafety_lab.{module} import {one.answer}"
            read = (
                f"import llmsafety_lab\ndef {one.answer}(*a, **k):\n    names = {{}}\n"
                f"    exec(open(llmsafety_lab.__file__.replace('__init__', {module!r})).read(), names)\n"
                f"    return names[{one.answer!r}](*a, **k)\n"
            )
            for code in (imported, read):
                assert graded(classroom.plain(code), [one])[0].earned == 0, (one.id, code)


def test_what_a_library_that_is_not_installed_would_answer_needs_no_refusal() -> None:
    assert forbidden.trees_of({"f": 1}, ["no_such_library.answer", "math.sqrt"]) == []


def test_no_two_students_are_asked_the_same_and_one_is_always_asked_the_same() -> None:
    draws = [
        Dice.of(key, "a.b", who).normal(3).tolist()
        for key, who in ((b"k1", "x"), (b"k1", "y"), (b"k2", "x"), (b"k1", "x"))
    ]
    assert draws[0] == draws[3]
    assert draws[0] != draws[1] and draws[0] != draws[2]


def test_the_forbidden_is_refused_on_the_tree_and_in_the_sandbox(box: Sandbox) -> None:
    head = f"import torch\ndef {FIRST.answer}(q, k, v, mask=None):\n    return "
    direct = head + "torch.nn.functional.scaled_dot_product_attention(q, k, v), None"
    hidden = head + "getattr(torch.ops.aten, 'scaled_dot' + '_product_attention')(q, k, v), None"
    package = f"from llmsafety_lab.attention import {FIRST.answer}"
    for code in (direct, hidden, package):
        submission = Submission("s", "s", classroom.plain(code), "", datetime.now(), False)
        result = grade_one(submission, [FIRST], b"0" * 16, box)[0]
        assert result.earned == 0 and "write yourself" in result.message


def test_what_a_notebook_computes_is_not_run_but_its_constants_are(box: Sandbox) -> None:
    cells = "import re\nWORDS = re.compile('a')\nSQUARE = lambda x: max(x, 1) ** 2\nTOTAL = print([1])\n"
    body = "    return len(WORDS.findall('aa')), SQUARE(2), sum(TOTAL)\n"
    data = classroom.plain(f"{cells}def {FIRST.answer}(q, k, v, mask=None):\n{body}")
    submission = Submission("s", "s", data, "", datetime.now(), False)
    result = grade_one(submission, [FIRST], b"0" * 16, box)[0]
    assert "NameError: name 'TOTAL'" in result.message
    assert "only imports, functions, classes and constants" in result.hint


def test_without_a_sandbox_grading_refuses_unless_it_is_told_to(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    (tmp_path / "s1.ipynb").write_bytes(classroom.notebook([FIRST.id]))
    arguments = ["grade", str(tmp_path / "s1.ipynb"), *classroom.course(tmp_path, ["s1"])]
    assert cli.main(arguments) == 1
    assert "apt-get install bubblewrap" in capsys.readouterr().err
    with Unsafe("attention", Limits()) as box:
        submission = Submission("s1", "s", (tmp_path / "s1.ipynb").read_bytes(), "", datetime.now(), False)
        assert grade_one(submission, [FIRST], b"0" * 16, box)[0].passed


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    with pytest.raises(InputError, match="at least 16"):
        read_key(tmp_path / "short")


def graded(code: str, box: Sandbox, exercises: list[exercise.Exercise] | None = None) -> list[Result]:
    submission = Submission("s", "s.ipynb", classroom.plain(code), "", datetime.now(), False)
    return grade_one(submission, exercises or [FIRST], b"0" * 16, box)


HEAD = "import math\nimport torch\n"
RIGHT = masters.solutions(classroom.LAB)[FIRST.id]


@pytest.mark.parametrize(
    "code",
    [
        RIGHT + "  # right?",
        "!pip install -q nothing \\\n    --upgrade\n" + RIGHT,
        RIGHT + "\nt = %time 1 + 1\n",
        'TEXT = """\n% of what\n! not this\n"""\nNUMBER = (7\n  % 4)\n' + RIGHT,
        "%%time\n" + RIGHT,
        "%matplotlib inline\n" + RIGHT + f"\n{FIRST.answer}?",
        RIGHT.replace(":\n", ":\n    display(1); get_ipython().run_line_magic('time', '1')\n", 1),
        "if __name__ == '__main__':\n" + textwrap.indent(RIGHT, "    "),
        f"import functools\n{RIGHT.replace(FIRST.answer, 'inner', 1)}\n{FIRST.answer} = functools.partial(inner)",
        f"class A:\n{textwrap.indent(RIGHT.replace(f'{FIRST.answer}(', '__call__(self, ', 1), '    ')}\n"
        f"{FIRST.answer} = A()",
        "T = {}\nfor b in range(9):\n    T[b] = b\nN = []\nfor b in T:\n    N.append(b)\n"
        "def make():\n    return 3\nM = make()\n"
        + RIGHT.replace(":\n", ":\n    assert T[8] == 8 and len(N) == 9 and M == 3\n", 1),
        RIGHT + "\ndef slow():\n    while True: pass\nmask = slow()\nfor scores in range(3):\n    slow()",
    ],
)
def test_whatever_ipython_accepts_in_a_cell_keeps_its_points(code: str, box: Sandbox) -> None:
    [result] = graded(HEAD + code if not code.startswith("%%") else code.replace("%%time", "%%time\n" + HEAD), box)
    assert result.passed, result.to_text()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (f"if True:\n    def {FIRST.answer}(): pass", "defined inside a statement with if"),
        (f"{FIRST.answer} = open('model').load()", "is not kept"),
        (f"class Mine:\n    def {FIRST.answer}(self): pass", "a method of the class Mine"),
        (f"def {FIRST.answer.upper()}(): pass", "the name has to be"),
        (f"def {FIRST.answer}(:", "cannot read that cell"),
        ("check('tokenization.merge')", "the lab tokenization"),
    ],
)
def test_why_there_is_no_such_function_is_said(code: str, why: str, box: Sandbox) -> None:
    [result] = graded(code, box)
    assert "There is no function" in result.message and why in result.hint


def test_what_stands_in_a_markdown_cell_is_named_as_the_reason(box: Sandbox) -> None:
    data = classroom.plain("import torch")[:-2] + b', {"cell_type": "markdown", "source": %s}]}'
    data = data % json.dumps(f"def {FIRST.answer}(): pass").encode()
    [result] = grade_one(Submission("s", "s", data, "", datetime.now(), False), [FIRST], b"0" * 16, box)
    assert "Markdown" in result.hint


def test_a_statement_that_was_left_out_and_an_import_that_failed_are_named_as_the_cause(box: Sandbox) -> None:
    filled = (
        f"T = {{}}\nfor b in range(9):\n    T[b] = open(b)\ndef {FIRST.answer}(q, k, v, mask=None):\n    return T[1]"
    )
    failed = f"import not_there\ndef {FIRST.answer}(q, k, v, mask=None):\n    return not_there.f(q)"
    [left_out] = graded(filled, box)
    [missing] = graded(failed, box)
    assert "KeyError" in left_out.message and "line 2 of cell 1 does to T is not run" in left_out.hint
    assert "No module named 'not_there'" in missing.hint


def test_the_time_that_a_box_needs_to_start_is_not_the_student_s(box: Sandbox, monkeypatch) -> None:
    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    class Slow:
        limits = Limits()

        @contextlib.contextmanager
        def run(self, seconds: float | None = None) -> Iterator[Any]:
            Clock.now += 50
            with box.run(seconds) as line:
                yield line

    monkeypatch.setattr(grade, "time", Clock)
    submission = Submission("s", "s.ipynb", classroom.notebook(), "", datetime.now(), False)
    assert all(result.passed for result in grade_one(submission, classroom.EXERCISES, b"0" * 16, Slow()))


def test_a_submission_has_a_time_of_its_own_and_what_a_limit_stopped_is_marked() -> None:
    endless = "\n".join(
        f"def {one.answer}(*args, **kwargs):\n    while True: pass"
        for one in classroom.EXERCISES
        if one.answer[0].islower()
    )
    started = time.monotonic()
    with Sandbox("attention", Limits(seconds=2, submission=3)) as box:
        with box.run():
            started = time.monotonic()
        results = graded(endless, box, classroom.EXERCISES)
    assert time.monotonic() - started < 5
    stopped = [result for result in results if result.again == "limit"]
    assert len(stopped) > 2 and "were spent before" in stopped[-1].message
    assert not any(result.again for result in results if result not in stopped)
