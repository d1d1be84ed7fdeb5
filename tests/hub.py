"""A hub on this machine: as much of the Hugging Face hub's protocol as `huggingface_hub` and `datasets` ask for.

`serve` takes the repositories as plain bytes; it yields the address for `HF_ENDPOINT` and the requests that came.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Answers for the repositories in `self.server.repositories`, by type ("models", "datasets") and name."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep the test's output free of the server's log."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append(f"{self.command} /{path}")
        found = self.found(path.split("/"))
        if found is None:
            return self.send(HTTPStatus.NOT_FOUND, b'{"error":"not found"}', {"X-Error-Code": "RepoNotFound"})
        files, what, rest = found
        if what == "resolve":
            return self.file(files, "/".join(rest[1:]))
        if what == "tree":
            return self.json(tree(files, "/".join(rest[1:]), "recursive=true" in urlsplit(self.path).query.lower()))
        if what == "paths-info":
            return self.json([row(name, files[name]) for name in asked(body) if name in files])
        name = path.split("/")[2:4]
        self.json(
            {
                "id": "/".join(name),
                "sha": COMMIT,
                "private": False,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": file} for file in sorted(files)],
            }
        )

    def found(self, parts: list[str]) -> tuple[Files, str, list[str]] | None:
        """Split a path into a repository's files, what is asked of it, and the rest."""
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        kind = parts.pop(0) if parts and parts[0] in ("models", "datasets") else "models"
        files = self.server.repositories.get((kind, "/".join(parts[:2])))
        if files is None:
            return None
        return files, parts[2] if len(parts) > 2 else "info", parts[3:]

    def file(self, files: Files, name: str) -> None:
        if name not in files:
            return self.send(HTTPStatus.NOT_FOUND, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        content = files[name]
        headers = {"ETag": f'"{digest(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0]
        if int(start or 0):
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.send(HTTPStatus.PARTIAL_CONTENT, content[int(start) :], headers)
        self.send(HTTPStatus.OK, content, headers)

    def json(self, value: object) -> None:
        self.send(HTTPStatus.OK, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: HTTPStatus, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def asked(body: bytes) -> list[str]:
    """Return the paths that a `paths-info` request names, as JSON or as a form."""
    text = body.decode()
    paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
    return [paths] if isinstance(paths, str) else paths


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(files: Files, below: str, recursive: bool) -> list[dict[str, object]]:
    """List the folders and files below a folder, one level or all of them."""
    inside = {
        name: PurePosixPath(name).relative_to(below) for name in files if PurePosixPath(name).is_relative_to(below)
    }
    folders = {PurePosixPath(below, part) for path in inside.values() for part in list(path.parents)[:-1]}
    rows = [{"type": "directory", "path": str(path), "size": 0, "oid": digest(bytes(path))[:40]} for path in folders]
    rows += [row(name, files[name]) for name in inside]
    return [item for item in rows if recursive or PurePosixPath(item["path"]).parent == PurePosixPath(below)]


def row(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": digest(content)[:40]}


@contextmanager
def serve(repositories: dict[tuple[str, str], Files]) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories such as `{("models", "owner/name"): {"config.json": b"{}"}}` on a free port, here only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repositories, server.requests = repositories, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
