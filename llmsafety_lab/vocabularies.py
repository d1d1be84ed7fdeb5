"""The published vocabularies of the book: the tokens of three tokenizers with their ids, and `load`.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab.sources import cache, packages
from llmsafety_lab.sources.entry import Entry
from llmsafety_lab.sources.hub import Hub
from llmsafety_lab.sources.packages import Carrier
from llmsafety_lab.sources.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Entry):
    """The tokens of a byte-level tokenizer, without its special tokens.

    Parameters
    ----------
    tokens : int
    file : str
        A token in base 64 and its id a line, in the order of the ids.
    sha256 : str
        The file's digest, whichever source it comes from.
    """

    kind: ClassVar[str] = "vocabulary"
    tokens: int
    file: str
    sha256: str

    def open(self, folder: Path, source: str, **options: Any) -> dict[bytes, int]:
        lines = (folder / self.file).read_bytes().splitlines()
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


@dataclass(frozen=True)
class Spelt(Hub):
    """A model's repository, whose `vocab.json` is written in the carrier's format."""

    def download(self, entry: Entry, scratch: Path, into: Path) -> None:
        from huggingface_hub import hf_hub_download

        assert isinstance(entry, Vocabulary)
        path = hf_hub_download(self.repository, "vocab.json", revision=self.revision, local_dir=scratch)
        spelt = json.loads(Path(path).read_text(encoding="utf-8"))
        tokens = sorted((rank, token) for token, rank in spelt.items() if rank < entry.tokens)
        (into / entry.file).write_bytes(b"".join(_line(token, rank) for rank, token in tokens))
        packages.check_digest(f"{self}: vocab.json", entry.sha256, cache.sha256(into / entry.file))


def _line(token: str, rank: int) -> bytes:
    return base64.b64encode(bytes(_BYTE_OF[character] for character in token)) + b" %d\n" % rank


_LLAMA_INDEX = partial(
    Carrier,
    ecosystem="pypi",
    package="llama-index-core",
    version="0.14.25",
    folder="llama_index/core/_static/tiktoken_cache",
)
_WHISPER = partial(Carrier, ecosystem="pypi", package="mlx-whisper", version="0.4.3", folder="mlx_whisper/assets")


def _entry(carrier: partial[Carrier], hub: str, **said: Any) -> Vocabulary:
    sources = (carrier(files={said["file"]: said["sha256"]}), Spelt(repository=hub, revision="main"))
    return Vocabulary(licence="MIT", sources=sources, **said)


REGISTRY = Registry(
    entries=(
        _entry(
            _WHISPER,
            "openai-community/gpt2",
            name="gpt2",
            task="tokens of GPT-2 and GPT-3",
            size=890_544,
            citation="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
            tokens=50_256,
            file="gpt2.tiktoken",
            sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
        ),
        _entry(
            _LLAMA_INDEX,
            "Xenova/gpt-4",
            name="cl100k",
            task="tokens of GPT-3.5 and GPT-4",
            size=11_928_254,
            citation="OpenAI, tiktoken: cl100k_base",
            tokens=100_256,
            file="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
            sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        ),
        _entry(
            _LLAMA_INDEX,
            "Xenova/gpt-4o",
            name="o200k",
            task="tokens of GPT-4o",
            size=11_928_254,
            citation="OpenAI, tiktoken: o200k_base",
            tokens=199_998,
            file="fb374d419588a4632f3f557e76b4b70aebbca790",
            sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        ),
    )
)


def load(name: str, *, source: str = "auto") -> dict[bytes, int]:
    """Load a vocabulary of the registry; print where it came from and how long that took.

    Parameters
    ----------
    name : {"gpt2", "cl100k", "o200k"}
    source : {"auto", "carrier", "hub"}
        "auto" takes what the cache has, else the carrier, else the hub. All give the same file, byte for byte.

    Returns
    -------
    dict of bytes to int
        Each token's id. The first 256 are the single bytes, the others stand in the order in which they were learnt.

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


def printable_bytes() -> dict[int, str]:
    """Return for each byte the printable character that stands for it in published vocabularies.

    A byte that Latin-1 can print stands for itself; the others, the blank among them, are moved up by 256 and more, so
    that the blank becomes Ġ (Radford et al. 2019, in their code).
    """
    themselves = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in themselves]
    return {byte: chr(byte) for byte in themselves} | {byte: chr(256 + n) for n, byte in enumerate(moved)}


_BYTE_OF: Mapping[str, int] = {character: byte for byte, character in printable_bytes().items()}
