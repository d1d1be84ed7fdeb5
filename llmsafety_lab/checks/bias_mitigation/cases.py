"""What the checks of this lab share: replies in any style as tensors, people with two groups, two linear players."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.expect import Failed, kind_of


def vector(reply: Any, length: int, what: str) -> Tensor:
    """Return one number a person, whatever they came in: a list, a tuple, an array or a tensor."""
    if isinstance(reply, list | tuple):
        try:
            reply = torch.tensor([float(value) for value in reply], dtype=torch.float64)
        except (TypeError, ValueError):
            raise Failed(f"{what} hold something that is not a number.", expected="one number a person") from None
    if isinstance(reply, np.ndarray):
        reply = torch.from_numpy(np.ascontiguousarray(reply))
    if not isinstance(reply, torch.Tensor):
        raise Failed(f"{what} are not a row of numbers.", expected="one number a person", got=kind_of(reply))
    if tuple(reply.shape) != (length,):
        raise Failed(f"{what} have the wrong shape.", expected=str((length,)), got=str(tuple(reply.shape)))
    return reply.detach().to(torch.float64)


def people(dice: Dice, of: int) -> tuple[Tensor, Tensor]:
    """Draw labels and groups, so that each group has at least three people of each label and groups differ in size."""
    while True:
        groups = (dice.uniform(of) < 0.35).long()
        labels = (dice.uniform(of) < 0.35 + 0.3 * groups).long()
        counts = [int(((groups == g) & (labels == y)).sum()) for g in (0, 1) for y in (0, 1)]
        if min(counts) >= 3 and len(set(counts)) == 4 and int(groups.sum()) * 2 != of:
            return labels, groups


def refuses(answer: Answer, *args: Any, what: str, why: str) -> None:
    """Fail unless the answer raises an error."""
    try:
        answer(*args)
    except Failed as error:
        if "ValueError" in error.message:
            return
        raise Failed(
            f"{what} raises another error than ValueError.", expected="ValueError", got=error.message
        ) from None
    raise Failed(f"{what} is accepted.", expected="ValueError", hint=why)
