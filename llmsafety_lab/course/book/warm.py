"""The process that has imported what notebooks import, and forks a kernel for each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmsafety_lab.course.book import environment

KERNEL = Path(__file__).with_name("kernel.py")
Runner = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def warm(root: Path, folder: Path, alone: bool, many: bool) -> Iterator[Runner]:
    """Start the process that forks the kernels; give the function that has it execute one notebook.

    For a single notebook it loads no more than it must.
    """
    folder.mkdir()
    python = environment.light(root, folder) if alone else Path(sys.executable)
    own = ("PYTHONPATH", "VIRTUAL_ENV") if alone else ()
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    variables = {name: value for name, value in os.environ.items() if name not in own} | quiet
    place, log = folder / "socket", folder / "log"
    with open(log, "w") as said:
        process = subprocess.Popen(
            [python, KERNEL, place, *(["many"] if many else [])],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        answer = ""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), socket.socket(socket.AF_UNIX) as connection:
            while process.poll() is None and connection.connect_ex(str(place)):
                time.sleep(0.01)
            with connection.makefile("rw", encoding="utf-8") as wire:
                wire.write(json.dumps(request) + "\n")
                wire.flush()
                answer = wire.readline()
        return json.loads(answer) if answer else {"error": f"its process ended\n{log.read_text()[-3000:]}"}

    try:
        yield ask
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
