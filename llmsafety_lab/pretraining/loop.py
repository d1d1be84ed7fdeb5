"""The loop that trains a language model, with checkpoints to resume it from, and how the step size changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llmsafety_lab import files, runtime
from llmsafety_lab.pretraining.objectives import IGNORE, Batch


def warm_linear(step: int, steps: int, warmup: int) -> float:
    """Return the share of the full learning rate at a step: up in `warmup` steps, then down on a line to 0.

    Parameters
    ----------
    step, steps, warmup : int
        Step 0 gets 1 / warmup and step warmup - 1 the whole; step `steps`, which is never taken, would get 0.

    Raises
    ------
    ValueError
        Unless 0 <= warmup < steps and 0 <= step <= steps.
    """
    if not 0 <= step <= steps:
        raise ValueError(f"there is no step {step} of {steps}")
    if not 0 <= warmup < steps:
        raise ValueError(f"the warm-up must be shorter than the run: {warmup} of {steps} steps")
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / (steps - warmup)


def warm_cosine(step: int, steps: int, warmup: int, floor: float = 0.1) -> float:
    """Return the share of the full learning rate at a step: up in `warmup` steps, then half a cosine to `floor`.

    Parameters
    ----------
    step, steps, warmup : int
    floor : float, optional
        The share that is left at the end.

    Raises
    ------
    ValueError
        As `warm_linear`, and unless 0 <= floor <= 1.
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"the floor is a share, got {floor}")
    line = warm_linear(step, steps, warmup)
    return line if step < warmup else floor + (1 - floor) * (1 - math.cos(math.pi * line)) / 2


def decaying(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Let an optimiser's rates climb for a tenth of the steps and then fall on a line to 0, as fine-tuning wants it."""
    warmup = min(max(1, steps // 10), steps - 1)
    return torch.optim.lr_scheduler.LambdaLR(optimiser, partial(warm_linear, steps=steps, warmup=warmup))


def train_lm(
    model: nn.Module,
    draw: Callable[[int], Batch],
    optimisers: Sequence[torch.optim.Optimizer],
    share: Callable[[int], float],
    steps: int,
    *,
    clip: float = 0.0,
    checkpoint: Path | None = None,
    every: int = 100,
    watch: Callable[[int, float], Any] | None = None,
) -> list[float]:
    """Train a language model. Killed and called again with the same checkpoint, it ends where it would have ended.

    Parameters
    ----------
    model : Module
        ids (batch, tokens) to logits (batch, tokens, vocabulary).
    draw : callable
        The batch of a step, (inputs, labels), as a function of the step alone: so a resumed run sees what it missed.
    optimisers : sequence of Optimizer
    share : callable
        The share of each optimiser's own learning rate at a step.
    steps : int
    clip : float, optional
        The largest norm of the gradient; 0 leaves it alone.
    checkpoint : Path, optional
        A file that holds all that the next step depends on. Removing it starts anew.
    every : int, optional
        Steps between two checkpoints.
    watch : callable, optional
        Called after each step with its number and loss.

    Returns
    -------
    list of float
        The loss of each step, in nats, those before a resumption included.

    Raises
    ------
    ValueError
        If the checkpoint is of a run of another length: its learning rates would not be the same ones.
    """
    if steps < 1 or every < 1 or not 0 <= clip < math.inf:
        raise ValueError(f"needs a step, one between checkpoints, and a norm of 0 or more: {steps}, {every}, {clip}")
    losses = _resume(checkpoint, model, optimisers, steps) if checkpoint and checkpoint.exists() else []
    model.train()
    full = [[group["initial_lr"] for group in optimiser.param_groups] for optimiser in map(_with_rates, optimisers)]
    for step in runtime.progress(range(len(losses), steps), "training", total=steps, initial=len(losses)):
        inputs, labels = draw(step)
        model.zero_grad()
        loss = cross_entropy(model(inputs).flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        for optimiser, rates in zip(optimisers, full, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * share(step)
            optimiser.step()
        losses.append(float(loss.detach()))
        if watch is not None:
            watch(step, losses[-1])
        if checkpoint and ((step + 1) % every == 0 or step + 1 == steps):
            _save(checkpoint, model, optimisers, losses, steps)
    return losses


def _with_rates(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimiser


def _save(
    path: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], losses: list[float], steps: int
) -> None:
    """Write a checkpoint beside its place and move it there: killed half-way, the old one stays whole."""
    state: Mapping[str, Any] = {
        "steps": steps,
        "losses": losses,
        "model": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "random": torch.get_rng_state(),
    }
    with files.replacing(path) as new:
        torch.save(state, new)


def _resume(path: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], steps: int) -> list[float]:
    state = torch.load(path, weights_only=True)
    if state["steps"] != steps:
        raise ValueError(
            f"{path.name} is of a run of {state['steps']} steps, and this one has {steps}: the learning rates differ. "
            "Remove the file to start anew, or name another."
        )
    model.load_state_dict(state["model"])
    for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    torch.set_rng_state(state["random"])
    return state["losses"]
