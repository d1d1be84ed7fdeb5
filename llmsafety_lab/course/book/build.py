"""The site: the tree assembled, the scripts vendored, Sphinx run in its strictest mode, the result served."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from llmsafety_lab.course.book import clock, live, reproduced
from llmsafety_lab.course.book.dress import dress
from llmsafety_lab.course.book.finish import finish
from llmsafety_lab.course.book.vendor import BookError, replacing, vendor, write

_TOOLS = ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb", "sphinxcontrib-bibtex")


def build(root: Path) -> Path:
    """Build the site, or do nothing where nothing has changed.

    Parameters
    ----------
    root
        The checkout, its notebooks executed.

    Returns
    -------
    Path
        The folder of the finished site: `_build/site`. It is replaced as a whole, once the build has succeeded.

    Raises
    ------
    BookError
        If a notebook has no executed copy, npm fails, or Sphinx warns.
    """
    started = time.monotonic()
    vendored = vendor(root)
    tree = assemble(root)
    site, state = root / "_build" / "site", root / "_build" / "site.json"
    output = tree / "_build"
    frame, content = _keys(tree, vendored.name)
    kept = json.loads(state.read_text()) if state.exists() else {}
    if kept.get("keys") == [frame, content] and all((site / name).is_file() for name in kept["files"]):
        print(f"nothing has changed ({time.monotonic() - started:.1f} s)")
        return site
    if kept.get("keys", [""])[0] != frame:
        shutil.rmtree(output, ignore_errors=True)
    state.unlink(missing_ok=True)
    sphinx(tree)
    _publish(output / "html", vendored, root, site)
    files = sorted(str(path.relative_to(site)) for path in site.rglob("*.*") if path.is_file())
    write(state, json.dumps({"keys": [frame, content], "files": files}).encode())
    print(f"site built ({time.monotonic() - started:.1f} s)")
    return site


def assemble(root: Path) -> Path:
    """Lay out the tree that Sphinx reads: the pages, and the executed notebooks in the place of their masters.

    Only what has changed is written, so that Sphinx reads only that again.

    Returns
    -------
    Path
        The tree, `_build/book`.

    Raises
    ------
    BookError
        If a page of `_toc.yml` is missing or a notebook has no executed copy.
    """
    from llmsafety_lab.course.book import masters

    tree, executed = root / "_build" / "book", root / "_build" / "executed"
    masters_of = {path.relative_to(root).with_suffix("").as_posix() for path in masters.notebooks(root)}
    wanted: dict[Path, bytes] = {Path(name): (root / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    wanted[Path("assets/palette.css")] = Path(__file__).parents[1].joinpath("palette.css").read_bytes()
    missing = []
    for page in pages(root):
        copy = executed / f"{page}.ipynb"
        if page == "chapters/execution_times":
            wanted[Path(f"{page}.md")] = execution_times(root).encode()
        elif page == "chapters/reproduced_results":
            wanted[Path(f"{page}.md")] = reproduced.page(root, pages(root)).encode()
        elif page not in masters_of and (root / f"{page}.md").exists():
            wanted[Path(f"{page}.md")] = _relink(root / f"{page}.md", masters_of).encode()
        elif page in masters_of and copy.exists():
            wanted[Path(f"{page}.ipynb")] = dress(_relink(copy, masters_of)).encode()
        else:
            missing.append(
                f"{page}: " + ("not executed (llmsafety-lab execute)" if page in masters_of else "no such page")
            )
    if missing:
        raise BookError("\n".join(missing))
    kinds = {".bib", ".svg", ".png", ".jpg", ".css", ".js", ".py", ".json"}
    for folder in ("assets", "chapters", "llmsafety_lab", "results"):
        for path in (root / folder).rglob("*"):
            if path.suffix in kinds and path.is_file():
                wanted[path.relative_to(root)] = path.read_bytes()
    for path in [path for path in tree.rglob("*") if path.is_file() or path.is_symlink()]:
        inside = path.relative_to(tree)
        if inside not in wanted and inside.parts[0] != "_build":
            path.unlink()
    for name, content in wanted.items():
        if not (tree / name).is_file() or (tree / name).read_bytes() != content:
            write(tree / name, content)
    return tree


def pages(root: Path) -> list[str]:
    """Return the pages of `_toc.yml` in their order, without suffix."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def files(entry: Any) -> Iterator[str]:
        if isinstance(entry, dict):
            yield from [entry[key] for key in ("root", "file") if key in entry]
            for value in entry.values():
                yield from files(value)
        elif isinstance(entry, list):
            for value in entry:
                yield from files(value)

    return list(files(toc))


