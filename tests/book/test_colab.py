"""What Colab does: the committed notebook alone in an empty folder, a fresh Python 3.13, the wheel and no extras."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import classroom
import nbformat
import pytest

from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[2]
LABS = [path.stem for path in masters.notebooks(ROOT) if path.parent.name == "labs"]


def colabs_python() -> str:
    """Return a Python 3.13 that can make environments, or the running Python where the machine has none."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", "/nowhere")).glob("versions/3.13*/bin/python3.13"))
    for found in (shutil.which("python3.13"), *map(str, pyenv)):
        works = found and subprocess.run([found, "-c", "import ensurepip, ssl"], capture_output=True).returncode == 0
        if found and works:
            return found
    return sys.executable


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package's wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, request: pytest.FixtureRequest) -> Path:
    """Return the Python of a fresh environment that holds the wheel, its core dependencies, and papermill to run it."""
    python = colabs_python()
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(
        f"\ntest_colab: on Python {version}" + ("" if "3.13" in version else ", as there is no 3.13 here")
    )
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        core = archive.read(metadata)
    lock = (ROOT / "requirements.txt").read_bytes()
    key = hashlib.sha256(version.encode() + core + lock).hexdigest()[:16]
    home = ROOT / "_build" / "colab"
    made = home / key
    if not (made / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([python, "-m", "venv", made], check=True)
        pip = [
            made / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "-c",
            ROOT / "requirements.txt",
        ]
        subprocess.run([*pip, wheel, "papermill", "ipykernel"], check=True)
        (made / "ready").touch()
    pip = [made / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel]
    subprocess.run(pip, check=True)
    return made / "bin" / "python"


def said(lab: str, solved: bool, python: str | Path, folder: Path) -> tuple[Any, list[str]]:
    """Run a lab's committed notebook alone in a folder; return its executed cells and what its outputs say."""
    notebook = nbformat.read(ROOT / "labs" / f"{lab}.ipynb", as_version=4)
    if solved:
        classroom.fill_in(notebook, lab)
    nbformat.write(notebook, folder / f"{lab}.ipynb")
    command = [python, "-m", "papermill", "-k", "python3", "-p", "SCALE", "ci", f"{lab}.ipynb", "out.ipynb"]
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"OMP_NUM_THREADS": "1", "CI": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = nbformat.read(folder / "out.ipynb", as_version=4).cells
    return cells, [output.get("data", {}).get("text/plain", "") for cell in cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def runs(environment: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Run the notebooks that the chosen tests ask for, two at a time."""
    labs = {item.callspec.params["lab"] for item in request.session.items if item.path == Path(__file__)}
    pythons = {True: environment, False: sys.executable}
    with ThreadPoolExecutor(2) as pool:
        yield {
            (lab, solved): pool.submit(said, lab, solved, pythons[solved], tmp_path_factory.mktemp(lab))
            for lab in sorted(labs)
            for solved in pythons
        }


@pytest.mark.parametrize("lab", LABS)
def test_in_colab_the_solved_notebook_earns_every_point(lab: str, runs: Any) -> None:
    cells, outputs = runs[lab, True].result()
    bootstrap = next(cell for cell in cells if "bootstrap" in cell.metadata.get("tags", []))
    assert bootstrap.outputs == []
    for one in classroom.exercise.exercises(lab):
        assert any(f"{one.id}: {one.points} of {one.points}" in text for text in outputs), one.id


@pytest.mark.parametrize("lab", LABS)
def test_the_notebook_as_handed_out_runs_to_its_end(lab: str, runs: Any) -> None:
    _, outputs = runs[lab, False].result()
    for one in classroom.exercise.exercises(lab):
        assert any(f"{one.id}: 0 of {one.points}" in text for text in outputs), one.id
