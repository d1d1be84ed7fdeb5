"""Rows of a census as numbers, for the networks of `shadows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
WORDS = (
    "workclass",
    "education",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
)


def census_features(rows: Mapping[str, Sequence[Any]]) -> Float[np.ndarray, "records features"]:
    """Return the columns of Adult as numbers: a number with mean 0 and deviation 1, a word as columns of 0 and 1.

    Capital gains and losses are taken as logarithms. An open field is a word of its own.

    Parameters
    ----------
    rows : mapping from a column's name to its values
        As `data.load("adult")` returns them, or a part of them.

    Raises
    ------
    ValueError
        If there are fewer than two rows.
    """
    columns = []
    for name in NUMBERS:
        values = np.asarray(rows[name], dtype=float)
        if len(values) < 2:
            raise ValueError("two rows or more are needed to know a column's mean and deviation")
        values = np.log1p(values) if name.startswith("capital") else values
        columns.append(((values - values.mean()) / (values.std() or 1.0))[:, None])
    for name in WORDS:
        words = np.array([str(word) for word in rows[name]])
        columns.append((words[:, None] == np.unique(words)).astype(float))
    return np.concatenate(columns, axis=1)
