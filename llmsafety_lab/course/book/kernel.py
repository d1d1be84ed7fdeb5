"""A process that loads the libraries once, and forks for each notebook: a kernel, and papermill beside it.

Run as a program by the Python of the environment that the notebooks are to meet; so it imports nothing of this package.
It listens on a socket. Each request is a line of JSON; the answer, a line too, comes when the notebook has ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

LIBRARIES = (
    "papermill",
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "ipywidgets",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "datasets",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)
"""What nearly every notebook imports, and papermill. What starts threads when it is imported has no place here."""


def main() -> None:
    """Load the libraries, then serve requests until whoever started this process goes away.

    The command line names the socket; with "many" all libraries are loaded, else those that every notebook needs.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # pyarrow's only thread at import
    if sys.platform == "linux":  # elsewhere a process may not fork once the system's frameworks are loaded
        for name in LIBRARIES if "many" in sys.argv else LIBRARIES[:2]:
            importlib.import_module(name)
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("a library has started a thread: what forks would lack it")
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve(connection)
        connection.close()
    os.killpg(0, signal.SIGTERM)


def _serve(connection: socket.socket) -> None:
    """Run the notebook of one request, answer, and end this process."""
    with connection.makefile("rw", encoding="utf-8") as wire:
        request = json.loads(wire.readline())
        os.chdir(request["folder"])
        log = os.open("../log", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(log, stream)
        started = time.monotonic()
        error = None
        try:
            run(**request)
        except BaseException as failure:
            error = f"{type(failure).__name__}: {failure}"
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        facts = {
            "seconds": time.monotonic() - started,
            "core_seconds": sum(one.ru_utime + one.ru_stime for one in used),
            "peak_mb": max(one.ru_maxrss for one in used) / (1 << 20 if sys.platform == "darwin" else 1 << 10),
            "error": error,
        }
        wire.write(json.dumps(facts) + "\n")
    os._exit(0)


def run(folder: str, source: str, target: str, parameters: dict[str, Any], seconds: int) -> None:
    """Execute a notebook with papermill in a kernel that this process forks.

    Parameters
    ----------
    folder
        What the notebook sees: an empty folder. The log and the kernel's sockets are put beside it.
    source, target
        Names of the notebook and of its executed copy in that folder.
    parameters
        Of papermill.
    seconds
        The limit for one cell.
    """
    connection = Path(folder).with_name("kernel.json")
    kernel = fork(connection)
    try:
        import papermill
        from jupyter_client.manager import AsyncKernelManager

        class Forked(AsyncKernelManager):
            """A kernel that runs already and that another ends."""

            has_kernel = True

            async def _async_is_alive(self) -> bool:
                return _runs(kernel)

            is_alive = _async_is_alive  # type: ignore[assignment]

        manager = Forked(connection_file=str(connection))
        while not (connection.exists() and connection.read_text().endswith("}")):
            if not _runs(kernel):
                raise RuntimeError("the kernel did not start")
            time.sleep(0.01)
        manager.load_connection_file()
        papermill.execute_notebook(
            source,
            target,
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            execution_timeout=seconds,
            km=manager,
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kernel, signal.SIGKILL)
        os.waitpid(kernel, 0)


def fork(connection: Path) -> int:
    """Fork a kernel that writes its connection file; return its process id."""
    kernel = os.fork()
    if kernel:
        return kernel
    try:
        from ipykernel.kernelapp import IPKernelApp

        sockets = ["--transport=ipc", f"--ip={connection.with_suffix('')}"]
        IPKernelApp.launch_instance(argv=["-f", str(connection), *sockets])
    finally:
        os._exit(1)


def _runs(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


if __name__ == "__main__":
    main()
