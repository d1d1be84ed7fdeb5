"""Texts that try to give a language model new orders, and harmless texts that look like such. No page prints one.

Columns: text, label (1 for an attack), category, channel (user_input, tool_output, memory), lang.
"""

from __future__ import annotations

import json
from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier


def _read(folder: Path) -> Columns:
    lines = (folder / "injections.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]  # not all have the same keys
    columns: Columns = {"text": [row["text"].replace("{canary}", "").strip() for row in rows]}
    columns |= {name: [row[name] for row in rows] for name in ("category", "channel", "lang")}
    return columns | {"label": [int(row["label"] == "malicious") for row in rows]}


ENTRY = DataSet(
    name="injections",
    task="prompt injection: a row a text (text, label, category, channel, lang of 5); its benign texts are traps",
    size=30_736,
    licence="MIT",
    citation="Rizzello, bastioncorpus 0.6.0",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="bastioncorpus",
            version="0.6.0",
            folder="bastioncorpus/corpus",
            files={"injections.jsonl": "b1aaa009aad34df7fb2c4f499cdb936875b97da23a7452caaeb4b94aff2bfd12"},
        ),
    ),
    read=_read,
)
