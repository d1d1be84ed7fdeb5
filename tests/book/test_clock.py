"""The table of what each topic takes, and its budget."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llmsafety_lab.course.book import clock


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "_build" / "executed").mkdir(parents=True)
    (tmp_path / "_build" / "steps").mkdir()
    (tmp_path / "_build" / "steps" / "byte_code").write_text("41\n")
    runs = {"chapters/a": 100, "labs/a": 200, "handed_out/a": 10, "chapters/b": 5}
    times = [{"notebook": name, "core_seconds": seconds} for name, seconds in runs.items()]
    (tmp_path / "_build" / "executed" / "times.json").write_text(json.dumps(times))
    (tmp_path / "_build" / "clock.json").write_text(json.dumps({"a": {"graded": 20, "tests": 30}}))
    return tmp_path


def test_each_topic_has_a_row_and_the_steps_are_named(house: Path) -> None:
    assert clock.rows(house)[1:] == [
        ["a", "100", "200", "10", "20", "30", "360"],
        ["b", "5", "", "", "", "", "5"],
        ["all 2", "105", "200", "10", "20", "30", "365"],
    ]
    assert clock.table(house).endswith("steps, in seconds of the clock: byte code 41")


def executed(*durations: float | None) -> str:
    cells = [{"metadata": {"papermill": {"duration": one}} if one else {}, "source": ""} for one in durations]
    return json.dumps({"cells": cells})


def test_the_slowest_cell_is_found(tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(executed(None, 3.02, 11.96, 5.0))
    assert clock.slowest(notebook) == (2, 12.0)
    notebook.write_text(executed())
    assert clock.slowest(notebook) == (0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "shown", "status"), [(10.0, False, 0), (13.0, True, 0), (20.0, True, 0), (26.0, True, 1)]
)
def test_a_cell_over_its_seconds_is_shown_and_over_twice_as_many_fails(
    house: Path, seconds: float, shown: bool, status: int
) -> None:
    """On a busy machine the notebook had four fifths of a core here: 26 seconds of the clock are 21 of a core."""
    times = [{"notebook": "labs/b", "seconds": 50.0, "core_seconds": 40.0, "slowest": [7, seconds]}]
    (house / "_build" / "executed" / "times.json").write_text(json.dumps(times))
    line = f"labs/b: cell 7 takes {seconds * 0.8:.0f} core seconds; a cell may take 10"
    assert (line in clock.table(house)) is shown
    command = [sys.executable, "-m", "llmsafety_lab.course.book.clock"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert (done.returncode, line in done.stdout) == (status, bool(status))


@pytest.mark.parametrize(("tests", "status"), [(30, 0), (31, 1)])
def test_a_topic_over_twice_its_budget_fails_the_run(house: Path, tests: int, status: int) -> None:
    (house / "_build" / "clock.json").write_text(json.dumps({"a": {"graded": 20, "tests": tests}}))
    command = [sys.executable, "-m", "llmsafety_lab.course.book.clock"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == status
    assert ("a takes 361 core seconds; its budget is 180, the limit 360" in done.stdout) is bool(status)
