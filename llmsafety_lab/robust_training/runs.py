"""Train a classifier by a robust loss, keep and resume the run, and measure what the training was for."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from llmsafety_lab import files, runtime
from llmsafety_lab.adversarial_attacks.gradients import Labels, Mask, Vectors
from llmsafety_lab.adversarial_attacks.texts import Embedded, predictions, word_mask
from llmsafety_lab.fine_tuning.batches import like_lengths
from llmsafety_lab.pretraining.loop import decaying
from llmsafety_lab.robust_training.losses import Loss

CHECKPOINT = "checkpoint.pt"
NAMES = {"loss": "loss", "accuracy": "accuracy", "attacked": "under attack"}


class Batch(NamedTuple):
    """What a loss is called with: `loss(*batch)`."""

    model: Embedded
    embeddings: Vectors
    labels: Labels
    mask: Mask


def batch_of(model: Any, tokenizer: Any, texts: Sequence[str], labels: Sequence[int], max_tokens: int) -> Batch:
    """Return texts as one batch, padded to the longest: the classifier on it, embeddings, labels, words' places."""
    device = next(model.parameters()).device
    encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    ids, attended = encoded["input_ids"].to(device), encoded["attention_mask"].to(device)
    mask = word_mask(ids, attended, tokenizer.all_special_ids)
    return Batch(Embedded(model, attended), model.embed(ids), torch.tensor(list(labels), device=device), mask)


