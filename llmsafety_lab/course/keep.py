"""Makes a topic's kept result anew, and writes into it when, with which versions and on which machine it was made."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from llmsafety_lab import files, runtime
from llmsafety_lab.errors import CourseError, NotFoundError


def kept(root: Path) -> list[str]:
    """Return the topics that have a kept result."""
    return sorted(path.stem for path in (root / "results").glob("*.json"))


def keep(root: Path, topic: str, fresh: bool = False) -> Path:
    """Run `scripts/<topic>.py`, add to `results/<topic>.json` what it does not say of its making, and return its path.

    Parameters
    ----------
    fresh
        Begin anew instead of going on from the rows that are there. If that fails, the old result stays.

    Raises
    ------
    NotFoundError
        If the topic has no such script.
    CourseError
        If the script fails, or leaves the result as it was.
    """
    script, result = root / "scripts" / f"{topic}.py", root / "results" / f"{topic}.json"
    if not script.is_file():
        raise NotFoundError(f"{topic} has no kept result: there is no {script}")
    with _aside(result) if fresh else contextlib.nullcontext():
        before = result.stat().st_mtime_ns if result.exists() else 0
        status = subprocess.run([sys.executable, str(script)], cwd=root).returncode
        if status:
            raise CourseError(f"{script} ended with the status {status}")
        if not result.exists() or result.stat().st_mtime_ns == before:
            raise CourseError(f"{script} did not write {result}")
    made = json.loads(result.read_text(encoding="utf-8"))
    said = runtime.made_by(topic, made.get("seeds", []))
    whole = said | made | {"versions": said["versions"] | made.get("versions", {})}
    files.replace(result, json.dumps(whole, indent=1) + "\n")
    return result


@contextlib.contextmanager
def _aside(result: Path) -> Iterator[None]:
    """Take a result away while another is made, and put it back if that fails."""
    old = result.with_suffix(".old")
    if result.exists():
        result.replace(old)
    try:
        yield
    except BaseException:
        if old.exists():
            old.replace(result)
        raise
    old.unlink(missing_ok=True)
