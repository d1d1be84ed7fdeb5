"""A chapter as a notebook that reads well where there is no MyST: what Colab opens.

Directives and roles become plain Markdown with links to the site. A glued number becomes its name, which the cell that
computes it prints.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from llmsafety_lab.course.book import extras, masters

_ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
_DIRECTIVE = re.compile(r"^(`{3}|:{3})\{([\w-]+)\}[ \t]*(.*?)\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_LEFT = re.compile(r"\{[\w:]+\}`|^(?:`{3,}|:{3,})\{|^\([\w-]+\)=", re.MULTILINE)


def notebook(path: Path) -> Any:
    """Return a chapter's notebook: plain Markdown, a link to its page, the package's installation put in.

    Parameters
    ----------
    path
        The chapter's master, in its checkout.

    Raises
    ------
    MasterError
        If there is a role or a directive that plain Markdown has no form for.
    """
    made = masters.read(path)
    glued = None
    for cell in made.cells:
        if cell.cell_type == "markdown":
            glued = glued or re.search(r"\{glue:text\}`(\w+)", cell.source)
            cell.source = markdown(cell.source, path)
        else:
            cell.source = re.sub(r"(runtime import )glue$", r"\1print_glued as glue", cell.source, flags=re.MULTILINE)
    title, _, rest = made.cells[0].source.partition("\n")
    note = f"*This is {_link(path, path.stem)} as a notebook: run its cells and change them."
    if glued:
        note += f" A name in the text such as `{glued[1]}` is a number that one of the cells prints."
    made.cells[0].source = f"{title}\n\n{note}*\n{rest}"
    besides = extras.needed(path.parents[1], [cell.source for cell in made.cells if cell.cell_type == "code"])
    return masters.for_colab(made, path.parents[1], besides)


def markdown(text: str, path: Path) -> str:
    """Return a chapter's text with its roles and directives in plain Markdown.

    Parameters
    ----------
    text
        MyST.
    path
        The chapter's master, from which links and included files are found.

    Raises
    ------
    MasterError
        If there is a role or a directive that plain Markdown has no form for.
    """
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    text = _ROLE.sub(lambda found: _role(found[1], " ".join(found[2].split()), path) or found[0], text)
    text = _DIRECTIVE.sub(lambda found: _directive(found[2], found[3], found[4], path) or found[0], text)
    if left := _LEFT.search(text):
        raise masters.MasterError(f"{path}: {left[0]!r} has no form in plain Markdown; give it one in {__name__}")
    return text


def _role(name: str, content: str, path: Path) -> str | None:
    title, _, target = re.sub(r"^(.*) <(.*)>$", "\\1\0\\2", content).partition("\0")
    if name == "glue:text":
        return f"`{content.partition(':')[0]}`"
    if name == "term":
        word = target or title
        return f"[{title}]({_site(path)}/chapters/glossary.html#term-{_anchors(path).get(word.lower(), word)})"
    if name == "doc":
        return _link(path, target or title, title if target else "")
    if name in ("cite", "cite:t"):
        works = [_work(path, key.strip()) for key in content.split(",")]
        if name == "cite":
            return f"({'; '.join(f'[{names}, {year}]({url})' for names, year, url in works)})"
        return ", ".join(f"[{names} ({year})]({url})" for names, year, url in works)
    return None


def _directive(name: str, title: str, body: str, path: Path) -> str | None:
    page = f"{_site(path)}/chapters/{path.stem}.html"
    if name == "mermaid":
        return f"[The diagram is on the page.]({page})"
    if name == "live":
        return f"{_without_options(body)}\n[Try it on the page.]({page})"
    if name == "literalinclude":
        module = title.removeprefix("../").removesuffix(".py").replace("/", ".")
        [wanted] = re.findall(r"^:pyobject: (\S+)$", body, re.MULTILINE)
        return f"```python\n{masters.source_of(module, wanted)}\n```"
    if name == "folk-recipe":
        lines = [f"**Folk recipe. {title}**", "", *body.strip().splitlines()]
        return "\n".join(f"> {line}".rstrip() for line in lines)
    if name == "quiz":
        return _quiz(title, body)
    return None


def _quiz(question: str, body: str) -> str:
    """Return a quiz as a list of options, and one of their explanations folded below it."""
    options, answers = [], []
    for number, item in enumerate(re.split(r"^- ", body, flags=re.MULTILINE)[1:], 1):
        option, _, why = item.partition("\n\n")
        options.append(f"{number}. {' '.join(option.split())}")
        answers.append(f"{number}. {indent(dedent(why).strip(), '   ').strip()}")
    folded = ["<details><summary>Answers</summary>", "", *answers, "", "</details>"]
    return "\n".join([f"**Quiz.** {question}", "", *options, "", *folded])


def _without_options(body: str) -> str:
    return re.sub(r"\A(?::\w+:.*\n)*\n?", "", body)


def _site(path: Path) -> str:
    return masters.site(path.parents[1])


def _link(path: Path, name: str, title: str = "") -> str:
    """Return a link to a page, named as MyST names it from a chapter; without a title, the page's own."""
    page = name.removeprefix("/") if name.startswith("/") else f"chapters/{name}"
    source = path.parents[1] / f"{page}.md"
    if not source.exists():
        raise masters.MasterError(f"{path}: there is no page {page}")
    if not title and (heading := re.search(r"^# (.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)):
        title = heading[1]
    return f"[{title}]({_site(path)}/{page}.html)"


def _anchors(path: Path) -> dict[str, str]:
    """Return the end of the address of each of the glossary's words."""
    text = path.with_name("glossary.md").read_text(encoding="utf-8").partition("```{glossary}")[2]
    words = re.findall(r"^\w.*$", text, re.MULTILINE)
    return {word.lower(): re.sub(r"[^\w.]+", "-", word) for word in words}


def _work(path: Path, key: str) -> tuple[str, str, str]:
    """Return a cited work's authors, year and address."""
    works = _works(path.with_name("references.bib"))
    if key not in works:
        raise masters.MasterError(f"{path}: references.bib has no work {key}")
    return works[key]


@functools.cache
def _works(bibliography: Path) -> dict[str, tuple[str, str, str]]:
    from pybtex.database import parse_file
    from pybtex.richtext import Text

    works = {}
    for key, entry in parse_file(str(bibliography), bib_format="bibtex").entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [str(Text.from_latex(" ".join(one.prelast_names + one.last_names))) for one in people]
        fields = entry.fields
        short = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        url = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")
        works[key] = (
            short or str(Text.from_latex(fields["title"])),
            fields.get("year", "no year"),
            url or f"{masters.site(bibliography.parents[1])}/chapters/bibliography.html",
        )
    return works
