"""What an entry of the data registry says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab.sources.registry import Entry

Columns = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class DataSet(Entry):
    """A data set.

    Parameters
    ----------
    read : callable
        From the folder of the carrier's files to the columns.
    tidy : callable
        From the hub's columns to those that `read` gives.
    """

    kind: ClassVar[str] = "data"
    read: Callable[[Path], Columns]
    tidy: Callable[[Columns], Columns]
