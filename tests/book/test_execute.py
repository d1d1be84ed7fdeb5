from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from llmsafety_lab.course import depends
from llmsafety_lab.course.book import execute

NOTEBOOK = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

```{{code-cell}} python
:tags: [parameters]
SCALE = "auto"
```

```{{code-cell}} python
import os
{code}
print(SCALE, sorted(os.listdir()))
```
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for folder in ("chapters", "labs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "chapters" / "plain.md").write_text("# No notebook\n")
    (tmp_path / "chapters" / "one.md").write_text(NOTEBOOK.format(code="x = 1"))
    return tmp_path


def test_a_notebook_runs_once_per_content_and_sees_its_scale_and_an_empty_folder(house: Path) -> None:
    [run] = execute.execute(house, scale="ci")
    copy = json.loads((house / "_build" / "executed" / "chapters" / "one.ipynb").read_text())
    printed = "".join(copy["cells"][-1]["outputs"][0]["text"])
    assert printed.startswith("ci ") and "plain.md" not in printed
    assert run.seconds > 0 and run.peak_mb > 10 and not run.cached
    assert json.loads((house / "_build" / "executed" / "times.json").read_text())[0]["notebook"] == "chapters/one"
    assert execute.execute(house, scale="ci")[0].cached
    (house / "chapters" / "one.md").write_text(NOTEBOOK.format(code="x = 2"))
    assert not execute.execute(house, scale="ci")[0].cached


def test_a_failing_notebook_is_named_with_its_cell_traceback_and_partial_copy(house: Path) -> None:
    (house / "chapters" / "two.md").write_text(NOTEBOOK.format(code="raise ValueError('broken here')"))
    with pytest.raises(execute.NotebookError) as error:
        execute.execute(house)
    text = str(error.value)
    assert "chapters/two failed" in text and "ValueError: broken here" in text and "raise ValueError" in text
    partial = Path(text.rpartition("The partial copy: ")[2].strip())
    assert partial.exists()
    assert (house / "_build" / "executed" / "chapters" / "one.ipynb").exists()


def test_an_unknown_name_lists_the_known(house: Path) -> None:
    with pytest.raises(LookupError, match="chapters/one"):
        execute.execute(house, only=["nothing"])


def test_the_key_follows_imports_and_nothing_else() -> None:
    names = {path.name for path in depends.closure(depends.imported(ast.parse("from llmsafety_lab import attention")))}
    assert {"__init__.py", "layers.py"} <= names
    assert not {"shakespeare.py", "grade.py", "site.py"} & names


def test_the_key_follows_kept_results(house: Path) -> None:
    (house / "results").mkdir()
    (house / "results" / "one.json").write_text("{}")
    (house / "chapters" / "one.md").write_text(NOTEBOOK.format(code='"""runtime.kept("one")"""'))
    assert not execute.execute(house)[0].cached
    assert execute.execute(house)[0].cached
    (house / "results" / "one.json").write_text('{"rows": []}')
    assert not execute.execute(house)[0].cached
