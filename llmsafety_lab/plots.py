"""The house style of figures: one palette, ink that follows the page, a text for those who cannot see them."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

PALETTE: dict[str, str] = {
    "blue": "#1274b8",
    "orange": "#cf7a00",
    "green": "#1f9e7a",
    "purple": "#b45a9c",
    "vermillion": "#c74a22",
    "grey": "#8a9098",
}
"""Colours after Okabe and Ito (2008), at a middle lightness: each stands 3:1 from white and from the dark page."""

INK = "#0b0c0d"
"""Stand-in for the page's own text colour: it becomes `currentColor` in the SVG and stays near black in the PNG."""

_FONTS = ["DejaVu Sans"]
_FONT_STACK = "var(--font-sans, 'Source Sans 3 Variable', 'DejaVu Sans', Arial, sans-serif)"


def use_style() -> None:
    """Set matplotlib's defaults to the house style.

    Nothing is filled behind a figure, and axes and text are drawn in `INK`: `show` turns that into the text colour of
    the page the figure stands on, light or dark.
    """
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 96,
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "none",
            "savefig.dpi": 144,
            "svg.fonttype": "none",
            "font.family": _FONTS,
            "font.size": 10,
            "text.color": INK,
            "axes.facecolor": "none",
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=[PALETTE[name] for name in PALETTE if name != "grey"]),
            "grid.color": INK,
            "grid.alpha": 0.14,
            "grid.linewidth": 0.6,
            "hatch.color": INK,
            "image.interpolation": "none",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "patch.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "boxplot.boxprops.color": INK,
            "boxplot.capprops.color": INK,
            "boxplot.flierprops.markeredgecolor": INK,
            "boxplot.whiskerprops.color": INK,
        }
    )


def weight_map(color: str = PALETTE["blue"]) -> LinearSegmentedColormap:
    """Return a colour map from transparent (0) to `color` (1): zero is whatever the page's background is."""
    red, green, blue = to_rgb(color)
    return LinearSegmentedColormap.from_list("weight", [(red, green, blue, 0.0), (red, green, blue, 1.0)])


def svg(fig: Figure, alt: str) -> str:
    """Return `fig` as one inline `<svg>` element that takes its ink from the page.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure. It is left open.
    alt : str
        What the figure shows, in a sentence or two, for a reader who cannot see it.

    Returns
    -------
    str
        HTML without identifiers that another figure on the same page could share.

    Raises
    ------
    ValueError
        If `alt` is empty.
    """
    if not alt.strip():
        raise ValueError("A figure needs an alternative text: say in a sentence what it shows.")
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": alt, "svg.fonttype": "none"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None})
    source = buffer.getvalue()
    view = re.search(r'viewBox="[^"]*"', source)
    assert view is not None
    body = source[source.index("</defs>", source.index("<style")) + len("</defs>") : source.rindex("</svg>")]
    body = re.sub(rf"{INK}|#000000", "currentColor", _own_ids(body))
    body = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT_STACK}", body)
    body = re.sub(r"(font: [^;\"]*?px )[^;\"]*", lambda found: found[1] + _FONT_STACK, body)
    width, height = (round(inches * 96) for inches in fig.get_size_inches())
    return (
        f'<svg class="plot" role="img" aria-label="{html.escape(alt, quote=True)}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" {view[0]} '
        'style="max-width: 100%; height: auto; fill: currentColor; stroke-linejoin: round; stroke-linecap: butt">'
        + "\n".join(line.strip() for line in body.strip().splitlines())
        + "</svg>"
    )


def show(fig: Figure, alt: str) -> None:
    """Display `fig` in a notebook, in ink that suits a light and a dark page alike, and close it.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure.
    alt : str
        What the figure shows, in a sentence or two, for a reader who cannot see it.

    Raises
    ------
    ValueError
        If `alt` is empty.
    """
    from IPython.display import display

    picture = io.BytesIO()
    bundle: dict[str, Any] = {"text/html": svg(fig, alt), "text/plain": alt}
    fig.savefig(picture, format="png", facecolor="white")
    bundle["image/png"] = picture.getvalue()
    plt.close(fig)
    display(bundle, raw=True)


def attention_map(
    weights: Float[np.ndarray, "rows columns"],
    row_tokens: Sequence[str],
    column_tokens: Sequence[str],
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw one head's attention as a heat map: a row for each token that looks, a column for each it looks at.

    Parameters
    ----------
    weights : Float[np.ndarray, "rows columns"]
        Attention weights, each from 0 to 1. A tensor on the CPU will do.
    row_tokens, column_tokens : sequence of str
        The tokens along the rows and the columns.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default a new figure sized to the number of tokens.
    title : str, optional
        The title above the map.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; its `figure` goes to `show`.

    Raises
    ------
    ValueError
        If the tokens do not fit the weights' shape.
    """
    grid = np.asarray(weights, dtype=float)
    if grid.shape != (len(row_tokens), len(column_tokens)):
        raise ValueError(
            f"weights have shape {grid.shape}, but there are {len(row_tokens)} row tokens "
            f"and {len(column_tokens)} column tokens."
        )
    if ax is None:
        rows, columns = grid.shape
        _, ax = plt.subplots(figsize=(1.6 + 0.34 * columns, 1.5 + 0.28 * rows))
    top = float(grid.max()) if grid.size and grid.max() > 0 else 1.0
    ax.imshow(grid, cmap=weight_map(), vmin=0.0, vmax=top, aspect="auto", interpolation="none")
    ax.set_xticks(range(len(column_tokens)), labels=[_printable(token) for token in column_tokens], rotation=90)
    ax.set_yticks(range(len(row_tokens)), labels=[_printable(token) for token in row_tokens])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_alpha(0.3)
    ax.set_xlabel(f"looked at (full colour: {top:.2f})")
    ax.set_ylabel("looks")
    if title:
        ax.set_title(title)
    return ax


def _printable(token: str) -> str:
    """Show the marks tokenizers use for a blank and a line break as characters that fonts have."""
    return token.replace("Ġ", "·").replace("▁", "·").replace("Ċ", "↵").replace("\n", "↵").replace("$", r"\$")


def _own_ids(body: str) -> str:
    """Drop the ids nothing points to, and make the others this figure's own."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    prefix = "p" + hashlib.sha256(body.encode()).hexdigest()[:8] + "-"
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", body)
    return re.sub(r'(url\(#|href="#)', lambda found: found[1] + prefix, body)
