"""The list of the book's topics, `topics.yml`, and what is written from it: the introduction's map, README's table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from llmsafety_lab.errors import InputError, NotFoundError

STATES = ("here", "coming")


@dataclass(frozen=True)
class Topic:
    """A topic of the book; `state` is "here", or "coming" while it has no chapter and no lab."""

    name: str
    title: str
    part: str
    state: str


def read(root: Path) -> list[Topic]:
    """Return the topics of a checkout in the order of reading.

    Raises
    ------
    InputError
        If the list cannot be read, a state is not one of the two, or a name comes twice or is no name of a module.
    """
    path = root / "topics.yml"
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        topics = [Topic(part=part["part"], **topic) for part in listed for topic in part["topics"]]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{path}: each topic has a name, a title and a state, below its part ({error})") from error
    names = [topic.name for topic in topics]
    for topic in topics:
        if topic.state not in STATES:
            raise InputError(f"{path}: {topic.name} has the state {topic.state!r}; choose one of {', '.join(STATES)}")
        if not re.fullmatch(r"[a-z]\w*", topic.name) or names.count(topic.name) > 1:
            raise InputError(f"{path}: {topic.name!r} comes twice, or is no name of a module in small letters")
    return topics


def parts(topics: list[Topic]) -> dict[str, list[Topic]]:
    """Return the topics by their part."""
    return {part: [t for t in topics if t.part == part] for part in dict.fromkeys(t.part for t in topics)}


def build(root: Path, *, check: bool = False) -> list[Path]:
    """Write what comes from the list into the introduction and README; return the files that were stale.

    Parameters
    ----------
    root : Path
    check : bool
        Write nothing, only return what would be written.

    Raises
    ------
    InputError
        If a file lacks the two comments between which its part is written.
    """
    topics = read(root)
    stale = []
    for name, mark, text in (
        ("chapters/introduction.md", "map", _map(topics)),
        ("README.md", "table", _table(topics)),
    ):
        path = root / name
        before = path.read_text(encoding="utf-8")
        first, last = f"<!-- topics: the {mark} is made from topics.yml -->\n", "<!-- topics: end -->\n"
        if not 0 <= before.find(first) < before.find(last):
            raise InputError(f"{path}: the two comments {first.strip()} and {last.strip()} are missing")
        head, _, rest = before.partition(first)
        after = f"{head}{first}{text}{last}{rest.partition(last)[2]}"
        if after != before:
            stale.append(path)
            if not check:
                path.write_text(after, encoding="utf-8")
    return stale


def _table(topics: list[Topic]) -> str:
    rows = ["| Part | Topics | |", "|---|---|---|"]
    for part, members in parts(topics).items():
        label = part
        for state in STATES:
            if titles := [topic.title for topic in members if topic.state == state]:
                rows.append(f"| {label} | {', '.join(titles)} | {state} |")
                label = ""
    return "\n".join(rows) + "\n"


def _map(topics: list[Topic]) -> str:
    """Return the diagram and its caption: the first part, the questions side by side, then the last two parts."""
    grouped = parts(topics)
    numerals = [part.split()[0] for part in grouped]
    nodes: dict[str, list[str]] = {}
    lines: dict[str, list[str]] = {}
    for numeral, (part, members) in zip(numerals, grouped.items(), strict=True):
        nodes[numeral], lines[numeral], head = [], [], f"<b>{part}</b><br/>"
        for state in STATES:
            if titles := [topic.title for topic in members if topic.state == state]:
                nodes[numeral].append(f"{numeral}{state}")
                lines[numeral].append(f'{numeral}{state}["{head}{"<br/>".join(titles)}"]')
                head = ""
        lines[numeral] += [" --- ".join(nodes[numeral])] * (len(nodes[numeral]) > 1)
    first, questions, last = numerals[0], numerals[1:-2], numerals[-2:]
    beside = [f"{nodes[a][-1]} ~~~ {nodes[b][0]}" for a, b in zip(questions, questions[2:], strict=False)]
    here, coming = (sum(topic.state == state for topic in topics) for state in STATES)
    drawn = [
        "```{mermaid}",
        '%%{init: {"flowchart": {"rankSpacing": 28, "nodeSpacing": 28}}}%%',
        "flowchart TB",
        *(f"    {line}" for line in lines[first]),
        '    subgraph questions["One question each"]',
        "        direction TB",
        *(f"        {line}" for numeral in questions for line in lines[numeral]),
        *(f"        {line}" for line in beside),
        "    end",
        *(f"    {line}" for numeral in last for line in lines[numeral]),
        f"    {nodes[first][-1]} --> questions",
        f"    questions --> {nodes[last[0]][0]}",
        f"    {nodes[last[0]][-1]} --> {nodes[last[1]][0]}",
        "    classDef here stroke-width:3px",
        "    classDef coming stroke-dasharray:6 4",
        *(
            f"    class {','.join(names)} {state}"
            for state in STATES
            if (names := [name for each in nodes.values() for name in each if name.endswith(state)])
        ),
        "```",
        "",
        f"*The parts and their {len(topics)} topics: {here} are here, {coming} are coming. Foundations lead to",
        "attack and defence, bias and fairness, privacy, and transparency; these four lead to alignment and harmful",
        "output, and that to society and deployment.*",
        "",
    ]
    return "\n".join(drawn)


def register(root: Path, name: str) -> None:
    """Call a topic "here" in the list, and put its chapter and its lab into `_toc.yml`.

    Raises
    ------
    NotFoundError
        If the list has no such topic.
    InputError
        If it is here already.
    """
    topics = read(root)
    wanted = next((topic for topic in topics if topic.name == name), None)
    if wanted is None:
        raise NotFoundError(
            f"{root / 'topics.yml'} has no topic {name!r}: add it below its part, with the state coming"
        )
    if wanted.state == "here":
        raise InputError(f"{name} is here already")
    listed, toc = root / "topics.yml", root / "_toc.yml"
    text = listed.read_text(encoding="utf-8")
    listed.write_text(re.sub(rf"(\{{name: {name}, .*state: )coming", r"\1here", text), encoding="utf-8")
    there = [topic for topic in topics if topic.state == "here"]
    before = [topic for topic in there if topics.index(topic) < topics.index(wanted)]
    entries = f"      - file: chapters/{name}\n      - file: labs/{name}\n"
    caption = f"  - caption: {wanted.part}\n    chapters:\n"
    anchor = f"      - file: labs/{before[-1].name}\n" if before else "      - file: chapters/introduction\n"
    if wanted.part not in {topic.part for topic in there}:
        entries = caption + entries
    elif not before or before[-1].part != wanted.part:
        anchor = caption
    toc.write_text(toc.read_text(encoding="utf-8").replace(anchor, anchor + entries), encoding="utf-8")
