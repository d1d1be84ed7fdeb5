"""What each topic costs: the seconds of a core that its notebooks and tests take, and the budget that they must keep.

The notebooks' seconds are in `_build/executed/times.json`, those of the tests in `_build/clock.json`, those of the
steps of a whole run in `_build/steps`. What was kept counts with the seconds that it took when it ran.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

BUDGET = 180
"""Core seconds of one topic: 90 seconds of the clock with both cores busy. A topic over twice that fails the run."""

CELL = 10
"""Core seconds of one cell at the scale `ci`. A cell over twice that fails the run."""

COLUMNS = ("chapter", "lab", "handed out", "graded", "tests")

_FOLDERS = {"chapters": "chapter", "labs": "lab", "handed_out": "handed out"}


def topics(root: Path) -> dict[str, dict[str, float]]:
    """Return for each topic the seconds of each of its `COLUMNS` that is known."""
    found: dict[str, dict[str, float]] = {}
    times, clock = root / "_build" / "executed" / "times.json", root / "_build" / "clock.json"
    for run in json.loads(times.read_text()) if times.exists() else []:
        folder, _, topic = run["notebook"].partition("/")
        found.setdefault(topic, {})[_FOLDERS[folder]] = run["core_seconds"]
    for topic, seconds in (json.loads(clock.read_text()) if clock.exists() else {}).items():
        found.setdefault(topic, {}).update(seconds)
    return dict(sorted(found.items()))


def rows(root: Path) -> list[list[str]]:
    """Return a table as text: a head, a row a topic, and the sums."""
    known = topics(root)
    sums = {column: sum(seconds.get(column, 0) for seconds in known.values()) for column in COLUMNS}
    lines = [*known.items(), (f"all {len(known)}", sums)]
    return [["core seconds", *COLUMNS, "sum"]] + [
        [name, *(f"{seconds[one]:.0f}" if one in seconds else "" for one in COLUMNS), f"{sum(seconds.values()):.0f}"]
        for name, seconds in lines
    ]


def slowest(notebook: Path) -> tuple[int, float]:
    """Return the number of an executed notebook's slowest cell, and its seconds of the clock."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    seconds = [cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in cells]
    number = max(range(len(seconds)), key=seconds.__getitem__, default=0)
    return number, round(seconds[number], 1) if seconds else 0.0


def cells(root: Path, most: float = CELL) -> list[str]:
    """Return a line for each notebook whose slowest cell takes more core seconds than `most`.

    A cell's core seconds are its seconds of the clock times the share of a core that its notebook had.
    """
    times, lines = root / "_build" / "executed" / "times.json", []
    for run in json.loads(times.read_text()) if times.exists() else []:
        number, seconds = run.get("slowest", (0, 0.0))
        taken = seconds * min(1.0, run["core_seconds"] / run["seconds"]) if seconds else 0.0
        if taken > most:
            lines.append(f"{run['notebook']}: cell {number} takes {taken:.0f} core seconds; a cell may take {CELL}")
    return lines


def table(root: Path) -> str:
    """Return the topics' seconds and the steps' for a terminal."""
    lines = ["".join(f"{cell:>12}" if place else f"{cell:24}" for place, cell in enumerate(row)) for row in rows(root)]
    steps = sorted((root / "_build" / "steps").glob("*"), key=lambda path: path.stat().st_mtime)
    said = ", ".join(f"{path.name.replace('_', ' ')} {path.read_text().strip()}" for path in steps)
    return "\n".join([*lines, *cells(root), *([f"steps, in seconds of the clock: {said}"] if said else [])])


def over(root: Path) -> list[str]:
    """Return a line for each topic that takes more than twice its budget."""
    return [
        f"{topic} takes {sum(seconds.values()):.0f} core seconds; its budget is {BUDGET}, the limit {2 * BUDGET}"
        for topic, seconds in topics(root).items()
        if sum(seconds.values()) > 2 * BUDGET
    ] + cells(root, 2 * CELL)


if __name__ == "__main__":
    broken = over(Path.cwd())
    print("\n".join(broken), end="\n" if broken else "")
    sys.exit(bool(broken))
