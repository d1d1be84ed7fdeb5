"""What Colab does: a lab's student notebook alone in an empty folder, where nothing but the package is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.course.book import masters
from llmsafety_lab.course.book.execute import execute

ROOT = Path(__file__).parents[2]
LABS = [path.stem for path in masters.notebooks(ROOT) if path.parent.name == "labs"]
SMALLEST = min(LABS, key=lambda lab: (ROOT / "labs" / f"{lab}.md").stat().st_size)


def colabs_python() -> str:
    """Return a Python 3.13 that can make environments, or the running Python where the machine has none."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", "/nowhere")).glob("versions/3.13*/bin/python3.13"))
    for found in (shutil.which("python3.13"), *map(str, pyenv)):
        works = found and subprocess.run([found, "-c", "import ensurepip, ssl"], capture_output=True).returncode == 0
        if found and works:
            return found
    return sys.executable


@pytest.fixture(scope="module")
def executed(request: pytest.FixtureRequest) -> Path:
    """Return the folder of the executed copies of the labs that the chosen tests ask for; most are in the cache."""
    items = [item for item in request.session.items if item.path == Path(__file__)]
    labs = sorted({item.callspec.params["lab"] for item in items if hasattr(item, "callspec")})
    execute(ROOT, only=[f"{folder}/{lab}" for lab in labs for folder in ("labs", "handed_out")])
    return ROOT / "_build" / "executed"


def points(notebook: Any) -> list[str]:
    """Return what the checks say in an executed notebook."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("data", {}).get("text/plain", "") for output in outputs]


def assert_solved(notebook: Any, lab: str) -> None:
    bootstrap = next(cell for cell in notebook.cells if "bootstrap" in masters.tags(cell))
    assert bootstrap.execution_count and bootstrap.outputs == []
    for one in exercise.exercises(lab):
        assert any(f"{one.id}: {one.points} of {one.points}" in text for text in points(notebook)), one.id


@pytest.mark.parametrize("lab", LABS)
def test_in_colab_the_solved_notebook_earns_every_point(lab: str, executed: Path) -> None:
    assert_solved(nbformat.read(executed / "solved" / f"{lab}.ipynb", as_version=4), lab)


@pytest.mark.parametrize("lab", LABS)
def test_the_notebook_as_handed_out_runs_to_its_end_and_every_check_says_0(lab: str, executed: Path) -> None:
    notebook = nbformat.read(executed / "handed_out" / f"{lab}.ipynb", as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source)
    for one in exercise.exercises(lab):
        assert any(f"{one.id}: 0 of {one.points}" in text for text in points(notebook)), one.id


@pytest.mark.parametrize("lab", LABS)
def test_the_page_has_the_stub_without_outputs_and_the_solution_below_it(lab: str, executed: Path) -> None:
    cells = nbformat.read(executed / "labs" / f"{lab}.ipynb", as_version=4).cells
    kinds = [kind for cell in cells for kind in masters.tags(cell) if kind in ("stub", "solution")]
    assert kinds == ["stub", "solution"] * len(exercise.exercises(lab))
    assert not any(cell.get("outputs") for cell in cells if "stub" in masters.tags(cell))
    assert not any("bootstrap" in masters.tags(cell) for cell in cells)


@pytest.mark.skipif(not os.environ.get("FRESH"), reason="an installation takes minutes: with FRESH=1")
def test_on_colabs_python_an_installed_wheel_runs_a_lab(tmp_path: Path) -> None:
    python = colabs_python()
    if "3.13" not in subprocess.run([python, "-V"], capture_output=True, text=True).stdout:
        warnings.warn(f"there is no Python 3.13 here; {python} stands in", stacklevel=1)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(pip, check=True)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    alone = tmp_path / "venv" / "bin" / "python"
    wheel = next(tmp_path.glob("*.whl"))
    install = [
        alone,
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        ROOT / "requirements.txt",
        wheel,
        "papermill",
        "ipykernel",
    ]
    subprocess.run(install, check=True)
    path = ROOT / "labs" / f"{SMALLEST}.md"
    (tmp_path / "lab").mkdir()
    nbformat.write(masters.fill_in(masters.handed_out(path), path), tmp_path / "lab" / "lab.ipynb")
    command = [alone, "-m", "papermill", "-k", "python3", "-p", "SCALE", "ci", "lab.ipynb", "out.ipynb"]
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=tmp_path / "lab", env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_solved(nbformat.read(tmp_path / "lab" / "out.ipynb", as_version=4), SMALLEST)
