"""One exercise checked: what it earned and what the student reads."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.expect import Failed


@dataclass(frozen=True)
class Result:
    """What an exercise earned, and why.

    ``again`` says why a graded run should be tried again: a limit stopped it, or the grader itself failed.
    """

    id: str
    title: str
    points: float
    earned: float
    message: str = ""
    expected: str | None = None
    got: str | None = None
    hint: str = ""
    again: str = ""

    @property
    def passed(self) -> bool:
        return self.earned == self.points

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return the result in plain text."""
        parts = [f"{self.id}: {self.earned:g} of {self.points:g}.", self.message]
        if self.expected is not None or self.got is not None:
            parts.append(f"\n  Expected: {self.expected}\n  Got:      {self.got}")
        if self.hint:
            parts.append(f"\n  {self.hint}")
        return " ".join(part for part in parts if part).replace(" \n", "\n")

    def to_html(self) -> str:
        """Return the result as HTML, with everything that came from the student escaped."""
        colour, mark = ("var(--green, #0b6b51)", "✓") if self.passed else ("var(--vermillion, #a83a14)", "✗")
        rows = "".join(
            f"<div><b>{label}</b> <code style='white-space:pre-wrap'>{html.escape(value)}</code></div>"
            for label, value in (("Expected", self.expected), ("Got", self.got))
            if value is not None
        )
        hint = f"<div>{html.escape(self.hint)}</div>" if self.hint else ""
        return (
            f"<div style='border-left:4px solid {colour};padding:.3em .8em;margin:.3em 0'>"
            f"<div><b>{mark} {html.escape(self.id)}: {self.earned:g} of {self.points:g}.</b> "
            f"{html.escape(self.message)}</div>{rows}{hint}</div>"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return {"text/plain": self.to_text(), "text/html": self.to_html()}


def assess(exercise: Exercise, answer: Answer, dice: Dice) -> Result:
    """Run an exercise's check on an answer.

    A check that itself breaks on what a student's code returned gives no points and says so; it never raises.
    """
    try:
        exercise.check(answer, dice)
    except Failed as failed:
        return lost(exercise, failed)
    except Exception as error:
        return lost(exercise, Failed(f"The check could not work with what {exercise.answer} returned ({error})."))
    return Result(exercise.id, exercise.title, exercise.points, exercise.points, "All of it is right.")


def lost(exercise: Exercise, failed: Failed) -> Result:
    """Return the result of an exercise that earned nothing."""
    return Result(
        exercise.id, exercise.title, exercise.points, 0, failed.message, failed.expected, failed.got, failed.hint
    )
