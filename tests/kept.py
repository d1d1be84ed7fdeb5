"""A pytest plugin: what passed and whose every cause is unchanged is not run again, and what is long begins first.

Of a topic's tests and of its mutants a pass is kept in the user's cache, under the hash of the test's file, the files
of the package that it uses, the topic's lab, chapter, results and script, the locked requirements, and the machine.
All other tests (the book, the sandbox, the command line, the sources) run every time, and with FRESH=1 all do.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import pytest

from llmsafety_lab import files
from llmsafety_lab.course import depends
from llmsafety_lab.course.book import clock, masters
from llmsafety_lab.sources import cache

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
TOPICS = {path.name for path in (ROOT / "llmsafety_lab" / "checks").iterdir() if (path / "__init__.py").exists()}
STORE = cache.root() / "tested"
NOW = [0.0]


def topic_of(path: Path, parameters: dict[str, Any]) -> str | None:
    """Return the topic that a test belongs to: its folder's name, or the one that its parameters name."""
    named = {str(getattr(value, "topic", value)) for value in parameters.values()} & TOPICS
    return path.parent.name if path.parent.name in TOPICS else min(named, default=None)


@functools.cache
def key(path: Path, topic: str) -> str:
    """Return the hash of all that a file's tests of one topic depend on."""
    digest = hashlib.sha256(machine().encode())
    for file in sorted(causes(path, topic)):
        digest.update("/".join(file.parts[-3:]).encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def causes(path: Path, topic: str) -> set[Path]:
    """Return the files that a test file's tests of one topic depend on."""
    files, waiting = {ROOT / "requirements.txt", ROOT / "pyproject.toml"}, {path, TESTS / "conftest.py"}
    code = []
    while waiting:
        files |= waiting
        texts = [file.read_text(encoding="utf-8") for file in waiting]
        code += texts
        helpers = {TESTS / f"{name}.py" for text in texts for name in imported(text)} - {Path(__file__)}
        waiting = {helper for helper in helpers if helper.exists()} - files
    for folder in ("labs", "chapters", "results", "scripts"):
        for file in (ROOT / folder).iterdir():
            if file.stem == topic or any(re.search(rf"\b{file.stem}\b", text) for text in code[:1]):
                files.add(file)
                code += [file.read_text(encoding="utf-8")] if file.suffix == ".py" else []
    code.append(lab(topic))
    modules = [f"llmsafety_lab.{topic}", f"llmsafety_lab.checks.{topic}", "llmsafety_lab.checking.notebook"]
    return files | depends.closure(code, modules)


def imported(code: str) -> set[str]:
    """Return the names of the modules that a piece of code imports."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names} | {
        str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)
    }


@functools.cache
def lab(topic: str) -> str:
    """Return the code of a topic's solved lab."""
    cells = masters.solved(ROOT / "labs" / f"{topic}.md").cells
    code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)


def machine() -> str:
    """Return what decides on a machine how numbers come out."""
    info = Path("/proc/cpuinfo")
    facts = re.findall(r"^(?:model name|flags|Features)\s*:.*", info.read_text() if info.exists() else "", re.MULTILINE)
    return f"{platform.python_version()} {platform.machine()} {platform.processor()} {sorted(set(facts))}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say for each test where its pass is kept; put the longest groups first."""
    seconds, places = read(STORE / "seconds.json"), {}
    for item in items:
        topic = topic_of(item.path, getattr(getattr(item, "callspec", None), "params", {}))
        group, place = group_of(item.nodeid), ""
        if topic and item.path.parent.name in (topic, "checking"):
            place = f"{group}-{key(item.path, topic)}.json"
            places[place] = read(STORE / place)
        facts = {"id": item.nodeid, "topic": topic, "group": group, "place": place}
        if not os.environ.get("FRESH"):
            facts["kept"] = places.get(place, {}).get(item.nodeid)
        item.user_properties.append(("clock", facts))
    items.sort(key=lambda item: -seconds.get(facts_of(item)["group"], float("inf")))


