"""What a page weighs and nobody sees: marks of code without a colour of their own, and what matplotlib says twice."""

from __future__ import annotations

import re

_RULE = re.compile(r'html\[data-theme="(\w+)"\] \.highlight(?: \.(\w+))? \{ ([^}]*) \}')
_BLOCK = re.compile(r'<div class="highlight"><pre>.*?</pre>', re.S)
_SPAN = re.compile(r'<span class="(\w+)">([^<]*)</span>')
_PLOT = re.compile(r'<svg class="plot".*?</svg>', re.S)
_PATH = re.compile(r'(?<= d=")[^"]*')
_DRAWN = re.compile(r'<svg id="diagram-.*?</svg>', re.S)
_KEYFRAMES = re.compile(r"@keyframes ([\w-]+)\{(?:[^{}]*\{[^{}]*\})*\s*\}")
_PAINT = re.compile(r'(?:<defs>)?<(filter|linearGradient) id="([^"]+)".*?</\1>(?:</defs>)?', re.S)
_STYLED = re.compile(r"([^{}<>]+)\{[^{}<>]*\}")
_MARKERS = re.compile(r'<use [^>]*(style="(?!opacity|[^"]*;opacity)[^"]*")/>(?:<use [^>]*\1/>)+')
_PLAIN = {"n", "p", "w", "o", "err"}
"""Names, punctuation, space and operators: they have the colour of the text."""


def tones(pygments: str) -> dict[str, str]:
    """Return what becomes of each mark of code: the first that looks the same, or nothing where it looks like text.

    Parameters
    ----------
    pygments
        The style sheet of the code, with a rule for each mark by day and by night.
    """
    looks: dict[str, list[str]] = {}
    for theme, mark, style in _RULE.findall(pygments):
        looks.setdefault(mark, []).append(f"{theme} {re.sub('background[^;]*; *', '', style)}")
    plain = looks.pop("", [])
    first: dict[tuple[str, ...], str] = {}
    return {
        mark: "" if mark in _PLAIN or look == plain else first.setdefault(tuple(look), mark)
        for mark, look in looks.items()
    } | dict.fromkeys(_PLAIN, "")


def lighten(page: str, marks: dict[str, str]) -> str:
    """Return a page that looks the same and weighs less.

    Parameters
    ----------
    page
        A finished page.
    marks
        What `tones` returned.
    """
    page = _BLOCK.sub(lambda found: _code(found[0], marks), page)
    page = _DRAWN.sub(lambda found: _diagram(found[0]), page)
    return _PLOT.sub(lambda found: _plot(found[0]), page)


def _code(block: str, marks: dict[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        mark = marks.get(found[1], found[1])
        return f'<span class="{mark}">{found[2]}</span>' if mark and found[2].strip() else found[2]

    block = _SPAN.sub(one, block)
    return re.sub(r'(<span class="(\w+)">[^<]*)(?:</span><span class="\2">[^<]*)+', _joined, block)


def _joined(found: re.Match[str]) -> str:
    """Write marks of one kind that follow each other as one."""
    return found[0].replace(f'</span><span class="{found[2]}">', "")


def _plot(svg: str) -> str:
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r" font-family: var\(--font-sans[^;\"]*\);?", "", svg)  # book.css gives it
    head, end, body = svg.partition(">")
    head = _sized(head, r' width="(\d+)')
    body = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", body)
    body = re.sub(r"(<(?:text|tspan)[^>]*?);? fill: currentColor(?=\")", r"\1", body)
    body = re.sub(r'<g>\s*<path [^>]*style="fill: none"/>\s*</g>', "", body)
    body = _PATH.sub(lambda found: _path(found[0]), body)
    body = re.sub(r'(?<=style=")[^"]*', lambda found: re.sub(r"([:;]) ", r"\1", found[0]), body)
    body = re.sub(r'(?<= [xy]=")-?\d+\.\d+', lambda found: _short(found[0]), body)
    body = re.sub(r"(?<=\d\.\d\d)\d+", "", body)
    body = re.sub(r"(?<=base64,)[^\"]*", lambda found: found[0].replace("\n", ""), body)
    body = re.sub(r">\s+<", "><", body).replace("<g/>", "")
    while body != (body := _unwrapped(body)):
        pass
    return head + end + _MARKERS.sub(_gathered, body).rstrip()


def _unwrapped(body: str) -> str:
    """Take out groups that hold nothing, or one element, and say nothing about it."""
    body = re.sub(r"<g>(<(text|tspan)[^>]*>[^<]*</\2>|<(?:use|path|image)[^>]*/>)</g>", r"\1", body)
    return re.sub(r"<g></g>", "", body)


def _path(data: str) -> str:
    """Round a path to a tenth of a point, and write it without spaces that no reader of it needs."""
    data = re.sub(r"-?\d+\.\d+", lambda found: _short(found[0]), data)
    data = re.sub(r"\s*([A-Za-z])\s*", r"\1", data.strip())
    return re.sub(r"\s+(?=-)", "", re.sub(r"\s+", " ", data))


def _sized(head: str, width: str) -> str:
    """Say how narrow a picture may become, by its own width, before its letters are too small to read on a phone."""
    own = re.search(width, head)
    return head.replace(' style="', f' style="--least: {0.7 * float(own[1]):.0f}px; ', 1) if own else head


def _short(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0")


def _gathered(found: re.Match[str]) -> str:
    """Say once how the markers of a line look."""
    return f"<g {found[1]}>" + found[0].replace(" " + found[1], "") + "</g>"


def _diagram(svg: str) -> str:
    """Take out of a mermaid diagram the styles, shadows and gradients that nothing in it uses."""
    head, opening, rest = svg.partition("<style>")
    head = _sized(head, r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+)')
    style, closing, body = rest.partition("</style>")
    words = set(re.findall(r"[\w-]+", head + body))

    def used(rule: re.Match[str]) -> bool:
        return any(words.issuperset(re.findall(r"\.([\w-]+)", selector)) for selector in rule[1].split(","))

    style = _KEYFRAMES.sub(lambda found: found[0] if found[1] in words else "", style)
    style = _STYLED.sub(lambda found: found[0] if used(found) else "", style)
    painted = set(re.findall(r"url\(#([^)]+)\)", style + body))
    body = _PAINT.sub(lambda found: found[0] if found[2] in painted else "", body)
    return head + opening + style + closing + re.sub(r"(?<=\d\.\d\d)\d+", "", body)
