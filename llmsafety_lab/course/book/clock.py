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


def table(root: Path) -> str:
    """Return the topics' seconds and the steps' for a terminal."""
    lines = ["".join(f"{cell:>12}" if place else f"{cell:24}" for place, cell in enumerate(row)) for row in rows(root)]
    steps = sorted((root / "_build" / "steps").glob("*"), key=lambda path: path.stat().st_mtime)
    said = ", ".join(f"{path.name.replace('_', ' ')} {path.read_text().strip()}" for path in steps)
    return "\n".join([*lines, f"steps, in seconds of the clock: {said}"] if said else lines)


def over(root: Path) -> list[str]:
    """Return a line for each topic that takes more than twice its budget."""
    return [
        f"{topic} takes {sum(seconds.values()):.0f} core seconds; its budget is {BUDGET}, the limit {2 * BUDGET}"
        for topic, seconds in topics(root).items()
        if sum(seconds.values()) > 2 * BUDGET
    ]


if __name__ == "__main__":
    broken = over(Path.cwd())
    print("\n".join(broken), end="\n" if broken else "")
    sys.exit(bool(broken))
