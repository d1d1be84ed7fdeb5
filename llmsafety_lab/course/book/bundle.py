"""One style sheet and two scripts for all pages, without what no page uses, and lighter code and pictures."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmsafety_lab.course.book.lighten import lighten, tones
from llmsafety_lab.course.book.vendor import write

_STYLE = re.compile(r'[ \t]*<link(?=[^>]*rel="stylesheet")[^>]*href="(?!https?:)([^"?]*)[^"]*"[^>]*>\n?')
_SCRIPT = re.compile(r'[ \t]*<script(?![^>]*(?:defer|module))[^>]*src="(?!https?:)([^"?]*)[^"]*"[^>]*>\s*</script>\n?')
_PRELOAD = re.compile(r'[ \t]*<link rel="preload"[^>]*>\n?')
_URL = re.compile(r"url\((?!['\"]?(?:data:|#|https?:))['\"]?([^)'\"]+)['\"]?\)")
_OURS = re.compile(r"(mystnb.*|fonts|palette|icons|formulas|book)\.css")
"""Style sheets that come last."""

_LEFT_OUT = {"design-tabs.js"}
"""Scripts for what the book has none of."""


def bundle(site: Path, pages: dict[Path, str], purge: Callable[[Any], list[str]]) -> dict[Path, str]:
    """Write a site's style sheet and scripts, each as one file, and return the pages that use them.

    Parameters
    ----------
    site
        The folder of the pages.
    pages
        Their texts.
    purge
        Takes style sheets, `theirs` and `ours`, and what uses them, `content`; returns them as one, without the rules
        that nothing uses.
    """
    static = site / "_static"
    styles: list[Path] = []
    head: list[Path] = []
    foot: list[Path] = []
    for page, text in pages.items():
        top, _, bottom = text.partition("</head>")
        for found, into in (
            (_STYLE.findall(top), styles),
            (_SCRIPT.findall(top), head),
            (_SCRIPT.findall(bottom), foot),
        ):
            for name in found:
                path = Path(os.path.normpath(page.parent / name))
                if path not in into and path.name not in _LEFT_OUT and path.exists():
                    into.append(path)
    scripts = {
        kind: "\n;".join(path.read_text(encoding="utf-8") for path in files)
        for kind, files in (("head", head), ("foot", foot))
    }
    pygments = static / "pygments.css"
    marks = tones(pygments.read_text(encoding="utf-8")) if pygments.exists() else {}
    pages = {page: lighten(text, marks) for page, text in pages.items()}
    content = [{"raw": text, "extension": "html"} for text in pages.values()]
    content += [{"raw": text, "extension": "js"} for text in scripts.values()]
    theirs, ours = ([path for path in styles if bool(_OURS.fullmatch(path.name)) is last] for last in (False, True))
    [css] = purge({"theirs": _joined(theirs, static), "ours": _joined(ours, static), "content": content})
    names = {
        kind: _named(static, kind, text, suffix)
        for kind, text, suffix in (
            ("book", css, "css"),
            ("head", scripts["head"], "js"),
            ("foot", scripts["foot"], "js"),
        )
    }
    return {page: _one_each(text, page, static, names) for page, text in pages.items()}


def _named(static: Path, kind: str, text: str, suffix: str) -> str:
    name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.{suffix}"
    write(static / name, text.encode())
    return name


def _joined(styles: list[Path], static: Path) -> str:
    return "\n".join(_style(path, static) for path in styles)


def _style(path: Path, static: Path) -> str:
    """Read a style sheet, with what it imports, its addresses seen from the folder of the bundle."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'@import "([^"]+)";', lambda found: _style(path.parent / found[1], static), text)
    return _URL.sub(lambda found: f"url({os.path.relpath(path.parent / found[1].partition('?')[0], static)})", text)


def _one_each(text: str, page: Path, static: Path, names: dict[str, str]) -> str:
    base = os.path.relpath(static, page.parent)
    top, end, bottom = text.partition("</head>")
    top = _first(_STYLE, f'<link rel="stylesheet" href="{base}/{names["book"]}">\n', top)
    top = _first(_SCRIPT, f'<script src="{base}/{names["head"]}"></script>\n', _PRELOAD.sub("", top))
    return top + end + _first(_SCRIPT, f'<script src="{base}/{names["foot"]}"></script>\n', bottom)


def _first(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """Put the replacement in the place of the first match, and nothing in the places of the others."""
    found = pattern.search(text)
    return text if found is None else text[: found.start()] + replacement + pattern.sub("", text[found.start() :])
