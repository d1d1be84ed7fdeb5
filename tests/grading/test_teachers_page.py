"""What the page for teachers says is what the course and the command do."""

from __future__ import annotations

import re
import shlex

import classroom
import pytest

from llmsafety_lab.checking import exercise
from llmsafety_lab.course import cli

PAGE = (classroom.ROOT / "chapters" / "teachers.md").read_text(encoding="utf-8")


def test_points_and_hours_of_every_lab_are_those_of_its_exercises() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    expected = []
    for topic in exercise.topics():
        every = exercise.exercises(topic)
        lab = (classroom.ROOT / "labs" / f"{topic}.md").read_text(encoding="utf-8")
        [plan] = re.findall(r"Plan (\d+) minutes for reading, writing and running", lab)
        expected.append((topic, str(sum(one.points for one in every)), str(sum(one.minutes for one in every)), plan))
    assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize("name", ["README.md", "chapters/teachers.md"])
def test_every_command_on_the_page_is_one(name: str) -> None:
    text = (classroom.ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```bash\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").split("\n") if "llmsafety-lab " in line]
    commands = [shlex.split(line, comments=True) for line in lines if not re.search(r"git|cd |pip ", line)]
    assert len(commands) >= 2
    for program, *arguments in commands:
        assert program in ("llmsafety-lab", ".venv/bin/llmsafety-lab")
        assert callable(cli.parser().parse_args(arguments).function)


def test_every_option_of_grade_is_on_the_page_and_every_option_on_the_page_exists(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["grade", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--jobs", "--memory", "--seconds"}
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE)) - {"--json", "--list"}
    assert named == known
