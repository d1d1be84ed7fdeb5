"""What an entry of the data registry says, how the hub's rows come, and how both become a `datasets.Dataset`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llmsafety_lab.sources.entry import Entry
from llmsafety_lab.sources.hub import Hub

if TYPE_CHECKING:
    from datasets import Dataset

Columns = dict[str, list[Any]]

PARQUET = "refs/convert/parquet"
"""The branch on which the hub keeps its own copy of a data set, where the repository holds a script."""


@dataclass(frozen=True, kw_only=True)
class DataSet(Entry):
    """A data set.

    Parameters
    ----------
    tidy : callable
        From the hub's columns to those that the book uses; by default they are the same.
    read : callable, optional
        From the folder of the carrier's files to the same columns, where there is a carrier.
    """

    kind: ClassVar[str] = "data"
    tidy: Callable[[Columns], Columns] = dict
    read: Callable[[Path], Columns] | None = None

    def open(self, folder: Path, source: str, **options: Any) -> Dataset:
        import datasets

        if source == "carrier" and self.read:
            return datasets.Dataset.from_dict(self.read(folder))
        return datasets.Dataset.from_dict(self.tidy(datasets.load_from_disk(folder).to_dict()))


@dataclass(frozen=True)
class Rows(Hub):
    """A data set's repository, of which the wanted columns are kept."""

    repo_type: ClassVar[str] = "dataset"

    def download(self, entry: Entry, scratch: Path, into: Path) -> None:
        import datasets

        options = {"split": self.split, "revision": self.revision, "cache_dir": str(scratch)}
        rows = datasets.load_dataset(self.repository, self.config, **options)
        if self.split is None:
            parts = rows.select_columns(list(self.columns)).items()
            rows = datasets.concatenate_datasets([part.add_column("split", [name] * len(part)) for name, part in parts])
        else:
            rows = rows.select_columns(list(self.columns))
        rows.save_to_disk(into)


def named(numbers: Sequence[Sequence[int]], names: Sequence[str]) -> list[list[str]]:
    """Return the names of each row's numbers."""
    return [[names[number] for number in row] for row in numbers]


def jsonl(path: Path) -> Columns:
    """Return the columns of a file of one JSON object a line, all with the same keys."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0]}


def blocks(text: str) -> Iterator[list[list[str]]]:
    """Yield for each sentence its lines' fields; a line without a first field ends a sentence."""
    block: list[list[str]] = []
    for line in text.splitlines():
        fields = line.split()
        if fields:
            block.append(fields)
        elif block:
            yield block
            block = []
    if block:
        yield block
