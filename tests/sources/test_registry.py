"""The order of the sources, the errors for people, fetch and listing."""

import dataclasses
import re

import pytest
from packages import digest, only_from, wheel

from llmsafety_lab import data, models, trained, vocabularies
from llmsafety_lab.sources import cache, registry
from llmsafety_lab.sources.cache import CarrierError, DiskFullError, HashError, UnknownNameError, UnreachableError
from llmsafety_lab.sources.registry import Carrier, Entry, Hub


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thing(Entry):
    kind = "thing"


def thing(version="1.0"):
    shipped = Carrier(ecosystem="pypi", package="tiny-carrier", version=version, folder="x", files={})
    more = {"task": "t", "size": 1, "licence": "MIT", "citation": "c"}
    return Thing(name="tiny", hub=Hub(repository="owner/tiny", revision="main"), carrier=shipped, **more)


def makers(**outcomes):
    """Sources that write their name, or raise what is given."""

    def maker(name, outcome):
        def make(into):
            if isinstance(outcome, Exception):
                raise outcome
            (into / "who").write_text(outcome or name)

        return make

    return {name: maker(name, outcome) for name, outcome in outcomes.items()}


def who(found):
    folder, source, words = found
    return (folder / "who").read_text(), source, words


OFFLINE = UnreachableError("no network")


def test_the_carrier_comes_first_then_the_cache():
    sources = makers(carrier=None, hub=None)
    assert who(registry.obtain(thing(), "auto", sources)) == ("carrier", "carrier", "from carrier tiny-carrier 1.0")
    broken = makers(carrier=OFFLINE, hub=OFFLINE)
    assert who(registry.obtain(thing(), "auto", broken)) == ("carrier", "carrier", "from the cache")


def test_the_hub_where_the_carrier_is_out_of_reach():
    sources = makers(carrier=OFFLINE, hub=None)
    assert who(registry.obtain(thing(), "auto", sources)) == ("hub", "hub", "from the hub owner/tiny")
    assert who(registry.obtain(thing(), "auto", makers(carrier=None, hub=OFFLINE)))[2] == "from the cache"


def test_sources_are_kept_apart():
    sources = makers(carrier=None, hub=None)
    assert who(registry.obtain(thing(), "hub", sources))[0] == "hub"
    assert who(registry.obtain(thing(), "carrier", sources))[0] == "carrier"
    assert who(registry.obtain(thing(), "hub", makers(carrier=OFFLINE, hub=OFFLINE)))[0] == "hub"


def test_a_source_that_was_asked_for_is_not_replaced():
    with pytest.raises(UnreachableError, match="carrier: no network"):
        registry.obtain(thing(), "carrier", makers(carrier=OFFLINE, hub=None))
    with pytest.raises(ValueError, match="auto, carrier, hub"):
        registry.obtain(thing(), "web", makers(carrier=None, hub=None))


