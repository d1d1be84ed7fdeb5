"""Which files of the package a notebook depends on: enough, and not more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmsafety_lab.course import depends
from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[2]

PACKAGE = {
    "__init__.py": "def __getattr__(name):\n    from llmsafety_lab.checking.notebook import check",
    "attention/__init__.py": "from llmsafety_lab.attention.layers import Layer",
    "attention/layers.py": "import torch",
    "decoding.py": "def f():\n    from llmsafety_lab.attention import Layer",
    "data/__init__.py": "from llmsafety_lab.data import news, reviews\nfrom llmsafety_lab.data.entry import DataSet\n"
    "TEXT = 'declaration.json'",
    "data/entry.py": "class DataSet: ...",
    "data/news.py": "ENTRIES = (DataSet(name='news'), DataSet(name='ag-news'))",
    "data/reviews.py": "from llmsafety_lab import decoding\nENTRY = DataSet(name='reviews')",
    "texts/declaration.json": "{}",
    "checking/__init__.py": "",
    "checking/notebook.py": "import llmsafety_lab.checking.wire",
    "checking/wire.py": "START = 'llmsafety_lab.course.template'",
    "course/__init__.py": "",
    "course/template.py": "",
    "checks/__init__.py": "",
    "checks/attention/__init__.py": "from llmsafety_lab.checks.attention.masks import MASK",
    "checks/attention/masks.py": "from llmsafety_lab import decoding",
    "checks/decoding/__init__.py": "",
}
FACE = {"__init__.py", "data/__init__.py", "data/entry.py", "texts/declaration.json"}
CHECKER = {
    "__init__.py",
    "checking/__init__.py",
    "checking/notebook.py",
    "checking/wire.py",
    "course/__init__.py",
    "course/template.py",
    "checks/__init__.py",
}
BEAMS = {"decoding.py", "attention/__init__.py", "attention/layers.py"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(depends, "PACKAGE", tmp_path)
    depends._data.cache_clear()
    yield tmp_path
    depends._data.cache_clear()


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import torch", set()),
        ("import llmsafety_lab", {"__init__.py"}),
        ("def f():\n    import llmsafety_lab.decoding", {"__init__.py"} | BEAMS),
        ("from llmsafety_lab import attention", {"__init__.py", "attention/__init__.py", "attention/layers.py"}),
        ("from llmsafety_lab import data", FACE),
        ("from llmsafety_lab import data\ndata.load('ag-news')", FACE | {"data/news.py"}),
        ("import llmsafety_lab.data\nllmsafety_lab.data.load('reviews')", FACE | BEAMS | {"data/reviews.py"}),
        ("from llmsafety_lab import data\ndata.load(name)", FACE | BEAMS | {"data/news.py", "data/reviews.py"}),
        ("from llmsafety_lab import data\ndata.load('unknown')", FACE | BEAMS | {"data/news.py", "data/reviews.py"}),
        ("from llmsafety_lab.data import load\nload('news')", FACE | BEAMS | {"data/news.py", "data/reviews.py"}),
        ("from llmsafety_lab import data as d\nd.load('news')", FACE | BEAMS | {"data/news.py", "data/reviews.py"}),
        ("from llmsafety_lab.data import news", FACE | {"data/news.py"}),
        (
            "from llmsafety_lab import check\ncheck('attention.mask')",
            CHECKER | BEAMS | {"checks/attention/__init__.py", "checks/attention/masks.py"},
        ),
        ("print('llmsafety_lab.course.template')", {"__init__.py", "course/__init__.py", "course/template.py"}),
        ("open('template.py')", {"course/template.py"}),
    ],
)
def test_imports_loads_checks_and_names_are_followed(package: Path, code: str, files: set[str]) -> None:
    assert {path.relative_to(package).as_posix() for path in depends.closure([code])} == files


def test_a_relative_import_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: a relative import"):
        depends.read("from . import x")


@pytest.mark.parametrize(("file", "most"), [("data/news.py", 7), ("fine_tuning/classifier.py", 14)])
def test_one_changed_line_touches_the_notebooks_that_use_it(file: str, most: int) -> None:
    touched = 0
    for path in masters.notebooks(ROOT):
        code = "\n".join(cell.source for cell in masters.solved(path).cells if cell.cell_type == "code")
        code = re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
        touched += depends.PACKAGE / file in depends.closure([code])
    assert 0 < touched <= most
