"""Files and folders are there as a whole or not at all."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmsafety_lab.files import replace, replacing, replacing_folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("content", "expected"), [("né\r\n中", "né\r\n中".encode()), (b"\x00\xff", b"\x00\xff")])
def test_a_file_holds_exactly_what_was_given(tmp_path: Path, content, expected) -> None:
    path = tmp_path / "a" / "b" / "result.json"
    for _ in range(2):
        replace(path, content)
        assert path.read_bytes() == expected
    assert names(path.parent) == {"result.json"}


def test_a_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    replace(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("room", [replacing, replacing_folder])
def test_a_block_that_fails_leaves_the_old_and_nothing_else(tmp_path: Path, room) -> None:
    path = tmp_path / "kept"
    if room is replacing:
        path.write_text("old")
    else:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(RuntimeError), room(path) as new:
        (new if room is replacing else new / "file").write_text("half")
        raise RuntimeError
    assert names(tmp_path) == {"kept"}
    assert path.read_text() == "old" if room is replacing else names(path) == {"old"}


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_and_nothing_else(tmp_path: Path, monkeypatch, fails: str) -> None:
    replace(tmp_path / "kept", "old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, fails, full)
        with pytest.raises(OSError, match="No space"):
            replace(tmp_path / "kept", "new")
    assert names(tmp_path) == {"kept"} and (tmp_path / "kept").read_text() == "old"


def test_a_folder_that_cannot_move_in_is_put_back(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").touch()
    move = os.replace

    def once(source, target):
        if Path(source).name == "new":
            raise OSError("in use")
        move(source, target)

    monkeypatch.setattr(os, "replace", once)
    with pytest.raises(OSError, match="in use"), replacing_folder(tmp_path / "kept"):
        pass
    assert names(tmp_path) == {"kept"} and names(tmp_path / "kept") == {"old"}


@pytest.mark.parametrize("flushed", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, flushed: bool) -> None:
    for name in ("one", "two"):
        with replacing_folder(tmp_path / "made", flushed) as new:
            (new / "inner").mkdir()
            (new / "inner" / name).touch()
        assert names(tmp_path / "made" / "inner") == {name}
    assert names(tmp_path) == {"made"}


def test_all_is_on_the_disk_before_the_file_is_moved_there(tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []
    flush, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("flush"), flush(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("move"), move(a, b))[1])
    replace(tmp_path / "kept", "text")
    assert done == ["flush", "move", "flush"]


def test_killed_in_the_middle_the_old_one_stays(tmp_path: Path) -> None:
    replace(tmp_path / "kept", "old")
    code = (
        "import os, pathlib; from llmsafety_lab.files import replacing\n"
        f"with replacing(pathlib.Path({str(tmp_path / 'kept')!r})) as new:\n    new.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert (tmp_path / "kept").read_text() == "old"
    replace(tmp_path / "kept", "new")
    assert (tmp_path / "kept").read_text() == "new"


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path, texts = tmp_path / "kept", [letter * 100_000 for letter in "abcd"]
    writers = [threading.Thread(target=lambda text=text: [replace(path, text) for _ in range(10)]) for text in texts]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert seen <= set(texts) and names(tmp_path) == {"kept"}
