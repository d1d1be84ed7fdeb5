"""What a teacher gets of a graded lab: grade sheets, a feedback page for each student, and a summary."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import Result
from llmsafety_lab.course.grading.submissions import Collection, Student, code_cells


@dataclass(frozen=True)
class Summary:
    """A graded lab in numbers and in words."""

    graded: int
    missing: int
    mean: float
    points: int
    text: str


def write_all(
    out: Path,
    topic: str,
    students: list[Student],
    every: list[Exercise],
    found: Collection,
    results: dict[str, list[Result]],
) -> Summary:
    """Write the grade sheets, the feedback pages, Gradescope's results and the report."""
    from llmsafety_lab.course.grading.grade import write

    points = sum(one.points for one in every)
    scores = {student: sum(result.earned for result in results[student]) for student in results}
    for folder in ("feedback", "results"):
        (out / folder).mkdir(exist_ok=True)
    for student in students:
        if student.id in results:
            late = found.chosen[student.id].late
            write(out / "feedback" / f"{student.id}.html", feedback(topic, student, results[student.id], late))
            write(out / "results" / f"{student.id}.json", json.dumps(gradescope(results[student.id]), indent=1))
    write(out / "grades.csv", _canvas(topic, students, scores, points))
    write(out / "grades-moodle.csv", _moodle(topic, students, scores))
    text = _report(topic, students, every, found, results, scores)
    write(out / "report.md", text)
    mean = sum(scores.values()) / max(1, len(scores))
    return Summary(len(scores), len(students) - len(scores), mean, points, text)


def gradescope(results: list[Result]) -> dict[str, Any]:
    """Return results in the form of Gradescope's ``results.json``."""
    return {
        "score": sum(result.earned for result in results),
        "visibility": "visible",
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


def feedback(topic: str, student: Student, results: list[Result], late: bool) -> str:
    """Return a student's feedback page. What came from the student is escaped; the page loads nothing."""
    palette = resources.files("llmsafety_lab.course").joinpath("palette.css").read_text(encoding="utf-8")
    earned, points = sum(one.earned for one in results), sum(one.points for one in results)
    rows = "\n".join(f"<section><h2>{html.escape(result.title)}</h2>{result.to_html()}</section>" for result in results)
    name, title = html.escape(student.name), html.escape(topic.replace("_", " ").capitalize())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: feedback for {name}</title>
<style>
{palette}
body {{ max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font-family: var(--font-serif); line-height: 1.5;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }}
h1, h2 {{ line-height: 1.2; }} h2 {{ font-size: 1.1rem; margin-bottom: .2rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{name}: <strong>{earned} of {points} points</strong>{" (handed in late)" if late else ""}.</p>
{rows}
</main>
</body>
</html>
"""


def _canvas(topic: str, students: list[Student], scores: dict[str, int], points: int) -> str:
    rows: list[list[Any]] = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", topic]]
    rows.append(["    Points Possible", "", "", "", "", points])
    rows += [[one.name, one.canvas_id, one.id, one.email, "", scores.get(one.id, 0)] for one in students]
    return _csv(rows)


def _moodle(topic: str, students: list[Student], scores: dict[str, int]) -> str:
    rows: list[list[Any]] = [["Identifier", "ID number", "Full name", "Email address", topic]]
    for one in students:
        identifier = f"Participant {one.moodle_id}" if one.moodle_id else ""
        rows.append([identifier, one.id, one.name, one.email, scores.get(one.id, 0)])
    return _csv(rows)


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(
        [f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "@", "\t") else cell for cell in row]
        for row in rows
    )
    return text.getvalue()


def _report(
    topic: str,
    students: list[Student],
    every: list[Exercise],
    found: Collection,
    results: dict[str, list[Result]],
    scores: dict[str, int],
) -> str:
    points = sum(one.points for one in every)
    lines = [f"# {topic}", "", f"{len(results)} of {len(students)} students handed in."]
    if scores:
        lines += [f"Mean {sum(scores.values()) / len(scores):.2f} of {points} points."]
    lines += ["", "| exercise | points | mean | right | commonest failure |", "|---|---|---|---|---|"]
    for index, one in enumerate(every):
        column = [results[student][index] for student in results]
        mean = sum(result.earned for result in column) / max(1, len(column))
        right = sum(result.passed for result in column)
        failures = Counter(result.message for result in column if not result.passed)
        worst = "; ".join(f"{count} times: {message}" for message, count in failures.most_common(1))
        cell = html.escape(" ".join(worst.replace("|", "/").replace("`", "'").split())[:200], quote=False)
        lines.append(f"| `{one.id}` | {one.points} | {mean:.2f} | {right} of {len(column)} | {cell} |")
    missing = [f"{one.id} ({one.name})" for one in students if one.id not in results]
    unread = [f"{one.student}: {one.place}, {one.problem}" for one in found.chosen.values() if one.data is None]
    for title, entries in (
        ("Missing", missing),
        ("Late", [one.student for one in found.chosen.values() if one.late]),
        ("Handed in more than once", found.duplicates),
        ("Of no student of the roster", found.unknown),
        ("Not read", unread),
        ("The same code, word for word", _copies(found, scores)),
    ):
        if entries:
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in sorted(entries))]
    return "\n".join(lines) + "\n"


def _copies(found: Collection, scores: dict[str, int]) -> list[str]:
    same: dict[str, list[str]] = {}
    for student, submission in found.chosen.items():
        if submission.data is not None and scores[student]:
            code = "".join("".join(source.split()) for _, source in code_cells(submission.data))
            same.setdefault(hashlib.sha256(code.encode(errors="replace")).hexdigest(), []).append(student)
    return [", ".join(sorted(group)) for group in same.values() if len(group) > 1]
