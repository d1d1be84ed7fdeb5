"""Every notebook through papermill, once per content."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llmsafety_lab.course.book import masters
from llmsafety_lab.course.depends import closure, imported
from llmsafety_lab.errors import CourseError, NotFoundError

_PACKAGE = Path(__file__).parents[2]
_PAPERMILL = """
from jupyter_client.manager import KernelManager
from papermill.cli import papermill

KernelManager.transport.default_value = "ipc"  # two kernels that start together can pick the same TCP port
papermill()
"""


class NotebookError(CourseError, RuntimeError):
    """A notebook failed: its name, the cell, the traceback, and where the partial copy is."""


@dataclass(frozen=True)
class Run:
    """One notebook's execution."""

    notebook: str
    seconds: float
    peak_mb: float
    scale: str
    key: str
    cached: bool = False


def execute(
    root: Path, *, scale: str = "ci", jobs: int = 2, only: Sequence[str] = (), fresh: bool = False
) -> list[Run]:
    """Execute the chapters and labs, and keep the executed copies under ``_build/executed``.

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
    paths = list(masters.notebooks(root))
    names = {path: f"{path.parent.name}/{path.stem}" for path in paths}
    if only:
        wanted = [path for path in paths if {names[path], path.stem} & {name.removesuffix(".md") for name in only}]
        if not wanted:
            raise NotFoundError(f"no notebook is named {', '.join(only)}; there are: {', '.join(names.values())}")
        paths = wanted
    folder = root / "_build" / "executed"
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    runs: list[Run] = []
    stop = threading.Event()

    def one(path: Path) -> None:
        if stop.is_set():
            return
        try:
            runs.append(_one(root, path, scale, fresh))
        except NotebookError as error:
            failures.append(str(error))

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(paths), unit="notebook", desc="notebooks") as bar:
        try:
            for done in as_completed([pool.submit(one, path) for path in paths]):
                done.result()
                bar.update()
        except KeyboardInterrupt:
            stop.set()
            raise
    for run in runs:
        target = folder / f"{run.notebook}.ipynb"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "cache" / f"{run.key}.ipynb", target)
    if failures:
        raise NotebookError("\n\n".join(failures))
    if not only:
        times = [asdict(run) for run in sorted(runs, key=lambda run: run.notebook)]
        _write(folder / "times.json", json.dumps(times, indent=1))
    return runs


def _one(root: Path, path: Path, scale: str, fresh: bool) -> Run:
    name = f"{path.parent.name}/{path.stem}"
    notebook = masters.solved(path)
    key = _key(root, notebook, scale)
    cache = root / "_build" / "executed" / "cache"
    kept, facts = cache / f"{key}.ipynb", cache / f"{key}.json"
    if kept.exists() and facts.exists() and not fresh:
        return Run(**{**json.loads(facts.read_text()), "cached": True})
    with tempfile.TemporaryDirectory(prefix="notebook-") as empty:
        partial = Path(empty, f"{path.stem}.executed.ipynb")
        seconds, peak, log = _papermill(notebook, partial, scale, Path(empty))
        if log is not None:
            failed = root / "_build" / "executed" / "failed" / f"{name.replace('/', '-')}.ipynb"
            failed.parent.mkdir(exist_ok=True)
            if partial.exists():
                shutil.copyfile(partial, failed)
            raise NotebookError(_report(name, failed, log))
        run = Run(name, round(seconds, 1), round(peak), scale, key)
        shutil.copyfile(partial, kept.with_suffix(".part"))
        kept.with_suffix(".part").rename(kept)
        _write(facts, json.dumps(asdict(run)))
    tqdm.write(f"  {name}: {seconds:.1f} s, {peak:.0f} MB")
    return run


def _papermill(notebook: Any, target: Path, scale: str, folder: Path) -> tuple[float, float, str | None]:
    import nbformat

    source = folder / target.name.replace(".executed", "")
    nbformat.write(notebook, source)
    seconds = "300" if scale == "ci" else "7200"
    launch = ["-m", "papermill"] if os.name == "nt" else ["-c", _PAPERMILL]
    command = [sys.executable, *launch, "--no-progress-bar", "--execution-timeout", seconds]
    command += ["-k", "python3", "-p", "SCALE", scale, str(source), str(target)]
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    started = time.monotonic()
    with open(folder / "log", "w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    return time.monotonic() - started, usage.ru_maxrss / 1024, text if process.returncode else None


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


def _key(root: Path, notebook: Any, scale: str) -> str:
    code = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    code = re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
    used = {f"llmsafety_lab.checks.{topic}" for topic in re.findall(r'check\("(\w+)\.', code)}
    modules = imported(ast.parse(code)) | used
    digest = hashlib.sha256(scale.encode())
    digest.update(json.dumps([(cell.cell_type, cell.source) for cell in notebook.cells]).encode())
    for path in sorted(closure(modules)):
        digest.update(path.read_bytes())
    for topic in sorted(set(re.findall(r'runtime\.kept\("(\w+)"\)', code))):
        digest.update((root / "results" / f"{topic}.json").read_bytes())
    digest.update((root / "requirements.txt").read_bytes())
    return digest.hexdigest()[:32]


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)
