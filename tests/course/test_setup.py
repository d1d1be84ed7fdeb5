"""What `make setup` does to the environment."""

from __future__ import annotations

import os
import re
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_environment_works_where_the_path_has_an_umlaut_and_the_locale_is_c(tmp_path: Path) -> None:
    checkout = tmp_path / "Prüfung"
    (checkout / "llmsafety_lab").mkdir(parents=True)
    (checkout / "llmsafety_lab" / "__init__.py").touch()
    venv.create(checkout / ".venv", symlinks=True)
    [packages] = (checkout / ".venv").glob("lib/python3*/site-packages")
    (packages / "_llmsafety_lab.pth").write_text(f"{checkout}\n", encoding="utf-8")  # as pip writes it
    command = re.search(r"echo \S+ > \S+\.pth", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert command
    subprocess.run(["bash", "-c", command[0].replace("$(BIN)", ".venv/bin")], cwd=checkout, check=True)
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"LC_ALL": "C"}
    code = "import llmsafety_lab; print(ascii(llmsafety_lab.__file__))"
    done = subprocess.run([".venv/bin/python", "-c", code], cwd=checkout, env=here, capture_output=True, text=True)
    assert "fung/llmsafety_lab/__init__.py" in done.stdout, done.stderr
