"""``check("attention.rollout")`` in a notebook."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from llmsafety_lab.checking import cells, forbidden
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise, find
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.result import Result, assess, lost
from llmsafety_lab.checking.session import Session
from llmsafety_lab.errors import InputError


def check(exercise_id: str) -> Result:
    """Check what you have written for an exercise, and say what is wrong with it.

    A graded run makes the same check with other random inputs.

    Parameters
    ----------
    exercise_id
        As the exercise's heading gives it.

    Returns
    -------
    Result
        Shown by the notebook in colour; ``print`` it for plain text.

    Raises
    ------
    LookupError
        If there is no such exercise. A mistake in the answer is shown, never raised.
    ValueError
        If what is given is no text: the function itself, for instance.

    Examples
    --------
    >>> check("attention.rollout")  # doctest: +SKIP
    """
    if not isinstance(exercise_id, str):
        raise InputError('check takes the id in the exercise\'s heading, in quotes: check("attention.rollout")')
    return check_in(find(exercise_id), sys._getframe(1).f_globals)


def check_in(exercise: Exercise, namespace: dict[str, Any]) -> Result:
    """Check an exercise's answer among the names of a running notebook."""
    name = exercise.answer
    value = namespace.get(name)
    if value is None:
        words = f"There is no function or class {name} yet: run the cell that defines it, above this one."
        return lost(exercise, Failed(words))
    if not callable(value):
        words = f"{name} is a value of type {type(value).__name__} here: a cell has given the name to something else. "
        return lost(exercise, Failed(words + "Choose another name there, and run the cell that defines your function."))
    if str(getattr(value, "__module__", "")).startswith("llmsafety_lab."):
        return lost(exercise, Failed(f"This is the course's own {exercise.answer}. Write yours in the cell above."))
    try:
        forbidden.refuse(forbidden.trees_of(namespace, exercise.forbid), exercise.answer, exercise.forbid)
    except forbidden.Forbidden as error:
        return lost(exercise, Failed(str(error)))
    session = Session(namespace)
    result = assess(exercise, Answer(exercise.answer, session.handle), Dice(exercise.id))
    return _with_warning(result, cells.not_kept(namespace.get("In") or [], name)) if result.earned else result


def _with_warning(result: Result, lost: dict[str, str]) -> Result:
    """Say beside the points what a graded run, which keeps only definitions, would not find."""
    if not lost:
        return result
    made = "; ".join(
        f"{name} is made by `{line if len(line) < 80 else line[:77] + '...'}`" for name, line in lost.items()
    )
    words = f"But a graded run may give 0 points: it has no {' and no '.join(lost)}, since {cells.GRADED} ({made}). "
    words += "Make it inside your function, or from what the function is given."
    return replace(result, message=f"{result.message} {words}")
