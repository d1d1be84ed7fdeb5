import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest

from llmsafety_lab import plots


@pytest.fixture
def figure():
    plots.use_style()
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], label="a line")
    ax.bar([0], [1], color="black")
    ax.set_title("A title")
    ax.legend()
    yield fig
    plt.close(fig)


def _luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: str, other: str) -> float:
    dark, light = sorted([_luminance(one), _luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#fdfdfb", "#14181c"])
@pytest.mark.parametrize("color", plots.PALETTE.values(), ids=plots.PALETTE)
def test_every_colour_stands_out_on_a_light_and_on_a_dark_page(color: str, page: str) -> None:
    assert _contrast(color, page) >= 3


def test_a_figure_takes_its_ink_from_the_page(figure) -> None:
    svg = plots.svg(figure, "A line and a bar.")
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "A line and a bar."
    assert "currentColor" in svg
    assert not re.search(r"#0b0c0d|#000000|\bblack\b", svg)
    assert not re.search(r"fill: (white|#ffffff)", svg)
    assert ">A title</text>" in svg
    assert "<style" not in svg


def test_two_figures_on_a_page_share_no_identifier(figure) -> None:
    other, ax = plt.subplots()
    ax.plot([1, 0], [0, 1])
    found = [set(re.findall(r'\bid="([^"]*)"', plots.svg(fig, "A line."))) for fig in (figure, other)]
    plt.close(other)
    assert found[0] and found[1] and not found[0] & found[1]


def test_the_same_figure_gives_the_same_text(figure) -> None:
    assert plots.svg(figure, "A line.") == plots.svg(figure, "A line.")


def test_an_alternative_text_is_asked_for_and_escaped(figure) -> None:
    with pytest.raises(ValueError, match="alternative text"):
        plots.svg(figure, "  ")
    assert ElementTree.fromstring(plots.svg(figure, 'a < b & "c"')).attrib["aria-label"] == 'a < b & "c"'


def test_show_hands_the_notebook_a_page_a_picture_and_a_text(figure, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    plots.show(figure, "A line.")
    assert shown[0]["text/html"].startswith("<svg")
    assert shown[0]["image/png"].startswith(b"\x89PNG")
    assert shown[0]["text/plain"] == "A line."
    assert not plt.fignum_exists(figure.number)


def test_an_attention_map_names_its_tokens_and_its_scale() -> None:
    ax = plots.attention_map(np.array([[0.25, 0.75], [0.5, 0.5]]), ["Ġit", "is"], ["a", "$b$"], title="Head 1")
    svg = plots.svg(ax.figure, "A map.")
    plt.close(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["·it", "is"]
    assert all(text in svg for text in (">$b$<", "0.75", "Head 1"))
    with pytest.raises(ValueError, match="2 column tokens"):
        plots.attention_map(np.ones((1, 3)), ["a"], ["b", "c"])
