"""Tables of results: HTML in a notebook and on the page, aligned text in a terminal."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass

REPRODUCED = "application/vnd.llmsafety-lab.reproduced+json"
"""The type of output from which the page of reproduced results is made."""


@dataclass(frozen=True)
class Reproduced:
    """A published figure beside the one that a chapter's run gave.

    Parameters
    ----------
    paper
        The work's key in `chapters/references.bib`.
    figure
        What was measured, in words.
    published, ours
        The two figures, with their units and, where there is one, their interval.
    why
        Why they differ; where they do not, what makes them the same.
    """

    paper: str
    figure: str
    published: str
    ours: str
    why: str

    def __post_init__(self) -> None:
        empty = [name for name, value in asdict(self).items() if not value.strip()]
        if empty:
            raise ValueError(f"{self.figure or 'A reproduced figure'} lacks: {', '.join(empty)}.")


def markup(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a table as HTML; the first cell of a row is its heading.

    Parameters
    ----------
    columns : sequence of str
        The headings, the first of them that of the rows' headings; it may be empty.
    rows : sequence of sequence of str
        The cells. What follows a line break in one, such as an interval, is set small below.
    caption : str
        What is measured, in which unit, and what the small print is.

    Raises
    ------
    ValueError
        If there is no caption, or a row has more cells or fewer than there are columns.
    """
    if not caption.strip():
        raise ValueError("A table needs a caption: say in a sentence what it shows.")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"The row {list(row)} has {len(row)} cells for {len(columns)} columns.")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' if name else "<td></td>" for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    caption = f"<caption>{html.escape(caption)}</caption>"
    return f'<table class="results">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as lines of text with aligned columns."""
    flat = [[cell.replace("\n", " (") + ")" * ("\n" in cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(pairs)).rstrip()
        for pairs in (list(zip(row, widths, strict=True)) for row in flat)
    )


def estimate(value: float, low: float, high: float, form: str = ".0%") -> str:
    """Return a cell with a number and, in the small print, its interval; ``form`` is as in an f-string."""
    return f"{value:{form}}\n{low:{form}} to {high:{form}}"


def show(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
    """Display a table, with the parameters of `markup`."""
    _display(columns, rows, caption, {})


def reproduced(rows: Sequence[Reproduced], caption: str) -> None:
    """Display published figures beside ours, and keep them for the page that collects them from all chapters.

    Parameters
    ----------
    rows : sequence of Reproduced
        The figures. Those that came out otherwise than published belong here as well.
    caption : str
        Which work's figures these are, and on which data.
    """
    cells = [[row.figure, row.published, row.ours, row.why] for row in rows]
    columns = ["Figure", "Published", "Here", "Why they differ, or agree"]
    _display(columns, cells, caption, {REPRODUCED: [asdict(row) for row in rows]})


def _display(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, more: dict[str, object]) -> None:
    from IPython.display import display

    bundle = {"text/html": markup(columns, rows, caption), "text/plain": f"{caption}\n{text(columns, rows)}"}
    display(bundle | more, raw=True)


def _cell(cell: str) -> str:
    large, _, small = cell.partition("\n")
    return html.escape(large) + (f"<br><small>{html.escape(small)}</small>" if small else "")
