"""The one list of topics: the order of the book, the files of each topic, and what is written from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from llmsafety_lab.course import topics

ROOT = Path(__file__).parents[2]
LISTED = topics.read(ROOT)
HERE = [topic for topic in LISTED if topic.state == "here"]
COMING = [topic for topic in LISTED if topic.state == "coming"]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A checkout with what the list touches."""
    (tmp_path / "chapters").mkdir()
    for name in ("topics.yml", "_toc.yml", "README.md", "chapters/introduction.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def order(root: Path) -> list[tuple[str, str]]:
    """Return the parts' captions and files of the table of contents, the pages of no topic left out."""
    parts = yaml.safe_load((root / "_toc.yml").read_text())["parts"]
    numbered = [part for part in parts if part["caption"] not in ("Start", "Course", "Reference")]
    return [(part["caption"], entry["file"]) for part in numbered for entry in part["chapters"]]


def expected(listed: list[topics.Topic]) -> list[tuple[str, str]]:
    here = [topic for topic in listed if topic.state == "here"]
    return [(topic.part, f"{room}/{topic.name}") for topic in here for room in ("chapters", "labs")]


def test_the_book_has_the_thirty_six_topics_of_its_plan() -> None:
    assert [len(members) for members in topics.parts(LISTED).values()] == [7, 7, 4, 6, 3, 5, 4]


def test_the_table_of_contents_has_the_order_of_the_list() -> None:
    assert order(ROOT) == expected(LISTED)


@pytest.mark.parametrize("topic", HERE, ids=lambda topic: topic.name)
def test_a_topic_that_is_here_has_its_place_in_every_room(topic: topics.Topic) -> None:
    name = topic.name
    for path in (f"chapters/{name}.md", f"labs/{name}.md", f"labs/{name}.ipynb", f"llmsafety_lab/checks/{name}"):
        assert (ROOT / path).exists(), path
    assert (ROOT / f"llmsafety_lab/{name}.py").exists() or (ROOT / f"llmsafety_lab/{name}/__init__.py").exists()
    assert list((ROOT / "tests" / name).glob("test_*.py"))


@pytest.mark.parametrize("room", ["chapters", "labs", "llmsafety_lab", "llmsafety_lab/checks", "tests"])
def test_what_is_coming_is_nowhere_yet(room: str) -> None:
    there = {path.stem for path in (ROOT / room).iterdir()}
    assert not there & {topic.name for topic in LISTED if topic.state == "coming"}


def test_the_map_and_the_table_are_fresh() -> None:
    assert topics.build(ROOT, check=True) == []


def test_a_stale_map_and_table_are_found_and_written(house: Path) -> None:
    first = COMING[0]
    change(house / "topics.yml", f"title: {first.title}, state: coming", "title: bad data, state: here")
    stale = [house / "chapters/introduction.md", house / "README.md"]
    before = [path.read_text() for path in stale]
    assert topics.build(house, check=True) == stale
    assert [path.read_text() for path in stale] == before
    assert topics.build(house) == stale and topics.build(house) == []
    drawn, table = (path.read_text() for path in stale)
    assert f"{len(HERE) + 1} are here, {len(COMING) - 1} are coming" in drawn
    boxes = [line for line in drawn.splitlines() if "bad data" in line]
    assert len(boxes) == 1 and "here[" in boxes[0]
    row = next(line for line in table.splitlines() if "bad data" in line)
    assert row.startswith(f"| {first.part} |") and row.endswith("| here |")
    for text, was in zip((drawn, table), before, strict=True):
        assert text.partition("<!--")[0] == was.partition("<!--")[0]
        assert text.rpartition("-->")[2] == was.rpartition("-->")[2]


def test_without_its_two_comments_a_page_is_not_touched(house: Path) -> None:
    change(house / "README.md", "<!-- topics: end -->\n", "")
    with pytest.raises(ValueError, match=r"README\.md: the two comments"):
        topics.build(house)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("state: here", "state: soon", "the state 'soon'"),
        ("{name: decoding,", "{name: attention,", "'attention' comes twice"),
        ("{name: decoding,", "{name: De-coding,", "no name of a module"),
        ("{name: decoding, title: decoding,", "{name: decoding,", "a name, a title and a state"),
        ("- part:", "- parts:", "below its part"),
        ("- part:", "- part: [", "below its part"),
    ],
)
def test_a_broken_list_is_refused_in_words(house: Path, before: str, after: str, says: str) -> None:
    change(house / "topics.yml", before, after)
    with pytest.raises(ValueError, match=says):
        topics.read(house)


@pytest.mark.parametrize("name", [topic.name for topic in COMING])
def test_a_topic_takes_its_place_in_the_order(house: Path, name: str) -> None:
    topics.register(house, name)
    listed = topics.read(house)
    assert next(topic for topic in listed if topic.name == name).state == "here"
    assert order(house) == expected(listed)


def test_topics_take_their_places_in_whatever_order_they_come(house: Path) -> None:
    for topic in [*COMING[1::2], *COMING[::-2]]:
        if next(one for one in topics.read(house) if one.name == topic.name).state == "coming":
            topics.register(house, topic.name)
    assert order(house) == expected(topics.read(house))
    others = [part["caption"] for part in yaml.safe_load((house / "_toc.yml").read_text())["parts"]]
    assert others[0] == "Start" and others[-2:] == ["Course", "Reference"]


def test_what_cannot_be_registered_changes_nothing(house: Path) -> None:
    before = (house / "topics.yml").read_text(), (house / "_toc.yml").read_text()
    with pytest.raises(ValueError, match="here already"):
        topics.register(house, "attention")
    with pytest.raises(LookupError, match="add it below its part"):
        topics.register(house, "astrology")
    assert ((house / "topics.yml").read_text(), (house / "_toc.yml").read_text()) == before
