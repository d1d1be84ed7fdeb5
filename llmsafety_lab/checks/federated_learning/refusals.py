"""What all checks of the lab ask of bad input, and of results in one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.expect import Failed


def refused(call: Callable[[], Any], message: str) -> None:
    """Fail unless the call stops with a ValueError."""
    try:
        call()
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise Failed(message, expected="a ValueError", got=failed.message) from None
    raise Failed(message, expected="a ValueError", got="a result")


def as_tensor(got: Any) -> Any:
    """Return an array or a list of numbers as a tensor, and anything else as it is."""
    if isinstance(got, np.ndarray):
        return torch.as_tensor(got)
    if isinstance(got, list) and got and all(type(one) in (int, float) for one in got):
        return torch.tensor(got, dtype=torch.float64)
    return got
