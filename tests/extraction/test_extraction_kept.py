"""A slice of the kept result is recomputed; rows that the chapter leans on are there and agree with one another."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from llmsafety_lab import runtime

PATH = Path(__file__).parents[2] / "scripts" / "extraction.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("kept_script", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_slice_comes_out_again(script):
    kept = runtime.kept("extraction")["slice"]
    again = script.PARTS["slice"]()
    assert again["0"]["copies"] == kept["0"]["copies"]
    assert again["0"]["exact"] == pytest.approx(kept["0"]["exact"], abs=0.3)
    assert again["0"]["loss"] == pytest.approx(kept["0"]["loss"], abs=0.01)


def test_every_part_is_kept_with_its_cost_and_its_seeds(script):
    kept = runtime.kept("extraction")
    assert all(kept[name]["core seconds"] > 0 for name in script.PARTS)
    assert [key for key in kept["canaries"] if key.isdigit()] == [str(seed) for seed in kept["seeds"]]


def test_the_singular_values_kept_drop_at_the_width_found():
    width = runtime.kept("extraction")["stealing"]["width"]
    values = np.array(width["values"])
    assert int((values[:-1] / values[1:]).argmax()) + 1 == width["found"] == width["true"]
