"""Every notebook through papermill, once per content.

A chapter is executed as it stands, with all that is installed here. A lab is executed as Colab would, in an environment
that holds the package alone: its student notebook as handed out, and the same notebook with the solutions in the place
of the stubs, which gives the page its outputs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from llmsafety_lab import files
from llmsafety_lab.course import depends
from llmsafety_lab.course.book import clock, environment, masters
from llmsafety_lab.course.book.warm import KERNEL, Runner, warm
from llmsafety_lab.errors import CourseError, NotFoundError
from llmsafety_lab.sources import cache

_DAYS = 30  # for which a copy that no run asks for is kept


class NotebookError(CourseError, RuntimeError):
    """A notebook failed: its name, the cell, the traceback, and where the partial copy is."""


@dataclass(frozen=True)
class Run:
    """One notebook's execution."""

    notebook: str
    seconds: float
    core_seconds: float
    peak_mb: float
    scale: str
    key: str
    cached: bool = False


class Job(NamedTuple):
    """A notebook to execute: its name, its master, itself, and the key of all that it depends on."""

    name: str
    path: Path
    notebook: Any
    key: str


def execute(
    root: Path, *, scale: str = "ci", jobs: int = 2, only: Sequence[str] = (), fresh: bool = False
) -> list[Run]:
    """Execute the chapters and labs, and lay the executed copies out under ``_build/executed``.

    ``chapters`` and ``labs`` there are what the pages show; ``handed_out`` and ``solved`` hold each lab's student
    notebook, executed with its stubs and with the solutions. What has been executed is kept in the user's cache.

    Parameters
    ----------
    scale
        Passed to every notebook as its parameter ``SCALE``.
    jobs
        How many run side by side, each in its own process with one torch thread.
    only
        Names such as ``labs/attention`` or ``attention``; all where empty.
    fresh
        Execute also what is in the cache.

    Raises
    ------
    LookupError
        If ``only`` names no notebook.
    NotebookError
        If one fails. The others are finished first.
    """
    names = {name: path for path in masters.notebooks(root) for name in _names(path)}
    chosen = {name.removesuffix(".md") for name in only}
    wanted = [name for name, path in names.items() if not only or {name, path.stem} & chosen]
    if not wanted:
        raise NotFoundError(f"no notebook is named {', '.join(only)}; there are: {', '.join(names)}")
    store = cache.root() / "executed"
    store.mkdir(parents=True, exist_ok=True)
    todo = [_job(root, name, names[name], scale) for name in wanted]
    runs = [] if fresh else [run for job in todo if (run := _kept(store, job))]
    have = {run.notebook for run in runs}
    waiting = {job.name: job for job in todo if job.name not in have}
    failures: list[str] = []
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notebooks-")))
        places = Counter(_alone(name) for name in waiting)
        runners = {
            alone: stack.enter_context(warm(root, folder / f"{alone}", alone, many=places[alone] > 1))
            for alone in sorted(places)
        }

        def one(job: Job) -> None:
            if stop.is_set():
                return
            try:
                runs.append(_run(root, job, scale, runners[_alone(job.name)], store))
            except NotebookError as error:
                failures.append(str(error))

        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        bar = stack.enter_context(tqdm(total=len(wanted), initial=len(runs), unit="notebook", desc="notebooks"))
        try:
            for done in as_completed([pool.submit(one, job) for job in _longest_first(store, waiting)]):
                done.result()
                bar.update()
        except KeyboardInterrupt:
            stop.set()
            raise
    for job in todo:
        if job.name in {run.notebook for run in runs}:
            _lay_out(root, job, store)
    if failures:
        raise NotebookError("\n\n".join(failures))
    times = [
        asdict(run) | {"slowest": clock.slowest(store / f"{run.key}.ipynb")}
        for run in sorted(runs, key=lambda run: run.notebook)
    ]
    if not only:
        files.replace(root / "_build" / "executed" / "times.json", json.dumps(times, indent=1))
    _tidy(store, times)
    return runs


def _names(path: Path) -> list[str]:
    """Return what is executed of a master: a chapter once, a lab solved and as handed out."""
    folders = ["labs", "handed_out"] if path.parent.name == "labs" else [path.parent.name]
    return [f"{folder}/{path.stem}" for folder in folders]


def _alone(name: str) -> bool:
    """Say whether a notebook runs in the environment that holds the package alone."""
    return not name.startswith("chapters/")


def _job(root: Path, name: str, path: Path, scale: str) -> Job:
    if not _alone(name):
        notebook = masters.solved(path)
    elif name.startswith("labs/"):
        notebook = masters.fill_in(masters.handed_out(path), path)
    else:
        notebook = masters.handed_out(path)
    return Job(name, path, notebook, key(root, notebook, scale, _alone(name)))


