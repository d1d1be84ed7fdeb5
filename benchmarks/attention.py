"""Attention as the course writes it, against torch's fused kernel, on one thread.

    python benchmarks/attention.py

Causal self-attention of SmolLM2's shape: 9 heads, 64 wide, float32. Ours forms the whole map of weights and gives it
back; torch's `scaled_dot_product_attention(is_causal=True)` never forms it. The last line is the geometric mean, over
the lengths and over forward with and without backward, of our time over torch's. Best of several runs, in turns.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as torch_attention

from llmsafety_lab.attention.layers import causal_mask, scaled_dot_product_attention

LENGTHS = (32, 64, 128, 256, 512, 1024)
HEADS, WIDTH = 9, 64
RUNS, SECONDS = 5, 0.02


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, causal_mask(q.shape[-2]))[0]


def peer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch_attention(q, k, v, is_causal=True)


def seconds(attend: Callable, inputs: list[Tensor], backward: bool) -> float:
    """Time one call, as the mean over a loop of at least `SECONDS`."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS or calls == 0:
        if backward:
            torch.autograd.grad(attend(*inputs).sum(), inputs)
        else:
            with torch.no_grad():
                attend(*inputs)
        calls += 1
    return spent / calls


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, {HEADS} heads of width {WIDTH}, float32, causal; best of {RUNS}")
    print(f"{'tokens':>6} {'backward':>8} {'ours ms':>9} {'torch ms':>9} {'ratio':>6} {'our map MB':>11}")
    ratios = []
    for length in LENGTHS:
        inputs = [torch.randn(1, HEADS, length, WIDTH, requires_grad=True) for _ in range(3)]
        for backward in (False, True):
            seconds(ours, inputs, backward), seconds(peer, inputs, backward)
            times = [(seconds(ours, inputs, backward), seconds(peer, inputs, backward)) for _ in range(RUNS)]
            mine, theirs = (1e3 * min(column) for column in zip(*times, strict=True))
            ratios.append(mine / theirs)
            megabytes = HEADS * length**2 * 4 / 1e6
            label = "yes" if backward else "no"
            print(f"{length:6} {label:>8} {mine:9.3f} {theirs:9.3f} {ratios[-1]:6.2f} {megabytes:11.1f}")
    print(f"geometric mean over {len(ratios)} rows")
    print(f"ratio {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
