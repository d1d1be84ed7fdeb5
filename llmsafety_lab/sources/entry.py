"""An entry: what a registry says of a model, a data set or a vocabulary. A source: where an entry's files come from."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

FORMAT = 3
"""Raised when what is made of an unchanged source changes, so that older caches are made anew."""


@dataclass(frozen=True)
class Source(ABC):
    """Where the files of an entry come from."""

    name: ClassVar[str]

    @abstractmethod
    def content(self) -> Any:
        """Return, as JSON can hold it, all that decides which files `fill` leaves."""

    @abstractmethod
    def fill(self, entry: Entry, into: Path, progress: bool) -> None:
        """Put the files of an entry into an empty folder.

        Raises
        ------
        UnreachableError
            If the next source may be tried.
        CarrierError
            If what came was damaged or not what the registry names, or the disk was full.
        """

    def key(self) -> str:
        """Return what tells this content from another in the cache."""
        text = json.dumps(self.content(), sort_keys=True)
        return f"{FORMAT} {hashlib.sha256(text.encode()).hexdigest()}"

    def origin(self) -> str:
        """Say where the files come from, for a list."""
        return f"{self.name} {self}"

    def former_key(self) -> str:
        """Return the key that version 0.1.0 wrote for the same files, so that a cache of then stays good."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Entry(ABC):
    """What a registry says of one model, data set or vocabulary, and how its files are read.

    Parameters
    ----------
    name, task, licence, citation : str
    size : int
        The bytes that its first source downloads, or that it takes in the cache where it is made here.
    sources : tuple of Source
        In the order in which they are tried.
    needs : str
        The library that reads it, where that is no dependency of this package.
    """

    kind: ClassVar[str]
    name: str
    task: str
    size: int
    licence: str
    citation: str
    sources: tuple[Source, ...]
    needs: str = ""

    @abstractmethod
    def open(self, folder: Path, source: str, **options: Any) -> Any:
        """Read the files in a folder, which came from the source of this name."""


def former_text(name: str, **fields: Any) -> str:
    """Return the key of version 0.1.0: the text of the source's dataclass at that time."""
    return f"2 {name}({', '.join(f'{field}={value!r}' for field, value in fields.items())})"
