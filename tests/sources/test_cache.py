"""The cache: whole or absent, whatever happens while it is filled."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmsafety_lab.sources import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path))
    return tmp_path / "model" / "thing-carrier"


def fill(content=b"weights" * 100):
    def build(into):
        (into / "deep").mkdir()
        (into / "deep" / "weights.bin").write_bytes(content)
        (into / "config.json").write_text("{}")

    return build


def refuse(into):
    raise AssertionError("built although the cache is whole")


def beside(folder):
    """What lies beside the folder, the lock apart."""
    return sorted(path.name for path in folder.parent.iterdir() if path.suffix != ".lock")


def test_built_once_and_kept(folder):
    assert cache.keep(folder, "key", fill()) == folder
    assert (folder / "deep" / "weights.bin").read_bytes() == b"weights" * 100
    cache.keep(folder, "key", refuse)
    assert beside(folder) == [folder.name]


def test_manifest_tells_size_and_digest(folder):
    cache.keep(folder, "key", fill())
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    assert manifest["files"]["config.json"] == {"size": 2, "sha256": cache.sha256(folder / "config.json")}
    assert set(manifest["files"]) == {"config.json", "deep/weights.bin"}


def test_another_key_is_built_anew(folder):
    cache.keep(folder, "old", fill(b"old"))
    cache.keep(folder, "new", fill(b"new"))
    assert (folder / "deep" / "weights.bin").read_bytes() == b"new"
    assert beside(folder) == [folder.name]


def test_warm_cache_is_not_written_to(folder):
    cache.keep(folder, "key", fill())
    lock = folder.with_name(f"{folder.name}.lock")
    lock.unlink(missing_ok=True)
    cache.keep(folder, "key", refuse)
    assert not lock.exists()


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest cut", "manifest odd"])
def test_damage_is_seen_and_mended(folder, damage):
    cache.keep(folder, "key", fill())
    if damage == "cut":
        os.truncate(folder / "deep" / "weights.bin", 10)
    elif damage == "gone":
        (folder / "config.json").unlink()
    elif damage == "manifest cut":
        os.truncate(folder / cache.MANIFEST, 20)
    else:
        (folder / cache.MANIFEST).write_text("[]")
    assert not cache.intact(folder, "key")
    cache.keep(folder, "key", fill())
    assert (folder / "deep" / "weights.bin").read_bytes() == b"weights" * 100


def test_a_flipped_byte_is_found_by_digest(folder):
    cache.keep(folder, "key", fill())
    weights = folder / "deep" / "weights.bin"
    weights.write_bytes(b"W" + weights.read_bytes()[1:])
    assert cache.intact(folder, "key")
    assert not cache.intact(folder, "key", thorough=True)
    assert cache.discard(folder, "key")
    assert beside(folder) == []
    cache.keep(folder, "key", fill())
    assert not cache.discard(folder, "key")


@pytest.mark.parametrize("error", [ValueError("odd"), KeyboardInterrupt(), cache.HashError("wrong")])
def test_a_failed_build_leaves_nothing(folder, error):
    def build(into):
        fill()(into)
        raise error

    with pytest.raises(type(error)):
        cache.keep(folder, "key", build)
    assert beside(folder) == []


def test_a_failed_rebuild_keeps_what_was_there(folder):
    cache.keep(folder, "old", fill(b"old"))

    def build(into):
        raise cache.UnreachableError("no network")

    with pytest.raises(cache.UnreachableError):
        cache.keep(folder, "new", build)
    assert cache.intact(folder, "old", thorough=True)


def test_readable_by_others(folder):
    def build(into):
        (into / "secret.bin").write_bytes(b"x")
        (into / "secret.bin").chmod(0o600)

    old = os.umask(0o022)
    try:
        cache.keep(folder, "key", build)
    finally:
        os.umask(old)
    assert (folder / "secret.bin").stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755


SLOW = """
import sys, time
from pathlib import Path
from llmsafety_lab.sources import cache
def build(into):
    with open(sys.argv[2], "a") as log: log.write("built\\n")
    (into / "half").write_bytes(b"x" * 1000)
    time.sleep(float(sys.argv[3]))
cache.keep(Path(sys.argv[1]), "key", build)
"""


def start(folder, log, seconds):
    return subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(log), str(seconds)], stdout=subprocess.PIPE)


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_killed_in_the_middle(folder, tmp_path):
    process = start(folder, tmp_path / "log", 60)
    wait_for(lambda: list(folder.parent.glob(".*/new/half")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    [left] = beside(folder)
    assert left.startswith(f".{folder.name}.")
    cache.keep(folder, "key", fill())
    assert beside(folder) == [folder.name]
    assert cache.intact(folder, "key", thorough=True)


def test_two_at_once_build_once(folder, tmp_path):
    both = [start(folder, tmp_path / "log", 1.5) for _ in range(2)]
    said = [process.communicate(timeout=30)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"
    assert sum(b"waiting for another process" in text for text in said) == 1
    assert beside(folder) == [folder.name]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from llmsafety_lab.sources import cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    cache.keep(Path(sys.argv[1]), "key", lambda into: (into / "big").write_bytes(bytes(200_000)))
except cache.DiskFullError as error:
    print(error)
"""


def test_no_room_by_a_limit_of_the_system(folder):
    said = subprocess.run([sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, check=True)
    assert "the disk is full" in said.stdout
    assert "LLMSAFETY_CACHE" in said.stdout
    assert beside(folder) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_while_flushing(folder, monkeypatch, number):
    def full(handle):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(cache.DiskFullError, match="Free some room"):
            cache.keep(folder, "key", fill())
    assert beside(folder) == []
    cache.keep(folder, "key", fill())


def test_no_room_told_by_another_library(folder):
    def build(into):
        try:
            raise Exception("I/O error: No space left on device (os error 28)")
        except Exception as error:
            raise ValueError("while saving") from error

    with pytest.raises(cache.DiskFullError):
        cache.keep(folder, "key", build)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "file"))
    with pytest.raises(cache.CarrierError, match="cannot be written"):
        cache.keep(cache.root() / "model" / "thing", "key", fill())


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMSAFETY_CACHE", "~/course")
    assert cache.root() == Path.home() / "course"
    assert cache.shown_root() == "$LLMSAFETY_CACHE"
    monkeypatch.delenv("LLMSAFETY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "llmsafety-lab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == Path.home() / ".cache" / "llmsafety-lab"
    assert cache.shown_root() == "~/.cache/llmsafety-lab"
