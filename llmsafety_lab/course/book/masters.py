"""From a lab's master to the student's notebook, and to the solved one that is executed for the page.

A master is a MyST notebook with three markers:

- the heading ``### {exercise}`attention.mask` ``, which becomes the exercise's number, title and facts;
- a code cell tagged ``stub``: what the student finds and edits;
- a code cell tagged ``solution``: cut from the student's notebook. Where it only imports names from the package
  (``from llmsafety_lab.attention import rotary``), their source is laid in, so there is no second version.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from llmsafety_lab import __version__
from llmsafety_lab.checking import exercise
from llmsafety_lab.errors import CourseError, NotFoundError

_HEADING = re.compile(r"^### \{exercise\}`([\w.]+)`[ \t]*$", re.MULTILINE)
_CHAPTER = re.compile(r"\]\(\.\./chapters/(\w+)\.md(#[\w-]+)?\)")
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class MasterError(CourseError, ValueError):
    """A master is not as the build needs it."""


def root() -> Path:
    """Return the course's checkout: this folder or the nearest above it that holds ``_toc.yml``.

    Raises
    ------
    LookupError
        If there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").exists() and (folder / "labs").is_dir():
            return folder
    raise NotFoundError(
        f"{here} is not inside a checkout of the course (no folder here or above holds _toc.yml and labs)"
    )


def notebooks(root: Path) -> Iterator[Path]:
    """Yield the masters of all notebooks: the chapters and labs whose front matter names a kernel."""
    for folder in ("chapters", "labs"):
        for path in sorted((root / folder).glob("*.md")):
            head = path.read_text(encoding="utf-8").partition("\n---\n")[0]
            if head.startswith("---\n") and re.search(r"^kernelspec:", head, re.MULTILINE):
                yield path


def read(path: Path) -> Any:
    """Return a master as a notebook, its exercises' headings filled in.

    Raises
    ------
    MasterError
        If an exercise is unknown, or lacks its stub, its solution or its check.
    """
    import jupytext

    notebook = jupytext.read(path)
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for match in _HEADING.finditer(cell.source):
            number += 1
            try:
                one = exercise.find(match[1])
            except LookupError as error:
                raise MasterError(f"{path}: {error}") from None
            cell.source = cell.source.replace(match[0], f"### Exercise {number}. {one.title}\n\n{one.facts}")
            _complete(path, notebook, one)
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem.replace('_', '-')}-{index:03d}"
    return notebook


def _complete(path: Path, notebook: Any, one: exercise.Exercise) -> None:
    defined = re.compile(
        rf"^(?:def|class) {one.answer}\b|^from llmsafety_lab\S* import .*\b{one.answer}\b", re.MULTILINE
    )
    for tag in ("stub", "solution"):
        if not any(tag in tags(cell) and defined.search(cell.source) for cell in notebook.cells):
            raise MasterError(f"{path}: {one.id} has no cell tagged {tag!r} that defines {one.answer}")
    if not any(f'check("{one.id}")' in cell.source for cell in notebook.cells if cell.cell_type == "code"):
        raise MasterError(f'{path}: no cell calls check("{one.id}")')


def tags(cell: Any) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def solved(path: Path) -> Any:
    """Return a master as the notebook that is executed: with the solutions, the package's own source laid in."""
    notebook = read(path)
    for cell in notebook.cells:
        if "solution" in tags(cell):
            cell.source = lay_in(cell.source)
    return notebook


def lay_in(source: str) -> str:
    """Replace a solution that only imports names from the package by their source."""
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    if len(imports) != len(tree.body) or not all((node.module or "").startswith("llmsafety_lab.") for node in imports):
        return source
    parts = [source_of(str(node.module), alias.name) for node in imports for alias in node.names]
    return "\n\n\n".join(parts)


def source_of(module: str, name: str) -> str:
    """Return the source of a function, a class or a method (``Class.method``), through modules that only import it.

    Raises
    ------
    MasterError
        If the module defines none of that name.
    """
    spec = importlib.util.find_spec(module)
    text = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
    outer, _, inner = name.rpartition(".")
    nodes = ast.parse(text).body
    if outer:
        nodes = [
            node for parent in nodes if getattr(parent, "name", "") == outer for node in getattr(parent, "body", [])
        ]
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == inner:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno]))
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return source_of(str(node.module), name)
    raise MasterError(f"{module} defines no function, class or method {name}")


