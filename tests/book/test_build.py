"""The book's machinery, on books of two pages."""

import json
import re
import shutil
import threading
import urllib.request
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest
import yaml

import llmsafety_lab
from llmsafety_lab import tables
from llmsafety_lab.course.book import build, reproduced
from llmsafety_lab.course.book.dress import dress
from llmsafety_lab.course.book.vendor import vendor

ROOT = Path(__file__).parents[2]
MASTER = """---
kernelspec:
  name: python3
---

# A lab

```{code-cell}
1
```
"""
QUIZ = """# Quiz

:::{quiz} What is *two* and two?
- Four

  Right. You can count it.
- Five

  Wrong. One too many.
:::

See {ref}`folk-sum`, and {source}`labs/attention.md`, and [the lab](../labs/attention.md).

(folk-sum)=
:::{folk-recipe} Sums are never wrong
They are, now and then.
:::

```{mermaid}
:alt: One thing leads to another.
flowchart LR
    one["first"] --> two["then"]
```
"""


def _cell(source: str, *tags: str, outputs=()):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}, outputs=list(outputs))


def _print(text: str):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def _executed() -> str:
    prefix = "application/papermill.record/"
    glued = nbformat.v4.new_output(
        "display_data",
        data={f"{prefix}text/plain": "4"},
        metadata={"scrapbook": {"name": "four", "mime_prefix": prefix}},
    )
    cells = [
        nbformat.v4.new_markdown_cell("# A lab\n\nBack to the [quiz](../chapters/attention.md). Plan 80 minutes."),
        _cell("SCALE = 'ci'", "injected-parameters"),
        _cell("def answer(): return 4", "solution"),
        _cell('check("attention.rollout")'),
        _cell("print(answer())", outputs=[_print("one\n"), glued, _print("two\n")]),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
        "papermill": {"duration": 1},
    }
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "assets", tmp_path / "assets")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    (tmp_path / "_config.yml").write_text(
        re.sub(r"(?<=  url: ).*", "https://github.com/someone/fork", config, count=1), encoding="utf-8"
    )
    parts = {"I Foundations": ("chapters/attention", "labs/attention"), "Course": ("chapters/execution_times",)}
    toc = [{"caption": caption, "chapters": [{"file": page} for page in pages]} for caption, pages in parts.items()]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "index", "parts": toc}))
    (tmp_path / "index.md").write_text("# A book\n")
    for folder in ("chapters", "labs", "_build/executed/labs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "chapters" / "references.bib").touch()
    (tmp_path / "chapters" / "attention.md").write_text(QUIZ, encoding="utf-8")
    (tmp_path / "labs" / "attention.md").write_text(MASTER)
    for folder in ("chapters", "labs"):
        (tmp_path / folder / "attention.ipynb").write_text(f'{{"handed out": "{folder}"}}')
    (tmp_path / "_build" / "executed" / "labs" / "attention.ipynb").write_text(_executed(), encoding="utf-8")
    times = [{"notebook": "labs/attention", "seconds": 12.34, "core_seconds": 23.4, "peak_mb": 1234.0, "scale": "ci"}]
    (tmp_path / "_build" / "executed" / "times.json").write_text(json.dumps(times))
    return tmp_path


@pytest.fixture
def vendored(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "vendor", lambda root: vendor(ROOT))
    return small


def test_a_book_is_built_with_its_own_directives_and_only_once(vendored: Path, capsys) -> None:
    site = build.build(vendored)
    quiz = (site / "chapters" / "attention.html").read_text(encoding="utf-8")
    assert re.search(r'<details class="quiz-option right[^"]*">\s*<summary>Four</summary>', quiz)
    assert re.search(r'<details class="quiz-option wrong[^"]*">\s*<summary>Five</summary>', quiz)
    assert "What is <em>two</em> and two?" in quiz
    assert re.search(r'<aside class="[^"]*folk-recipe[^>]*>\s*<span id="folk-sum">', quiz)
    assert 'aria-label="One thing leads to another."' in quiz
    assert 'href="https://github.com/someone/fork/blob/main/labs/attention.md"' in quiz
    assert 'href="../labs/attention.html"' in quiz

    lab = (site / "labs" / "attention.html").read_text(encoding="utf-8")
    tag = f"v{llmsafety_lab.__version__}"
    facts = re.search(r'<p class="page-facts">(.*?)</p>', lab)
    assert facts and facts[1].startswith("I Foundations") and facts[1].endswith(" points · 80 minutes")
    assert f"git+https://github.com/someone/fork@{tag}" in lab
    assert "<summary>Solution</summary>" in lab
    assert lab.index("<summary>Solution</summary>") < lab.index("the check ran on this solution") < lab.index("rollout")
    assert "SCALE" not in lab
    assert "one\ntwo" in lab
    for folder, page in (("chapters", quiz), ("labs", lab)):
        handed_out = f"{folder}/attention.ipynb"
        assert f'href="https://colab.research.google.com/github/someone/fork/blob/{tag}/{handed_out}"' in page
        assert f'href="https://github.com/someone/fork/blob/main/{handed_out}"' in page
        assert (site / handed_out).read_bytes() == (vendored / handed_out).read_bytes()
    times = (site / "chapters" / "execution_times.html").read_text(encoding="utf-8")
    assert "12.3" in times
    assert re.search(r"<p>attention</p></td>\s*<td[^>]*><p></p></td>\s*<td[^>]*><p>23</p></td>", times)

    capsys.readouterr()
    assert build.build(vendored) == site
    assert "nothing has changed" in capsys.readouterr().out

    (vendored / "chapters" / "attention.md").write_text(QUIZ.replace("Right. You", "Obviously you"), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(build.BookError, match="does not begin with Right, Wrong or Not enough"):
            build.build(vendored)
    assert (site / "chapters" / "attention.html").read_text(encoding="utf-8") == quiz


def test_reproduced_figures_are_collected_from_the_chapters_runs(small: Path) -> None:
    rows = [tables.Reproduced("brown2020language", "Accuracy on | *all*", "70.2%", "69%", "A smaller\nmodel.")]
    shown = {"text/html": tables.markup(["Figure", "Why"], [["one", "two"]], "A caption.")}
    kept = nbformat.v4.new_output("display_data", data={tables.REPRODUCED: [asdict(row) for row in rows]} | shown)
    notebook = nbformat.v4.new_notebook(cells=[_cell("tables.reproduced(rows)", outputs=[kept])])
    (small / "_build" / "executed" / "chapters").mkdir()
    (small / "_build" / "executed" / "chapters" / "attention.ipynb").write_text(nbformat.writes(notebook))
    dressed = dress(nbformat.writes(notebook))
    assert tables.REPRODUCED not in dressed and r"<table class=\"results words\">" in dressed
    page = reproduced.page(small, build.pages(small))
    assert page.count("\n## ") == 1 and "## Quiz\n\nFrom the chapter {doc}`/chapters/attention`." in page
    assert r"| {cite:t}`brown2020language` | Accuracy on \| \*all\* | 70.2% | 69% | A smaller model. |" in page


def test_what_gettext_extracts_holds_the_quiz_and_the_diagram(vendored: Path) -> None:
    tree = build.assemble(vendored)
    build.sphinx(tree, "--builder", "custom", "--custom-builder", "gettext")
    catalogue = (tree / "_build" / "gettext" / "chapters" / "attention.pot").read_text(encoding="utf-8")
    for message in (
        "What is *two* and two?",
        "Four",
        "Wrong. One too many.",
        "Sums are never wrong",
        "One thing leads",
    ):
        assert message in catalogue


def test_only_what_changed_is_laid_out_again(small: Path) -> None:
    tree = build.assemble(small)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}
    (small / "index.md").write_text("# Another book\n")
    (small / "chapters" / "references.bib").unlink()
    build.assemble(small)
    after = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}
    assert {path.name for path in before if after.get(path) != before[path]} == {"index.md", "references.bib"}


def test_a_notebook_that_was_not_executed_is_named(small: Path) -> None:
    (small / "_build" / "executed" / "labs" / "attention.ipynb").unlink()
    (small / "chapters" / "attention.md").unlink()
    with pytest.raises(build.BookError, match=r"chapters/attention: no such page\nlabs/attention: not executed"):
        build.assemble(small)


def test_the_next_port_is_taken_where_one_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    with build.server(tmp_path, 8000) as first, build.server(tmp_path, first.server_address[1]) as second:
        assert second.server_address[1] > first.server_address[1]
        threading.Thread(target=second.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{second.server_address[1]}/") as page:
            assert page.read() == b"hello"
        second.shutdown()