def key(root: Path, notebook: Any, scale: str, alone: bool) -> str:
    """Return the hash of all that the outputs of a notebook depend on. Its prose is not among that."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = "\n\n".join(re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE) for cell in cells)
    causes = [*sorted(depends.closure([code])), KERNEL, Path(environment.__file__), root / "requirements.txt"]
    causes += [root / "results" / f"{topic}.json" for topic in sorted(set(re.findall(r'\bkept\("(\w+)"\)', code)))]
    digest = hashlib.sha256(json.dumps([scale, alone, [(cell.source, masters.tags(cell)) for cell in cells]]).encode())
    for path in causes:
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _kept(store: Path, job: Job) -> Run | None:
    """Return a notebook's run where the cache holds it, and note there that it was asked for."""
    notebook, facts = store / f"{job.key}.ipynb", store / f"{job.key}.json"
    if not (notebook.exists() and facts.exists()):
        return None
    for path in (notebook, facts):
        os.utime(path)
    return Run(**json.loads(facts.read_text()) | {"notebook": job.name, "cached": True})


def _run(root: Path, job: Job, scale: str, runner: Runner, store: Path) -> Run:
    import nbformat

    with tempfile.TemporaryDirectory(prefix="notebook-") as scratch:
        empty = Path(scratch, "empty")
        empty.mkdir()
        source, partial = empty / f"{job.path.stem}.ipynb", empty / f"{job.path.stem}.executed.ipynb"
        nbformat.write(job.notebook, source)
        request = {"folder": str(empty), "source": source.name, "target": partial.name, "parameters": {"SCALE": scale}}
        facts = runner(request | {"seconds": 300 if scale == "ci" else 7200})
        if facts["error"]:
            failed = root / "_build" / "executed" / "failed" / f"{job.name.replace('/', '-')}.ipynb"
            failed.parent.mkdir(parents=True, exist_ok=True)
            if partial.exists():
                shutil.copyfile(partial, failed)
            log = Path(scratch, "log")
            said = log.read_text(errors="replace") if log.exists() else ""
            raise NotebookError(_report(job.name, failed, f"{said}\n{facts['error']}"))
        seconds, core_seconds = round(facts["seconds"], 1), round(facts["core_seconds"], 1)
        run = Run(job.name, seconds, core_seconds, round(facts["peak_mb"]), scale, job.key)
        files.replace(store / f"{job.key}.ipynb", partial.read_text(encoding="utf-8"))
        files.replace(store / f"{job.key}.json", json.dumps(asdict(run)))
    tqdm.write(f"  {job.name}: {run.seconds:.1f} s, {run.peak_mb:.0f} MB")
    return run


def _report(name: str, partial: Path, log: str) -> str:
    lines = [f"{name} failed."]
    if partial.exists():
        for number, cell in enumerate(json.loads(partial.read_text(encoding="utf-8"))["cells"]):
            for output in cell.get("outputs", []):
                if output.get("output_type") == "error":
                    lines += [f"Cell {number}:", "".join(cell["source"]), "", "\n".join(output["traceback"])]
        lines.append(f"The partial copy: {partial}")
    if len(lines) < 3:
        lines.append(log[-3000:])
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


def _lay_out(root: Path, job: Job, store: Path) -> None:
    """Copy what the cache holds to where the pages and the tests find it."""
    import nbformat

    folder = root / "_build" / "executed"
    raw = store / f"{job.key}.ipynb"
    executed = nbformat.read(raw, as_version=4)
    if job.name.startswith("labs/"):
        files.replace(folder / "solved" / f"{job.path.stem}.ipynb", raw.read_text(encoding="utf-8"))
    if not job.name.startswith("handed_out/"):
        executed = masters.page(job.path, executed)
    files.replace(folder / f"{job.name}.ipynb", nbformat.writes(executed))


def _longest_first(store: Path, jobs: dict[str, Job]) -> list[Job]:
    """Return the jobs in the order of the seconds that they last took; those that are new first."""
    known = store / "seconds.json"
    seconds = json.loads(known.read_text()) if known.exists() else {}
    return sorted(jobs.values(), key=lambda job: -seconds.get(job.name, float("inf")))


def _tidy(store: Path, times: list[dict[str, Any]]) -> None:
    """Note how long each took, and remove what no run has asked for in a while."""
    known = store / "seconds.json"
    seconds = json.loads(known.read_text()) if known.exists() else {}
    files.replace(known, json.dumps(seconds | {run["notebook"]: run["seconds"] for run in times}))
    for path in store.iterdir():
        if time.time() - path.stat().st_mtime > _DAYS * 86400:
            path.unlink(missing_ok=True)