def fit_robust(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    loss: Loss,
    *,
    validation: tuple[Sequence[str], Sequence[int]] = ((), ()),
    attack: Callable[..., Vectors] | None = None,
    epochs: int = 1,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    max_tokens: int = 32,
    seed: int = 0,
    folder: Path | None = None,
) -> list[dict[str, float]]:
    """Train what is not frozen on a robust loss; print after each epoch its loss, accuracy, and accuracy under attack.

    AdamW, a tenth of the steps warm-up, then linear decay, gradients clipped at norm 1, as `fine_tuning.fit` does.

    Parameters
    ----------
    model : fine_tuning.Classifier
        Left in evaluation mode.
    loss : callable
        A function of `robust_training`, its budget bound by `partial`: `loss(model, embeddings, labels, mask)`.
    validation : pair of texts and labels, optional
        For the accuracies, as they are and under the attack; without them an epoch prints its loss alone.
    attack : callable, optional
        Such as `partial(pgd, eps=0.002, steps=5)`.
    seed : int
        With the epoch's number it draws the order, dropout, and the attacks' starts.
    folder : Path, optional
        Keeps a checkpoint after each epoch and, where tensorboard is installed, a log. A run that finds its checkpoint
        goes on from there and ends with the weights that it would have had without the interruption.

    Returns
    -------
    list of dict
        For each epoch `loss` (the mean over its steps), and where there are texts for it `accuracy` and `attacked`.

    Raises
    ------
    ValueError
        If there are no texts, not as many labels, or the folder holds the checkpoint of a run with other settings.
    """
    if not len(texts) or len(texts) != len(labels):
        raise ValueError(f"fit_robust got {len(texts)} texts and {len(labels)} labels; it needs as many of both.")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"fit_robust needs an epoch and a text in a batch, got {epochs} and {batch_size}")
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(weights.values(), lr=learning_rate, weight_decay=0.01)
    lengths = [len(row) for row in tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]]
    total = epochs * math.ceil(len(texts) / batch_size)
    schedule = decaying(optimizer, total)
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings |= {
        "max_tokens": max_tokens,
        "seed": seed,
        "texts": len(texts),
        "loss": _named(loss),
        "attack": attack and _named(attack),
    }
    history: list[dict[str, float]] = []
    if folder is not None and (folder / CHECKPOINT).exists():
        history = _resume(folder / CHECKPOINT, settings, weights, optimizer, schedule)
    for epoch in range(len(history), epochs):
        order = like_lengths(lengths, batch_size, np.random.default_rng([seed, epoch]))
        losses = []
        model.train()
        with torch.random.fork_rng():
            torch.manual_seed(1_000 * seed + epoch)
            for rows in runtime.progress(order, f"epoch {epoch + 1} of {epochs}"):
                batch = batch_of(model, tokenizer, [texts[i] for i in rows], [labels[i] for i in rows], max_tokens)
                optimizer.zero_grad()
                value = loss(*batch)
                value.backward()
                nn.utils.clip_grad_norm_(weights.values(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(value.item())
        model.eval()
        history.append({"loss": float(np.mean(losses))})
        if len(validation[0]):
            held = holds(model, tokenizer, *validation, max_tokens=max_tokens)
            history[-1]["accuracy"] = float(held.double().mean())
            if attack is not None:
                held = holds(model, tokenizer, *validation, attack, max_tokens, among=held)
                history[-1]["attacked"] = float(held.double().mean())
        measured = (f"{NAMES[name]} {value:.3f}" for name, value in history[-1].items())
        print(f"epoch {epoch + 1} of {epochs}:", ", ".join(measured))
        if folder is not None:
            _keep(folder, settings, weights, optimizer, schedule, history)
    model.eval()
    return history


def _named(function: Callable[..., Any]) -> str:
    """Return a function's name with the arguments that `partial` has bound, for a checkpoint to know it by."""
    function = inspect.unwrap(function)
    if not isinstance(function, partial):
        return function.__qualname__
    bound = [*map(str, function.args), *(f"{key}={value}" for key, value in sorted(function.keywords.items()))]
    return f"{_named(function.func)}({', '.join(bound)})"


def _keep(
    folder: Path,
    settings: dict[str, Any],
    weights: Mapping[str, Tensor],
    optimizer: Any,
    schedule: Any,
    history: list[dict[str, float]],
) -> None:
    """Write a checkpoint, whole or not at all, and the log's new line."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"settings": settings, "weights": dict(weights), "history": history}
    state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    with files.replacing(folder / CHECKPOINT) as new:
        torch.save(state, new)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return
    with SummaryWriter(str(folder)) as writer:
        for name, value in history[-1].items():
            writer.add_scalar(name, value, len(history))


def _resume(
    path: Path, settings: dict[str, Any], weights: Mapping[str, Tensor], optimizer: Any, schedule: Any
) -> list[dict[str, float]]:
    """Put weights, optimiser and schedule back to where the checkpoint was written; return its history."""
    state = torch.load(path, weights_only=True)
    if state["settings"] != settings:
        raise ValueError(
            f"{path} was kept by another run ({state['settings']}), not this one ({settings}). "
            "Choose another folder, or delete it."
        )
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return state["history"]


def holds(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    attack: Callable[..., Vectors] | None = None,
    max_tokens: int = 32,
    among: Bool[Tensor, " examples"] | None = None,
) -> Bool[Tensor, " examples"]:
    """Return which texts a classifier gets right, as they are or under an attack.

    Parameters
    ----------
    attack : callable, optional
        Called as `attack(model, embeddings, labels, mask=mask)`, such as `partial(pgd, eps=0.005)`.
    among : boolean Tensor, shape (examples,), optional
        Only these are attacked, the others count as lost. For an attack that keeps the best of the points it visits,
        those that fell to one of these points need not be attacked again.
    """
    held = torch.zeros(len(texts), dtype=torch.bool)
    rows = range(len(texts)) if among is None else among.nonzero()[:, 0].tolist()
    rows = sorted(rows, key=lambda i: len(texts[i]))
    if rows:
        right = [labels[i] for i in rows]
        some = [texts[i] for i in rows]
        found = predictions(model, tokenizer, some, right, attack, batch_size=16, max_tokens=max_tokens)
        held[rows] = found == torch.tensor(right)
    return held
