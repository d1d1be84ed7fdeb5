"""Living pages: what a browser needs to run a model without a kernel, and the directive that marks the place."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from llmsafety_lab import models, vocabularies
from llmsafety_lab.sources import cache

FORMAT = 1
"""Raised when the files that are written change."""


def files(page: str) -> list[Path]:
    """Return the files that a living page loads, made first where the cache lacks them.

    A page whose data are in its own outputs loads none.

    Raises
    ------
    KeyError
        If no living page has this name.
    """
    make = _MAKERS[page]
    if make is None:
        return []
    folder = cache.keep(cache.root() / "site" / f"live-{page}", f"{FORMAT}", make)
    return sorted(path for path in folder.iterdir() if path.name != cache.MANIFEST)


def _vocabularies(into: Path) -> None:
    for name in ("gpt2", "cl100k", "o200k"):
        ranks = vocabularies.load(name)
        with (into / f"{name}.tiktoken").open("w", encoding="ascii") as file:
            file.writelines(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())


def _minilm(into: Path) -> None:
    """Write MiniLM's weights in eight bits, a scale for each row, behind a header in JSON."""
    import torch

    model, tokenizer = models.load("minilm")
    config, weights = model.config, model.state_dict()
    arrays: dict[str, dict[str, Any]] = {}
    blocks: list[bytes] = []

    def add(name: str, tensor: torch.Tensor, kind: str) -> None:
        data = tensor.contiguous().numpy().tobytes()
        arrays[name] = {"kind": kind, "offset": sum(map(len, blocks)), "shape": list(tensor.shape)}
        blocks.append(data + bytes(-len(data) % 4))

    def whole(name: str, weight: torch.Tensor) -> None:
        scale = weight.abs().amax(dim=1) / 127
        add(f"{name}.weight", (weight / scale[:, None]).round().to(torch.int8), "int8")
        add(f"{name}.scale", scale, "float32")

    whole("words", weights["embeddings.word_embeddings.weight"])
    add("places", weights["embeddings.position_embeddings.weight"][:64], "float32")
    add("kinds", weights["embeddings.token_type_embeddings.weight"][0], "float32")
    norms = {"first": "embeddings.LayerNorm"}
    for layer in range(config.num_hidden_layers):
        base = f"encoder.layer.{layer}"
        parts = {part: f"{base}.attention.self.{part}" for part in ("query", "key", "value")}
        parts |= {
            "out": f"{base}.attention.output.dense",
            "up": f"{base}.intermediate.dense",
            "down": f"{base}.output.dense",
        }
        for part, name in parts.items():
            whole(f"{layer}.{part}", weights[f"{name}.weight"])
            add(f"{layer}.{part}.bias", weights[f"{name}.bias"], "float32")
        norms |= {
            f"{layer}.attended": f"{base}.attention.output.LayerNorm",
            f"{layer}.done": f"{base}.output.LayerNorm",
        }
    for name, key in norms.items():
        add(f"{name}.weight", weights[f"{key}.weight"], "float32")
        add(f"{name}.bias", weights[f"{key}.bias"], "float32")
    vocabulary = tokenizer.convert_ids_to_tokens(range(config.vocab_size))
    sizes = {"layers": config.num_hidden_layers, "heads": config.num_attention_heads, "width": config.hidden_size}
    head = json.dumps({**sizes, "vocabulary": vocabulary, "arrays": arrays}).encode()
    head += b" " * (-len(head) % 4)
    (into / "minilm.bin").write_bytes(len(head).to_bytes(4, "little") + head + b"".join(blocks))


_MAKERS: dict[str, Callable[[Path], None] | None] = {
    "attention": _minilm,
    "tokenization": _vocabularies,
    "group_fairness": None,
}


class Live(SphinxDirective):
    """A place where the reader meets a model: a page's name, the text in the field if there is one, what it shows."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"text": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the box, with a text for where it cannot run."""
        name = self.arguments[0]
        if name not in _MAKERS:
            raise self.error(f"There is no living page {name!r}; there are: {', '.join(_MAKERS)}.")
        size = sum(path.stat().st_size for path in files(name))
        text = escape(self.options.get("text", ""))
        attributes = f'class="live" data-live="{name}" data-bytes="{size}" data-text="{text}"'
        box = nodes.container(classes=["live-words"])
        self.state.nested_parse(self.content, self.content_offset, box)
        opening, closing = nodes.raw("", f"<div {attributes}>", format="html"), nodes.raw("", "</div>", format="html")
        self.env.metadata[self.env.docname]["live"] = name
        return [opening, box, closing]


def load_script(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load a living page's script where there is a place for it."""
    if name := app.env.metadata.get(pagename, {}).get("live"):
        app.add_js_file(f"live/{name}.js", type="module")


def publish(static: Path) -> None:
    """Lay the files of the living pages beside their scripts."""
    for name in (name for name in _MAKERS if (static / "live" / f"{name}.js").exists()):
        for path in files(name):
            shutil.copy2(path, static / "live" / path.name)


def setup(app: Sphinx) -> None:
    """Register the directive ``live``."""
    app.add_directive("live", Live)
    app.connect("html-page-context", load_script)
