"""The plugin that keeps passes: what it keeps, when it forgets, and that it hides no failure."""

from __future__ import annotations

import shutil
from pathlib import Path

import kept
import pytest

pytest_plugins = ["pytester"]
TEST = "def test_one():\n    assert True\n\ndef test_two():\n    assert {right}\n"


@pytest.fixture
def house(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small house whose one topic has one test file, in which nothing is kept yet."""
    root = pytester.path
    for name in ("llmsafety_lab/checks/one", "tests/one", "tests/book", "labs", "chapters", "results", "scripts"):
        (root / name).mkdir(parents=True)
    for name in ("requirements.txt", "pyproject.toml", "llmsafety_lab/checks/one/__init__.py", "chapters/one.md"):
        (root / name).touch()
    (root / "labs" / "one.md").write_text("---\nkernelspec:\n  name: python3\n---\n# One\n")
    (root / "tests" / "conftest.py").write_text("pytest_plugins = ['kept']\n")
    (root / "tests" / "one" / "test_one.py").write_text(TEST.format(right=True))
    (root / "tests" / "book" / "test_book.py").write_text("def test_book():\n    pass\n")
    shutil.copy(kept.__file__, root / "tests")
    monkeypatch.setenv("LLMSAFETY_CACHE", str(root / "cache"))
    monkeypatch.delenv("FRESH", raising=False)
    return root


def outcome(pytester: pytest.Pytester, *options: str) -> tuple[int, int, str]:
    """Run the house's tests; return how many passed and failed, and the line of the plugin."""
    run = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options, "tests")
    counts = run.parseoutcomes()
    said = next(line for line in run.outlines if "kept; FRESH=1" in line)
    return counts.get("passed", 0), counts.get("failed", 0), said.partition(";")[0]


@pytest.mark.parametrize("options", [("-n", "0"), ("-n", "2", "--dist", "loadscope")])
def test_what_has_passed_is_kept(house: Path, pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    assert outcome(pytester, *options) == (3, 0, "3 run and 0 kept")
    assert outcome(pytester, *options) == (3, 0, "1 run and 2 kept")


def test_a_group_runs_on_one_worker_in_one_piece(house: Path, pytester: pytest.Pytester) -> None:
    """Each test writes its worker's process down; each fixture of a file is made once for all of its tests."""
    code = """
import os, time, pytest

@pytest.fixture(scope="module")
def made():
    open("log", "a").write(f"{__name__} made {os.getpid()}\\n")

@pytest.mark.parametrize("number", range(4))
def test_one(made, number):
    time.sleep(0.05)
    open("log", "a").write(f"{__name__} ran {os.getpid()}\\n")

class TestMore:
    def test_two(self, made):
        open("log", "a").write(f"{__name__} ran {os.getpid()}\\n")
"""
    names = [f"test_{letter}" for letter in "abcdef"]
    for name in names:
        (house / "tests" / "book" / f"{name}.py").write_text(code)
    assert outcome(pytester, "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")[:2] == (33, 0)
    noted = [line.split() for line in (house / "log").read_text().splitlines()]
    for name in names:
        mine = [(what, worker) for test, what, worker in noted if test == name]
        assert [what for what, _ in mine] == ["made"] + 5 * ["ran"], name
        assert len({worker for _, worker in mine}) == 1, name
    assert len({worker for _, _, worker in noted}) == 2


def test_checks_are_grouped_by_their_topics() -> None:
    name = "tests/checking/test_mutants.py::test_every_mutant_loses"
    assert kept.group_of(f"{name}[attention.mask: a[0] b]") == "checking-test_mutants-attention"
    assert kept.group_of(f"{name}[plain]") == kept.group_of(name) == "checking-test_mutants"
    assert kept.group_of("tests/grading/test_lab.py::test_one[attention]") == "grading-test_lab"


@pytest.mark.parametrize("cause", ["requirements.txt", "chapters/one.md", "tests/conftest.py", "tests/one/test_one.py"])
def test_a_changed_cause_is_another_key(house: Path, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ROOT", house)
    monkeypatch.setattr(kept, "TESTS", house / "tests")
    before = kept.key.__wrapped__(house / "tests" / "one" / "test_one.py", "one")
    assert kept.key.__wrapped__(house / "tests" / "one" / "test_one.py", "one") == before
    with open(house / cause, "a") as file:
        file.write("\n# changed\n")
    assert kept.key.__wrapped__(house / "tests" / "one" / "test_one.py", "one") != before


def test_a_failure_is_never_kept(house: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    right = "__import__('os').environ.get('BROKEN') is None"
    (house / "tests" / "one" / "test_one.py").write_text(TEST.format(right=right))
    assert outcome(pytester, "-n", "0") == (3, 0, "3 run and 0 kept")
    monkeypatch.setenv("BROKEN", "1")
    monkeypatch.setenv("FRESH", "1")
    assert outcome(pytester, "-n", "0") == (2, 1, "3 run and 0 kept")
    monkeypatch.delenv("FRESH")
    assert outcome(pytester, "-n", "0") == (2, 1, "2 run and 1 kept")


def test_a_file_that_cannot_be_read_is_named(house: Path, pytester: pytest.Pytester) -> None:
    (house / "tests" / "one" / "test_one.py").write_text("import what_is_not_there\n")
    run = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0", "tests")
    run.stdout.fnmatch_lines(["ERROR tests/one/test_one.py*"])


def test_a_mutant_depends_on_its_own_topic_alone() -> None:
    causes = {one: kept.causes(kept.TESTS / "checking" / "test_mutants.py", one) for one in ("attention", "decoding")}
    checks = kept.ROOT / "llmsafety_lab" / "checks"
    assert checks / "attention" / "maps.py" in causes["attention"] - causes["decoding"]
    assert kept.ROOT / "labs" / "decoding.md" in causes["decoding"] - causes["attention"]
    assert kept.ROOT / "llmsafety_lab" / "checking" / "wire.py" in causes["decoding"] & causes["attention"]
