"""Extraction against an independent oracle."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsafety_lab.extraction import share


@given(st.lists(st.integers(0, 3), min_size=1), st.integers(0, 3))
def test_the_share_is_the_mean_of_the_hits(labels: list[int], wanted: int) -> None:
    assert share(labels, wanted) == pytest.approx(statistics.fmean(label == wanted for label in labels))


def test_no_labels_have_no_share() -> None:
    with pytest.raises(ValueError, match="no labels"):
        share([], 1)
