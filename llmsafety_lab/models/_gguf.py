"""Carriers whose weights are in the format of llama.cpp, which are converted into the cache."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmsafety_lab.models._entry import quiet
from llmsafety_lab.sources.cache import UnreachableError
from llmsafety_lab.sources.entry import Entry
from llmsafety_lab.sources.hub import bars
from llmsafety_lab.sources.packages import Carrier


@dataclass(frozen=True)
class Gguf(Carrier):
    """A carrier of one GGUF file, kept as safetensors in float32.

    Parameters
    ----------
    auto_class : str
        The class of transformers that reads it.
    """

    auto_class: str = "AutoModelForCausalLM"

    def content(self) -> Any:
        return super().content() | {"from gguf by": self.auto_class}

    def fill(self, entry: Entry, into: Path, progress: bool) -> None:
        (file,) = self.files
        missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
        if missing:
            raise UnreachableError(f"converting {file} needs `pip install {' '.join(missing)}`")
        with tempfile.TemporaryDirectory(prefix=".gguf-", dir=into) as scratch:
            super().fill(entry, Path(scratch), progress)
            import torch
            import transformers
            from tokenizers.pre_tokenizers import Digits, Sequence

            print(f"{entry.name}: converting its weights, once")
            with quiet(), bars(progress):
                auto = getattr(transformers, self.auto_class)
                tokenizer = transformers.AutoTokenizer.from_pretrained(scratch, gguf_file=file)
                model = auto.from_pretrained(scratch, gguf_file=file, dtype=torch.float32)
            # The file asks for llama.cpp's "smollm" splitting, digit by digit, which transformers' reader leaves out.
            backend = tokenizer.backend_tokenizer
            backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
            tokenizer.model_max_length = model.config.max_position_embeddings
            model.hf_quantizer = None
            del model.config.quantization_config
            with quiet():
                model.save_pretrained(into)
                tokenizer.save_pretrained(into)
