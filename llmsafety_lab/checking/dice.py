"""The random inputs of a check."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Dice:
    """The random inputs of a check, the same for the same seed.

    In a notebook the seed is the exercise's id; in a graded run it is `Dice.of`: the course's secret key and the
    student's id, so that no two students are asked the same.
    """

    def __init__(self, seed: str) -> None:
        import torch

        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") >> 1
        self.generator = torch.Generator().manual_seed(number)

    @classmethod
    def of(cls, key: bytes, exercise_id: str, student: str) -> Dice:
        return cls(hmac.new(key, f"{exercise_id}\n{student}".encode(), hashlib.sha256).hexdigest())

    def normal(self, *shape: int) -> Tensor:
        """Draw float64 numbers of mean 0 and variance 1."""
        import torch

        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        """Draw float64 numbers from [0, 1)."""
        import torch

        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def integer(self, low: int, high: int) -> int:
        """Draw one integer from low to high, both included."""
        return int(self.integers(low, high, 1))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Draw integers from low to high, both included."""
        import torch

        return torch.randint(low, high + 1, shape, generator=self.generator)
