"""A made-up course: a roster, a key, and submissions made from the attention lab's student notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat

from llmsafety_lab.checking import exercise
from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[1]
LAB = ROOT / "labs" / "attention.md"
EXERCISES = exercise.exercises("attention")
POINTS = sum(one.points for one in EXERCISES)


def fill_in(student: Any, lab: str, only: list[str] | None = None) -> None:
    """Put solutions in the place of a student notebook's stubs: of some exercises, of all where ``only`` is None."""
    masters.fill_in(student, ROOT / "labs" / f"{lab}.md", only)


def notebook(only: list[str] | None = None) -> bytes:
    """Return the attention lab's student notebook with solutions: of some exercises, of all where ``only`` is None."""
    return nbformat.writes(masters.fill_in(masters.student(LAB), LAB, only)).encode()


def course(folder: Path, names: list[str]) -> list[str]:
    """Write roster.csv and course.key; return the options that ``llmsafety-lab grade`` needs."""
    rows = "".join(f"{name},Student {name},{name}@example.org\n" for name in names)
    (folder / "roster.csv").write_text("id,name,email\n" + rows)
    (folder / "course.key").write_text("0123456789abcdef0123456789abcdef")
    out = str(folder / "grades")
    return [
        "--lab",
        "attention",
        "--roster",
        str(folder / "roster.csv"),
        "--key",
        str(folder / "course.key"),
        "--out",
        out,
    ]


def tree(folder: Path) -> dict[str, str]:
    """Return every report under a folder of grades, by its name."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def plain(code: str) -> bytes:
    """Return a notebook of one cell."""
    cells = [{"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
