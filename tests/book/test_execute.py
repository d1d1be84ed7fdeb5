from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from llmsafety_lab.course.book import environment, execute, masters

ROOT = Path(__file__).parents[2]

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


PROBE = """import random, numpy, torch, matplotlib
os.system("echo from a child")
random.seed(0)
torch.manual_seed(0)
print(torch.get_num_threads(), random.random(), numpy.random.default_rng(0).normal(), torch.randn(3))
matplotlib.get_backend()
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "cache"))
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
    [times] = json.loads((house / "_build" / "executed" / "times.json").read_text())
    assert times["notebook"] == "chapters/one" and 0 <= times["slowest"][1] <= run.seconds + 1
    assert execute.execute(house, scale="ci")[0].cached
    assert not execute.execute(house, scale="ci", fresh=True)[0].cached
    (house / "chapters" / "one.md").write_text(NOTEBOOK.format(code="x = 2"))
    assert not execute.execute(house, scale="ci")[0].cached


def test_another_clone_finds_what_was_executed_and_prose_executes_nothing(house: Path, tmp_path: Path) -> None:
    execute.execute(house)
    clone = tmp_path / "clone"
    shutil.copytree(house, clone, ignore=shutil.ignore_patterns("_build", "cache"))
    master = clone / "chapters" / "one.md"
    master.write_text(master.read_text().replace("# A chapter", "# Another title\n\nAnd a word."))
    assert execute.execute(clone)[0].cached
    copy = nbformat.read(clone / "_build" / "executed" / "chapters" / "one.ipynb", as_version=4)
    assert "And a word." in copy.cells[0].source and copy.cells[-1].outputs


def test_what_a_kernel_prints_is_what_a_kernel_started_alone_prints(house: Path) -> None:
    text = NOTEBOOK.replace("print(SCALE, sorted(os.listdir()))\n", PROBE).format(code="")
    (house / "chapters" / "one.md").write_text(text)
    execute.execute(house)
    nbformat.write(masters.solved(house / "chapters" / "one.md"), house / "one.ipynb")
    command = [sys.executable, "-m", "papermill", "-k", "python3", "one.ipynb", "alone.ipynb"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    subprocess.run(command, cwd=house, env=variables, check=True, capture_output=True)
    forked = nbformat.read(house / "_build" / "executed" / "chapters" / "one.ipynb", as_version=4).cells[-1].outputs
    alone = nbformat.read(house / "alone.ipynb", as_version=4).cells[-1].outputs
    assert _text(forked) == _text(alone) != ""


def _text(outputs: list) -> str:
    return "".join(output.get("text", "") or str(output.get("data")) for output in outputs)


def test_a_kernel_that_dies_is_an_error_and_not_a_wait(house: Path) -> None:
    (house / "chapters" / "one.md").write_text(NOTEBOOK.format(code="os._exit(3)"))
    with pytest.raises(execute.NotebookError, match="chapters/one failed"):
        execute.execute(house)


def test_in_the_light_environment_is_the_package_and_what_it_requires(tmp_path: Path) -> None:
    python = environment.light(ROOT, tmp_path)

    def said(code: str) -> str:
        return subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert str(tmp_path) in said("import llmsafety_lab; print(llmsafety_lab.__file__)")
    assert "10" in said("from llmsafety_lab import data; print(len(data.declaration()) and 10)")
    hidden = said(
        "from importlib import metadata, util\n"
        "for name in ('peft', 'captum', 'pytest', 'sphinx', 'seqeval'):\n"
        "    print(util.find_spec(name), name in {one.name for one in metadata.distributions()})"
    )
    assert hidden == "None False\n" * 5


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


def test_the_key_follows_kept_results(house: Path) -> None:
    (house / "results").mkdir()
    (house / "results" / "one.json").write_text("{}")
    (house / "chapters" / "one.md").write_text(NOTEBOOK.format(code='"""runtime.kept("one")"""'))
    assert not execute.execute(house)[0].cached
    assert execute.execute(house)[0].cached
    (house / "results" / "one.json").write_text('{"rows": []}')
    assert not execute.execute(house)[0].cached
