"""Makes a topic's kept result anew, and writes into it when, with which versions and on which machine it was made."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmsafety_lab.errors import CourseError, NotFoundError


def keep(root: Path, topic: str) -> Path:
    """Run `scripts/<topic>.py`, add to `results/<topic>.json` what it does not say of its making, and return its path.

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
    before = result.stat().st_mtime_ns if result.exists() else 0
    status = subprocess.run([sys.executable, str(script)], cwd=root).returncode
    if status:
        raise CourseError(f"{script} ended with the status {status}")
    if not result.exists() or result.stat().st_mtime_ns == before:
        raise CourseError(f"{script} did not write {result}")
    made = json.loads(result.read_text(encoding="utf-8"))
    whole = header(f"llmsafety-lab keep {topic}")
    versions = whole["versions"] | made.get("versions", {})
    result.write_text(json.dumps(whole | made | {"versions": versions}, indent=1) + "\n", encoding="utf-8")
    return result


def header(command: str) -> dict[str, Any]:
    """Return what every kept result says of its making: command, date, versions, cores and processor."""
    names = ("llmsafety-lab", "torch", "transformers", "numpy")
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "processor": processor(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in names},
    }


def processor() -> str:
    """Return the processor's name, as the system tells it."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8", errors="replace").splitlines() if listed.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
