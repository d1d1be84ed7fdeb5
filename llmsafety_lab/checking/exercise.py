"""What an exercise is, and where the exercises of a lab are found.

A check is a plain function ``check(answer, dice)``. It calls the student's ``answer`` on inputs drawn from ``dice`` and
says what is wrong by raising `Failed`, most easily through the functions of `expect`. It returns
nothing when the answer is right, and it cannot tell where the student's code runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmsafety_lab.errors import NotFoundError

if TYPE_CHECKING:
    from llmsafety_lab.checking.answer import Answer
    from llmsafety_lab.checking.dice import Dice


@dataclass(frozen=True)
class Mutant:
    """A wrong answer made from the solution by one edit: a misconception that the check must catch.

    Parameters
    ----------
    name
        The misconception in a word or two.
    find, replace
        The edit of the solution's source. ``find`` occurs in it exactly once.
    says
        Words that the check's message must hold, so that the student reads what went wrong.
    """

    name: str
    find: str
    replace: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: what the learner sees of it, and the check behind it."""

    id: str
    title: str
    points: int
    difficulty: int
    importance: int
    minutes: int
    answer: str
    check: Callable[[Answer, Dice], None]
    forbid: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    mutants: tuple[Mutant, ...] = field(default=(), repr=False)

    @property
    def topic(self) -> str:
        return self.id.partition(".")[0]

    @property
    def facts(self) -> str:
        """The line under the heading."""
        points = f"{self.points} point" + "s" * (self.points != 1)
        return (
            f"`{self.id}`, {points}, difficulty {self.difficulty} of 5, importance {self.importance} of 5, "
            f"{self.minutes} minutes."
        )


def exercise(
    id: str,
    title: str,
    *,
    points: int,
    difficulty: int,
    importance: int,
    minutes: int,
    answer: str,
    forbid: Sequence[str] = (),
    withhold: Sequence[str] = (),
    mutants: Sequence[Mutant] = (),
) -> Callable[[Callable[[Answer, Dice], None]], Exercise]:
    """Make the decorated function the check of an exercise; the name is the exercise's then.

    Parameters
    ----------
    id
        ``topic.name``; the topic is the name of the module under `llmsafety_lab.checks`.
    answer
        The name of the function or class that the student writes.
    forbid
        What the answer must not call: dotted Python names, and operators as ``aten::name``.
    withhold
        Modules of the package, dotted, that hold the answer too, beside the topic's own: ``fine_tuning.measures``.

    Raises
    ------
    ValueError
        If difficulty or importance is not from 1 to 5, or points are not positive.
    """
    if not (1 <= difficulty <= 5 and 1 <= importance <= 5 and points > 0):
        raise ValueError(f"{id}: difficulty and importance are from 1 to 5, and points at least 1")

    def made(check: Callable[[Answer, Dice], None]) -> Exercise:
        return Exercise(
            id,
            title,
            points,
            difficulty,
            importance,
            minutes,
            answer,
            check,
            tuple(forbid),
            tuple(withhold),
            tuple(mutants),
        )

    return made


def topics() -> list[str]:
    """Return the topics that have checks."""
    folder = Path(__file__).parents[1] / "checks"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]))


def exercises(topic: str) -> list[Exercise]:
    """Return the exercises of one topic's lab, in its order.

    Raises
    ------
    LookupError
        If there is no such topic.
    """
    if topic not in topics():
        raise NotFoundError(f"there is no lab named {topic!r}; the labs are: {', '.join(topics())}")
    return list(importlib.import_module(f"llmsafety_lab.checks.{topic}").EXERCISES)


def homes(topic: str) -> list[str]:
    """Return the package's modules that hold answers of a topic's lab, dotted, which a graded answer cannot use."""
    return [topic, *dict.fromkeys(name for one in exercises(topic) for name in one.withhold)]


def find(id: str) -> Exercise:
    """Return one exercise by its id.

    Raises
    ------
    LookupError
        If there is none.
    """
    every = exercises(id.partition(".")[0])
    for one in every:
        if one.id == id:
            return one
    raise NotFoundError(f"there is no exercise {id!r}; this lab has: {', '.join(one.id for one in every)}")
