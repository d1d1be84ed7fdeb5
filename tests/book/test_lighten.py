"""Pages weigh less and look the same."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup

from llmsafety_lab import plots
from llmsafety_lab.course.book.lighten import lighten, tones

SHEET = "\n".join(
    f'html[data-theme="{theme}"] .highlight{mark} {{ {look} }} /* a comment */'
    for theme in ("light", "dark")
    for mark, look in {
        "": f"background: #fefefe; color: #{theme[0]}0",
        " .n": f"color: #{theme[0]}0",
        " .nn": f"color: #{theme[0]}0",
        " .o": f"color: #{theme[0]}1",
        " .k": f"color: #{theme[0]}2",
        " .kn": f"color: #{theme[0]}2",
        " .s1": f"color: #{theme[0]}1",
        " .c1": "font-style: italic",
    }.items()
)


def test_marks_that_look_the_same_become_one_and_those_without_a_look_vanish() -> None:
    assert tones(SHEET) == {
        "n": "", "nn": "", "o": "", "p": "", "w": "", "err": "", "k": "k", "kn": "k", "s1": "s1", "c1": "c1",
    }  # fmt: skip


def test_code_keeps_its_text_and_marks_that_follow_each_other_are_one() -> None:
    code = (
        '<div class="highlight"><pre><span></span><span class="kn">import</span><span class="w"> </span>'
        '<span class="nn">os</span><span class="o">.</span><span class="n">path</span>\n'
        '<span class="k">if</span><span class="kn">not</span> <span class="s1">&lt;a&gt;</span></pre></div>'
    )
    light = lighten(code, tones(SHEET))
    assert BeautifulSoup(light, "html.parser").get_text() == BeautifulSoup(code, "html.parser").get_text()
    assert light.count("<span") == 4
    assert '<span class="k">ifnot</span>' in light


def test_a_span_outside_of_code_is_left_alone() -> None:
    assert lighten('<p><span class="n">x</span></p>', tones(SHEET)) == '<p><span class="n">x</span></p>'


@pytest.fixture(scope="module")
def plot() -> str:
    fig, (left, right) = plt.subplots(1, 2)
    left.plot([0, 1, 2], [3.14159, 2.71828, 1.41421], "o-", label="a line")
    left.scatter([0.5, 1.5, 1.7], [2, 3, 2.5], alpha=0.5)
    left.legend()
    right.imshow([[0, 1], [1, 0]])
    right.set_title("A map")
    svg = plots.svg(fig, "A line and a map.")
    plt.close(fig)
    return svg


def test_a_plot_keeps_its_words_its_shapes_and_its_places_and_weighs_less(plot: str) -> None:
    light = lighten(f"<div>{plot}</div>", {})
    assert len(light) < 0.7 * len(plot)
    old, new = (BeautifulSoup(text, "html.parser") for text in (plot, light))
    assert old.get_text(" ").split() == new.get_text(" ").split()
    for kind in ("use", "image", "clippath", "text"):
        assert len(old.find_all(kind)) == len(new.find_all(kind)) > 0
    places = [[(float(one["x"]), float(one["y"])) for one in tree.find_all("use")] for tree in (old, new)]
    assert all(abs(a - b) <= 0.0501 for one, two in zip(*places, strict=True) for a, b in zip(one, two, strict=True))
    numbers = [
        [float(number) for path in tree.find_all("path", attrs={"clip-path": True}) for number in _numbers(path["d"])]
        for tree in (old, new)
    ]
    assert len(numbers[0]) == len(numbers[1]) > 4
    assert all(abs(a - b) <= 0.0501 for a, b in zip(*numbers, strict=True))


def test_what_the_markers_of_a_plot_point_to_is_there(plot: str) -> None:
    light = lighten(plot, {})
    assert set(re.findall(r'href="#([^"]+)"', light)) | set(re.findall(r"url\(#([^)]+)\)", light)) <= set(
        re.findall(r'id="([^"]+)"', light)
    )


def test_of_a_diagrams_styles_those_are_kept_that_it_uses() -> None:
    diagram = (
        '<svg id="diagram-1"><style>#diagram-1{fill:red;}@keyframes dash{to{stroke-dashoffset:0;}}'
        "#diagram-1 .gone,#diagram-1 .node rect{fill:blue;}#diagram-1 .gone{fill:green;}</style>"
        '<rect class="node" x="1.23456"/><defs><filter id="diagram-1-shadow"><b></b></filter></defs></svg>'
    )
    assert lighten(diagram, {}) == (
        '<svg id="diagram-1"><style>#diagram-1{fill:red;}#diagram-1 .gone,#diagram-1 .node rect{fill:blue;}</style>'
        '<rect class="node" x="1.23"/></svg>'
    )


def _numbers(path: str) -> list[str]:
    return re.findall(r"-?\d+(?:\.\d+)?", path)
