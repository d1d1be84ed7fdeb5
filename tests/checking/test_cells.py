"""A notebook's cells become Python as IPython itself would have it."""

from __future__ import annotations

import ast

import pytest

from llmsafety_lab.checking.cells import as_python, assigned, defined, definitions, dropped, names, read, why_missing


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("def f():\n    return 1  # right?", {"f"}),
        ("!pip install a \\\n  b\nX = 1", {"X"}),
        ("t = %time g()\nX = 1", {"X"}),
        ("X = '''\n%a\n!b\n'''", {"X"}),
        ("X = (7\n % 4)", {"X"}),
        ("%%time\nX = 1", {"X"}),
        ("\n\n%%capture out\n%matplotlib inline\nX = 1", {"X"}),
        ("%%bash\nX=1", set()),
        ("X = 1\nX?", {"X"}),
        ("  X = 1\n  Y = 2", {"X", "Y"}),
        (">>> X = 1", {"X"}),
        ("files = !ls", set()),
    ],
)
def test_what_ipython_accepts_is_kept(source: str, kept: set[str]) -> None:
    tree = definitions(ast.parse(as_python(source)))
    found = {name for node in tree.body for name in assigned(node)}
    found |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert found == kept


def test_lines_keep_their_numbers_after_empty_lines_and_a_magic() -> None:
    tree = ast.parse(as_python("\n\n%%time\n\nX = 1"))
    assert tree.body[0].lineno == 5


def test_the_notebook_s_own_names_do_nothing() -> None:
    given = names()
    assert given["display"](1, raw=True) is None
    assert given["get_ipython"]().run_line_magic("time", "1") is None


def test_what_is_left_out_is_known_with_the_names_that_it_changes() -> None:
    tree = ast.parse("T = {}\nfor b in range(3):\n    T[b] = ask(b)\nmodel.weight = g()\nprint(T)")
    assert [names for _, names in dropped(tree)] == [{"b", "T"}, {"model"}, set()]


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("T = {}\nfor b in range(3):\n    T[b] = chr(b)", ["T", "b, T"]),
        ("names = []\nfor c in 'a b'.split():\n    names.append(c.lower())", ["names", "names, c"]),
        ("def make(k):\n    return k\nT = make(3)", ["make", "T"]),
        ("class A:\n    def __call__(self): pass\nf = A()", ["A", "f"]),
        ("def g(a): pass\nf = partial(g, 1)\nh = functools.partial(g, 1)", ["g", "f", "h"]),
        ("if __name__ == '__main__':\n    def f(): pass\n    x = 1", ["f", "x"]),
        ("try:\n    import regex as re\nexcept ImportError:\n    import re", ["re"]),
        ("x = 1\nx += 1", ["x", "x"]),
        ("model = load('x')\nfor k in range(9):\n    train(model)\nprint(model)", []),
        ("if True:\n    def f(): pass", []),
        ("T.append(ask())", []),
    ],
)
def test_what_is_made_of_constants_by_the_notebook_s_own_functions_is_a_constant(source: str, kept: list[str]) -> None:
    tree = ast.parse(source)
    found = [
        {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else assigned(node)
        for node in definitions(tree, defined(tree)).body
    ]
    assert found == [set(names.split(", ")) for names in kept]


def test_a_function_reads_the_notebook_s_names_and_not_its_own() -> None:
    assert read(ast.parse("def f(x):\n    y = x\n    return T[y]")) == {"T"}
    assert read(ast.parse("def f(x):\n    def g(loss):\n        return loss + k\n    return [g(i) for i in x]")) == {
        "k"
    }
    assert read(ast.parse("class A(B):\n    z = W\n    def f(self, q: H): return self.v")) >= {"B", "W", "H"}
    assert read(ast.parse("return x")) == {"x"}


def test_why_a_name_is_missing() -> None:
    assert why_missing([(1, "x = 1")], "f") == ""
    assert "Cell 2, line 1" in why_missing([(1, "x = 1"), (2, "try:\n    def f(): pass\nexcept: pass")], "f")
