"""The teacher's report on a graded lab: the class in one picture, and everything to look at."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading import likeness
from llmsafety_lab.course.grading.foreign import quoted
from llmsafety_lab.course.grading.grade import BROKEN, LIMITED
from llmsafety_lab.course.grading.notebooks import code_cells
from llmsafety_lab.course.grading.sheets import Score
from llmsafety_lab.course.grading.submissions import Found, HandedIn
from llmsafety_lab.errors import InputError

COLUMNS = ("exercise", "points", "mean", "right", "", "commonest failure")
_BAR = 20


@dataclass(frozen=True)
class Overview:
    """The report's parts. Text that is not the course's own is in backquotes (see `quoted`).

    Parameters
    ----------
    histogram
        Of each range of points: its name, how many students are in it, and a bar.
    rows
        A row for each exercise, under `COLUMNS`.
    sections
        What to look at: a title, and the entries of the list under it.
    """

    topic: str
    summary: str
    histogram: list[tuple[str, int, str]]
    columns: tuple[str, ...]
    rows: list[list[str]]
    sections: list[tuple[str, list[str]]]

    def to_markdown(self) -> str:
        """Return the report as Markdown that reads well on a terminal too."""
        lines = [f"# {self.topic}", "", self.summary]
        if self.histogram:
            picture = [f"{name:19} {count:4} {bar}".rstrip() for name, count, bar in self.histogram]
            lines += ["", "```text", *picture, "```"]
        lines += ["", *(f"| {' | '.join(row)} |" for row in (self.columns, ["---"] * len(self.columns), *self.rows))]
        for title, entries in self.sections:
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
        return "\n".join(lines) + "\n"


def overview(
    topic: str,
    exercises: Sequence[Exercise],
    found: Found,
    scores: Sequence[Score],
    points: float,
    due: datetime | None = None,
) -> Overview:
    """Return the report on a lab of which ``points`` can be had."""
    graded = [score for score in scores if score.results]
    totals = [score.total or 0.0 for score in graded]
    summary = f"{len(found.chosen)} of {len(scores)} students handed in."
    if totals:
        middle = statistics.median(totals)
        summary += f" Mean {sum(totals) / len(totals):.2f}, median {middle:g} of {points:g} points."
    if due is not None:
        summary += f" Due {due:%Y-%m-%d %H:%M} {due:%Z}" + f" (UTC{due:%z})." * bool(due.tzinfo)
    asked = graded[0].results if graded else exercises
    rows = [_row(one.id, [r for score in graded for r in score.results if r.id == one.id]) for one in asked]
    sections = [(title, entries) for title, entries in _sections(exercises, found, scores) if entries]
    return Overview(topic, summary, _histogram(totals, points) if totals else [], COLUMNS, rows, sections)


def _histogram(totals: Sequence[float], points: float) -> list[tuple[str, int, str]]:
    """Count how many students have how many points, in at most ten steps."""
    steps = max(1, min(10, int(points)))
    counts = Counter(min(steps - 1, int(total / max(points, 1e-9) * steps)) for total in totals)
    most = max(counts.values())
    found = []
    for step in range(steps):
        low, high = points * step / steps, points * (step + 1) / steps
        end = "to" if step == steps - 1 else "to under"
        found.append((f"{low:4.4g} {end} {high:4.4g}", counts[step], "█" * round(_BAR * counts[step] / most)))
    return found


def _row(id: str, column: Sequence[Result]) -> list[str]:
    mean = sum(result.earned for result in column) / max(1, len(column))
    right = sum(result.passed for result in column)
    kinds: dict[str, list[str]] = defaultdict(list)
    for result in column:
        if not result.passed:
            kinds[_kind(result.message)].append(result.message)
    most = max(kinds.values(), key=len, default=[])
    worst = f"{len(most)} of {len(column)}: {quoted(most[0])}" if most else ""
    bar = "█" * round(10 * right / max(1, len(column)))
    points = column[0].points if column else 0
    return [quoted(id), f"{points:g}", f"{mean:.2f}", f"{right} of {len(column)}", bar, worst]


def _kind(message: str) -> str:
    """Return a message without what differs from draw to draw: numbers, and what stands in quotation marks."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]|-?\d[\d.,e+-]*", "#", message)


