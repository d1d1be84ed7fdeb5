"""A row of the kept results, made again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from llmsafety_lab.federated_learning import Recipe

ROOT = Path(__file__).parents[2]


def test_a_kept_curve_is_made_again() -> None:
    spec = importlib.util.spec_from_file_location("kept_federated", ROOT / "scripts" / "federated_learning.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    part = json.loads(script.RESULT.read_text(encoding="utf-8"))["rounds, alike"]["FedSGD"]
    curve = script.curve(script.people(), np.inf, Recipe(part["rate"]), script.SEEDS[0])
    np.testing.assert_allclose(curve, part["curves"][0], atol=0.01)
