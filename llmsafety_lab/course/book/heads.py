"""What stands under a page's title: its place in the book, how long it takes, what it needs, and its notebook."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from llmsafety_lab import __version__
from llmsafety_lab.checking import exercise

COLAB = "https://colab.research.google.com/github"


class Details(nodes.General, nodes.Element):
    """A disclosure: its first child is a `Summary`."""


class Summary(nodes.General, nodes.TextElement):
    """What stands on a disclosure while it is folded."""


def repository_file(config: Any, path: str) -> str:
    """Return the address of a file of the repository on its host."""
    url, branch = _repository(config)
    return f"{url}/blob/{branch}/{path}"


def _repository(config: Any) -> tuple[str, str]:
    options = config.html_theme_options
    return options["repository_url"].rstrip("/"), options.get("repository_branch") or "main"


def add_head(app: Sphinx, doctree: nodes.document) -> None:
    """Put a line of facts under the title of a chapter or lab, and the buttons that open its notebook."""
    name = app.env.docname
    folder, _, topic = name.partition("/")
    section = next(doctree.findall(nodes.section), None)
    if folder not in ("chapters", "labs") or section is None:
        return
    part = _part(Path(app.srcdir), f"chapters/{topic}")
    added: list[nodes.Element] = [_bar(app, name)] if part or folder == "labs" else []
    if part:
        facts = _chapter(doctree, topic, app) if folder == "chapters" else _lab(doctree, topic)
        added.insert(0, nodes.paragraph("", "", *_joined([[nodes.Text(part)], *facts]), classes=["page-facts"]))
    section.insert(1, added)
    for node in (found for one in added for found in one.findall(nodes.TextElement)):
        node.source, node.line = doctree.get("source") or name, 1


def _part(tree: Path, page: str) -> str | None:
    """Return the caption of the part that a topic's chapter stands in, where it is one of the numbered parts."""
    toc = yaml.safe_load((tree / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc.get("parts", []):
        if page in (entry["file"] for entry in part["chapters"]) and re.match(r"[IVX]+ ", part["caption"]):
            return part["caption"]
    return None


def _chapter(doctree: nodes.document, topic: str, app: Sphinx) -> Iterable[list[nodes.Node]]:
    """Return minutes, chapters that are needed, and the lab, as the paragraph that begins with "You need" says."""
    need = next((one for one in doctree.findall(nodes.paragraph) if one.astext().startswith("You need")), None)
    if need is not None:
        if minutes := re.search(r"about (\d+) minutes", need.astext()):
            yield [nodes.Text(f"{minutes[1]} minutes")]
        chapters = [
            link
            for link in need.findall(addnodes.pending_xref)
            if link["refdomain"] == "std" and link["reftype"] == "doc"
        ]
        needed = [link for link in chapters if not link["reftarget"].endswith(("notation", f"labs/{topic}"))]
        if needed:
            links = [part for link in needed for part in (nodes.Text(", "), _page(Path(link["reftarget"]).name, app))]
            yield [nodes.Text("after "), *links[1:]]
    yield [_page(topic, app, "labs", "the lab")]


def _lab(doctree: nodes.document, topic: str) -> Iterable[list[nodes.Node]]:
    """Return a lab's exercises and points, and its minutes as the paragraph that says "Plan ... minutes" has them."""
    exercises = exercise.exercises(topic)
    yield [nodes.Text(f"{len(exercises)} exercises")]
    yield [nodes.Text(f"{sum(one.points for one in exercises)} points")]
    if minutes := re.search(r"Plan (\d+) minutes", doctree.astext()):
        yield [nodes.Text(f"{minutes[1]} minutes")]


def _page(topic: str, app: Sphinx, folder: str = "chapters", title: str = "") -> nodes.Node:
    target = f"/{folder}/{topic}"
    link = addnodes.pending_xref(
        "",
        refdomain="std",
        reftype="doc",
        reftarget=target,
        refexplicit=bool(title),
        refwarn=True,
        refdoc=app.env.docname,
    )
    link += nodes.inline("", title or target)
    return link


def _joined(facts: Iterable[list[nodes.Node]]) -> list[nodes.Node]:
    """Put a middle dot between facts."""
    joined = [node for fact in facts for node in (nodes.Text(" · "), *fact)]
    return joined[1:]


def _bar(app: Sphinx, name: str) -> nodes.Element:
    """Return Colab, download and GitHub for a page's notebook, and how to run it at home."""
    url, branch = _repository(app.config)
    path = f"{name}.ipynb"
    repo = url.removeprefix("https://github.com/")
    links = [
        ("Open in Colab", f"{COLAB}/{repo}/blob/v{__version__}/{path}", "colab"),
        ("Download", Path(path).name, "download"),
        ("GitHub", f"{url}/blob/{branch}/{path}", "github"),
    ]
    bar = nodes.container(classes=["lab-bar"])
    for text, target, kind in links:
        label = nodes.inline(text, text)
        bar += nodes.paragraph(text, "", nodes.reference("", "", label, refuri=target, classes=["lab-button", kind]))
    commands = f'pip install "llmsafety-lab @ git+{url}@v{__version__}" notebook\njupyter notebook {Path(path).name}'
    hint = "Download the notebook, then install the package and start Jupyter in the same folder:"
    summary = Summary("Run locally", "Run locally")
    shown = nodes.container("", nodes.paragraph(hint, hint), nodes.literal_block(commands, commands, language="bash"))
    bar += Details("", summary, shown, classes=["lab-local"])
    return bar
