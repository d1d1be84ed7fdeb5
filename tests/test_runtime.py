"""The scale, the seed, the device, progress bars and glue."""

import json
import random
import subprocess
import sys
from pathlib import Path

import myst_nb
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from llmsafety_lab import runtime

ROOT = Path(__file__).parents[1]


def test_scale_by_name():
    assert [runtime.resolve_scale(scale) for scale in runtime.SCALES] == ["ci", "cpu", "gpu"]


@pytest.mark.parametrize(("cuda", "ci", "expected"), [(True, "true", "gpu"), (False, "true", "ci"), (False, "", "cpu")])
def test_scale_by_what_is_there(monkeypatch, cuda, ci, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setenv("CI", ci)
    assert runtime.resolve_scale("auto") == expected


@pytest.mark.parametrize("scale", ["CPU", "", "large", None])
def test_an_unknown_scale_names_the_choices(scale):
    with pytest.raises(ValueError, match='"auto", "ci", "cpu", "gpu"'):
        runtime.resolve_scale(scale)


def test_seeds_reach_all_three_generators():
    def draw(seed):
        runtime.seed_everything(seed)
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    assert draw(7) == draw(7)
    assert all(a != b for a, b in zip(draw(7), draw(8), strict=True))
    draw(2**40 + 1)


def test_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.device("ci") == runtime.device("cpu") == torch.device("cpu")
    with pytest.raises(RuntimeError, match="Change runtime type"):
        runtime.device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.device("gpu") == torch.device("cuda")


AMX = "avx2 avx512f avx512_bf16 amx_tile amx_bf16"


@pytest.mark.parametrize(
    ("flags", "asked", "expected"),
    [
        (AMX, "", torch.bfloat16),
        (AMX, "0", torch.float32),
        ("avx2 avx512f avx512_bf16", "", torch.float32),
        ("avx2 fma", "", torch.float32),
        (None, "", torch.float32),
    ],
)
def test_products_are_in_bfloat16_only_where_that_is_fast(monkeypatch, flags, asked, expected):
    """An AMD processor, an old Intel and a system that says nothing take float32; a step took eight times longer."""

    def read(self, **_):
        if flags is None:
            raise FileNotFoundError
        return f"processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu {flags}\n"

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setenv("LLMSAFETY_BFLOAT16", asked)
    runtime._processor.cache_clear()
    try:
        assert runtime.product_dtype(torch.device("cpu")) == expected
        header = runtime.made_by("attention", range(2))
    finally:
        runtime._processor.cache_clear()
    assert header["products"] == str(expected).removeprefix("torch.")
    assert header["processor"] == ("Some CPU @ 2 GHz" if flags else header["processor"])
    assert header["command"] == "python scripts/attention.py" and header["seeds"] == [0, 1]
    assert {"date", "versions", "cores", "threads"} < set(header)


def test_begin_sets_threads_and_seed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert runtime.begin("ci", 3) == "ci"
    first = torch.rand(3)
    assert torch.get_num_threads() == 1
    runtime.begin("ci", 3)
    assert torch.equal(torch.rand(3), first)


def test_progress_walks_through_and_says_nothing_to_a_file(capsys):
    assert list(runtime.progress(range(5), "counting")) == [0, 1, 2, 3, 4]
    with runtime.progress(None, "by hand", total=3, unit="B") as bar:
        bar.update(3)
        assert bar.total == 3
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("value", "silent"), [("1", True), ("0", False)])
def test_progress_can_be_silenced_in_a_notebook(monkeypatch, value, silent):
    monkeypatch.setattr(runtime, "in_notebook", lambda: True)
    monkeypatch.setenv("TQDM_DISABLE", value)
    assert runtime.progress(range(2), "counting").disable is silent


PLAIN = """
import sys
import llmsafety_lab
from llmsafety_lab import data, models, runtime
from llmsafety_lab.sources import cache, registry, packages
print(sorted({"torch", "transformers", "datasets", "numpy", "huggingface_hub"} & set(sys.modules)))
"""


def test_nothing_heavy_is_imported():
    said = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_glue_is_silent_outside_a_notebook(capsys):
    runtime.glue("share", 0.5)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def published(monkeypatch):
    """Run as in a kernel, and collect what is displayed."""
    came = []
    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, metadata, **rest: came.append((data, metadata)))
    monkeypatch.setattr(runtime, "in_notebook", lambda: True)
    yield came
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (np.float64(0.25), "0.25"),
        (np.array(0.25), "0.25"),
        (torch.tensor(0.25), "0.25"),
        (3, "3"),
        ("it", "'it'"),
    ],
)
def test_glue_has_the_form_that_myst_nb_reads(published, value, text):
    runtime.glue("share", value)
    [(data, metadata)] = published
    prefix = "application/papermill.record/"
    assert data == {f"{prefix}text/plain": text}
    assert metadata["scrapbook"] == {"name": "share", "mime_prefix": prefix}
    json.dumps(metadata)


def test_glue_is_what_myst_nb_writes(published):
    myst_nb.glue("share", 0.25, display=False)
    runtime.glue("share", 0.25)
    assert published[0] == published[1]


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*.json")), ids=lambda path: path.stem)
def test_kept_results_say_how_they_were_made(path: Path) -> None:
    kept = runtime.kept(path.stem)
    for made in kept.get("made", {"all": kept}).values():
        assert {"command", "date", "seeds", "cores", "processor", "versions"} <= set(made)
    script = ROOT / "scripts" / f"{path.stem}.py"
    assert f'runtime.made_by("{path.stem}"' in script.read_text(encoding="utf-8")


def test_what_is_not_kept_is_named_with_its_script() -> None:
    with pytest.raises(FileNotFoundError, match=r"python scripts/nothing\.py"):
        runtime.kept("nothing")
