"""What the search page searches: the sections of the finished pages, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag

_LEFT_OUT = (
    "math, svg, script, style, .headerlink, .set-up, .lab-bar, .page-facts, .copybtn, .mermaid, details.solution"
)
_WEIGHTS = {
    "chapters/glossary": 0.5,
    "chapters/bibliography": 0.2,
    "chapters/references": 0.2,
    "chapters/execution_times": 0.1,
}


def index(site: Path) -> str:
    """Return the sections of a site's pages as JSON: address, title, page, text, and how much each counts."""
    pages = [path for path in sorted(site.rglob("*.html")) if path.name not in ("search.html", "genindex.html")]
    return json.dumps([section for path in pages for section in _sections(path, site)], ensure_ascii=False)


def _sections(path: Path, site: Path) -> Iterator[dict[str, Any]]:
    name = path.relative_to(site).with_suffix("").as_posix()
    article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")
    if article is None:
        return
    for left_out in article.select(_LEFT_OUT):
        left_out.replace_with(" ")
    heading = article.find("h1")
    page = _text(heading) if heading else name
    weight = _WEIGHTS.get(name, 1.0)
    for term in article.select("dl.glossary > dt"):
        described = term.find_next_sibling("dd")
        yield {
            "url": f"{name}.html#{term.get('id', '')}",
            "title": _text(term),
            "page": page,
            "text": _text(described) if described else "",
            "weight": weight,
        }
        term.replace_with(" ")
        if described:
            described.replace_with(" ")
    for section in reversed(article.select("section[id]")):
        title = section.find(["h1", "h2", "h3", "h4", "h5"])
        words = _text(section, without=title)
        if title and words:
            yield {
                "url": f"{name}.html#{section['id']}",
                "title": _text(title),
                "page": page,
                "text": words,
                "weight": weight,
            }
        section.replace_with(" ")


def _text(tag: Tag, without: Tag | None = None) -> str:
    if without is not None:
        without = without.extract()
    words = " ".join(tag.get_text(" ").split())
    if without is not None:
        tag.insert(0, without)
    return words
