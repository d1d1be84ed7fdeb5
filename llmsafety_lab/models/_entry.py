"""What an entry of the models' registry says, and how transformers reads most of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab.sources import cache, packages
from llmsafety_lab.sources.entry import Entry
from llmsafety_lab.sources.hub import Hub

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")

Read = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Model(Entry):
    """A model with its tokenizer.

    Parameters
    ----------
    read : callable
        From the folder of the files, and the options of `load`, to the model and its tokenizer.
    """

    kind: ClassVar[str] = "model"
    read: Read

    def open(self, folder: Path, source: str, **options: Any) -> tuple[Any, Any]:
        return self.read(folder, **options)


@dataclass(frozen=True)
class Snapshot(Hub):
    """A model's repository, of which the weights, the configuration and the tokenizer are kept."""

    def download(self, entry: Entry, scratch: Path, into: Path) -> None:
        from huggingface_hub import snapshot_download

        snapshot_download(
            self.repository,
            revision=self.revision,
            local_dir=scratch,
            allow_patterns=list(WANTED),
            ignore_patterns=["*/*"],
        )
        for path in sorted(scratch.iterdir()):
            if path.is_file():
                shutil.move(path, into / path.name)
        for name, digest in self.files.items():
            came = cache.sha256(into / name) if (into / name).exists() else "of no file"
            packages.check_digest(f"{self}: {name}", digest, came)


def pretrained(auto_class: str = "AutoModel") -> Read:
    """Return the function that reads a folder by the class of transformers of this name, in float32 by default."""
    return partial(_pretrained, auto_class)


def _pretrained(auto_class: str, folder: Path, **options: Any) -> tuple[Any, Any]:
    import torch
    import transformers

    with quiet():
        auto = getattr(transformers, auto_class)
        model = auto.from_pretrained(folder, local_files_only=True, **({"dtype": torch.float32} | options))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the bars and notices of transformers out of the notebook while weights are read."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