def solutions(path: Path) -> dict[str, str]:
    """Return the source of every solution of a lab, by the exercise's id."""
    cells = [cell.source for cell in solved(path).cells if "solution" in tags(cell)]
    found = {}
    for one in exercise.exercises(path.stem):
        defined = re.compile(rf"^(?:def|class) {one.answer}\b", re.MULTILINE)
        found[one.id] = next(source for source in cells if defined.search(source))
    return found


def fill_in(student: Any, path: Path, only: Collection[str] | None = None) -> Any:
    """Put solutions in the place of a student notebook's stubs, and return it.

    Parameters
    ----------
    path
        The lab's master.
    only
        The ids of the exercises to solve; all where None.
    """
    found = solutions(path)
    for cell in student.cells:
        for one in exercise.exercises(path.stem):
            defines = re.search(rf"^(?:def|class) {one.answer}\b", cell.source, re.MULTILINE)
            if "stub" in tags(cell) and defines and (only is None or one.id in only):
                cell.source = found[one.id]
    return student


def handed_out(path: Path) -> Any:
    """Return a lab's student notebook as it lies beside its master, which is what Colab opens.

    Raises
    ------
    MasterError
        If it is not there.
    """
    import nbformat

    if not path.with_suffix(".ipynb").exists():
        raise MasterError(f"{path} has no student notebook: run llmsafety-lab build")
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def page(path: Path, executed: Any) -> Any:
    """Return a master with the outputs of its executed copy.

    The text is the master's as it is now. A lab is executed as a student's notebook, the solutions in the place of the
    stubs; on the page the stub stands as it was handed out, and the solution below it.
    """
    notebook = solved(path)
    ran = iter(
        cell
        for cell in executed.cells
        if cell.cell_type == "code" and not {"injected-parameters", "bootstrap"} & set(tags(cell))
    )
    for cell in notebook.cells:
        if cell.cell_type == "code" and "stub" not in tags(cell):
            done = next(ran)
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
    notebook.metadata = executed.metadata | {"kernelspec": dict(_KERNEL)}
    return notebook


def repository(root: Path) -> str:
    """Return the one repository setting, from ``_config.yml``."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/")


def site(root: Path) -> str:
    """Return the address of the book's site, which follows from the repository's."""
    owner, name = repository(root).split("/")[-2:]
    return f"https://{owner}.github.io/{name}"


def student(path: Path) -> Any:
    """Return the student's notebook: solutions cut, the package's installation put in, links made absolute."""
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _CHAPTER.sub(rf"]({site(path.parents[1])}/chapters/\1.html\2)", cell.source)
    return for_colab(notebook, path.parents[1])


def for_colab(notebook: Any, root: Path, besides: Sequence[str] = ()) -> Any:
    """Put the package's installation, and what is needed besides, behind a notebook's first cell, and return it."""
    notebook.cells.insert(1, _bootstrap(notebook.cells[0], repository(root), besides))
    notebook.metadata["colab"] = {"provenance": [], "toc_visible": True}
    return notebook


def _bootstrap(like: Any, repo: str, besides: Sequence[str]) -> Any:
    import nbformat

    wanted = " ".join(f'"{one}"' for one in (f"llmsafety-lab @ git+{repo}@v{__version__}", *besides))
    lines = (
        "# Installs the course's package where it is missing, as in a fresh Colab.",
        "import importlib.util",
        'if importlib.util.find_spec("llmsafety_lab") is None:',
        f"    %pip install -q {wanted}",
    )
    cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["bootstrap"]})
    cell.id = f"{like.id.rpartition('-')[0]}-bootstrap"
    return cell


def build(root: Path, *, check: bool = False) -> list[Path]:
    """Write the notebooks that Colab opens, of every lab and every chapter; return those that were stale.

    Parameters
    ----------
    check
        Write nothing, only return what would be written.
    """
    import nbformat

    from llmsafety_lab.course.book import plain

    stale = []
    for path in notebooks(root):
        target = path.with_suffix(".ipynb")
        notebook = student(path) if path.parent.name == "labs" else plain.notebook(path)
        text = nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target)
            if not check:
                target.write_text(text, encoding="utf-8")
    return stale
