"""A row of the kept results, made again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from llmsafety_lab.federated_learning import Recipe

ROOT = Path(__file__).parents[2]


def made() -> tuple[ModuleType, dict[str, Any]]:
    """Return the script, and what it kept."""
    spec = importlib.util.spec_from_file_location("kept_federated", ROOT / "scripts" / "federated_learning.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script, json.loads(script.RESULT.read_text(encoding="utf-8"))


def test_a_kept_curve_is_made_again() -> None:
    script, kept = made()
    part = kept["rounds, alike"]["FedSGD"]
    curve = script.curve(script.people(), np.inf, Recipe(part["rate"]), script.SEEDS[0])
    np.testing.assert_allclose(curve, part["curves"][0], atol=0.01)


def test_a_small_case_of_the_shared_setting_is_made_again() -> None:
    script, kept = made()
    again = script.PARTS["shared, small"]()
    for name in ("federated", "federated + DP"):
        for one, other in zip(again[name], kept["shared, small"][name], strict=True):
            for what in ("accuracy", "auc", "tpr"):
                assert abs(one[what] - other[what]) < 0.02, (name, what)
