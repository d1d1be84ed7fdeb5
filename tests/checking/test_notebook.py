"""``check(...)`` as a student meets it in a notebook."""

from __future__ import annotations

import ast
import linecache

import pytest
import torch

import llmsafety_lab
from llmsafety_lab.checking import exercise, forbidden
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.notebook import check_in
from llmsafety_lab.checking.session import Session

ID = "attention.scaled_dot_product"
NAME = exercise.find(ID).answer


def checked(code: str) -> str:
    """Run code as a notebook's cell would run it, and return what the check says."""
    name = "<ipython-input-1>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    namespace: dict = {"__name__": "__main__"}
    exec(compile(code, name, "exec"), namespace)
    for value in namespace.values():
        if callable(value) and getattr(value, "__module__", "") == "builtins":
            value.__module__ = "__main__"
    result = check_in(exercise.find(ID), namespace)
    assert result.earned == 0
    bundle = result._repr_mimebundle_()
    assert bundle["text/plain"].startswith(f"{ID}: 0 of")
    return bundle["text/plain"]


def test_nothing_written_yet() -> None:
    assert "run the cell that defines it" in checked("x = 1")


def test_a_name_that_a_cell_has_given_to_something_else_is_said_to_be_so() -> None:
    text = checked(f"def {NAME}(q, k, v): return q, v\n{NAME} = 3\n")
    assert f"{NAME} is a value of type int here" in text and "Choose another name" in text


def test_a_printed_result_reads_as_the_shown_one() -> None:
    result = check_in(exercise.find(ID), {})
    shown = result._repr_mimebundle_()["text/plain"]
    assert shown == str(result) == repr(result) and f"{[result]}" == f"[{shown}]"


def test_an_id_without_quotes_is_asked_for_in_quotes() -> None:
    with pytest.raises(ValueError, match=r'in quotes: check\("attention'):
        llmsafety_lab.check(len)  # type: ignore[arg-type]


def test_an_error_shows_the_students_own_line() -> None:
    text = checked(f"def {NAME}(q, k, v, mask=None):\n    scores = q @ k\n    return nothing\n")
    assert "RuntimeError" in text and "line 2" in text and "scores = q @ k" in text


def test_a_missing_return_is_named() -> None:
    assert "return statement" in checked(f"def {NAME}(q, k, v, mask=None):\n    q @ k.transpose(-1, -2)\n")


def test_the_library_may_not_be_called() -> None:
    code = (
        "import torch.nn.functional as F\n"
        f"def {NAME}(q, k, v, mask=None):\n    return F.scaled_dot_product_attention(q, k, v), None\n"
    )
    assert "write yourself" in checked(code)


def test_an_alias_of_the_library_may_not_be_called_either() -> None:
    code = (
        "from torch.nn.functional import scaled_dot_product_attention as fast\n"
        "def helper(q, k, v):\n    return fast(q, k, v), None\n"
        f"def {NAME}(q, k, v, mask=None):\n    return helper(q, k, v)\n"
    )
    assert "write yourself" in checked(code)


def test_the_courses_own_function_is_no_answer() -> None:
    assert "course's own" in checked(f"from llmsafety_lab.attention import {NAME}")


def test_a_word_that_is_forbidden_may_name_a_method_of_ones_own_and_a_key() -> None:
    forbid = ["sklearn.metrics.f1_score"]
    own = "class A:\n    def f1_score(self): return {'f1_score': 1}\n    def b(self): return A.f1_score(self)"
    forbidden.refuse([ast.parse(own)], "A", forbid)
    for code in ("getattr(m, 'f1_score')", "vars(m)['f1_score']", "m.__dict__['f1_score']", "m.f1_score"):
        with pytest.raises(forbidden.Forbidden, match="f1_score"):
            forbidden.refuse([ast.parse(f"def A(): return {code}")], "A", forbid)


def test_the_check_learns_what_an_answer_changes_and_whether_a_gradient_flows() -> None:
    def f(x, w, y):
        y.append(1)
        return (x * w.requires_grad_(),)

    def g(x, w, y):
        x *= 2
        return x

    namespace = {"f": f, "g": g}
    first, second = (Answer(name, Session(namespace).handle) for name in ("f", "g"))
    arguments = torch.ones(2), torch.ones(2), [0]
    called = first.trace(*arguments)
    assert called.changed == [2] and called.flags == [1] and called.traced
    called = second.trace(*arguments)
    assert called.changed == [0] and not called.traced and called.seconds > 0
    assert torch.equal(arguments[0], torch.ones(2)) and arguments[2] == [0]


def test_an_interrupt_stops_the_check() -> None:
    with pytest.raises(KeyboardInterrupt):
        checked(f"def {NAME}(q, k, v, mask=None):\n    raise KeyboardInterrupt\n")


def test_an_unknown_exercise_names_the_known() -> None:
    with pytest.raises(LookupError, match=ID):
        llmsafety_lab.check("attention.nothing")
    with pytest.raises(LookupError, match="attention"):
        llmsafety_lab.check("nothing.at_all")


def test_a_right_answer_is_told_so_in_colour_and_in_text() -> None:
    code = (
        "import math, torch\n"
        f"def {NAME}(q, k, v, mask=None):\n"
        "    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])\n"
        "    if mask is not None:\n"
        "        scores = scores.masked_fill(~mask, -torch.inf)\n"
        "    weights = torch.softmax(scores, -1).nan_to_num(0)\n"
        "    return weights @ v, weights\n"
    )
    namespace: dict = {"__name__": "__main__"}
    exec(code, namespace)
    result = check_in(exercise.find(ID), namespace)
    assert result.passed, result.to_text()
    assert "✓" in result.to_html() and f"{result.points} of {result.points}" in result.to_text()


RIGHT = f"""def {NAME}(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / ROOT(q)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.softmax(scores, -1).nan_to_num(0)
    return weights @ v, weights
"""


@pytest.mark.parametrize(
    ("cells", "lost"),
    [
        (["import torch", "def ROOT(q): return q.shape[-1] ** 0.5", RIGHT], ""),
        (["import torch", "ROOT = lambda q: q.shape[-1] ** HALF", "HALF = 0.5", RIGHT], ""),
        (["import torch", "HALF = 0.5", "def ROOT(q): return q.shape[-1] ** HALF", RIGHT, "HALF = 0.5"], ""),
        (
            [
                "import torch",
                "half = torch.load",
                "half = eval('0.5')",
                "def ROOT(q): return q.shape[-1] ** half",
                RIGHT,
            ],
            "half is made by `half = eval('0.5')`",
        ),
        (["import torch", "half = eval('1')", "half = 0.5", "def ROOT(q): return q.shape[-1] ** half", RIGHT], ""),
        (["import torch", "torch.backends.seen = eval('1')", "def ROOT(q): return q.shape[-1] ** 0.5", RIGHT], ""),
        (
            [
                "import torch",
                "known = {}",
                "for i in [0]: known[i] = eval('0.5')",
                "ROOT = lambda q: q.shape[-1] ** known[0]",
                RIGHT,
            ],
            "known is made by `for i in [0]:`",
        ),
    ],
)
def test_what_a_graded_run_would_not_find_is_said_beside_the_points(cells: list[str], lost: str) -> None:
    namespace: dict = {"__name__": "__main__", "In": ["", *cells, "this is no Python", f"check({ID!r})"]}
    for cell in cells:
        exec(cell, namespace)
    result = check_in(exercise.find(ID), namespace)
    assert result.passed
    assert (
        (lost in str(result) and "a graded run may give 0 points" in str(result)) if lost else "But" not in str(result)
    )
