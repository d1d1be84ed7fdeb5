"""The page of reproduced results, collected from the chapters' runs."""

import json
from collections.abc import Iterator
from pathlib import Path

from llmsafety_lab.tables import REPRODUCED, Reproduced

_TEXT = """\
# Reproduced results

A course that runs can be held against what was published. Each row below is a figure from the literature and what the
same measurement gave when this site was built. Where the two differ, the last column says why. No row was left out
because it came out otherwise than published.
"""


def page(root: Path, names: list[str]) -> str:
    """Return the page in MyST: a table for each of the pages `names` that reproduces something, in their order."""
    parts = [_TEXT]
    for name in names:
        executed = root / "_build" / "executed" / f"{name}.ipynb"
        rows = list(_rows(executed)) if name.startswith("chapters/") and executed.exists() else []
        if rows:
            parts.append(
                f"## {_title(root / f'{name}.md')}\n\nFrom the chapter {{doc}}`/{name}`.\n\n"
                "| Work | Figure | Published | Here | Why they differ, or agree |\n"
                + "|:--|:--|--:|--:|:--|\n"
                + "\n".join(
                    f"| {{cite:t}}`{row.paper}` | "
                    + " | ".join(_cell(cell) for cell in (row.figure, row.published, row.ours, row.why))
                    + " |"
                    for row in rows
                )
                + "\n"
            )
    return "\n".join(parts)


def _title(chapter: Path) -> str:
    return next(line[2:] for line in chapter.read_text(encoding="utf-8").splitlines() if line.startswith("# "))


def _rows(executed: Path) -> Iterator[Reproduced]:
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            for row in output.get("data", {}).get(REPRODUCED, []):
                yield Reproduced(**row)


def _cell(text: str) -> str:
    """Return text as it reads in a cell of a MyST table: nothing in it is markup."""
    return "".join(f"\\{letter}" if letter in "\\|*_`[]<>{}$#~" else letter for letter in " ".join(text.split()))
