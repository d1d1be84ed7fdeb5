"""A kept result made anew, with its header."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path

import pytest
import torch

from llmsafety_lab.course.keep import keep, kept
from llmsafety_lab.errors import CourseError

SCRIPT = """
import json, pathlib
result = pathlib.Path("results/tiny.json")
result.parent.mkdir(exist_ok=True)
result.write_text(json.dumps({"processor": "abacus", "versions": {"peft": "1"}, "rows": [1, 2]}))
"""


def script(root: Path, text: str) -> None:
    (root / "scripts").mkdir(exist_ok=True)
    (root / "scripts" / "tiny.py").write_text(text)


def test_the_header_says_when_with_what_and_where(tmp_path: Path) -> None:
    script(tmp_path, SCRIPT)
    made = json.loads(keep(tmp_path, "tiny").read_text())
    assert made["rows"] == [1, 2] and made["processor"] == "abacus"
    assert made["command"] == "python scripts/tiny.py"
    assert made["date"] == datetime.datetime.now(datetime.UTC).date().isoformat()
    assert made["cores"] == os.cpu_count()
    assert made["versions"]["torch"] == torch.__version__ and made["versions"]["peft"] == "1"
    assert made["versions"]["python"] == platform.python_version()


def test_a_script_that_fails_or_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="tiny has no kept result"):
        keep(tmp_path, "tiny")
    script(tmp_path, "raise SystemExit(3)")
    with pytest.raises(CourseError, match="status 3"):
        keep(tmp_path, "tiny")
    script(tmp_path, SCRIPT)
    before = keep(tmp_path, "tiny").read_text()
    script(tmp_path, "pass")
    with pytest.raises(CourseError, match="did not write"):
        keep(tmp_path, "tiny")
    assert (tmp_path / "results/tiny.json").read_text() == before


def test_made_anew_it_goes_on_from_nothing_and_the_old_one_stays_if_that_fails(tmp_path: Path) -> None:
    going_on = """
import json, pathlib
result = pathlib.Path("results/tiny.json")
result.parent.mkdir(exist_ok=True)
rows = json.loads(result.read_text())["rows"] if result.exists() else 0
result.write_text(json.dumps({"rows": rows + 1}))
"""
    script(tmp_path, going_on)
    assert [json.loads(keep(tmp_path, "tiny", fresh).read_text())["rows"] for fresh in (False, False, True)] == [
        1,
        2,
        1,
    ]
    script(tmp_path, going_on + "raise SystemExit(3)")
    with pytest.raises(CourseError):
        keep(tmp_path, "tiny", fresh=True)
    assert kept(tmp_path) == ["tiny"] and json.loads((tmp_path / "results/tiny.json").read_text())["rows"] == 1
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["tiny.json"]
