"""Runs an exercise's check on files of Python, to try it with right answers in other styles and with wrong ones."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmsafety_lab.checking import exercise, forbidden
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.cells import as_python, definitions
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, assess, lost
from llmsafety_lab.checking.session import Session
from llmsafety_lab.course.book import masters

SEEDS = ("a", "b", "c")


def trial(root: Path, exercise_id: str, files: Sequence[Path]) -> list[tuple[Path, Result]]:
    """Return for each file what it earns in the exercise: the first result that is not whole of three throws of dice.

    A file holds what a student would write. It may use the lab's imports and definitions and the other exercises'
    solutions. This runs the files as they are, with no sandbox: try your own.

    Raises
    ------
    LookupError
        If there is no such exercise.
    OSError
        If a file cannot be read.
    """
    wanted = exercise.find(exercise_id)
    master = root / "labs" / f"{wanted.topic}.md"
    given = [
        cell.source
        for cell in masters.solved(master).cells
        if cell.cell_type == "code" and not {"stub", "solution"} & set(masters.tags(cell))
    ]
    others = [source for id, source in masters.solutions(master).items() if id != exercise_id]
    before = [ast.unparse(definitions(ast.parse(as_python(source)))) for source in given + others]
    return [(file, _tried(wanted, before, file)) for file in files]


def _tried(wanted: Exercise, before: Sequence[str], file: Path) -> Result:
    source = file.read_text(encoding="utf-8")
    for seed in SEEDS:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for statement in ast.parse("\n".join(before)).body:
            with contextlib.suppress(Exception):  # a graded run goes on, too
                exec(ast.unparse(statement), namespace)
        namespace.pop(wanted.answer, None)
        try:
            exec(compile(source, str(file), "exec"), namespace)
            forbidden.refuse([ast.parse(source)], wanted.answer, wanted.forbid)
        except forbidden.Forbidden as error:
            return lost(wanted, Failed(str(error)))
        except Exception as error:
            return lost(wanted, Failed(f"The file stops with {type(error).__name__}: {error}."))
        value = namespace.get(wanted.answer)
        if not callable(value):
            return lost(wanted, Failed(f"The file defines no function or class {wanted.answer}."))
        if str(getattr(value, "__module__", "")).startswith("llmsafety_lab."):
            return lost(wanted, Failed(f"This is the course's own {wanted.answer}, which a graded run withholds."))
        result = assess(wanted, Answer(wanted.answer, Session(namespace).handle), Dice(seed))
        if not result.passed:
            return result
    return result
