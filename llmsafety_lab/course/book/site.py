"""The Sphinx extension of the book: its directives, the buttons of a lab, and what the theme leaves to be mended.

Directives: ``quiz``, ``folk-recipe``, ``mermaid``, ``picture``. Role: ``source``, a link to a file of the repository.
Everything a reader reads is a node of its own, so that a translation by gettext reaches it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.writers.html5 import HTML5Translator

from llmsafety_lab import __version__

_FOLD = re.compile(
    r'<summary[^>]*>\s*<p class="collapsed [^>]*>(.*?)</p>\s*<p class="expanded [^>]*>.*?</p>\s*</summary>'
)

COLAB = "https://colab.research.google.com/github"


class Details(nodes.General, nodes.Element):
    """A disclosure: its first child is a `Summary`."""


class Summary(nodes.General, nodes.TextElement):
    """What stands on a disclosure while it is folded."""


class FolkRecipe(nodes.Admonition, nodes.Element):
    """A recipe that many repeat and that does not work."""


class Diagram(nodes.General, nodes.Element, addnodes.translatable):  # type: ignore[misc]
    """A mermaid diagram: its source in `code`, what it shows in `alt`."""

    def preserve_original_messages(self) -> None:
        """Keep what gettext extracts."""
        for key in ("code", "alt"):
            self.setdefault(f"original-{key}", self.get(key, ""))

    def extract_original_messages(self) -> list[str]:
        """Return the diagram's source and its alternative text."""
        return [message for key in ("code", "alt") if (message := self.get(f"original-{key}"))]

    def apply_translated_message(self, original_message: str, translated_message: str) -> None:
        """Put a translated message in the place of its original."""
        for key in ("code", "alt"):
            if self.get(f"original-{key}") == original_message:
                self[key] = translated_message


class Quiz(SphinxDirective):
    """A question and a list of options; under each option stands why it is right or wrong.

    The explanation of an option begins with ``Right``, or with ``Wrong`` or ``Not enough``.
    """

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the quiz: one disclosure an option."""
        question = nodes.paragraph(self.arguments[0], "", *_inline(self, self.arguments[0]), classes=["quiz-question"])
        self.set_source_info(question)
        parsed = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, parsed)
        lists = [child for child in parsed if isinstance(child, nodes.bullet_list)]
        if len(parsed) != 1 or not lists:
            raise self.error("A quiz holds one list of options and nothing else.")
        options = [self._option(item) for item in lists[0]]
        if len(options) < 2 or not any("right" in option["classes"] for option in options):
            raise self.error("A quiz needs two options or more, one of them right.")
        return [nodes.container("", question, *options, classes=["quiz"])]

    def _option(self, item: nodes.Node) -> Details:
        first, *why = item.children
        verdict = re.match(r"(Right|Wrong|Not enough)\b", why[0].astext()) if why else None
        if not verdict or not isinstance(first, nodes.paragraph):
            raise self.error(
                f"The explanation of {first.astext()[:60]!r} does not begin with Right, Wrong or Not enough."
            )
        summary = Summary(first.rawsource, "", *first.children)
        summary.source, summary.line = first.source, first.line
        return Details(
            "",
            summary,
            nodes.container("", *why),
            classes=["quiz-option", "right" if verdict[1] == "Right" else "wrong"],
        )


class FolkRecipeDirective(SphinxDirective):
    """A folk recipe: a titled box of one look wherever it stands."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the box."""
        title = nodes.title(self.arguments[0], "", *_inline(self, self.arguments[0]))
        self.set_source_info(title)
        box = FolkRecipe("", title, classes=["admonition", "folk-recipe"])
        self.set_source_info(box)
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


class Mermaid(SphinxDirective):
    """A diagram in mermaid's language, drawn by the page itself in its own colours."""

    has_content = True
    option_spec: ClassVar = {"alt": directives.unchanged, "name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the diagram."""
        self.assert_has_content()
        node = Diagram("", code="\n".join(self.content), alt=self.options.get("alt", ""))
        self.set_source_info(node)
        self.add_name(node)
        return [node]


class Picture(SphinxDirective):
    """An SVG file laid into the page, so that it takes the page's colours."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required, "class": directives.class_option}

    def run(self) -> list[nodes.Node]:
        """Return the picture."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        if not self.options.get("alt"):
            raise self.error("A picture needs an alternative text (:alt:).")
        svg = Path(path).read_text(encoding="utf-8")
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(self.options["alt"])}"', 1)
        return [
            nodes.container("", nodes.raw("", svg, format="html"), classes=["picture", *self.options.get("class", [])])
        ]