@pytest.mark.parametrize("error", [HashError("changed"), DiskFullError("full")])
def test_a_changed_file_and_a_full_disk_are_not_papered_over(error, empty_cache):
    with pytest.raises(type(error)):
        registry.obtain(thing(), "auto", makers(carrier=error, hub=None))
    assert [path for path in empty_cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_no_network_and_no_cache():
    refused = makers(carrier=UnreachableError("pypi gave no tiny"), hub=UnreachableError("the hub gave no tiny"))
    with pytest.raises(UnreachableError) as caught:
        registry.obtain(thing(), "auto", refused)
    for words in ("$LLMSAFETY_CACHE", "carrier: pypi gave no", "hub: the hub gave no", "llmsafety-lab fetch tiny"):
        assert words in str(caught.value)


def test_another_version_is_fetched_anew():
    registry.obtain(thing("1.0"), "auto", makers(carrier="old"))
    assert who(registry.obtain(thing("2.0"), "auto", makers(carrier="new")))[0] == "new"


def known(names):
    return re.escape(f"Known: {', '.join(sorted(names))}.")


def test_unknown_names():
    every = [*models.REGISTRY, *data.REGISTRY, *vocabularies.REGISTRY, *trained.REGISTRY]
    trainable = {*models.REGISTRY, *trained.REGISTRY}
    with pytest.raises(UnknownNameError, match=rf"'smolm2'\. Did you mean 'smollm2'\? {known(trainable)}"):
        models.load("smolm2")
    with pytest.raises(UnknownNameError, match=rf"Nothing is called 'zzz'\. {known(data.REGISTRY)}"):
        data.load("zzz")
    with pytest.raises(UnknownNameError, match=known(every)):
        registry.fetch_all(["minilm", "nothing"])
    assert issubclass(UnknownNameError, CarrierError)


def test_the_registries_are_whole():
    entries = [*models.REGISTRY.values(), *data.REGISTRY.values(), *vocabularies.REGISTRY.values()]
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.task and entry.licence and entry.citation and entry.size > 0
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.hub.repository)
        digests = [*entry.hub.files.values(), *(entry.carrier.files.values() if entry.carrier else ())]
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in digests)
    for model in models.REGISTRY.values():
        if "hub" in models.makers(model):
            assert re.fullmatch("[0-9a-f]{40}", model.hub.revision)
            assert "model.safetensors" in model.hub.files


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
        hub=Hub(repository="owner/tiny", revision="main", split="train", columns=("text",)),
        carrier=Carrier("pypi", "tiny-carrier", "1.0", "tiny_carrier/deep", {"lines.txt": digest(b"one\ntwo\n")}),
        read=lambda folder: {"text": (folder / "lines.txt").read_text().split()},
        tidy=lambda columns: columns,
    )
    monkeypatch.setitem(data.REGISTRY, "tiny", entry)
    return house


def test_fetch_then_load_without_the_network(tiny, empty_cache, capsys):
    assert {row["name"]: row["cached"] for row in registry.listing()}["tiny"] is False
    registry.fetch_all(["tiny"], progress=False)
    assert re.search(
        r"tiny: from carrier tiny-carrier 1\.0 in [\d.]+ s, kept in \$LLMSAFETY_CACHE", capsys.readouterr().out
    )
    next(tiny.iterdir()).unlink()
    registry.fetch_all(["tiny"])
    assert data.load("tiny")["text"] == ["one", "two"]
    assert capsys.readouterr().out.count("tiny: from the cache in") == 2
    row = next(row for row in registry.listing() if row["name"] == "tiny")
    assert row == {
        "name": "tiny",
        "kind": "data",
        "task": "counting",
        "licence": "MIT",
        "size": 1_000,
        "source": "pypi tiny-carrier 1.0",
        "cached": True,
    }


def test_fetch_mends_a_flipped_byte(tiny, empty_cache):
    registry.fetch_all(["tiny"], progress=False)
    kept = empty_cache / "data" / "tiny-carrier" / "lines.txt"
    kept.write_text("One\ntwo\n")
    registry.fetch_all(["tiny"], progress=False)
    assert kept.read_text() == "one\ntwo\n"


def test_fetch_goes_on_after_a_failure(tiny, monkeypatch, empty_cache):
    lost = dataclasses.replace(data.REGISTRY["tiny"], name="lost", carrier=thing("9.9").carrier)
    monkeypatch.setitem(data.REGISTRY, "lost", lost)
    monkeypatch.setattr(data, "_from_hub", lambda *args, **options: (_ for _ in ()).throw(UnreachableError("offline")))
    with pytest.raises(UnreachableError, match="lost is not in the cache"):
        registry.fetch_all(["lost", "tiny"], progress=False)
    assert cache.intact(
        registry.place(data.REGISTRY["tiny"], "carrier"), registry.key(data.REGISTRY["tiny"], "carrier")
    )
