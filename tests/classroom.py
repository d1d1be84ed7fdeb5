"""A made-up course: a roster, a key, and submissions made from the attention lab's student notebook."""

from __future__ import annotations

import io
import json
import os
import unicodedata
import zipfile
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
    (folder / "course.key").chmod(0o600)
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


def tree(folder: Path) -> dict[str, bytes]:
    """Return every report under a folder of grades, by its name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def plain(code: str) -> bytes:
    """Return a notebook of one cell."""
    cells = [{"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def zipped(entries: dict[str, bytes]) -> bytes:
    """Return a zip."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 20, 10, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def damaged(entries: dict[str, bytes]) -> bytes:
    """Return a zip whose first entry cannot be unpacked."""
    name, content = next(iter(entries.items()))
    data = bytearray(zipped(entries))
    start = 30 + len(name.encode())
    data[start : start + 40] = b"\xff" * 40
    assert len(content) > 500
    return bytes(data)


def odd_class(folder: Path) -> dict[str, float | None]:
    """Write a class of thirty with every odd file that platforms, editors and students make, and its roster and key.

    Returns
    -------
    dict
        The points that each student has to get for the first exercise's answer, by id; None for who handed in nothing.
    """
    first = EXERCISES[0]
    solution = "import math\nimport torch\n" + masters.solutions(LAB)[first.id]
    right, blank = plain(solution), notebook([])
    other = plain("def merge(a):\n    return a")
    put: dict[str, bytes] = {
        "k01.ipynb": right,
        "K02.ipynb": right,
        "k03_2026_11_27_lab.ipynb": right,
        "k04/lab.ipynb": right,
        "k04/screenshot.png": b"\x89PNG",
        "k04/.DS_Store": b"x",
        "k04/.ipynb_checkpoints/lab-checkpoint.ipynb": blank,
        "k04/tokenization.ipynb": other,
        "k05.zip": zipped({"handed_in/lab.ipynb": right, "__MACOSX/handed_in/._lab.ipynb": b"\0\5"}),
        "k06.zip": zipped({"inner.zip": zipped({"lab.ipynb": right})}),
        "k07.ipynb.txt": right,
        "k08.ipynb": plain(solution + "  # right?"),
        "k09.ipynb": plain("!pip install -q nothing \\\n    --upgrade\nTEXT = '''\n% a\n! b\n'''\n" + solution),
        "k10.ipynb": plain("%%time\n" + solution + "\nt = %time 1 + 1"),
        "k11.ipynb": plain(f"if True:\n    def {first.answer}(q, k, v, mask=None): pass"),
        "k12.ipynb": b"%PDF-1.4",
        "k13.pdf": b"%PDF-1.4",
        "k14.ipynb": plain("A = '" + "a" * 17_000_000 + "'"),
        "k15.ipynb": plain("A = '" + "\U0001f600" * 1_500_000 + "'"),
        "k16.ipynb": other,
        "Last First_7001_assignsubmission_file_/lab.ipynb": right,
        unicodedata.normalize("NFD", "Zoë Größe") + "_7002_assignsubmission_file_lab.ipynb": right,
        "moodle.zip": zipped({"Anna Kurz_7003_assignsubmission_file_/lab.ipynb": right}),
        "canvas.zip": zipped({"langpia_LATE_520_9001_lab.ipynb": right, "stranger_999_9002_lab.ipynb": right}),
        "Lab 1_k21_attempt_2026-11-20-10-30-00_lab.ipynb": right,
        "Lab 1_k21_attempt_2026-11-20-10-30-00.txt": b"Name: k21",
        "4711-815 - Omar Said - Nov 20, 2026 1130 AM/lab.ipynb": right,
        "damaged.zip": damaged({"k23.ipynb": right, "k24.ipynb": right}),
        "stranger.zip": zipped({"../../k01.ipynb": blank, "k01.ipynb": blank}),
        "k25.ipynb": plain(f"def {first.answer}(*a, **k):\n    raise ValueError('<script>')"),
        "k26_\x1b[31m\n## Forged.ipynb": right,
        os.fsdecode(b"k27_\xff.ipynb"): right,
        "k28.ipynb": plain("display(1)\n" + solution + "\nget_ipython().run_line_magic('time', '1')"),
        "nobody.ipynb": right,
    }
    for name, data in put.items():
        path = folder / "submissions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "submissions" / "k29.ipynb").symlink_to("/etc/passwd")
    names = {17: "First Last", 18: "Zoë Größe", 19: "Anna Kurz", 20: "Pia Lang", 22: "Omar Said"}
    rows = [
        f"k{number:02};{names.get(number, f'Student {number}')};{520 if number == 20 else ''}"
        for number in range(1, 31)
    ]
    text = "\r\n".join(["ID;Name;canvas_id", *rows, ";;", ""])
    (folder / "roster.csv").write_bytes(text.encode("cp1252"))
    (folder / "course.key").write_text("0123456789abcdef0123456789abcdef")
    (folder / "course.key").chmod(0o600)
    wrong = {11, 12, 13, 14, 15, 16, 23, 25, 29}
    return {
        f"k{number:02}": None if number == 30 else 0.0 if number in wrong else float(first.points)
        for number in range(1, 31)
    }
