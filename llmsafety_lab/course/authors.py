"""The commands of those who write the course: build, execute, book, new, try, keep."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmsafety_lab.course.options import positive


def commands(add: Callable[..., Any]) -> None:
    """Add the commands to the command line's parser."""
    one = add(build, "write the notebooks that Colab opens, from the chapters and the labs' masters", "build --check")
    one.add_argument("--check", action="store_true", help="write nothing; exit with 1 where one is stale")

    one = add(execute, "execute the chapters and labs with papermill", "execute --only labs/attention")
    one.add_argument("--scale", default="ci", choices=["ci", "cpu", "gpu", "auto"], help="default: ci")
    one.add_argument("--jobs", type=positive, default=2, help="how many run side by side (default: 2)")
    one.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these notebooks, such as labs/attention")
    one.add_argument("--fresh", action="store_true", help="execute also what has not changed")

    one = add(book, "build the site from the executed notebooks", "book --serve")
    one.add_argument("--serve", action="store_true", help="serve it then")
    one.add_argument("--pdf", action="store_true", help="print it into one PDF, too")
    one.add_argument("--port", type=positive, default=8000, help="default: 8000, or the next that is free")

    one = add(new, "write the skeleton of a topic, all its files", "new poisoning")
    one.add_argument("topic", help="a name in topics.yml whose state is coming")

    one = add(try_, "run an exercise's check on files of your own", "try attention.mask right.py wrong.py")
    one.add_argument("exercise", help="the exercise's id")
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Python that defines the answer; it runs here")

    one = add(keep, "make kept results, with date, versions and machine", "keep decoding")
    one.add_argument("topics", nargs="*", metavar="TOPIC", help="such as decoding (default: all that have one)")
    one.add_argument("--fresh", action="store_true", help="begin anew instead of going on from the rows that are there")


def build(options: argparse.Namespace) -> int:
    from llmsafety_lab.course import topics
    from llmsafety_lab.course.book import masters

    root = masters.root()
    stale = masters.build(root, check=options.check) + topics.build(root, check=options.check)
    for path in stale:
        print(f"{path}: {'stale: run llmsafety-lab build' if options.check else 'written'}")
    if not stale:
        print("every notebook is as its master says")
    return int(options.check and bool(stale))


def execute(options: argparse.Namespace) -> int:
    from llmsafety_lab.course.book import masters
    from llmsafety_lab.course.book.execute import execute

    runs = execute(masters.root(), scale=options.scale, jobs=options.jobs, only=options.only, fresh=options.fresh)
    for run in sorted(runs, key=lambda run: run.notebook):
        print(f"{run.notebook:40} {run.seconds:7.1f} s {run.peak_mb:7.0f} MB  {'kept' if run.cached else 'executed'}")
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

    root = masters.root()
    for topic in options.topics or keep.kept(root):
        print(f"{keep.keep(root, topic, options.fresh)}: written")
    return 0
