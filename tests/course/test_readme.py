"""What a student types after README holds together."""

from __future__ import annotations

import re
from pathlib import Path

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
