"""Tables of results: what is shown can be read back, cell by cell."""

import io

import pandas as pd
import pytest

from llmsafety_lab import tables

COLUMNS = ["trained by", "clean", "PGD < 3"]
ROWS = [["plain", "80%\n72% to 88%", "52%"], ["<b>PGD</b> & co", "80%", "63%\n54% to 71%"]]


def test_pandas_reads_the_same_table() -> None:
    (frame,) = pd.read_html(io.StringIO(tables.markup(COLUMNS, ROWS, "Reviews that stand.")))
    assert list(frame.columns) == COLUMNS
    assert [[" ".join(str(cell).split()) for cell in row] for row in frame.to_numpy()] == [
        ["plain", "80% 72% to 88%", "52%"],
        ["<b>PGD</b> & co", "80%", "63% 54% to 71%"],
    ]


def test_a_reader_who_cannot_see_it_is_told_what_is_what() -> None:
    markup = tables.markup(COLUMNS, ROWS, "Reviews that stand, in %; small: the interval.")
    assert markup.count('scope="col"') == len(COLUMNS) and markup.count('scope="row"') == len(ROWS)
    assert 'scope="col"></th>' not in tables.markup(["", "clean"], [["plain", "80%"]], "Reviews that stand.")
    assert "<caption>Reviews that stand, in %; small: the interval.</caption>" in markup


def test_text_is_aligned() -> None:
    lines = tables.text(COLUMNS, ROWS).splitlines()
    assert lines[0].index("PGD < 3") + len("PGD < 3") == lines[1].index("52%") + len("52%")
    assert lines[1].index("80%") + len("80% (72% to 88%)") == lines[2].index("80%") + len("80%")


def test_an_estimate_has_its_interval_in_the_small_print() -> None:
    assert tables.estimate(0.5, 0.456, 0.54) == "50%\n46% to 54%"
    assert tables.estimate(3, -1.2, 7, "+.0f") == "+3\n-1 to +7"


FIGURE = tables.Reproduced("brown2020language", "Accuracy on <all> | of it", "70.2%", "69% to 71%", "A smaller model.")


def test_a_reproduced_figure_is_shown_and_kept_for_the_page_that_collects_them(monkeypatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    tables.reproduced([FIGURE], "What was published, on the same data.")
    (output,) = shown
    assert '<th scope="row">Accuracy on &lt;all&gt; | of it</th><td>70.2%</td>' in output["text/html"]
    assert [tables.Reproduced(**row) for row in output[tables.REPRODUCED]] == [FIGURE]


def test_errors() -> None:
    with pytest.raises(ValueError, match="Accuracy lacks: ours, why"):
        tables.Reproduced("brown2020language", "Accuracy", "70%", "", " ")
    with pytest.raises(ValueError, match="caption"):
        tables.markup(COLUMNS, ROWS, " ")
    with pytest.raises(ValueError, match="2 cells for 3 columns"):
        tables.markup(COLUMNS, [["plain", "80%"]], "Reviews that stand.")
