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


@pytest.mark.parametrize(("tests", "status"), [(30, 0), (31, 1)])
def test_a_topic_over_twice_its_budget_fails_the_run(house: Path, tests: int, status: int) -> None:
    (house / "_build" / "clock.json").write_text(json.dumps({"a": {"graded": 20, "tests": tests}}))
    command = [sys.executable, "-m", "llmsafety_lab.course.book.clock"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == status
    assert ("a takes 361 core seconds; its budget is 180, the limit 360" in done.stdout) is bool(status)
