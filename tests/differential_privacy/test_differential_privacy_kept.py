"""The kept results have their rows, and one of them comes out again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kept_privacy", ROOT / "scripts" / "differential_privacy.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_audit_comes_out_again(script: ModuleType) -> None:
    """The same coins and the same noise; sums of floating-point numbers may differ by the machine."""
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    assert set(script.PARTS) < set(kept)
    correct, epsilon = script.audited("right", 8.0, 1)
    made = kept["audits"]["rows"]["right | 8"][1]
    assert abs(correct - made[0]) <= 2 and epsilon == pytest.approx(made[1], abs=0.3)


def test_the_kept_tables_have_their_rows(script: ModuleType) -> None:
    kept = json.loads(script.RESULT.read_text(encoding="utf-8"))
    networks = kept["networks"]
    assert {"plain", "plain, stopped early", "clipped, no noise", "epsilon 8", "epsilon 1"} < set(networks["rows"])
    for row in networks["rows"].values():
        assert len(row["lira"]) == len(row["right"]) == len(networks["rows"]["plain"]["lira"])
        assert {len(line) for line in row["right"]} == {len(networks["labels"])} == {len(networks["women"])}
        assert len(row["tried"]) == len(script.RATES)
    assert len(kept["audits"]["rows"]) == 12
    assert len({len(runs) for runs in kept["language"]["rows"].values()}) == 1
    assert {len(line) for row in kept["reviews"]["rows"].values() for line in row["right"]} == {
        len(script.packed([0] * kept["reviews"]["tested"])[0])
    }
    assert {f"{kind} | {epsilon:g}" for kind, epsilon in script.LM_ROWS} < set(kept["language"]["rows"])
