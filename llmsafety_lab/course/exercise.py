"""What an exercise is, the dice its check draws from, and the ways in which an answer can fail.

A check is a plain function ``check(answer, dice)``. It calls the student's ``answer`` on inputs drawn from ``dice`` and
says what is wrong by raising `Failed`, most easily through `expect`, `expect_close` and `expect_equal`. It returns
nothing when the answer is right, and it cannot tell where the student's code runs.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from llmsafety_lab.course.answer import Answer


class Failed(Exception):
    """An answer is wrong: what is wrong, what was expected, what came, and a hint at the usual misconception."""

    def __init__(self, message: str, *, expected: Any = None, got: Any = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = printable(message)
        self.expected = None if expected is None else printable(show(expected))
        self.got = None if got is None else printable(show(got))
        self.hint = printable(hint)


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


_EXERCISES: dict[str, Exercise] = {}


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
    mutants: Sequence[Mutant] = (),
) -> Callable[[Callable[[Answer, Dice], None]], Callable[[Answer, Dice], None]]:
    """Register the decorated function as the check of an exercise.

    Parameters
    ----------
    id
        ``topic.name``; the topic is the name of the module under `llmsafety_lab.checks`.
    answer
        The name of the function or class that the student writes.
    forbid
        What the answer must not call: dotted Python names, and operators as ``aten::name``.

    Raises
    ------
    ValueError
        If difficulty or importance is not from 1 to 5, or points are not positive.
    """
    if not (1 <= difficulty <= 5 and 1 <= importance <= 5 and points > 0):
        raise ValueError(f"{id}: difficulty and importance are from 1 to 5, and points at least 1")

    def register(function: Callable[[Answer, Dice], None]) -> Callable[[Answer, Dice], None]:
        _EXERCISES[id] = Exercise(
            id, title, points, difficulty, importance, minutes, answer, function, tuple(forbid), tuple(mutants)
        )
        return function

    return register


def topics() -> list[str]:
    """Return the topics that have checks."""
    from llmsafety_lab import checks

    return sorted(module.name for module in pkgutil.iter_modules(checks.__path__))


def exercises(topic: str) -> list[Exercise]:
    """Return the exercises of one topic's lab, in the order of their checks.

    Raises
    ------
    LookupError
        If there is no such topic.
    """
    if topic not in topics():
        raise LookupError(f"there is no lab named {topic!r}; the labs are: {', '.join(topics())}")
    importlib.import_module(f"llmsafety_lab.checks.{topic}")
    return [found for found in _EXERCISES.values() if found.topic == topic]


@functools.cache
def homes(topic: str) -> list[str]:
    """Return the package's modules that hold answers of a topic's lab, which a graded answer cannot use."""
    answers = {one.answer for one in exercises(topic)}
    found = []
    for path in sorted(Path(__file__).parents[1].glob("*.py")):
        defined = re.findall(r"^(?:def|class) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if path.stem == topic or answers.intersection(defined):
            found.append(path.stem)
    return found


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
    raise LookupError(f"there is no exercise {id!r}; this lab has: {', '.join(one.id for one in every)}")


class Dice:
    """The random inputs of a check, the same for the same seed.

    In a notebook the seed is the exercise's id; in a graded run it is `Dice.of`: the course's secret key and the
    student's id, so that no two students are asked the same.
    """

    def __init__(self, seed: str) -> None:
        import torch

        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") >> 1
        self.generator = torch.Generator().manual_seed(number)

    @classmethod
    def of(cls, key: bytes, exercise_id: str, student: str) -> Dice:
        return cls(hmac.new(key, f"{exercise_id}\n{student}".encode(), hashlib.sha256).hexdigest())

    def normal(self, *shape: int) -> Tensor:
        """Draw float64 numbers of mean 0 and variance 1."""
        import torch

        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        """Draw float64 numbers from [0, 1)."""
        import torch

        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def integer(self, low: int, high: int) -> int:
        """Draw one integer from low to high, both included."""
        return int(self.integers(low, high, 1))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Draw integers from low to high, both included."""
        import torch

        return torch.randint(low, high + 1, shape, generator=self.generator)


def printable(text: str) -> str:
    """Return a text that is safe to print and to store: no control characters, no lone surrogates, not too long."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text[:4000])
    return kept + " ..." * (len(text) > 4000)


def show(value: Any) -> str:
    """Return a value as a student wants to read it: short, numbers to four digits."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.dim() == 0:
            return show(value.item())
        body = str([show(x) for x in value.flatten()[:6].tolist()]).replace("'", "")
        return f"{'x'.join(map(str, value.shape))} tensor {body[:-1]}{', ...' * (value.numel() > 6)}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else text[:300] + " ..."


def expect(condition: bool, message: str, *, expected: Any = None, got: Any = None, hint: str = "") -> None:
    """Fail with a message unless the condition holds."""
    if not condition:
        raise Failed(message, expected=expected, got=got, hint=hint)


def expect_equal(got: Any, expected: Any, what: str, *, hint: str = "") -> None:
    """Fail unless two plain values (numbers, strings, lists, dicts) are equal."""
    expect(got == expected, f"{what} is wrong.", expected=expected, got=got, hint=hint)


def expect_tensor(got: Any, shape: Sequence[int], what: str, *, hint: str = "") -> Tensor:
    """Fail unless ``got`` is a tensor of this shape; return it as float64."""
    import torch

    if not isinstance(got, torch.Tensor):
        kind = f"a {type(got).__name__}" if got is not None else "None: is there a return statement?"
        raise Failed(f"{what} is not a tensor.", expected=f"a tensor of shape {tuple(shape)}", got=kind, hint=hint)
    if tuple(got.shape) != tuple(shape):
        raise Failed(f"{what} has the wrong shape.", expected=str(tuple(shape)), got=str(tuple(got.shape)), hint=hint)
    return got.to(torch.float64)


def expect_close(
    got: Any,
    expected: Tensor,
    what: str,
    *,
    tolerance: float = 1e-6,
    mistakes: Mapping[str, Tensor] | None = None,
    hint: str = "",
) -> None:
    """Fail unless a tensor agrees with the expected one in shape and to a tolerance.

    Parameters
    ----------
    mistakes
        What the usual misconceptions would have given, by their hint. The hint of the one that fits is shown.
    """
    import torch

    got = expect_tensor(got, expected.shape, what, hint=hint)
    expected = expected.to(torch.float64)
    if torch.allclose(got, expected, rtol=0, atol=tolerance):
        return
    for words, value in (mistakes or {}).items():
        if value.shape == got.shape and torch.allclose(
            got, value.to(torch.float64), rtol=0, atol=10 * tolerance, equal_nan=True
        ):
            hint = words
            break
    if bool(got.isnan().any()) and not bool(expected.isnan().any()):
        place = tuple(got.isnan().nonzero()[0].tolist())
        raise Failed(f"{what} holds NaN, first at {place}.", expected=expected[place], got=got[place], hint=hint)
    gap = (got - expected).abs()
    place = tuple(torch.unravel_index(gap.nan_to_num(posinf=float("inf")).argmax(), gap.shape))
    place = tuple(int(i) for i in place)
    raise Failed(f"{what} is wrong, most at {place}.", expected=expected[place], got=got[place], hint=hint)
