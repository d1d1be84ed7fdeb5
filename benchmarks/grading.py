"""Grading: ours against ``otter run``, on the same submissions of an equal assignment (scaled dot-product attention).

Otter is installed into an environment of its own under ``_build``. The last line is our time over the peer's for one
submission; ours includes the checks of the lab's other exercises, which find no answer.
Run with ``python benchmarks/grading.py`` from the checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEER = "otter-grader==7.0.0"
STUDENTS = 6
ANSWER = """import math
import torch

def scaled_dot_product_attention(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.softmax(scores, -1).nan_to_num(0)
    return weights @ v, weights
"""
OTTER_TEST = """
OK_FORMAT = False
import torch
from otter.test_files import test_case

name, points = "q1", 3

@test_case()
def agrees_with_torch(env):
    answer = env["scaled_dot_product_attention"]
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        q, k, v = (torch.randn(2, 5, 8, generator=generator, dtype=torch.float64) for _ in range(3))
        mask = torch.rand(5, 5, generator=generator) > 0.3
        mask[:, 0] = True
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        assert torch.allclose(answer(q, k, v, mask)[0], expected)
"""


def notebook() -> str:
    cell = {"cell_type": "code", "source": ANSWER, "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell]})


def peers_python() -> Path:
    home = ROOT / "_build" / "otter"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"installing {PEER} into {home.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", PEER, "torch==2.13.0", "numpy", "ipykernel"]
        subprocess.run(install, check=True)
        (home / "ready").touch()
    return python


def ours(folder: Path) -> float:
    for number in range(STUDENTS):
        (folder / "submissions" / f"s{number}.ipynb").write_text(notebook())
    (folder / "roster.csv").write_text("id,name\n" + "".join(f"s{number},S\n" for number in range(STUDENTS)))
    (folder / "key").write_text("0123456789abcdef")
    options = ["--lab", "attention", "--roster", "roster.csv", "--key", "key", "--out", "grades", "--jobs", "1"]
    command = [sys.executable, "-m", "llmsafety_lab.course.cli", "grade", "submissions", *options]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    seconds = (time.perf_counter() - started) / STUDENTS
    scores = [json.loads(path.read_text())["tests"][0]["score"] for path in (folder / "grades" / "results").iterdir()]
    assert len(scores) == STUDENTS and min(scores) > 0, scores
    return seconds


def theirs(folder: Path) -> float:
    python = peers_python()
    (folder / "tests").mkdir()
    (folder / "tests" / "q1.py").write_text(OTTER_TEST)
    (folder / "out").mkdir()
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    generate = [python, "-m", "otter", "generate", "-t", "tests", "-o", "autograder.zip", "--no-environment"]
    subprocess.run(generate, cwd=folder, env=environment, check=True, capture_output=True)
    started = time.perf_counter()
    for number in range(STUDENTS):
        command = [python, "-m", "otter", "run", "-a", "autograder.zip", "-o", "out", f"submissions/s{number}.ipynb"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        score = json.loads((folder / "out" / "results.json").read_text())["tests"]
        assert sum(test.get("score", 0) for test in score) > 0, score
    return (time.perf_counter() - started) / STUDENTS


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "submissions").mkdir()
        mine, other = ours(folder), theirs(folder)
    print(f"{STUDENTS} submissions, one at a time, seconds for each, start-up included")
    print(f"llmsafety-lab grade, the whole lab:  {mine:6.2f}")
    print(f"otter run, one question:             {other:6.2f}")
    print(f"ratio {mine / other:.2f}")


if __name__ == "__main__":
    main()
