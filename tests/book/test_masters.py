from __future__ import annotations

import importlib
import json
import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[2]
LABS = [path for path in masters.notebooks(ROOT) if path.parent.name == "labs"]

MASTER = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A lab

See [the chapter](../chapters/attention.md#masks).

### {exercise}`attention.scaled_dot_product`

Write it.

```{code-cell} python
:tags: [stub]
def scaled_dot_product_attention(q, k, v, mask=None):
    return None
```

```{code-cell} python
:tags: [solution]
from llmsafety_lab.attention.layers import scaled_dot_product_attention
```

```{code-cell} python
check("attention.scaled_dot_product")
```
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "labs").mkdir()
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "_config.yml").write_text("repository:\n  url: https://github.com/someone/fork/\n")
    (tmp_path / "labs" / "attention.md").write_text(MASTER)
    return tmp_path


def test_the_student_gets_stubs_facts_and_links_but_no_solution(house: Path) -> None:
    notebook = masters.student(house / "labs" / "attention.md")
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    one = exercise.find("attention.scaled_dot_product")
    assert f"### Exercise 1. {one.title}\n\n{one.facts}" in text
    assert "return None" in text
    assert "from llmsafety_lab.attention import" not in text
    assert "https://someone.github.io/fork/chapters/attention.html#masks" in text
    assert "git+https://github.com/someone/fork@v" in notebook.cells[1].source
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_the_solved_notebook_holds_the_packages_own_source(house: Path) -> None:
    [solution] = [
        cell for cell in masters.solved(house / "labs" / "attention.md").cells if "solution" in masters.tags(cell)
    ]
    assert solution.source in (ROOT / "llmsafety_lab" / "attention" / "layers.py").read_text()
    assert solution.source.startswith("def scaled_dot_product_attention(")


def test_build_writes_once_and_finds_what_is_stale(house: Path) -> None:
    assert masters.build(house, check=True) == [house / "labs" / "attention.ipynb"]
    assert not (house / "labs" / "attention.ipynb").exists()
    masters.build(house)
    assert masters.build(house, check=True) == []
    notebook = json.loads((house / "labs" / "attention.ipynb").read_text())
    notebook["cells"][0]["source"] = "changed"
    (house / "labs" / "attention.ipynb").write_text(json.dumps(notebook))
    assert masters.build(house, check=True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("attention.scaled_dot_product`", "attention.nothing`", "no exercise"),
        (":tags: [stub]", ":tags: [other]", "stub"),
        (":tags: [solution]", ":tags: [other]", "solution"),
        ('check("attention.scaled_dot_product")', "pass", "check"),
    ],
)
def test_an_incomplete_master_is_refused(house: Path, old: str, new: str, words: str) -> None:
    path = house / "labs" / "attention.md"
    path.write_text(MASTER.replace(old, new))
    with pytest.raises(masters.MasterError, match=words):
        masters.read(path)


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_every_exercise_of_a_lab_stands_in_its_master_in_order(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    places = [text.index(f"{{exercise}}`{one.id}`") for one in exercise.exercises(path.stem)]
    assert len(places) >= 4 and places == sorted(places)


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_labs_minutes_hold_the_exercises_the_reading_and_the_running(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stated = re.findall(r"Plan (\d+) minutes", text)
    exercises = sum(one.minutes for one in importlib.import_module(f"llmsafety_lab.checks.{path.stem}").EXERCISES)
    prose = len(re.sub(r"^---.*?^---|```.*?```", "", text, flags=re.DOTALL | re.MULTILINE).split())
    needed = exercises + prose / 130 + 5  # words a minute of a reader in a second language; five minutes for the cells
    assert len(stated) == 1 and needed <= int(stated[0]) <= needed + 10, f"{path.stem} needs {needed:.0f} minutes"
    assert 60 <= int(stated[0]) <= 90


def test_no_committed_notebook_holds_outputs() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.ipynb"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in tracked or [str(path.with_suffix(".ipynb")) for path in LABS]:
        cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") for cell in cells), name
