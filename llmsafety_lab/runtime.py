"""What every notebook starts with: the scale, the seed, the device, progress bars, and numbers for the prose.

`import llmsafety_lab.runtime` loads no torch; the functions that need it import it when they are called.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import platform
import random
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SCALES = ("ci", "cpu", "gpu")


def resolve_scale(scale: str = "auto") -> str:
    """Return the scale to run at.

    Parameters
    ----------
    scale : {"auto", "ci", "cpu", "gpu"}
        "ci" is a minute on two cores, "cpu" a laptop's ten minutes, "gpu" a Colab T4. "auto" is "gpu" where CUDA is
        there, "ci" where the environment variable `CI` is set, and "cpu" elsewhere.

    Returns
    -------
    str
        One of "ci", "cpu", "gpu".

    Raises
    ------
    ValueError
        If `scale` is none of the four.
    """
    if scale in SCALES:
        return scale
    if scale != "auto":
        raise ValueError(f'SCALE is {scale!r}; choose one of "auto", "ci", "cpu", "gpu".')
    import torch

    if torch.cuda.is_available():
        return "gpu"
    return "ci" if os.environ.get("CI") else "cpu"


def seed_everything(seed: int) -> None:
    """Seed the generators of `random`, numpy and torch (every device)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def device(scale: str = "auto") -> torch.device:
    """Return the device of a scale: CUDA for "gpu", the processor for the others.

    Raises
    ------
    RuntimeError
        If "gpu" is asked for and there is no CUDA device.
    """
    import torch

    if resolve_scale(scale) != "gpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            'SCALE is "gpu" and torch sees no CUDA device. In Colab choose Runtime, Change runtime type, T4 GPU; '
            'elsewhere set SCALE = "cpu".'
        )
    return torch.device("cuda")


@functools.cache
def _processor() -> tuple[str, frozenset[str]]:
    """Return the processor's name and what Linux says it can do; on other systems that is unknown, so nothing."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = ""
    name = re.search(r"^model name\s*: (.+)$", facts, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", facts, re.MULTILINE)
    return (
        name.group(1).strip() if name else platform.processor() or platform.machine(),
        frozenset(flags.group(1).split() if flags else ()),
    )


def product_dtype(where: torch.device) -> torch.dtype:
    """Return the format in which a device multiplies matrices fast, for products that may be rough.

    It is bfloat16 on a GPU that has it, and on a processor with units for products of it (`amx_bf16`). Every other
    processor takes float32: it can compute in bfloat16, many times slower. `LLMSAFETY_BFLOAT16=0` in the environment
    asks for float32 everywhere, so that a run can be compared with one on another machine.
    """
    import torch

    if os.environ.get("LLMSAFETY_BFLOAT16") == "0":
        return torch.float32
    fast = torch.cuda.is_bf16_supported() if where.type == "cuda" else "amx_bf16" in _processor()[1]
    return torch.bfloat16 if fast else torch.float32


def made_by(topic: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what stands at the head of a topic's kept results: how they were made, when, of what, and on what machine.

    Parameters
    ----------
    topic : str
        They are made by `scripts/<topic>.py`.
    seeds : iterable of int

    Returns
    -------
    dict
        "command", "date", "seeds", "versions", "cores", "threads" (of torch), "processor", and "products", the format
        of `product_dtype`.
    """
    import torch

    return {
        "command": f"python scripts/{topic}.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seeds": list(seeds),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "datasets", "scikit-learn", "numpy")},
        },
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": _processor()[0],
        "products": str(product_dtype(torch.device("cpu"))).removeprefix("torch."),
    }


def begin(scale: str = "auto", seed: int = 0) -> str:
    """Set a notebook up: resolve the scale, seed the generators, keep torch to the threads that were asked for.

    Parameters
    ----------
    scale : {"auto", "ci", "cpu", "gpu"}
    seed : int

    Returns
    -------
    str
        The resolved scale, so that a notebook's first cell reads `SCALE = runtime.begin(SCALE, SEED)`.
    """
    resolved = resolve_scale(scale)
    import torch

    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > 0:
        torch.set_num_threads(int(threads))
    seed_everything(seed)
    return resolved


def progress(iterable: Iterable[Any] | None, desc: str, total: float | None = None, **options: Any) -> Any:
    """Return a tqdm bar with the house settings: a widget in a notebook, one line in a terminal, silence in a log file.

    With `TQDM_DISABLE=1` in the environment, as when the book's pages are made, it is silent everywhere.

    Parameters
    ----------
    iterable : iterable or None
        What is walked through; None for a bar that is moved by hand with `update`.
    desc : str
        What is being done, in two or three words.
    total : float, optional
        The number of steps, where `iterable` does not know it.
    **options
        Anything else that `tqdm` takes, such as `unit`.
    """
    from tqdm.auto import tqdm

    house: dict[str, Any] = {"mininterval": 0.5, "leave": False}
    if os.environ.get("TQDM_DISABLE", "0") not in ("", "0"):
        house["disable"] = True
    elif not in_notebook():
        house |= {"disable": None, "dynamic_ncols": True}
    return tqdm(iterable, desc=desc, total=total, **house | options)


def in_notebook() -> bool:
    """Say whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return bool(shell) and hasattr(shell, "kernel")


def kept(topic: str) -> dict[str, Any]:
    """Return a topic's kept results: what takes longer than a notebook's minute, made by `scripts/<topic>.py`.

    Raises
    ------
    FileNotFoundError
        If there are none of that topic.
    """
    here = Path(__file__)
    for folder in (here.parents[1], here.parent):  # the repository's, or the copy in an installed package
        path = folder / "results" / f"{topic}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"There is no results/{topic}.json. In a checkout, `python scripts/{topic}.py` makes it.")


def glue(name: str, value: Any) -> None:
    """Keep a measured value under a name, so that the chapter's prose can print it: ``{glue:text}`name:.2f` ``.

    The value goes into the cell's outputs in the form that MyST-NB reads, and is shown nowhere else. Outside a notebook
    nothing happens.

    Parameters
    ----------
    name : str
        Unique in the notebook.
    value : object
        A number (a numpy or torch scalar is turned into a plain one), a string, or anything with a text form.
    """
    if not in_notebook():
        return
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    if getattr(value, "ndim", None) == 0:
        value = value.item()
    bundle, metadata = format_display_data(value)
    prefix = "application/papermill.record/"
    record = {"scrapbook": {"name": name, "mime_prefix": prefix}}
    display({prefix + mime: data for mime, data in bundle.items()}, raw=True, metadata=metadata | record)


def print_glued(name: str, value: Any) -> None:
    """Print a measured value beside its name: what `glue` is in a notebook without a page, whose text has the name.

    Parameters
    ----------
    name : str
    value : object
        As for `glue`.
    """
    value = value.item() if getattr(value, "ndim", None) == 0 else value
    print(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}")
