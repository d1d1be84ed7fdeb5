"""What is measured."""

from __future__ import annotations

from collections.abc import Sequence


def share(labels: Sequence[int], wanted: int) -> float:
    """Return the share of the labels that equal `wanted`.

    Raises
    ------
    ValueError
        If there are no labels.
    """
    if not labels:
        raise ValueError("there are no labels")
    return sum(label == wanted for label in labels) / len(labels)
