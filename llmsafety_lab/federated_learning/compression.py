"""Smaller updates: few entries, few bits, and a memory for what was not sent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Row = Float[Tensor, " weights"]


def top_k(update: Row, share: float) -> Row:
    """Keep the entries of largest magnitude, a share of all and at least one; the others are 0.

    Raises
    ------
    ValueError
        If the share is not in (0, 1].

    References
    ----------
    Stich, Cordonnier and Jaggi 2018, Sparsified SGD with Memory, definition 2.1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of entries to keep is in (0, 1], got {share}")
    kept = update.abs().topk(max(1, round(share * len(update)))).indices
    return torch.zeros_like(update).index_copy(0, kept, update[kept])


def quantise(update: Row, bits: int, generator: torch.Generator) -> Row:
    """Round an update at random to 2**bits - 1 levels from minus to plus its largest magnitude, right on average.

    Parameters
    ----------
    update : Float[Tensor, "weights"]
    bits : int
        For an entry; the largest magnitude travels beside them.
    generator : torch.Generator

    Raises
    ------
    ValueError
        If there are fewer than 2 bits: one is the sign.

    References
    ----------
    Alistarh et al. 2017, QSGD, section 3.1, with the largest magnitude in place of the norm.
    """
    if bits < 2:
        raise ValueError(f"an entry needs 2 bits or more, one of them for its sign; got {bits}")
    levels = 2 ** (bits - 1) - 1
    scale = update.abs().max()
    if not scale:
        return update.clone()
    exact = update / scale * levels
    down = exact.floor()
    up = torch.rand(update.shape, generator=generator, dtype=update.dtype) < exact - down
    return (down + up) * scale / levels


class ErrorFeedback:
    """Compress each client's update, and add what was lost to its next one.

    Parameters
    ----------
    compress : callable
        From an update to one that is cheaper to send.
    feedback : bool
        False forgets what was lost.

    References
    ----------
    Karimireddy et al. 2019, Error Feedback Fixes SignSGD and other Gradient Compression Schemes, algorithm 2.
    """

    def __init__(self, compress: Callable[[Row], Row], feedback: bool = True) -> None:
        self.compress, self.feedback = compress, feedback
        self.lost: dict[int, Row] = {}

    def __call__(
        self, updates: Float[Tensor, "clients weights"], chosen: Int[np.ndarray, " clients"]
    ) -> Float[Tensor, "clients weights"]:
        """Return what arrives of the updates of these clients."""
        arrived = []
        for client, update in zip(map(int, chosen), updates, strict=True):
            whole = update + self.lost[client] if client in self.lost else update
            arrived.append(self.compress(whole))
            if self.feedback:
                self.lost[client] = whole - arrived[-1]
        return torch.stack(arrived)
