"""The commands of those who teach with the course: exercises, grade, gradescope, fetch, key, doctor."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from llmsafety_lab.course.options import positive
from llmsafety_lab.errors import InputError


def commands(add: Callable[..., Any]) -> None:
    """Add the commands to the command line's parser."""
    one = add(exercises, "list every exercise", "exercises --json")
    one.add_argument("--json", action="store_true", help="with the names of the mutants, for programs")

    one = add(
        grade,
        "grade a lab's submissions",
        "grade downloads/ --lab attention --roster roster.csv --key course.key --out grades/",
    )
    one.add_argument("submissions", type=Path, help="a folder of notebooks and of the platform's downloads")
    one.add_argument("--lab", required=True, help="the topic, such as attention")
    one.add_argument(
        "--roster", type=Path, required=True, help="CSV: id,name and where known email,canvas_id,moodle_id,group"
    )
    one.add_argument("--key", type=Path, help="the course's secret (llmsafety-lab key makes one)")
    one.add_argument("--out", type=Path, help="the folder for the results; a second run goes on there")
    one.add_argument("--dry-run", action="store_true", help="show which file counts for whom; run and write nothing")
    one.add_argument(
        "--due",
        type=_moment,
        metavar="DATE",
        help="what is newer is late: 2027-03-01 (the end of that day), 2027-03-01T18:00+01:00, "
        "or with a time zone '2027-03-01 Europe/Berlin' (default: this machine's)",
    )
    one.add_argument(
        "--policy", type=Path, help="YAML: due, zone, extensions, grace_minutes, percent_a_day, most_percent"
    )
    one.add_argument("--groups", action="store_true", help="students of one group in the roster hand in together")
    one.add_argument("--overrides", type=Path, help="CSV: student,exercise,points and where wanted comment,of")
    one.add_argument(
        "--regrade",
        nargs="?",
        const="",
        metavar="STUDENT",
        help="grade again what is graded already: of this student, or of all",
    )
    one.add_argument("--exercise", metavar="ID", help="grade only this exercise again")
    one.add_argument("--jobs", type=positive, default=2, help="how many submissions side by side (default: 2)")
    one.add_argument(
        "--seconds",
        type=_seconds,
        default=20,
        help="for one exercise; a submission has three times as many (default: 20)",
    )
    one.add_argument("--memory", type=positive, default=1024, help="for one exercise, in MB (default: 1024)")
    one.add_argument(
        "--unsafe", action="store_true", help="run the students' code with no sandbox: it can do all you can"
    )

    one = add(gradescope, "write a lab's autograder for Gradescope", "gradescope --lab attention --key course.key")
    one.add_argument("--lab", required=True, help="the topic, such as attention")
    one.add_argument("--key", type=Path, help="the course's secret")
    one.add_argument("--out", type=Path, default=Path("autograder.zip"), help="default: autograder.zip")
    one.add_argument("--run", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)

    one = add(fetch, "fetch the models and data into the cache", "fetch minilm --list")
    one.add_argument("names", nargs="*", help="these only")
    one.add_argument("--list", action="store_true", help="show licence, size, source and what is there; fetch nothing")

    one = add(key, "make a course's secret key", "key course.key")
    one.add_argument("file", type=Path, help="a file that does not exist yet")

    add(doctor, "say what is missing on this machine and how to get it", "doctor")


def exercises(options: argparse.Namespace) -> int:
    from llmsafety_lab.checking import exercise

    rows = [
        {
            "lab": one.topic,
            "id": one.id,
            "title": one.title,
            "points": one.points,
            "difficulty": one.difficulty,
            "importance": one.importance,
            "minutes": one.minutes,
            "mutants": [mutant.name for mutant in one.mutants],
        }
        for topic in exercise.topics()
        for one in exercise.exercises(topic)
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'id':34} {'points':>6} {'difficulty':>10} {'importance':>10} {'minutes':>7}  title")
    for row in rows:
        facts = f"{row['points']:6} {row['difficulty']:10} {row['importance']:10} {row['minutes']:7}"
        print(f"{row['id']:34} {facts}  {row['title']}")
    return 0


def grade(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.grading.lab import Again, grade_lab, plan
    from llmsafety_lab.course.grading.sandbox import Limits

    if options.dry_run:
        lines = plan(
            options.submissions,
            topic=options.lab,
            roster=options.roster,
            due=options.due,
            policy_file=options.policy,
            groups=options.groups,
        )
        print("\n".join(lines))
        return 0
    if not options.key or not options.out:
        raise InputError("name the key file with --key (llmsafety-lab key KEYFILE makes one) and a folder with --out")
    if options.key.exists() and options.key.stat().st_mode & 0o077:
        print(f"warning: others can read {options.key}: chmod 600 {options.key}", file=sys.stderr)
    asked = options.regrade is not None or options.exercise is not None
    summary = grade_lab(
        options.submissions,
        topic=options.lab,
        roster=options.roster,
        key_file=options.key,
        out=options.out,
        limits=Limits(seconds=options.seconds, submission=3 * options.seconds, memory=options.memory << 20),
        jobs=options.jobs,
        due=options.due,
        policy_file=options.policy,
        overrides_file=options.overrides,
        groups=options.groups,
        again=Again(options.regrade or "", options.exercise or "") if asked else None,
        unsafe=options.unsafe,
    )
    print(summary.text)
    print(f"Written to {options.out}: report.html, report.md, feedback/, results/; feedback.zip for the platform;")
    print("grades.csv (Canvas), grades-moodle.csv, questions.csv, files.csv.")
    return 0


def gradescope(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.book import masters
    from llmsafety_lab.course.grading import gradescope

    if options.run:
        results = gradescope.run(options.run, options.lab)
        print(f"{results['score']} points")
        return 0
    if not options.key:
        raise InputError("name the key file with --key (llmsafety-lab key KEYFILE makes one)")
    gradescope.pack(masters.root(), options.lab, options.key, options.out)
    print(f"{options.out}: upload it under Configure Autograder")
    return 0


def fetch(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import fetch

    if options.list:
        for row in fetch.listing():
            there = "here" if row["cached"] else "not yet"
            print(f"{row['name']:14} {row['kind']:10} {row['size'] / 1e6:6.1f} MB  {there:8} {row['source']}")
            print(f"{'':14} {row['task']}; licence: {row['licence']}")
        return 0
    fetch.fetch_all(options.names or None)
    return 0


def key(options: argparse.Namespace) -> int:
    with open(options.file, "x", encoding="ascii") as file:
        options.file.chmod(0o600)
        file.write(secrets.token_hex(32) + "\n")
    print(f"{options.file}: keep it with the course; the same key gives every student the same questions again")
    return 0


def doctor(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.doctor import examine

    return examine()


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number


def _moment(text: str) -> datetime:
    from llmsafety_lab.course.grading.policy import moment

    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: write 2027-03-01 or 2027-03-01T18:00+01:00") from None