def _sections(exercises: Sequence[Exercise], found: Found, scores: Sequence[Score]) -> Iterable[tuple[str, list[str]]]:
    chosen = [found.chosen[score.student.id] for score in scores if score.student.id in found.chosen]
    missing = [score for score in scores if score.student.id not in found.chosen]
    yield "Missing (their cells in the sheets are empty)", [_who(score) for score in missing if not score.results]
    yield "Missing, with points given by hand", [_who(score) for score in missing if score.results]
    late = [f"{_who(score)}: {score.days} day{'s' * (score.days > 1)}" for score in scores if score.days]
    yield "Late (a day begun counts)", late
    yield (
        "Stopped by a limit (a busy machine can be the reason; the next run tries again)",
        _again(scores, LIMITED),
    )
    yield "The grader itself failed (the next run tries again)", _again(scores, BROKEN)
    yield "Not read", [f"{_file(handed)}: {quoted(handed.problem, 400)}" for handed in chosen if handed.problem]
    strange = [_file(handed) for handed in chosen if handed.digest and not handed.defines]
    yield "Read, but nothing of this lab is in it (another lab's notebook?)", strange
    twice = [
        f"{quoted(id)}: {quoted(found.chosen[id].file.place)} counts, not {', '.join(map(quoted, others))}"
        for id, others in sorted(found.duplicates.items())
    ]
    yield "Handed in more than once", twice
    by_name = [_file(handed) for handed in chosen if handed.how.startswith("name")]
    yield "Found by name (look whether it is the right student)", by_name
    yield "Of no student of the roster", [f"{quoted(place)}: {quoted(why)}" for place, why in sorted(found.unknown)]
    versions = Counter(handed.version or "none" for handed in chosen if handed.digest)
    yield "Version of the course that the notebooks install", [f"{quoted(v)}: {n}" for v, n in versions.most_common()]
    yield from _likeness(exercises, found, scores)


def _likeness(exercises: Sequence[Exercise], found: Found, scores: Sequence[Score]) -> Iterable[tuple[str, list[str]]]:
    same: dict[str, list[str]] = defaultdict(list)
    shingles: dict[str, set[str]] = {}
    answers = {exercise.id: exercise.answer for exercise in exercises}
    for score in scores:
        id = score.student.id
        right = {answers[result.id] for result in score.results if result.passed and result.id in answers}
        if id in found.chosen and found.chosen[id].digest and right:
            try:
                cells = code_cells(found.chosen[id].file.read())
            except InputError:
                continue
            same[likeness.digest(cells)].append(id)
            shingles[id] = likeness.shingles(cells, right)
    places = {id: handed.file.place for id, handed in found.chosen.items()}
    groups = [group for group in same.values() if len({places[id] for id in group}) > 1]
    yield "The same code, word for word", sorted(", ".join(map(quoted, sorted(group))) for group in groups)
    known = {frozenset((a, b)) for group in same.values() for a in group for b in group}
    pairs = [
        f"{quoted(a)} and {quoted(b)}: {share:.0%} of the shorter one's rare passages"
        for share, a, b in likeness.alike(shingles)
        if frozenset((a, b)) not in known
    ]
    yield "Alike with the names left out of account (look at them; short right answers are often alike)", pairs


def _again(scores: Sequence[Score], why: str) -> list[str]:
    return [
        f"{_who(score)}: {', '.join(quoted(result.id) for result in score.results if result.again == why)}"
        for score in scores
        if any(result.again == why for result in score.results)
    ]


def _who(score: Score) -> str:
    return f"{quoted(score.student.id)} ({quoted(score.student.name)})"


def _file(handed: HandedIn) -> str:
    return f"{quoted(handed.student)}: {quoted(handed.file.place)}"
