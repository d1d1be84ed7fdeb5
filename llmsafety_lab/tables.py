"""Tables of results: HTML in a notebook and on the page, aligned text in a terminal."""

import html
from collections.abc import Sequence


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
    from IPython.display import display

    bundle = {"text/html": markup(columns, rows, caption), "text/plain": f"{caption}\n{text(columns, rows)}"}
    display(bundle, raw=True)


def _cell(cell: str) -> str:
    large, _, small = cell.partition("\n")
    return html.escape(large) + (f"<br><small>{html.escape(small)}</small>" if small else "")
