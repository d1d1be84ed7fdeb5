"""Losses that make a classifier robust: each takes a batch, attacks the model as it is now, and returns what to lower.

All have one signature, `loss(model, batch, eps=...)`, and are called with the weights' gradients cleared; `backward()`
on what they return completes the gradient. What looks for a perturbation holds the model in evaluation mode and leaves
no gradient in the weights; FreeLB, which trains while it looks, says what it does.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from llmsafety_lab.adversarial_attacks import (
    evaluating,
    masked,
    project,
    random_noise,
    random_start,
    steepest,
)

Vectors = Float[Tensor, "batch tokens d_model"]
Logits = Float[Tensor, "batch classes"]
Scalar = Float[Tensor, ""]
Loss = Callable[..., Scalar]


class Batch(NamedTuple):
    """Texts of one step.

    Parameters
    ----------
    ids : integer Tensor, shape (batch, tokens)
    attended : integer Tensor, shape (batch, tokens)
        1 for a token, 0 for padding.
    labels : integer Tensor, shape (batch,)
    mask : boolean Tensor, shape (batch, tokens)
        True where a token may be perturbed: `adversarial_attacks_texts.word_mask`.
    """

    ids: Int[Tensor, "batch tokens"]
    attended: Int[Tensor, "batch tokens"]
    labels: Int[Tensor, " batch"]
    mask: Bool[Tensor, "batch tokens"]


def logits_at(model: Any, batch: Batch, delta: Vectors | None = None) -> Logits:
    """Return the logits at the batch's embeddings, or at `delta` away from them."""
    x = model.embed(batch.ids)
    return model(inputs_embeds=x if delta is None else x + delta, attention_mask=batch.attended)


def divergence(clean: Logits, other: Logits) -> Float[Tensor, " batch"]:
    """Return for each example KL(p || q), p being the first logits' distribution and q the second's."""
    return kl_div(other.log_softmax(-1), clean.log_softmax(-1), reduction="none", log_target=True).sum(-1)


def ascend(
    objective: Callable[[Vectors], Float[Tensor, " batch"]],
    delta: Vectors,
    eps: float,
    norm: float,
    steps: int,
    step: float,
    mask: Bool[Tensor, "batch tokens"],
) -> Vectors:
    """Climb from `delta`, each step of size `step` and projected; return the last point, cut off from the graph.

    Parameters
    ----------
    objective : callable
        From perturbations to one value for each example.
    """
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(delta).sum(), delta)
        delta = project(delta + step * steepest(masked(gradient, mask), norm), eps, norm)
    return delta.detach()


def worst_delta(
    model: Any,
    batch: Batch,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
    random: bool = True,
) -> Vectors:
    """Return the inner maximisation's answer: PGD's last point, for the model in evaluation mode.

    Parameters
    ----------
    steps : int
        Each costs one pass forward and one backward.
    step : float, optional
        By default 2.5 `eps` / `steps`.
    random : bool
        Begin at a random point of the ball, else at zero.
    """
    x = model.embed(batch.ids).detach()
    start = random_start(x, eps, norm, batch.mask) if random else torch.zeros_like(x)

    def losses(delta: Vectors) -> Float[Tensor, " batch"]:
        return cross_entropy(logits_at(model, batch, delta), batch.labels, reduction="none")

    with evaluating(model):
        return ascend(losses, start, eps, norm, steps, 2.5 * eps / steps if step is None else step, batch.mask)


def plain_loss(model: Any, batch: Batch) -> Scalar:
    """Return the cross-entropy on the texts as they are."""
    return cross_entropy(logits_at(model, batch), batch.labels)


def word_dropout_loss(model: Any, batch: Batch, eps: float = 0.1, unknown: int = 100) -> Scalar:
    """Return the cross-entropy on texts in which each word became the `unknown` id with probability `eps`.

    This is augmentation: random changes, made without asking the model. 100 is [UNK] in BERT's vocabulary.
    """
    lost = batch.mask & (torch.rand(batch.mask.shape, device=batch.ids.device) < eps)
    return plain_loss(model, batch._replace(ids=batch.ids.masked_fill(lost, unknown)))


def noise_loss(model: Any, batch: Batch, eps: float, norm: float = math.inf) -> Scalar:
    """Return the cross-entropy at embeddings with noise of size `eps`: any direction, where PGD looks for the worst."""
    delta = random_noise(model.embed(batch.ids).detach(), eps, norm, batch.mask)
    return cross_entropy(logits_at(model, batch, delta), batch.labels)


def adversarial_loss(
    model: Any,
    batch: Batch,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
    random: bool = True,
) -> Scalar:
    """Return the cross-entropy at the perturbation that PGD finds (Madry et al. 2018, equation 2.1).

    The arguments are those of `worst_delta`.
    """
    delta = worst_delta(model, batch, eps, norm, steps, step, random)
    return cross_entropy(logits_at(model, batch, delta), batch.labels)


