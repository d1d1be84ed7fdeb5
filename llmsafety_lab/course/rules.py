"""Which part of the package may import which, for import-linter: the order of the topics is read in `_toc.yml`."""

from __future__ import annotations

from pathlib import Path

import grimp
from importlinter import Contract, ContractCheck, output

from llmsafety_lab.course.book import masters
from llmsafety_lab.course.book.build import pages

NAME = "llmsafety_lab"


def topics(root: Path) -> list[str]:
    """Return the topics in the order of the book: the chapters that have a part of the package."""
    chapters = [page.removeprefix("chapters/") for page in pages(root) if page.startswith("chapters/")]
    package = Path(__file__).parents[1]
    return [one for one in chapters if (package / one).is_dir() or (package / f"{one}.py").is_file()]


def allowed(importer: str, imported: str, order: list[str]) -> bool:
    """Say whether one part of the package may import another.

    Parameters
    ----------
    importer, imported
        Modules, such as ``llmsafety_lab.models.entry``. Inside a part all is allowed.
    order
        The topics; one knows those before it.
    """
    if NAME in (importer, imported):
        return True
    ours, theirs = importer.split(".")[1], imported.split(".")[1]
    if ours == theirs or ours == "course":
        return True
    if theirs == "course":
        return False
    if ours == "checks":
        return True
    if theirs in ("checks", "checking"):
        return False
    if ours in order:
        return theirs not in order or order.index(theirs) < order.index(ours)
    return theirs not in order or (ours == "models" and importer != f"{NAME}.models")


class Rooms(Contract):
    """Arrows between the parts run one way."""

    type_name = "rooms"

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Find the imports that are not allowed."""
        order = topics(masters.root())
        wrong = sorted(
            (importer, imported)
            for importer in graph.modules
            for imported in graph.find_modules_directly_imported_by(importer)
            if not allowed(importer, imported, order)
        )
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print them."""
        for importer, imported in check.metadata["wrong"]:
            output.print_error(f"{importer} must not import {imported}", bold=False)
