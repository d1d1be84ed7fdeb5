"""The Hugging Face hub, or a mirror: one question whether it is there, and an error for people where it is not."""

from __future__ import annotations

import os
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab import runtime
from llmsafety_lab.sources import cache
from llmsafety_lab.sources.cache import CarrierError, UnreachableError
from llmsafety_lab.sources.entry import Entry, Source, former_text


@dataclass(frozen=True)
class Hub(Source):
    """A repository of the Hugging Face hub, or of the mirror that `HF_ENDPOINT` names.

    Parameters
    ----------
    repository : str
    revision : str
    files : mapping of str to str
        SHA-256 of the files that carry weights: a mirror is not believed.
    config, split : str, optional
        Of a data set, as `datasets.load_dataset` takes them. Without a split all come, and a column `split` names them.
    columns : tuple of str
        The columns of a data set that are kept.
    """

    name: ClassVar[str] = "hub"
    repo_type: ClassVar[str] = "model"
    repository: str
    revision: str
    files: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    split: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.repository

    def content(self) -> Any:
        return {name: value for name, value in asdict(self).items() if value}

    def former_key(self) -> str:
        names = ("repository", "revision", "files", "config", "split", "columns")
        return former_text("Hub", **{name: getattr(self, name) for name in names})

    @abstractmethod
    def download(self, entry: Entry, scratch: Path, into: Path) -> None:
        """Download into `scratch`, and lay what is kept into `into`."""

    def fill(self, entry: Entry, into: Path, progress: bool) -> None:
        with self._explained(progress), tempfile.TemporaryDirectory(prefix=".hub-", dir=into) as scratch:
            self.download(entry, Path(scratch), into)

    @contextmanager
    def _explained(self, progress: bool) -> Iterator[None]:
        """Turn what the hub's libraries raise when it is out of reach into an error for people.

        They would try for half a minute to reach a hub that is not there; one question beforehand tells it at once.
        """
        from huggingface_hub import HfApi

        try:
            HfApi().repo_info(self.repository, repo_type=self.repo_type, revision=self.revision, timeout=10)
            with bars(progress):
                yield
        except Exception as error:
            if isinstance(error, CarrierError) or cache.no_room(error):
                raise
            first = str(error).strip().partition("\n")[0][:300] or type(error).__name__
            raise UnreachableError(f"{os.environ.get('HF_ENDPOINT', 'the hub')} gave no {self} ({first})") from error


@contextmanager
def bars(progress: bool) -> Iterator[None]:
    """Let a library's own bars through where they can be seen: in a terminal or a notebook, unless none are wanted."""
    if progress and (sys.stderr.isatty() or runtime.in_notebook()):
        yield
    else:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            yield
