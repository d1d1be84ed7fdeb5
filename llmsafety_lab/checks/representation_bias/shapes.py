"""Answers as tensors, however they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.expect import Failed, expect_tensor, kind_of


def tensor(got: Any, shape: Sequence[int], what: str, *, hint: str = "") -> Tensor:
    """Return an answer of numbers as a tensor, whether it came as an array, a tensor or lists."""
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(np.array(got))
    elif isinstance(got, list | tuple):
        try:
            got = torch.tensor(np.asarray(got, dtype=float))
        except (ValueError, TypeError):
            raise Failed(f"{what} is a list that is no table of numbers.", expected=f"shape {tuple(shape)}") from None
    if not isinstance(got, torch.Tensor):
        raise Failed(f"{what} should be an array.", expected=f"shape {tuple(shape)}", got=kind_of(got), hint=hint)
    return expect_tensor(got, shape, what, hint=hint)
