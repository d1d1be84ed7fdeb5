"""What a teacher gets of a graded lab: grade sheets, a feedback page for each student, and a report."""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading import sheets
from llmsafety_lab.course.grading.foreign import plain
from llmsafety_lab.course.grading.grade import write
from llmsafety_lab.course.grading.overview import overview
from llmsafety_lab.course.grading.sheets import Score
from llmsafety_lab.course.grading.submissions import Found, HandedIn

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("llmsafety_lab.course.grading", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
_PAGES.filters["code"] = lambda text: Markup(re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text)))


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
    asked = graded[0].results if graded else exercises
    points = float(sum(one.points for one in asked))
    titles = [one.id for one in asked]
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
    seen = overview(topic, exercises, found, scores, points)
    text = seen.to_markdown()
    write(out / "report.md", text)
    write(out / "report.html", _PAGES.get_template("overview.html").render(seen=seen, palette=_palette()))
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
        palette=_palette(),
        total=f"{score.total:g}",
        points=f"{sum(result.points for result in score.results):g}",
        late=late,
        results=score.results,
        file=plain(handed.file.name) if handed else "",
    )


def _palette() -> Markup:
    return Markup(resources.files("llmsafety_lab.course").joinpath("palette.css").read_text(encoding="utf-8"))


def _returned(found: Found, pages: dict[str, str]) -> bytes:
    """Return the feedback pages in a zip, under the names by which the platform knows the files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, page in sorted(pages.items()):
            handed = found.chosen.get(student)
            parts = (handed.file.outer if handed.direct else handed.file.inner) if handed else (student,)
            name = "/".join([*parts[:-1], f"{parts[-1].rpartition('.')[0] or parts[-1]}.html"])
            entry = zipfile.ZipInfo(name.encode("utf-8", "replace").decode(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, page.encode("utf-8", "backslashreplace"))
    return data.getvalue()
