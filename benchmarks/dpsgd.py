"""A step of DP-SGD as the course writes it, against opacus with its hooks, on one thread.

    python benchmarks/dpsgd.py

Ours is `torch.func.vmap` over `torch.func.grad`, then clip, sum, noise; opacus keeps each record's gradients by hooks
and its optimiser does the rest. Both hold the gradients of the whole batch at once, so memory is equal; the table has
the peak of each, as torch counts what was allocated. The last line is the geometric mean, over models and batches, of
our time over opacus's. Best of several runs, in turns.
"""

import copy
import math
import time
import warnings
from collections.abc import Callable

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from llmsafety_lab.differential_privacy import private_gradient

RUNS, STEPS = 5, 5
BOUND, MULTIPLIER = 1.0, 1.0


class Encoder(nn.Module):
    """A block of a transformer without its attention: a norm and an MLP at each token, then the mean over tokens."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x + self.down(torch.relu(self.up(self.norm(x))))).mean(1))


def cases() -> dict[str, tuple[nn.Module, Tensor, Tensor]]:
    torch.manual_seed(0)
    census = nn.Sequential(nn.Linear(108, 64), nn.ReLU(), nn.Linear(64, 2))
    deep = nn.Sequential(*[part for _ in range(6) for part in (nn.Linear(256, 256), nn.ReLU())], nn.Linear(256, 2))
    return {
        "census, 64 records": (census, torch.randn(64, 108), torch.randint(2, (64,))),
        "six layers, 64 records": (deep, torch.randn(64, 256), torch.randint(2, (64,))),
        "32 tokens, 64 records": (Encoder(), torch.randn(64, 32, 64), torch.randint(2, (64,))),
    }


def ours(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    named = dict(model.named_parameters())

    def step() -> None:
        made = private_gradient(model, cross_entropy, x, y, BOUND, MULTIPLIER, len(x), at_once=len(x))
        for name, gradient in made.items():
            named[name].grad = gradient
        optimiser.step()
        optimiser.zero_grad()

    return step


def peer(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    wrapped = GradSampleModule(model)
    optimiser = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=0.1),
        noise_multiplier=MULTIPLIER,
        max_grad_norm=BOUND,
        expected_batch_size=len(x),
    )

    def step() -> None:
        optimiser.zero_grad()
        cross_entropy(wrapped(x), y).backward()
        optimiser.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - started) / STEPS


def megabytes(step: Callable[[], None]) -> float:
    """Return the largest sum of what a step has allocated and not yet freed."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    now = most = 0
    for event in sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most / 1e6


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, float32; best of {RUNS}")
    print(f"{'':24} {'ours ms':>9} {'opacus ms':>9} {'ratio':>6} {'ours MB':>8} {'opacus MB':>9}")
    ratios = []
    for name, (model, x, y) in cases().items():
        steps = ours(copy.deepcopy(model), x, y), peer(copy.deepcopy(model), x, y)
        for step in steps:
            seconds(step)
        times = [tuple(map(seconds, steps)) for _ in range(RUNS)]
        mine, theirs = (1e3 * min(column) for column in zip(*times, strict=True))
        ratios.append(mine / theirs)
        held = tuple(map(megabytes, steps))
        print(f"{name:24} {mine:9.2f} {theirs:9.2f} {ratios[-1]:6.2f} {held[0]:8.1f} {held[1]:9.1f}")
    print(f"geometric mean over {len(ratios)} rows")
    print(f"ratio {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
