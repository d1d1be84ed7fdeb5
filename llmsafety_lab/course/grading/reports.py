"""What a teacher gets of a graded lab: grade sheets, a feedback page for each student, and a summary."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading import likeness, sheets
from llmsafety_lab.course.grading.foreign import plain, quoted
from llmsafety_lab.course.grading.grade import BROKEN, LIMITED, write
from llmsafety_lab.course.grading.notebooks import code_cells
from llmsafety_lab.course.grading.sheets import Score
from llmsafety_lab.course.grading.submissions import Found, HandedIn
from llmsafety_lab.errors import InputError

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("llmsafety_lab.course.grading", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
_BAR = 20


@dataclass(frozen=True)
class Summary:
    """A graded lab in numbers and in words."""

    graded: int
    missing: int
    mean: float
    points: float
    text: str


def write_all(out: Path, topic: str, exercises: Sequence[Exercise], found: Found, scores: Sequence[Score]) -> Summary:
    """Write the grade sheets, the feedback pages, Gradescope's results and the report.

    Pages of students who have no score any more are removed.
    """
    graded = [score for score in scores if score.results]
    ids = {score.student.id for score in graded}
    points = float(sum(result.points for result in graded[0].results)) if graded else _points(exercises)
    titles = [result.id for result in graded[0].results] if graded else [exercise.id for exercise in exercises]
    for folder in ("feedback", "results"):
        (out / folder).mkdir(exist_ok=True)
        for path in (out / folder).iterdir():
            if path.suffix in (".html", ".json") and path.stem not in ids:
                path.unlink()
    pages = {score.student.id: feedback(topic, score, found.chosen.get(score.student.id)) for score in graded}
    for score in graded:
        write(out / "feedback" / f"{score.student.id}.html", pages[score.student.id])
        write(out / "results" / f"{score.student.id}.json", json.dumps(gradescope(score.results), indent=1))
    (out / "feedback.zip").write_bytes(_returned(found, pages))
    write(out / "grades.csv", sheets.canvas(topic, scores, points))
    write(out / "grades-moodle.csv", sheets.moodle(topic, scores))
    write(out / "questions.csv", sheets.by_question(titles, scores))
    write(out / "files.csv", sheets.files(found.files))
    totals = [score.total for score in graded if score.total is not None]
    mean = sum(totals) / max(1, len(totals))
    text = _report(topic, exercises, found, scores, points)
    write(out / "report.md", text)
    return Summary(len(graded), len(scores) - len(graded), mean, points, text)


def gradescope(results: Sequence[Result]) -> dict[str, Any]:
    """Return the results in Gradescope's form."""
    return {
        "score": sum(result.earned for result in results),
        "tests": [
            {
                "name": f"{result.title} ({result.id})",
                "score": result.earned,
                "max_score": result.points,
                "status": "passed" if result.passed else "failed",
                "output": result.to_text(),
                "output_format": "text",
            }
            for result in results
        ],
    }


def feedback(topic: str, score: Score, handed: HandedIn | None) -> str:
    """Return a student's feedback page. What came from the student is escaped; the page loads nothing."""
    late = ""
    if score.days:
        late = f"Handed in late: {score.days} day{'s' * (score.days > 1)} begun."
        late += f" {1 - score.kept:.0%} of the points are taken off." * (score.kept < 1)
    return _PAGES.get_template("feedback.html").render(
        title=topic.replace("_", " ").capitalize(),
        name=score.student.name,
        palette=Markup(resources.files("llmsafety_lab.course").joinpath("palette.css").read_text(encoding="utf-8")),
        total=f"{score.total:g}",
        points=f"{sum(result.points for result in score.results):g}",
        late=late,
        results=score.results,
        file=plain(handed.file.name) if handed else "",
    )


def _returned(found: Found, pages: dict[str, str]) -> bytes:
    """Return the feedback pages in a zip, under the names by which the platform knows the files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, page in sorted(pages.items()):
            handed = found.chosen.get(student)
            parts = (handed.file.inner or handed.file.outer) if handed else (student,)
            name = "/".join([*parts[:-1], f"{parts[-1].rpartition('.')[0] or parts[-1]}.html"])
            entry = zipfile.ZipInfo(name.encode("utf-8", "replace").decode(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, page.encode("utf-8", "backslashreplace"))
    return data.getvalue()


def _points(exercises: Sequence[Exercise]) -> float:
    return float(sum(exercise.points for exercise in exercises))


def _report(topic: str, exercises: Sequence[Exercise], found: Found, scores: Sequence[Score], points: float) -> str:
    graded = [score for score in scores if score.results]
    totals = [score.total or 0.0 for score in graded]
    lines = [f"# {topic}", "", f"{len(found.chosen)} of {len(scores)} students handed in."]
    if totals:
        lines += [f"Mean {sum(totals) / len(totals):.2f} of {points:g} points.", "", *_histogram(totals, points)]
    lines += ["", "| exercise | points | mean | right | | commonest failure |", "|---|---|---|---|---|---|"]
    for result_id in [result.id for result in graded[0].results] if graded else [one.id for one in exercises]:
        column = [result for score in graded for result in score.results if result.id == result_id]
        lines.append(_row(result_id, column))
    for title, entries in _sections(exercises, found, scores):
        if entries:
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
    return "\n".join(lines) + "\n"


def _row(id: str, column: Sequence[Result]) -> str:
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
    return f"| {quoted(id)} | {points:g} | {mean:.2f} | {right} of {len(column)} | {bar} | {worst} |"


def _kind(message: str) -> str:
    """Return a message without what differs from draw to draw: numbers, and what stands in quotation marks."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]|-?\d[\d.,e+-]*", "#", message)


def _histogram(totals: Sequence[float], points: float) -> list[str]:
    """Draw how many students have how many points, in at most ten steps."""
    steps = max(1, min(10, int(points)))
    counts = Counter(min(steps - 1, int(total / max(points, 1e-9) * steps)) for total in totals)
    lines = ["```text"]
    for step in range(steps):
        low, high = points * step / steps, points * (step + 1) / steps
        bar = "█" * round(_BAR * counts[step] / max(counts.values()))
        end = "]" if step == steps - 1 else ")"
        lines.append(f"[{low:5.4g}, {high:5.4g}{end} {counts[step]:4} {bar}".rstrip())
    return [*lines, "```"]


def _sections(exercises: Sequence[Exercise], found: Found, scores: Sequence[Score]) -> Iterable[tuple[str, list[str]]]:
    chosen = [found.chosen[score.student.id] for score in scores if score.student.id in found.chosen]
    missing = [score for score in scores if score.student.id not in found.chosen]
    yield "Missing (their cells in the sheets are empty)", [_who(score) for score in missing if not score.results]
    yield "Missing, with points given by hand", [_who(score) for score in missing if score.results]
    yield "Late", [f"{_who(score)}: {score.days} days begun" for score in scores if score.days]
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
    by_name = [_file(handed) for handed in chosen if "name" in handed.how]
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
    groups = [group for group in same.values() if len(group) > 1]
    yield "The same code, word for word", sorted(", ".join(map(quoted, sorted(group))) for group in groups)
    known = {frozenset((a, b)) for group in groups for a in group for b in group}
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
