"""Columns as every module of this topic reads them: a value a row, none missing, all of one length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import ArrayLike


def column(values: ArrayLike | Sequence[object], what: str, rows: int | None = None) -> Shaped[np.ndarray, " rows"]:
    """Return a column as an array, refused in words if it is empty, has a gap, or has another length than the rest."""
    found = np.asarray(values)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"{what} must be a column with a value for each row; got shape {found.shape}")
    if rows is not None and len(found) != rows:
        raise ValueError(f"{what} must have a value for each row: {len(found)} values for {rows} rows")
    gaps = sum(value is None or value != value for value in found.tolist())
    if gaps:
        raise ValueError(
            f"{what}: {gaps} of {len(found)} values are missing. Drop these rows or give them a value first."
        )
    return found


def binary(values: ArrayLike | Sequence[object], what: str, rows: int | None = None) -> Bool[np.ndarray, " rows"]:
    """Return a column of 0 and 1 (or False and True) as truth values."""
    found = column(values, what, rows)
    kinds = set(found.tolist())
    if not kinds <= {0, 1}:
        raise ValueError(f"{what} must be 0 and 1; got {sorted(map(str, kinds))[:5]}")
    return found.astype(bool)


def weights_of(values: ArrayLike, rows: int) -> Float[np.ndarray, " rows"]:
    """Return weights: finite, not negative, not all 0."""
    found = column(values, "the weights", rows).astype(float)
    if not np.isfinite(found).all() or found.min() < 0 or not found.sum():
        raise ValueError("weights are finite, at least 0, and not all of them 0")
    return found
