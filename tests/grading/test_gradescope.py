"""The autograder's zip, unpacked and run as Gradescope runs it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import classroom
import pytest

from llmsafety_lab.checking.result import Result
from llmsafety_lab.course import cli
from llmsafety_lab.course.grading import gradescope
from llmsafety_lab.course.grading.grade import grade_one
from llmsafety_lab.course.grading.sandbox import Limits
from llmsafety_lab.course.grading.submissions import Submission
from llmsafety_lab.course.grading.unsafe import Unsafe


@pytest.fixture(scope="module")
def autograder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an unpacked autograder."""
    folder = tmp_path_factory.mktemp("autograder")
    (folder / "course.key").write_text("0123456789abcdef0123456789abcdef")
    arguments = [
        "gradescope",
        "--lab",
        "attention",
        "--key",
        str(folder / "course.key"),
        "--out",
        str(folder / "a.zip"),
    ]
    assert cli.main(arguments) == 0
    with zipfile.ZipFile(folder / "a.zip") as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, folder / "source"))
            path.chmod(entry.external_attr >> 16)
    return folder


def run(autograder: Path, tmp_path: Path, files: dict[str, bytes]) -> dict:
    (tmp_path / "submission").mkdir()
    for name, data in files.items():
        (tmp_path / "submission" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "submission" / name).write_bytes(data)
    (tmp_path / "source").symlink_to(autograder / "source")
    (tmp_path / "submission_metadata.json").write_text(json.dumps({"users": [{"email": "s1@example.org", "id": 7}]}))
    environment = {**os.environ, "AUTOGRADER_ROOT": str(tmp_path), "AUTOGRADER_PYTHON": sys.executable}
    done = subprocess.run([autograder / "source" / "run_autograder"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "results" / "results.json").read_text())


def test_the_zip_holds_the_two_scripts_the_key_and_an_installable_package(autograder: Path) -> None:
    source = autograder / "source"
    for name in ("setup.sh", "run_autograder"):
        assert stat.S_IMODE((source / name).stat().st_mode) == 0o755
        assert subprocess.run(["bash", "-n", source / name]).returncode == 0
    assert stat.S_IMODE((source / "key").stat().st_mode) == 0o600
    target = autograder / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(target), str(source / "package")]
    assert subprocess.run(command).returncode == 0
    [wheel] = target.glob("*.whl")
    assert {"llmsafety_lab/checks/attention/__init__.py", "llmsafety_lab/course/palette.css"} <= set(
        zipfile.ZipFile(wheel).namelist()
    )


def test_a_right_submission_scores_everything(autograder: Path, tmp_path: Path) -> None:
    results = run(autograder, tmp_path, {"mine.ipynb": classroom.notebook()})
    assert results["score"] == classroom.POINTS
    assert all(test["status"] == "passed" for test in results["tests"])


def test_a_zip_made_on_a_mac_and_another_lab_s_notebook_do_not_hide_the_one_that_counts(
    autograder: Path, tmp_path: Path
) -> None:
    files = {"__MACOSX/._mine.ipynb": b"\0\5", "mine.ipynb": classroom.notebook(), "z.ipynb": classroom.plain("x = 1")}
    assert run(autograder, tmp_path, files)["score"] == classroom.POINTS


@pytest.mark.parametrize(
    ("files", "words"),
    [({}, "no file was handed in"), ({"a.ipynb": b"{}"}, "not a Jupyter notebook"), ({"a.png": b"x"}, "no notebook")],
)
def test_anything_but_a_notebook_is_told_so(
    autograder: Path, tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    results = run(autograder, tmp_path, files)
    assert results["score"] == 0 and words in results["tests"][0]["output"]


def test_where_the_container_allows_no_sandbox_the_code_runs_as_another_user(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("secret")
    secret.chmod(0o600)
    first = classroom.EXERCISES[0]
    code = f"def {first.answer}(*a, **k):\n    raise ValueError(open({str(secret)!r}).read())"
    submission = Submission("s", "s", classroom.plain(code), "", datetime.now(), False)
    uid = 65534 if os.getuid() == 0 else 0
    with Unsafe("attention", Limits(), uid=uid) as box:
        result = grade_one(submission, [first], b"0" * 16, box)[0]
    assert ("PermissionError" in result.message) == bool(uid), result.message


def test_what_a_limit_stopped_is_tried_once_more_because_there_is_no_next_run(monkeypatch) -> None:
    every = classroom.EXERCISES
    right = [Result(one.id, one.title, one.points, one.points) for one in every]
    stopped = replace(right[1], earned=0, again="limit")
    asked = []

    def graded(submission: Submission, exercises: list[Any], key: bytes, box: Any) -> list[Result]:
        asked.append([one.id for one in exercises])
        return [right[0], stopped, *right[2:]] if len(asked) == 1 else [right[1]]

    monkeypatch.setattr(gradescope, "grade_one", graded)
    submission = Submission("s", "s", b"", "", datetime.now(), False)
    assert gradescope._graded(submission, "attention", b"", None) == right
    assert asked == [[one.id for one in every], [every[1].id]]
