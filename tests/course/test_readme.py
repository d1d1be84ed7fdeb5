"""What a student types after README holds together."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch

from llmsafety_lab.checking.exercise import find
from llmsafety_lab.checking.notebook import check_in

ROOT = Path(__file__).parents[2]


def test_the_students_commands_install_jupyter_and_open_a_notebook_that_they_fetched() -> None:
    section = (ROOT / "README.md").read_text().partition("## For students\n")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block
    commands = [line.partition("  #")[0].strip() for line in block[1].splitlines()]
    fetched = next(line for line in commands if line.startswith("curl")).split("/main/")[1]
    installed = next(line for line in commands if "llmsafety-lab @" in line)
    assert (ROOT / fetched).is_file()
    assert commands[-1] == f"jupyter lab {Path(fetched).name}" and "jupyterlab" in installed
    torch = next(line for line in commands if line.startswith("pip install torch"))
    assert torch.endswith("/whl/cpu") and commands.index(torch) < commands.index(installed)
    assert "5.9 GB" in section


def test_what_a_check_says_in_the_readme_is_what_it_prints() -> None:
    def scaled_dot_product_attention(q, k, v, mask=None):
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1)
        weights = weights if mask is None else weights * mask
        return weights @ v, weights

    namespace = {"scaled_dot_product_attention": scaled_dot_product_attention}
    result = check_in(find("attention.scaled_dot_product"), namespace)
    assert f"```text\n{result}\n```" in (ROOT / "README.md").read_text()
