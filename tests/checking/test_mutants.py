"""The checks are tested by wrong answers: the solution earns all points, the stub none, and no mutant earns any."""

from __future__ import annotations

import ast
import contextlib
import re
from pathlib import Path

import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.cells import as_python, definitions
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result, assess
from llmsafety_lab.checking.session import Session
from llmsafety_lab.course.book import masters

ROOT = Path(__file__).parents[2]
EXERCISES = [one for topic in exercise.topics() for one in exercise.exercises(topic)]
MUTANTS = [pytest.param(one, mutant, id=f"{one.id}: {mutant.name}") for one in EXERCISES for mutant in one.mutants]


@pytest.fixture(scope="session")
def labs() -> dict[str, dict[str, str]]:
    """Return the solutions of every lab, and under "" the definitions of its given cells."""
    found = {}
    for topic in exercise.topics():
        path = ROOT / "labs" / f"{topic}.md"
        cells = masters.solved(path).cells
        given = [
            cell for cell in cells if cell.cell_type == "code" and not {"stub", "solution"} & set(masters.tags(cell))
        ]
        kept = [ast.unparse(definitions(ast.parse(as_python(cell.source)))) for cell in given]
        stubs = [cell.source for cell in cells if "stub" in masters.tags(cell)]
        found[topic] = {**masters.solutions(path), "": "\n".join(kept), "stubs": "\n\n".join(stubs)}
    return found


def session(one: Exercise, labs: dict[str, dict[str, str]], source: str) -> Session:
    """Return a session of the lab's given cells and its solutions, and of this source after them."""
    namespace: dict = {"__name__": "__main__"}
    lab = labs[one.topic]
    for statement in ast.parse(lab[""]).body:
        with contextlib.suppress(Exception):  # a graded run goes on, too: SIZES["auto"] is not there
            exec(ast.unparse(statement), namespace)
    solved = "\n\n".join([*(lab[other.id] for other in exercise.exercises(one.topic)), source])
    exec(compile(solved, "<cell 1>", "exec"), namespace)
    return Session(namespace)


def answered(one: Exercise, labs: dict[str, dict[str, str]], source: str, seed: str) -> Result:
    return assess(one, Answer(one.answer, session(one, labs, source).handle), Dice(seed))


@pytest.mark.parametrize("seed", ["a", "b", "c"])
@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: one.id)
def test_the_solution_earns_all_points(one: Exercise, labs, seed: str) -> None:
    result = answered(one, labs, labs[one.topic][one.id], seed)
    assert result.passed, result.to_text()


@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: one.id)
def test_the_stub_earns_nothing_and_is_told_so(one: Exercise, labs) -> None:
    result = answered(one, labs, labs[one.topic]["stubs"], "a")
    assert result.earned == 0
    assert result.message


@pytest.mark.parametrize(("one", "mutant"), MUTANTS)
def test_every_mutant_loses_and_reads_its_mistake(one: Exercise, mutant, labs) -> None:
    solution = labs[one.topic][one.id]
    assert solution.count(mutant.find) == 1, f"{mutant.find!r} occurs {solution.count(mutant.find)} times"
    for seed in ("a", "b"):
        result = answered(one, labs, solution.replace(mutant.find, mutant.replace), seed)
        assert result.earned == 0
        assert mutant.says.lower() in re.sub(r"\s+", " ", result.to_text()).lower(), result.to_text()


@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: one.id)
def test_every_exercise_has_three_named_mutants(one: Exercise) -> None:
    assert len({mutant.name for mutant in one.mutants}) >= 3
