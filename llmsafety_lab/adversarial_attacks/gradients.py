"""Attacks on a classifier by the gradient of its loss: FGSM, PGD, noise of the same size, and what they did.

An attack returns `delta`, what is added to the embeddings of a batch. Its size is measured per example: under infinity
by the largest of all coordinates, under 2 by the Euclidean length over all tokens and dimensions together.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Model = Callable[[Tensor], Any]
Vectors = Float[Tensor, "batch tokens d_model"]
Logits = Float[Tensor, "batch classes"]
Labels = Int[Tensor, " batch"]
Mask = Bool[Tensor, "batch tokens"]


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Hold a model in evaluation mode, so that dropout is off, and put each of its parts back after."""
    trained = [part for part in model.modules() if part.training] if isinstance(model, nn.Module) else []
    try:
        for part in trained:
            part.training = False
        yield
    finally:
        for part in trained:
            part.training = True


def logits_of(model: Model, embeddings: Vectors) -> Logits:
    """Return a model's logits: what it returns, or that result's field `logits`, as models of transformers have it."""
    output = model(embeddings)
    return output if isinstance(output, Tensor) else output.logits


def loss_gradient(model: Model, embeddings: Vectors, labels: Labels) -> tuple[Logits, Vectors]:
    """Return the logits, and for each example the gradient of its cross-entropy by its embeddings.

    The losses are summed, not averaged, so that an example's gradient does not depend on the size of its batch. A loss
    that is not finite is a ValueError: its gradient points nowhere.
    """
    with evaluating(model), torch.enable_grad():
        x = embeddings.detach().requires_grad_()
        logits = logits_of(model, x)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), x)
    if not gradient.isfinite().all():
        raise ValueError("the loss or its gradient is not finite: look for NaN in embeddings, weights, logits")
    return logits.detach(), gradient


def margins(logits: Logits, labels: Labels) -> Float[Tensor, " batch"]:
    """Return the best wrong class's logit less the right one's: above 0, the model errs."""
    right = labels[:, None]
    return logits.scatter(1, right, -math.inf).amax(1) - logits.gather(1, right)[:, 0]


def lengths(delta: Vectors) -> Float[Tensor, "batch 1 1"]:
    """Return each example's Euclidean length, over all of its tokens and dimensions."""
    return delta.flatten(1).norm(dim=1)[:, None, None]


def steepest(gradient: Vectors, norm: float) -> Vectors:
    """Return the step of size 1 along which the loss grows fastest, to first order.

    Under infinity it is the gradient's sign, under 2 the gradient divided by its length. Any other `norm` is a
    ValueError.
    """
    if norm == math.inf:
        return gradient.sign()
    if norm == 2:
        length = lengths(gradient)
        return gradient / length.masked_fill(length == 0, 1)
    raise ValueError(f"norm must be 2 or math.inf, got {norm!r}")


def project(delta: Vectors, eps: float, norm: float) -> Vectors:
    """Return the nearest perturbation of size at most `eps`, example by example.

    An `eps` that is negative or not finite is a ValueError.
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is a finite size and cannot be {eps!r}")
    if norm == math.inf:
        return delta.clamp(-eps, eps)
    if norm == 2:
        length = lengths(delta)
        return delta * (eps / length.masked_fill(length == 0, 1)).clamp(max=1)
    raise ValueError(f"norm must be 2 or math.inf, got {norm!r}")


def masked(values: Vectors, mask: Mask | None) -> Vectors:
    """Return the values with zeros where the mask is False."""
    return values if mask is None else values * mask[..., None]


def random_noise(embeddings: Vectors, eps: float, norm: float = math.inf, mask: Mask | None = None) -> Vectors:
    """Return noise of exactly the size `eps`: what an attack has to beat.

    Under infinity each coordinate is plus or minus `eps`, so that the noise is as long as FGSM's perturbation; under 2
    the direction is uniform. A budget that is negative or not finite is a ValueError.
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is a finite size and cannot be {eps!r}")
    return eps * steepest(masked(torch.randn_like(embeddings), mask), norm)


