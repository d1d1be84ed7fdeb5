"""Small packages as a registry would serve them, built on the spot."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

NAME, VERSION = "tiny-carrier", "1.0"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def only_from(house: Path, monkeypatch) -> Path:
    """Let pip find packages in one folder and nowhere else."""
    house.mkdir(exist_ok=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return house


def wheel(house: Path, files: dict[str, bytes], more: str = "Requires-Dist: nowhere-to-be-had") -> Path:
    """Build a wheel with files in `tiny_carrier/deep`; its package raises on import, its dependency does not exist."""
    members = {f"tiny_carrier/deep/{name}": content for name, content in files.items()}
    members["tiny_carrier/__init__.py"] = b"raise SystemExit('imported')\n"
    members["tiny_carrier/a.txt"] = b"another file of the same name\n"
    info = "tiny_carrier-1.0.dist-info"
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n{more}\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = "".join(recorded(name, content) for name, content in members.items()).encode()
    path = house / "tiny_carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name, content in members.items():
            package.writestr(name, content)
    return path


def recorded(name: str, content: bytes) -> str:
    """Return a wheel's record of one file."""
    short = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={short},{len(content)}\n"


def tarball(path: Path, top: str, members: dict[str, bytes]) -> Path:
    """Build a gzipped tarball whose files lie below one top folder."""
    with tarfile.open(path, "w:gz") as package:
        for name, content in members.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    return path