def _relink(page: Path, notebooks: set[str]) -> str:
    """Read a page; where it links to a master, link to the executed notebook that stands in its place."""
    text = page.read_text(encoding="utf-8")

    def one(link: re.Match[str]) -> str:
        folder, name = link[2] or f"{page.parent.name}/", link[3]
        return f"]({link[1] or ''}{link[2] or ''}{name}.{'ipynb' if folder + name in notebooks else 'md'}"

    return re.sub(r"\]\((\.\./|\./)?((?:chapters|labs)/)?(\w+)\.md(?=[)#])", one, text)


def execution_times(root: Path) -> str:
    """Return the page with each notebook's time and memory, and with what each topic takes, in MyST."""
    times = root / "_build" / "executed" / "times.json"
    runs = json.loads(times.read_text(encoding="utf-8")) if times.exists() else []
    shown = [run for run in runs if run["notebook"].startswith(("chapters/", "labs/"))]
    rows = [
        f"| {{doc}}`/{run['notebook']}` | {run['scale']} | {run['seconds']:.1f} | {run['peak_mb']:,.0f} |"
        for run in shown
    ]
    total = sum(run["seconds"] for run in shown)
    head, *topics = clock.rows(root)
    return "\n".join(
        [
            "# Execution times",
            "",
            "Every figure and every measurement in this book comes from a run of its notebook, in an empty folder and",
            "in a process with one thread. This is what those runs took when the site was built.",
            "",
            "| Notebook | Scale | Seconds | Peak memory (MB) |",
            "|:--|:--|--:|--:|",
            *rows,
            f"| **All {len(shown)}** | | **{total:.1f}** | |",
            "",
            "And this is what each topic takes when everything is tested, in seconds of one processor core. A lab runs",
            "twice, solved and as it is handed out, and its solution is graded in the sandbox. The tests are those of",
            f"the last whole run on the machine that built the site. A topic's budget is {clock.BUDGET} seconds.",
            "",
            f"| {' | '.join(['Topic', *head[1:]])} |",
            f"|:--{'|--:' * (len(head) - 1)}|",
            *(f"| {' | '.join(row)} |" for row in topics),
            "",
        ]
    )


def serve(site: Path, port: int = 8000) -> None:
    """Serve the site on this machine until Ctrl-C; where the port is taken, on the next that is free."""
    with server(site, port) as running:
        print(f"http://127.0.0.1:{running.server_address[1]}/   (Ctrl-C stops)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            running.serve_forever()


def server(site: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """Return a server of the site's files, bound to `port` or to the next one that is free.

    Raises
    ------
    BookError
        If twenty ports in a row are taken.
    """
    handler = functools.partial(_Quiet, directory=str(site))
    for candidate in range(port, port + 20):
        with contextlib.suppress(OSError):
            return http.server.ThreadingHTTPServer(("127.0.0.1", candidate), handler)
    raise BookError(f"the ports from {port} to {port + 19} are taken: choose another with --port")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".woff2": "font/woff2"}  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        pass


def sphinx(tree: Path, *options: str) -> None:
    """Run Jupyter Book on an assembled tree, in its strictest mode.

    Raises
    ------
    BookError
        If there is as much as a warning.
    """
    launch = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", launch, "build", str(tree), "-n", "-W", "--keep-going", "-q", *options]
    package = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    run = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout).strip()
        raise BookError(f"The strict build failed:\n{said}")


def _publish(pages: Path, vendored: Path, root: Path, site: Path) -> None:
    with replacing(site.with_name("site.new")) as made:
        shutil.copytree(pages, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".buildinfo*", "objects.inv"))
        shutil.copytree(vendored / "web", made / "_static" / "vendor", dirs_exist_ok=True, copy_function=_link)
        for notebook in _handed_out(root):
            shutil.copy2(notebook, made / notebook.parent.name)
        live.publish(made / "_static")
        finish(made, vendored)
        (made / ".nojekyll").touch()
    old = site.with_name("site.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    site.with_name("site.new").rename(site)
    shutil.rmtree(old, ignore_errors=True)


def _keys(tree: Path, vendored: str) -> tuple[str, str]:
    """Return a key of what every page depends on, and one of the pages themselves."""
    here = Path(__file__).parent
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and tree / "_build" not in path.parents]
    shared = [path for path in files if path.parent.name == "assets" or path.name.startswith("_")]
    frame = hashlib.sha256(" ".join([vendored, *map(version, _TOOLS)]).encode())
    content = hashlib.sha256()
    for digest, paths in (
        (frame, [*sorted(here.glob("*.*")), *sorted(here.glob("templates/*")), *shared]),
        (content, [*files, *_handed_out(tree.parents[1])]),
    ):
        for path in paths:
            digest.update(f"\0{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return frame.hexdigest(), content.hexdigest()


def _handed_out(root: Path) -> list[Path]:
    """Return the notebooks that readers download or open in Colab."""
    return sorted(path for folder in ("chapters", "labs") for path in (root / folder).glob("*.ipynb"))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
