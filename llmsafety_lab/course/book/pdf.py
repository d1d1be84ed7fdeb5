"""The book as one PDF: the pages of the site, printed by a browser and bound together."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from llmsafety_lab.course.book.build import build, pages, server
from llmsafety_lab.course.book.finish import run_node
from llmsafety_lab.course.book.vendor import BookError, vendor
from llmsafety_lab.course.doctor import browser


def bind(root: Path) -> Path:
    """Print the site and bind its pages, with a bookmark each.

    Parameters
    ----------
    root
        The checkout, its notebooks executed.

    Returns
    -------
    Path
        The file, ``_build/book.pdf``.

    Raises
    ------
    BookError
        If there is no browser to print with, or the site cannot be built.
    """
    from pypdf import PdfReader, PdfWriter

    chromium = browser()
    if chromium is None:
        raise BookError("a PDF needs Chromium to print with: sudo apt-get install chromium, or set CHROMIUM")
    site = build(root)
    names = pages(root)
    target = root / "_build" / "book.pdf"
    with tempfile.TemporaryDirectory() as folder, server(site) as running, PdfWriter() as book:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{running.server_address[1]}/"
        titles = run_node("pdf.mjs", [vendor(root) / "node_modules", chromium, base, folder, *names], None)
        running.shutdown()
        for number, title in enumerate(titles):
            book.append(PdfReader(Path(folder, f"{number}.pdf")), outline_item=title)
        book.write(target)
    return target
