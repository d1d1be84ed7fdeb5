"""The data sets: the real one from the cache, the hub against a local server."""

import io
import json
import os
import subprocess
import sys

import pyarrow
import pytest
from hub import serve
from pyarrow import parquet

from llmsafety_lab import data


@pytest.fixture(scope="module")
def shakespeare():
    return data.load("shakespeare")


def test_shakespeare_is_whole(shakespeare):
    assert shakespeare.column_names == ["title", "text"]
    assert len(shakespeare) == len(set(shakespeare["title"])) == 42
    assert sum(len(text) for text in shakespeare["text"]) == 5_057_198
    works = dict(zip(shakespeare["title"], shakespeare["text"], strict=True))
    assert "To be, or not to be" in works["Hamlet"]
    assert "Shall I compare thee to a summer's day?" in works["Sonnets"]
    assert works["King Lear"].lstrip().startswith("THE TRAGEDY OF KING LEAR")


def test_shakespeare_holds_no_licence_text_nor_windows_lines(shakespeare):
    assert not any("Gutenberg" in text or "\r" in text for text in shakespeare["text"])


def test_the_line_that_is_printed(capsys):
    data.load("shakespeare")
    assert capsys.readouterr().out.startswith("shakespeare: from the cache in ")


def test_hub_rows_get_the_same_columns():
    tidy = data.REGISTRY["shakespeare"].tidy({"text": ["\n HAMLET \n\nAct I", "KING LEAR"]})
    assert tidy == {"title": ["HAMLET", "KING LEAR"], "text": ["\n HAMLET \n\nAct I", "KING LEAR"]}


FROM_HUB = """
import dataclasses, json, socket
from llmsafety_lab import data
from llmsafety_lab.sources import cache
entry = data.REGISTRY["shakespeare"]
hub = entry.sources[1]
absent = dataclasses.replace(hub, repository="owner/absent")
data.REGISTRY.loaded["shakespeare"] = dataclasses.replace(entry, sources=(hub,))
data.REGISTRY.loaded["absent"] = dataclasses.replace(entry, name="absent", sources=(absent,))
try:
    data.load("absent")
except cache.UnreachableError as error:
    refused = str(error)
rows = data.load("shakespeare")
def refuse(*args, **options): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
again = data.load("shakespeare", source="hub")
assert again.to_dict() == rows.to_dict()
print(json.dumps({"rows": rows.to_dict(), "refused": refused}))
"""


def as_parquet(columns):
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def test_from_the_hub_then_from_the_cache(tmp_path):
    splits = {
        "train": ["HAMLET\nAct I", "MACBETH\nAct I"],
        "validation": ["OTHELLO\nAct I"],
        "test": ["CYMBELINE\nAct I"],
    }
    files = {
        f"data/{name}-00000-of-00001.parquet": as_parquet({"text": texts, "other": list(range(len(texts)))})
        for name, texts in splits.items()
    }
    files["README.md"] = b"---\nconfigs:\n- config_name: default\n  data_files:\n" + b"".join(
        f"  - split: {name}\n    path: data/{name}-*\n".encode() for name in splits
    )
    files["README.md"] += b"---\n# tiny\n"
    repository = data.REGISTRY["shakespeare"].sources[1].repository
    with serve({("datasets", repository): files}) as (address, requests):
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
        environment["LLMSAFETY_CACHE"] = str(tmp_path / "cache")
        command = [sys.executable, "-c", FROM_HUB]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    found = json.loads(said[-1])
    texts = [text for name in ("train", "validation", "test") for text in splits[name]]
    assert found["rows"] == {"title": [text.split("\n")[0] for text in texts], "text": texts}
    assert said[0].startswith(f"shakespeare: from the hub {repository} in ")
    assert said[1].startswith("shakespeare: from the cache in ")
    assert f"{address} gave no owner/absent" in found["refused"]
    assert any(request.startswith("GET") and request.endswith(".parquet") for request in requests)
    kept = sorted(path.name for path in (tmp_path / "cache" / "data").iterdir() if path.is_dir())
    assert kept == ["shakespeare-hub"]


ALL_SPLITS = """
import json
from llmsafety_lab import data
rows = data.load("reviews", source="hub")
assert data.load("reviews", source="hub").to_dict() == rows.to_dict()
print(json.dumps(rows.to_dict()))
"""


def test_a_hub_entry_without_a_split_brings_all_and_names_them(tmp_path):
    splits = {"train": [" good ", "bad"], "validation": ["fair"], "test": ["poor"]}
    files = {
        f"data/{name}-00000-of-00001.parquet": as_parquet(
            {"text": texts, "label": [len(text) % 2 for text in texts], "other": texts}
        )
        for name, texts in splits.items()
    }
    files["README.md"] = b"---\nconfigs:\n- config_name: default\n  data_files:\n" + b"".join(
        f"  - split: {name}\n    path: data/{name}-*\n".encode() for name in splits
    )
    files["README.md"] += b"---\n# tiny\n"
    with serve({("datasets", data.REGISTRY["reviews"].sources[1].repository): files}) as (address, _):
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
        environment["LLMSAFETY_CACHE"] = str(tmp_path / "cache")
        command = [sys.executable, "-c", ALL_SPLITS]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1]) == {
        "text": ["good", "bad", "fair", "poor"],
        "label": [0, 1, 0, 0],
        "split": ["train", "train", "train", "test"],
    }