def fgsm_loss(model: Any, batch: Batch, eps: float, norm: float = math.inf) -> Scalar:
    """Return the cross-entropy after one step of size `eps` from the clean point (Goodfellow et al. 2015)."""
    return adversarial_loss(model, batch, eps, norm, steps=1, step=eps, random=False)


def freelb_loss(
    model: Any, batch: Batch, eps: float, norm: float = math.inf, steps: int = 3, step: float | None = None
) -> Scalar:
    """Return the mean loss along a climb from a random point (Zhu et al. 2020, algorithm 1).

    A pass backward gives the gradient by `delta` and by the weights at once. Both are used: one moves `delta`, the
    other is added up in the weights' `.grad`, so `steps` passes do for attack and training together. All but the last
    have been made when this returns, with the model in the mode that it came in. The paper perturbs under the Euclidean
    norm, and holds dropout's mask through the steps; here it is drawn anew.

    References
    ----------
    Zhu, Cheng, Gan, Sun, Goldstein and Liu 2020, FreeLB.
    """
    size = 2.5 * eps / steps if step is None else step
    delta = random_start(model.embed(batch.ids).detach(), eps, norm, batch.mask)
    seen = torch.zeros((), device=delta.device)
    for i in range(steps):
        delta = delta.detach().requires_grad_()
        loss = cross_entropy(logits_at(model, batch, delta), batch.labels) / steps
        if i == steps - 1:
            break
        loss.backward()
        assert delta.grad is not None
        seen = seen + loss.detach()
        delta = project(delta + size * steepest(masked(delta.grad, batch.mask), norm), eps, norm)
    return seen + loss


def trades_loss(
    model: Any,
    batch: Batch,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
    beta: float = 6.0,
) -> Scalar:
    """Return cross-entropy on the clean texts plus `beta` times KL(p(x) || p(x + delta)).

    The climb is on the divergence. It needs no label, and at the clean point it is 0 with gradient 0, so it begins at a
    random one. The loss's gradient flows through both distributions.

    References
    ----------
    Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan 2019, Theoretically Principled Trade-off between Robustness and
    Accuracy, section 3.
    """
    x = model.embed(batch.ids).detach()
    with evaluating(model):
        with torch.no_grad():
            fixed = logits_at(model, batch)
        start = random_start(x, eps, norm, batch.mask)
        size = 2.5 * eps / steps if step is None else step
        delta = ascend(
            lambda d: divergence(fixed, logits_at(model, batch, d)), start, eps, norm, steps, size, batch.mask
        )
    clean = logits_at(model, batch)
    return cross_entropy(clean, batch.labels) + beta * divergence(clean, logits_at(model, batch, delta)).mean()


def virtual_direction(model: Any, batch: Batch, iterations: int = 1, xi: float = 1e-2) -> Vectors:
    """Return the direction of length 1, for each example, in which its prediction bends most.

    At zero the divergence has its minimum, so its first-order term is 0 and the second decides: the gradient at the
    small `xi` d is about `xi` H d. Dividing by its length and repeating is power iteration, towards H's first
    eigenvector.

    References
    ----------
    Miyato, Maeda, Koyama and Ishii 2018, Virtual Adversarial Training, section 3.3.
    """
    x = model.embed(batch.ids).detach()
    d = random_noise(x, 1.0, 2, batch.mask)
    with evaluating(model):
        with torch.no_grad():
            fixed = logits_at(model, batch)
        for _ in range(iterations):
            d = d.requires_grad_()
            (gradient,) = torch.autograd.grad(divergence(fixed, logits_at(model, batch, xi * d)).sum(), d)
            d = steepest(masked(gradient, batch.mask), 2)
    return d.detach()


def vat_loss(
    model: Any, batch: Batch, eps: float, norm: float = math.inf, iterations: int = 1, weight: float = 1.0
) -> Scalar:
    """Return cross-entropy plus `weight` times KL(p(x) || p(x + r)), r the virtual adversarial perturbation.

    p(x) is a constant here: the gradient pulls the perturbed prediction to the clean one and not the clean one away.
    The paper's r is `eps` times the direction, that is the Euclidean norm; under infinity it is `eps` times its sign.

    References
    ----------
    Miyato, Dai and Goodfellow 2017, Adversarial Training Methods for Semi-Supervised Text Classification, section 3.
    """
    r = eps * steepest(virtual_direction(model, batch, iterations), norm)
    clean = logits_at(model, batch)
    apart = divergence(clean.detach(), logits_at(model, batch, r)).mean()
    return cross_entropy(clean, batch.labels) + weight * apart