def random_start(embeddings: Vectors, eps: float, norm: float = math.inf, mask: Mask | None = None) -> Vectors:
    """Return a random perturbation of size at most `eps`, where a run may begin.

    Under infinity it is uniform in the cube; under 2 its direction and its length are uniform. Errors as in
    `random_noise`.
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is a finite size and cannot be {eps!r}")
    if norm == math.inf:
        return masked(eps * (2 * torch.rand_like(embeddings) - 1), mask)
    return torch.rand_like(embeddings[:, :1, :1]) * random_noise(embeddings, eps, norm, mask)


def fgsm(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    eps: float,
    norm: float = math.inf,
    mask: Mask | None = None,
) -> Vectors:
    """Return the fast gradient sign method's perturbation: one step of size `eps` (Goodfellow et al. 2015, section 4).

    Parameters
    ----------
    model : callable
        From embeddings to logits; an `nn.Module` is held in evaluation mode.
    embeddings : Tensor, shape (batch, tokens, d_model)
    labels : integer Tensor, shape (batch,)
        The right classes; the attack raises their loss.
    eps : float
        The budget, in units of the embeddings' coordinates.
    norm : float
        `math.inf` or 2.
    mask : boolean Tensor, shape (batch, tokens), optional
        True where a token may be perturbed: see `word_mask`.

    Returns
    -------
    Tensor, shape (batch, tokens, d_model)
        `delta`, to be added to the embeddings.

    Raises
    ------
    ValueError
        If `norm` is neither 2 nor infinity, `eps` negative or not finite, or a loss not finite.
    """
    _, gradient = loss_gradient(model, embeddings, labels)
    return project(eps * steepest(masked(gradient, mask), norm), eps, norm)


def pgd(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    eps: float,
    norm: float = math.inf,
    steps: int = 10,
    restarts: int = 1,
    step: float | None = None,
    mask: Mask | None = None,
) -> Vectors:
    """Return projected gradient descent's perturbation: steps uphill, each projected (Madry et al. 2018, section 2.1).

    Of all points visited, starts among them, each example keeps the one with the largest margin. The first run begins
    at zero and its first step is as long as the budget, which is FGSM; so PGD errs wherever FGSM does.

    Parameters
    ----------
    model, embeddings, labels, eps, norm, mask
        As for `fgsm`.
    steps : int
        Of each run. A step costs a pass forward and one backward, a run one pass forward more.
    restarts : int
        The number of runs; those after the first begin at random points.
    step : float, optional
        The size of a step, by default 2.5 `eps` / `steps`.

    Returns
    -------
    Tensor, shape (batch, tokens, d_model)
        `delta`, to be added to the embeddings.

    Raises
    ------
    ValueError
        If `norm` is neither 2 nor infinity, `eps` or `step` negative or not finite, a loss not finite, or there is no
        step or no run.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    size = 2.5 * eps / steps if step is None else step
    if not 0 <= size < math.inf:
        raise ValueError(f"a step is a finite size and cannot be {size!r}, with eps = {eps!r}")
    best = torch.zeros_like(embeddings)
    worst = torch.full_like(embeddings[:, 0, 0], -math.inf)
    for run in range(restarts):
        delta = random_start(embeddings, eps, norm, mask) if run > 0 else torch.zeros_like(embeddings)
        for i in range(steps + 1):
            if i < steps:
                logits, gradient = loss_gradient(model, embeddings + delta, labels)
            else:
                with evaluating(model), torch.no_grad():
                    logits = logits_of(model, embeddings + delta)
            margin = margins(logits, labels)
            better = margin > worst
            worst = torch.where(better, margin, worst)
            best = torch.where(better[:, None, None], delta, best)
            stride = eps if run == i == 0 else size
            delta = project(delta + stride * steepest(masked(gradient, mask), norm), eps, norm)
    return best


class Norms(NamedTuple):
    """How large perturbations are, example by example, each of shape (batch,)."""

    linf: Tensor
    l2: Tensor
    tokens: Tensor


def perturbation_norms(delta: Vectors) -> Norms:
    """Return each perturbation's largest coordinate, its Euclidean length, and the number of tokens that it touches."""
    return Norms(delta.abs().amax((1, 2)), delta.flatten(1).norm(dim=1), (delta != 0).any(-1).sum(-1))


def wilson(count: int, of: int, z: float = 1.959964) -> tuple[float, float, float]:
    """Return a share and the ends of its 95% interval (Wilson 1927), which stays in [0, 1] and works for 0 of n.

    Raises
    ------
    ValueError
        If there is no case, the count is not from 0 to `of`, or z is not positive.
    """
    if not 0 < z < math.inf:
        raise ValueError(f"z counts standard errors, 1.96 for 95%: got {z}")
    if not 0 <= count <= of or of == 0:
        raise ValueError(f"a share needs cases, and a count among them: got {count} of {of}")
    p, shrink = count / of, 1 + z**2 / of
    middle = (p + z**2 / (2 * of)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    return p, max(0.0, middle - half), min(1.0, middle + half)


def attack_success_rate(
    labels: Int[Tensor, " examples"], clean: Int[Tensor, " examples"], attacked: Int[Tensor, " examples"]
) -> tuple[float, float, float]:
    """Return the share of examples that the attack turned, of those that the model had right, with its 95% interval.

    What was wrong before the attack is no success of the attack, and is left out of both counts.

    Parameters
    ----------
    labels, clean, attacked : integer Tensors, shape (examples,)
        The right classes, and those predicted without and with the perturbation.

    Raises
    ------
    ValueError
        If the shapes differ, or the model had none right.
    """
    if not labels.shape == clean.shape == attacked.shape:
        raise ValueError(f"shapes differ: {tuple(labels.shape)}, {tuple(clean.shape)}, {tuple(attacked.shape)}")
    right = clean == labels
    if not right.any():
        raise ValueError("the model had no example right, so there is nothing that an attack could turn")
    return wilson(int((right & (attacked != labels)).sum()), int(right.sum()))


def nearest_tokens(embeddings: Vectors, table: Float[Tensor, "vocabulary d_model"]) -> Int[Tensor, "batch tokens"]:
    """Return for each vector the id of the row of the embedding table that is nearest (Euclidean)."""
    # |e - t|² = |e|² - 2 e·t + |t|², and |e|² is the same for all rows.
    return ((table**2).sum(-1) / 2 - embeddings @ table.T).argmin(-1)
