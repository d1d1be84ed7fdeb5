"""Which part of the package may import which."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmsafety_lab.course import rules

ORDER = ["attention", "decoding"]


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("decoding.search", "attention.layers", True),
        ("attention.layers", "decoding.search", False),
        ("attention.layers", "attention.maps", True),
        ("attention", "models", True),
        ("attention", "checks.attention", False),
        ("attention", "checking.notebook", False),
        ("attention", "course.cli", False),
        ("models.classifier", "decoding.search", True),
        ("models", "decoding.search", False),
        ("data.news", "decoding", False),
        ("checks.attention.maps", "decoding", True),
        ("checks.attention.maps", "checking.dice", True),
        ("checks.attention.maps", "course.book", False),
        ("checking.wire", "course.grading.frames", False),
        ("checking.wire", "checks.attention", False),
        ("course.cli", "checks.attention", True),
    ],
)
def test_arrows_run_one_way(importer: str, imported: str, allowed: bool) -> None:
    assert rules.allowed(f"{rules.NAME}.{importer}", f"{rules.NAME}.{imported}", ORDER) is allowed


def test_the_order_is_the_books(tmp_path: Path) -> None:
    order = rules.topics(Path(__file__).parents[2])
    assert order.index("attention") < order.index("fine_tuning") < order.index("robust_training")
    assert "introduction" not in order
