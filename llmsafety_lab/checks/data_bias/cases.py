"""What the checks of this lab share: tables drawn from the dice, and reading what came back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.expect import Failed, expect, expect_tensor, kind_of

NAMES = ("ash", "birch", "cedar", "elm", "fir", "oak", "pine")


def shuffled(dice: Dice, cells: dict[tuple[str, int], int]) -> tuple[np.ndarray, list[str]]:
    """Return labels and groups with as many rows of each pair as `cells` says, in an order of chance."""
    rows = [pair for pair, count in cells.items() for _ in range(count)]
    order = torch.randperm(len(rows), generator=dice.generator).tolist()
    return np.array([rows[i][1] for i in order]), [rows[i][0] for i in order]


def names(dice: Dice, count: int) -> list[str]:
    order = torch.randperm(len(NAMES), generator=dice.generator).tolist()
    return [NAMES[i] for i in order[:count]]


def column(got: Any, rows: int, what: str, hint: str = "") -> Tensor:
    """Return a column of numbers that came as a list, an array or a tensor."""
    if isinstance(got, list | tuple):
        try:
            got = torch.tensor([float(value) for value in got], dtype=torch.float64)
        except (TypeError, ValueError):
            raise Failed(f"{what} is not a column of numbers.", expected=f"{rows} numbers", hint=hint) from None
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(np.array(got))
    return expect_tensor(got, (rows,), what, hint=hint)


def by_group(got: Any, groups: Sequence[str], width: int, what: str, hint: str = "") -> Tensor:
    """Return a dict of numbers, or of `width` numbers, as a tensor with a row for each group, in their order."""
    if not isinstance(got, dict):
        raise Failed(f"{what} is not a dict.", expected="a dict with a value for each group", got=kind_of(got))
    expect(
        set(got) == set(groups),
        f"{what} has the wrong groups.",
        expected=", ".join(sorted(groups)),
        got=", ".join(sorted(map(str, got))),
        hint="The keys are the names as they are in `groups`; every name that occurs has a value.",
    )
    if width == 1:
        return torch.stack([column([_plain(got[name])], 1, f"The value of {name}", hint) for name in groups])
    return torch.stack([column(_plain(got[name]), width, f"The value of {name}", hint) for name in groups])


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value
