"""In a graded run the sources that can be guessed are switched off, and those of the operating system are not."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from llmsafety_lab.checking.forbidden import Forbidden, refuse, trees_of
from llmsafety_lab.checks.encrypted_computation.shares import GUESSED

PROGRAM = f"""
import os, random, secrets
import numpy, torch
from llmsafety_lab.checking.disarm import disarm
from llmsafety_lab.checking.forbidden import Forbidden
disarm({GUESSED!r}, [])
secrets.randbelow(2**64), secrets.randbits(64), secrets.token_bytes(8), os.urandom(8), secrets.SystemRandom().random()
for draw in (
    lambda: random.randrange(9), lambda: random.getrandbits(9), lambda: random.randbytes(9), lambda: random.random(),
    lambda: numpy.random.default_rng(), lambda: numpy.random.randint(9), lambda: torch.randint(9, (1,)),
):
    try:
        draw()
    except Forbidden:
        continue
    raise SystemExit("a source that can be guessed still works")
"""


def test_secrets_works_where_random_is_switched_off() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "draws",
    [
        "random.randrange(m)",
        "random.Random(3).getrandbits(64)",
        "rng.integers(0, m)",
        "np.random.bytes(8)",
        "torch.empty(1).random_()",
        "time.time_ns() % m",
    ],
)
def test_a_source_that_can_be_guessed_is_refused_by_name(draws: str) -> None:
    tree = ast.parse(f"def share(s, parties, m):\n    return [{draws}]")
    with pytest.raises(Forbidden, match="share uses"):
        refuse([tree], "share", GUESSED)


def test_a_name_taken_from_random_is_seen_in_a_notebook() -> None:
    import random

    with pytest.raises(Forbidden):
        refuse(trees_of({"__name__": "x", "share": random.randrange}, GUESSED), "share", GUESSED)


@pytest.mark.parametrize(
    "draws", ["secrets.randbelow(m)", "secrets.randbits(9)", "int.from_bytes(os.urandom(9), 'big')"]
)
def test_the_operating_systems_sources_are_not_refused(draws: str) -> None:
    refuse([ast.parse(f"def share(s, parties, m):\n    return [{draws}]")], "share", GUESSED)
