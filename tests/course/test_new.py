"""A new topic's skeleton, in a copy of the checkout: it passes the style, the build and its own tests as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPIC = "text_attacks"
LEFT_OUT = shutil.ignore_patterns(".*", "_build", "node_modules", "__pycache__", "*.lock")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("checkout") / "course"
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    return root


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    here = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", *command], cwd=copy, env=here, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(copy: Path) -> list[str]:
    done = run(copy, "llmsafety_lab.course.cli", "new", TOPIC)
    assert done.returncode == 0, done.stderr
    return [line.removesuffix(": written") for line in done.stdout.splitlines() if line.endswith(": written")]


def test_every_room_gets_its_file(copy: Path, made: list[str]) -> None:
    named = {Path(path).relative_to(copy).as_posix() for path in made}
    assert {"topics.yml", "_toc.yml", "README.md", "chapters/introduction.md"} < named
    assert {f"chapters/{TOPIC}.md", f"labs/{TOPIC}.md", f"labs/{TOPIC}.ipynb", f"tests/{TOPIC}/test_{TOPIC}.py"} < named
    assert {f"llmsafety_lab/{TOPIC}/__init__.py", f"llmsafety_lab/checks/{TOPIC}/__init__.py"} < named
    written = [Path(path).read_text() for path in made if TOPIC in path]
    left = [text for text in written if "TOPIC" in text or "TITLE" in text]
    assert not left


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("llmsafety_lab.course.cli", "build", "--check"),
        ("pytest", "-q", "-p", "no:cacheprovider", f"tests/{TOPIC}", "tests/course/test_topics.py"),
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/checking/test_mutants.py", "-k", TOPIC),
    ],
    ids=["style", "format", "build", "its tests", "its mutants"],
)
def test_the_skeleton_passes(copy: Path, made: list[str], command: tuple[str, ...]) -> None:
    done = run(copy, *command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ["labs", "chapters"])
def test_its_notebooks_run(copy: Path, made: list[str], room: str) -> None:
    path = copy / room / f"{TOPIC}.md"
    code = (
        "import sys\nfrom pathlib import Path\nfrom llmsafety_lab.course.book import masters\n"
        "cells = masters.solved(Path(sys.argv[1])).cells\n"
        "exec('\\n\\n'.join(c.source for c in cells if c.cell_type == 'code' and 'stub' not in masters.tags(c)))\n"
    )
    (copy / "run_notebook.py").write_text(code)
    done = run(copy, "run_notebook", str(path))
    assert done.returncode == 0, done.stderr


def test_a_second_time_nothing_is_written(copy: Path, made: list[str]) -> None:
    before = (copy / f"labs/{TOPIC}.md").read_text() + (copy / "_toc.yml").read_text()
    done = run(copy, "llmsafety_lab.course.cli", "new", TOPIC)
    assert done.returncode == 2 and "there already" in done.stderr
    unknown = run(copy, "llmsafety_lab.course.cli", "new", "astrology")
    assert unknown.returncode == 2 and "no topic 'astrology'" in unknown.stderr
    assert not (copy / "labs/astrology.md").exists()
    assert (copy / f"labs/{TOPIC}.md").read_text() + (copy / "_toc.yml").read_text() == before