class SourceRole(SphinxRole):
    """A file or folder of the repository, linked to where the repository stands."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link."""
        url = repository_file(self.config, self.text)
        return [nodes.reference("", "", nodes.literal("", self.text), refuri=url)], []


def repository_file(config: Any, path: str) -> str:
    """Return the address of a file of the repository on its host."""
    url, branch = _repository(config)
    return f"{url}/blob/{branch}/{path}"


def _repository(config: Any) -> tuple[str, str]:
    options = config.html_theme_options
    return options["repository_url"].rstrip("/"), options.get("repository_branch") or "main"


def _inline(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    parsed, _ = directive.state.inline_text(text, directive.lineno)
    return parsed


def add_lab_bar(app: Sphinx, doctree: nodes.document) -> None:
    """Put Colab, download and GitHub under the title of a lab, and how to run it at home."""
    name = app.env.docname
    section = next(doctree.findall(nodes.section), None)
    if not name.startswith("labs/") or section is None:
        return
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
    for node in bar.findall(nodes.TextElement):
        node.source, node.line = doctree.get("source") or name, 1
    section.insert(1, bar)


def mend_page(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend what the theme and the notebook renderer leave wrong for keyboards and screen readers."""
    body = context.get("body")
    if not isinstance(body, str):
        return
    body = re.sub(r'<details class="admonition hide ([\w-]+)">', r'<details class="hide \1">', body)
    body = _FOLD.sub(r"<summary>\1</summary>", body)
    body = re.sub(r"<th[^>]*>\s*(?:<p>\s*</p>)?\s*</th>", "<td></td>", body)
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def load_diagrams(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load mermaid only where there is a diagram to draw."""
    if doctree is not None and next(doctree.findall(Diagram), None):
        app.add_js_file("vendor/mermaid/mermaid.min.js", priority=400, loading_method="defer")


def _visit_details(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "details"))


def _visit_summary(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "summary", ""))


def _visit_recipe(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "aside"))


def _visit_diagram(self: HTML5Translator, node: nodes.Element) -> None:
    label = escape(node["alt"] or "Diagram; the text describes it", quote=True)
    tag = self.starttag(node, "div", "", CLASS="mermaid", role="img")
    self.body.append(tag[:-1] + f' aria-label="{label}">{escape(node["code"])}</div>\n')
    raise nodes.SkipNode


def _close(tag: str) -> Any:
    def depart(self: HTML5Translator, node: nodes.Element) -> None:
        self.body.append(f"</{tag}>\n")

    return depart


def _keep(self: Any, node: nodes.Element) -> None:
    """Show a node's children alone: what other builders do with ours."""


def _skip(self: Any, node: nodes.Element) -> None:
    raise nodes.SkipNode


def _recipe_title(node: nodes.Node) -> str:
    return node[0].astext()  # type: ignore[index]


def name_recipes(app: Sphinx, config: Any) -> None:
    """Let a reference to a folk recipe by number read as its title's kind."""
    config.numfig_format.setdefault("folk-recipe", "Folk recipe %s")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    plain: Iterable[str] = ("latex", "text", "texinfo", "man")
    others: dict[str, Any] = {builder: (_keep, _keep) for builder in plain}
    app.add_node(Details, html=(_visit_details, _close("details")), **others)
    app.add_node(Summary, html=(_visit_summary, _close("summary")), **others)
    skipped: dict[str, Any] = {builder: (_skip, None) for builder in plain}
    app.add_node(Diagram, html=(_visit_diagram, None), **skipped)
    app.add_enumerable_node(FolkRecipe, "folk-recipe", _recipe_title, html=(_visit_recipe, _close("aside")), **others)
    app.add_directive("quiz", Quiz)
    app.add_directive("folk-recipe", FolkRecipeDirective)
    app.add_directive("mermaid", Mermaid)
    app.add_directive("picture", Picture)
    app.add_role("source", SourceRole())
    app.add_config_value("comments_config", {}, "html")  # Jupyter Book sets it for an extension that is not loaded
    app.connect("config-inited", name_recipes)
    app.connect("doctree-read", add_lab_bar)
    app.connect("html-page-context", mend_page)
    app.connect("html-page-context", load_diagrams)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
