"""The command ``llmsafety-lab``."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], int]


def build(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import topics
    from llmsafety_lab.course.book import masters

    root = masters.root()
    stale = masters.build(root, check=options.check) + topics.build(root, check=options.check)
    for path in stale:
        print(f"{path}: {'stale: run llmsafety-lab build' if options.check else 'written'}")
    if not stale:
        print("every student notebook is as its master says")
    return int(options.check and bool(stale))


def execute(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.book import masters
    from llmsafety_lab.course.book.execute import execute

    runs = execute(masters.root(), scale=options.scale, jobs=options.jobs, only=options.only, fresh=options.fresh)
    for run in sorted(runs, key=lambda run: run.notebook):
        print(f"{run.notebook:40} {run.seconds:7.1f} s {run.peak_mb:7.0f} MB  {'kept' if run.cached else 'executed'}")
    return 0


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
    from llmsafety_lab.course.grading.grade import grade
    from llmsafety_lab.course.grading.sandbox import Limits

    summary = grade(
        options.submissions,
        topic=options.lab,
        roster=options.roster,
        key_file=options.key,
        out=options.out,
        limits=Limits(seconds=options.seconds, memory=options.memory << 20),
        jobs=options.jobs,
        due=options.due,
        unsafe=options.unsafe,
    )
    print(summary.text)
    print(f"Written: grades.csv (Canvas), grades-moodle.csv, report.md, feedback/ and results/ in {options.out}")
    return 0


def gradescope(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.book import masters
    from llmsafety_lab.course.grading import gradescope

    if options.run:
        results = gradescope.run(options.run, options.lab)
        print(f"{results['score']} points")
        return 0
    if not options.key:
        raise ValueError("name the key file with --key (llmsafety-lab key KEYFILE makes one)")
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


def book(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.book import build, masters, pdf

    site = build.build(masters.root())
    print(f"the site is in {site}")
    if options.pdf:
        print(f"the book is in {pdf.bind(masters.root())}")
    if options.serve:
        build.serve(site, options.port)
    return 0


def doctor(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.doctor import examine

    return examine()


def new(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import new
    from llmsafety_lab.course.book import masters

    for path in new.new(masters.root(), options.topic):
        print(f"{path}: written")
    print(f"Next: pytest tests/{options.topic}, then the five steps of chapters/contributing.md")
    return 0


def try_(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import trial
    from llmsafety_lab.course.book import masters

    tried = trial.trial(masters.root(), options.exercise, options.files)
    width = max(len(str(file)) for file, _ in tried)
    print(f"{'file':{width}} earned  message")
    for file, result in tried:
        print(f"{file!s:{width}} {result.earned:>2} of {result.points}  {' '.join(result.to_text().split()[4:])}")
    return 0


def keep(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import keep
    from llmsafety_lab.course.book import masters

    print(f"{keep.keep(masters.root(), options.topic)}: written")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="llmsafety-lab",
        description="Builds, executes and grades the course.",
        epilog="Example: llmsafety-lab exercises",
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function: Command, help: str, example: str) -> Any:
        one = commands.add_parser(
            function.__name__.strip("_"), help=help, description=help, epilog=f"Example: llmsafety-lab {example}"
        )
        one.set_defaults(function=function)
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return one

    one = add(build, "write the student notebooks from the labs' masters", "build --check")
    one.add_argument("--check", action="store_true", help="write nothing; exit with 1 where one is stale")

    one = add(execute, "execute the chapters and labs with papermill", "execute --only labs/attention")
    one.add_argument("--scale", default="ci", choices=["ci", "cpu", "gpu", "auto"], help="default: ci")
    one.add_argument("--jobs", type=_positive, default=2, help="how many run side by side (default: 2)")
    one.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these notebooks, such as labs/attention")
    one.add_argument("--fresh", action="store_true", help="execute also what has not changed")

    one = add(exercises, "list every exercise", "exercises --json")
    one.add_argument("--json", action="store_true", help="with the names of the mutants, for programs")

    one = add(
        grade,
        "grade a lab's submissions",
        "grade downloads/ --lab attention --roster roster.csv --key course.key --out grades/",
    )
    one.add_argument("submissions", type=Path, help="a folder of notebooks and of Canvas or Moodle downloads")
    one.add_argument("--lab", required=True, help="the topic, such as attention")
    one.add_argument(
        "--roster", type=Path, required=True, help="CSV: id,name and where known email,canvas_id,moodle_id"
    )
    one.add_argument("--key", type=Path, required=True, help="the course's secret (llmsafety-lab key makes one)")
    one.add_argument("--out", type=Path, required=True, help="the folder for the results; a second run goes on there")
    one.add_argument("--due", type=datetime.fromisoformat, help="what is newer is reported as late: 2027-03-01T23:59")
    one.add_argument("--jobs", type=_positive, default=2, help="how many submissions side by side (default: 2)")
    one.add_argument("--seconds", type=float, default=20, help="for one exercise (default: 20)")
    one.add_argument("--memory", type=_positive, default=1024, help="for one exercise, in MB (default: 1024)")
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

    one = add(book, "build the site from the executed notebooks", "book --serve")
    one.add_argument("--serve", action="store_true", help="serve it then")
    one.add_argument("--pdf", action="store_true", help="print it into one PDF, too")
    one.add_argument("--port", type=_positive, default=8000, help="default: 8000, or the next that is free")

    one = add(new, "write the skeleton of a topic, all its files", "new poisoning")
    one.add_argument("topic", help="a name in topics.yml whose state is coming")

    one = add(try_, "run an exercise's check on files of your own", "try attention.mask right.py wrong.py")
    one.add_argument("exercise", help="the exercise's id")
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Python that defines the answer; it runs here")

    one = add(keep, "make a topic's kept result anew, with date, versions and machine", "keep decoding")
    one.add_argument("topic", help="the topic, such as decoding")

    add(doctor, "say what is missing on this machine and how to get it", "doctor")
    return top


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 where all is well, 1 where something failed, 2 where the call is wrong."""
    options = parser().parse_args(arguments)
    try:
        return options.function(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 1
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        message = (
            str(error)
            if isinstance(error, RuntimeError | ValueError | LookupError)
            else f"{type(error).__name__}: {error}"
        )
        print(f"llmsafety-lab {options.command}: {message.strip(chr(39))}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | LookupError | OSError) else 1


if __name__ == "__main__":
    sys.exit(main())