def group_of(name: str) -> str:
    """Return the group of a test's id: its file, and where a file tests the checks of all topics the topic, too."""
    file, _, rest = name.partition("::")
    group = file.removeprefix("tests/").removesuffix(".py").replace("/", "-")
    topic = re.search(rf"\[({'|'.join(sorted(TOPICS))})\b", rest) if group.startswith("checking-") else None
    return f"{group}-{topic[1]}" if topic else group


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a group to one worker, so that its fixtures are made once.

    The groups follow from the tests' ids, which both sides know. The markers of `--dist loadgroup` do nothing with
    pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log) if config.getvalue("dist") == "loadscope" else None


def facts_of(one: Any) -> dict[str, Any]:
    """Return what was noted of a test, from its item or its report."""
    return dict(getattr(one, "user_properties", ())).get("clock", {})  # a file that cannot be read has none


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Report a test whose pass is kept as passed."""
    if facts_of(item).get("kept") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    report = pytest.TestReport(
        item.nodeid, item.location, {}, "passed", None, "call", user_properties=item.user_properties
    )
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    item.session._setupstate.teardown_exact(nextitem)
    return True


def core_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Note in each report the processor time since the one before: a busy machine makes no test dearer."""
    report = yield
    report.core_seconds, NOW[0] = core_seconds() - NOW[0], core_seconds()
    return report


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Show a kept test by a letter of its own."""
    return ("passed", "k", "KEPT") if facts_of(report).get("kept") is not None else None


class Book:
    """Notes in the process that hears of all tests what passed, and what it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a report."""
        facts = facts_of(report)
        if not facts:
            return
        name = facts["id"]
        self.facts[name] = facts
        kept = facts.get("kept")
        self.seconds[name] = self.seconds.get(name, 0) + (report.core_seconds if kept is None else kept)
        if report.when == "call" and report.passed:
            self.passed.add(name)
        if report.failed:
            self.failed.add(name)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep what passed, and forget what failed."""
        STORE.mkdir(parents=True, exist_ok=True)
        for place in {facts["place"] for facts in self.facts.values()} - {""}:
            mine = {name for name, facts in self.facts.items() if facts["place"] == place}
            known = read(STORE / place) | {name: round(self.seconds[name], 3) for name in mine & self.passed}
            write(STORE / place, {name: spent for name, spent in known.items() if name not in self.failed})
        if whole(session.config):
            groups = [facts["group"] for facts in self.facts.values()]
            write(STORE / "seconds.json", {group: self.spent(group=group) for group in groups})
            write(ROOT / "_build" / "clock.json", self.topics())

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Say how many ran and how many were kept; after a whole run also what each topic takes."""
        kept = sum(facts.get("kept") is not None for facts in self.facts.values())
        if whole(config):
            terminalreporter.write_line(clock.table(ROOT))
        terminalreporter.write_line(f"{len(self.facts) - kept} run and {kept} kept; FRESH=1 runs all.")

    def topics(self) -> dict[str, dict[str, float]]:
        """Return the seconds of each topic's tests, and of its solution in the sandbox."""
        found = {}
        for topic in sorted(TOPICS):
            graded = [name for name in self.facts if "/grading/" in name and self.facts[name]["topic"] == topic]
            sandboxed = sum(self.seconds[name] for name in graded)
            found[topic] = {"graded": sandboxed, "tests": self.spent(topic=topic) - sandboxed}
        return found

    def spent(self, **wanted: str) -> float:
        """Return the seconds of the tests of which some facts hold."""
        chosen = [name for name, facts in self.facts.items() if wanted.items() <= facts.items()]
        return round(sum(self.seconds[name] for name in chosen), 1)


def whole(config: pytest.Config) -> bool:
    """Say whether this run is of all tests."""
    return config.args == config.getini("testpaths") and not (config.option.keyword or config.option.markexpr)


def read(path: Path) -> dict[str, Any]:
    """Read a file of JSON; an empty dict where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, content: Any) -> None:
    """Write a file of JSON so that it is whole or as it was."""
    files.replace(path, json.dumps(content))


def pytest_configure(config: pytest.Config) -> None:
    """Take notes in the process that hears of all tests."""
    NOW[0] = core_seconds()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Book())
