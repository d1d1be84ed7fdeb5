"""Gradescope: the autograder's zip, and what runs inside its container."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from llmsafety_lab import files
from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading import reports
from llmsafety_lab.course.grading.grade import Box, grade_one, read_key, write
from llmsafety_lab.course.grading.sandbox import Limits, Sandbox, SandboxError
from llmsafety_lab.course.grading.submissions import Submission, of_one
from llmsafety_lab.course.grading.unsafe import Unsafe

_SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, as root, when the autograder's image is built.
set -euo pipefail
apt-get update
apt-get install -y bubblewrap python3 python3-venv git
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install --quiet --no-cache-dir /autograder/source/package
chmod -R go-rwx /autograder/source /autograder/venv/lib/python3*/site-packages/llmsafety_lab
"""

_RUN = """#!/usr/bin/env bash
# Gradescope runs this for every submission, as root.
set -euo pipefail
base="${{AUTOGRADER_ROOT:-/autograder}}"
python="${{AUTOGRADER_PYTHON:-$base/venv/bin/python}}"
mkdir -p "$base/results"
chmod 700 "$base/source" "$base/results" "$base/submission"
exec "$python" -m llmsafety_lab.course.cli gradescope --lab {topic} --run "$base"
"""

_NOBODY = 65534
_FILES = ("pyproject.toml", "README.md", "LICENSE")


def pack(root: Path, topic: str, key_file: Path, target: Path) -> None:
    """Write the autograder's zip for one lab: the package, the key and the two scripts that Gradescope calls.

    Raises
    ------
    LookupError
        If there is no such lab.
    InputError
        If the key cannot be used.
    """
    exercise.exercises(topic)
    key = read_key(key_file)
    with files.replacing(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "setup.sh", _SETUP.encode(), 0o755)
        _add(archive, "run_autograder", _RUN.format(topic=topic).encode(), 0o755)
        _add(archive, "key", key, 0o600)
        for name in _FILES:
            _add(archive, f"package/{name}", (root / name).read_bytes(), 0o644)
        for path in sorted((root / "llmsafety_lab").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _add(archive, f"package/{path.relative_to(root).as_posix()}", path.read_bytes(), 0o644)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def run(base: Path, topic: str) -> dict[str, Any]:
    """Grade the one submission of a Gradescope container and write its results file.

    The container is thrown away afterwards. Where it does not let bubblewrap make namespaces, the student's code runs
    as another user, who can read neither the key nor the results nor the lab's answers.
    """
    metadata = json.loads((base / "submission_metadata.json").read_text(encoding="utf-8"))
    users = sorted(str(user.get("email") or user.get("id") or "") for user in metadata.get("users", []))
    student = ",".join(users)
    every = exercise.exercises(topic)
    submission = of_one(base / "submission", student, [asked.answer for asked in every])
    limits = Limits()
    key = read_key(base / "source" / "key")
    try:
        with Sandbox(topic, limits) as box:
            graded = _graded(submission, topic, key, box)
    except SandboxError:
        with Unsafe(topic, limits, uid=_NOBODY) as other:
            graded = _graded(submission, topic, key, other)
    results = reports.gradescope(graded)
    write(base / "results" / "results.json", json.dumps(results, indent=1))
    return results


def _graded(submission: Submission, topic: str, key: bytes, box: Box) -> list[Result]:
    """Grade a submission, and once more what a limit stopped: a container is often slow, and there is no next run."""
    results = grade_one(submission, exercise.exercises(topic), key, box)
    stopped = [exercise.find(result.id) for result in results if result.again]
    second = {result.id: result for result in grade_one(submission, stopped, key, box)} if stopped else {}
    return [second.get(result.id, result) for result in results]
