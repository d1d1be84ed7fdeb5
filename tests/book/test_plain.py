"""A chapter as a notebook of plain Markdown, which is what Colab opens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from llmsafety_lab import runtime
from llmsafety_lab.course.book import extras, masters, plain

ROOT = Path(__file__).parents[2]
CHAPTERS = [path for path in masters.notebooks(ROOT) if path.parent.name == "chapters"]
SITE = masters.site(ROOT)
DECODING = ROOT / "chapters" / "decoding.md"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_nothing_of_myst_is_left_and_the_code_is_python(path: Path) -> None:
    notebook = plain.notebook(path)
    nbformat.validate(notebook)
    first, bootstrap, *cells = notebook.cells
    assert first.source.startswith("# ") and f"({SITE}/chapters/{path.stem}.html)" in first.source.split("\n")[2]
    assert masters.tags(bootstrap) == ["bootstrap"]
    for cell in cells:
        if cell.cell_type == "code":
            compile(cell.source, path.name, "exec")
            assert not re.search(r"import glue$", cell.source, re.MULTILINE)
        else:
            text = re.sub(r"^```python\n.*?^```$", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            left = r"\{[\w:-]+\}`|^\W{3}\{|^:\w+:|^\([\w-]+\)=|\]\([\w./]+\.(?:md|ipynb)\b"
            assert not re.search(left, text, re.MULTILINE)
    assert (
        path.with_suffix(".ipynb").read_text(encoding="utf-8")
        == nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"
    )


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        ("so {glue:text}`opening_repeats:.0%` of them", "so `opening_repeats` of them"),
        ("{term}`Top-k <top-k>`", f"[Top-k]({SITE}/chapters/glossary.html#term-top-k)"),
        ("{term}`transformer`", f"[transformer]({SITE}/chapters/glossary.html#term-Transformer)"),
        ("{doc}`attention`", f"[Attention]({SITE}/chapters/attention.html)"),
        ("the {doc}`lab\n</labs/decoding>`", f"the [lab]({SITE}/labs/decoding.html)"),
        ("{cite:t}`holtzman2020curious`", "[Holtzman et al. (2020)](https://"),
        ("It holds {cite}`elhage2021mathematical,olsson2022context`.", "It holds ([Elhage et al., 2021](https://"),
        ("```{mermaid}\nflowchart LR\n```", f"[The diagram is on the page.]({SITE}/chapters/decoding.html)"),
        ("(folk)=\n:::{folk-recipe} Sums\nWrong.\n\nTwice.\n:::", "> **Folk recipe. Sums**\n>\n> Wrong.\n>\n> Twice."),
        (
            ":::{quiz} Two and two?\n- Four, with\n  care\n\n  Right. Count\n  it.\n- Five\n\n  Wrong.\n:::",
            "**Quiz.** Two and two?\n\n1. Four, with care\n2. Five\n\n<details><summary>Answers</summary>\n\n"
            "1. Right. Count\n   it.\n2. Wrong.\n\n</details>",
        ),
    ],
)
def test_each_form_has_its_own_in_plain_markdown(myst: str, markdown: str) -> None:
    assert plain.markdown(myst, DECODING).startswith(markdown)


def test_an_included_function_or_method_stands_in_the_text() -> None:
    include = "```{literalinclude} ../llmsafety_lab/attention/layers.py\n:language: python\n:pyobject: {}\n```"
    method = plain.markdown(include.replace("{}", "MultiHeadAttention.forward"), DECODING)
    function = plain.markdown(include.replace("{}", "rotary"), DECODING)
    assert method.startswith("```python\ndef forward(") and function.startswith("```python\ndef rotary(")
    with pytest.raises(masters.MasterError, match="nothing_of_the_kind"):
        plain.markdown(include.replace("{}", "nothing_of_the_kind"), DECODING)


@pytest.mark.parametrize(
    "myst", ["{numref}`table-1`", "```{figure} a.png\n```", "{cite}`nobody1999nothing`", "{doc}`astrology`"]
)
def test_what_has_no_plain_form_is_refused(myst: str) -> None:
    with pytest.raises(masters.MasterError, match="decoding"):
        plain.markdown(myst, DECODING)


def test_a_glued_number_is_printed_with_its_name(capsys) -> None:
    runtime.print_glued("share", 0.123456)
    runtime.print_glued("texts", 56)
    assert capsys.readouterr().out == "share = 0.1235\ntexts = 56\n"


def test_the_installed_package_holds_the_kept_results(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(tmp_path / "alone")
    code = "from llmsafety_lab import runtime; print(runtime.__file__, len(runtime.kept('decoding')))"
    here = os.environ | {"PYTHONPATH": str(tmp_path / "alone")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=here, capture_output=True, text=True)
    assert done.returncode == 0 and str(tmp_path) in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import numpy, torch\nimport tenseal", ["tenseal"]),
        ("def late():\n    from fairlearn.metrics import MetricFrame", ["fairlearn"]),
        ("from llmsafety_lab import encrypted_computation", ["cryptography"]),
        ("import pytest", []),
    ],
)
def test_a_chapters_notebook_installs_what_its_code_imports(code: str, names: list[str]) -> None:
    assert [re.split("[<>=]", one)[0] for one in extras.needed(ROOT, [code])] == names


def test_in_colab_that_is_installed_beside_the_package() -> None:
    bootstrap = plain.notebook(ROOT / "chapters" / "encrypted_computation.md").cells[1].source
    assert re.search(r'%pip install -q "llmsafety-lab @ git\+\S+" "cryptography.*" "mpyc.*" "tenseal.*"$', bootstrap)
