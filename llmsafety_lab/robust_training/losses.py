"""Losses that make a classifier robust: each attacks the model as it is now, and returns what to lower.

All have one signature, `loss(model, embeddings, labels, mask, eps=...)`, that of the attacks, and are called with the
weights' gradients cleared; `backward()` on what they return completes the gradient. What looks for a perturbation holds
the model in evaluation mode and leaves no gradient in the weights; FreeLB, which trains while it looks, does not.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from llmsafety_lab.adversarial_attacks.gradients import (
    Labels,
    Logits,
    Mask,
    Model,
    Vectors,
    evaluating,
    logits_of,
    masked,
    project,
    random_noise,
    random_start,
    steepest,
)

Scalar = Float[Tensor, ""]
Loss = Callable[..., Scalar]


def divergence(clean: Logits, other: Logits) -> Float[Tensor, " batch"]:
    """Return for each example KL(p || q), p being the first logits' distribution and q the second's."""
    return kl_div(other.log_softmax(-1), clean.log_softmax(-1), reduction="none", log_target=True).sum(-1)


def ascend(
    objective: Callable[[Vectors], Float[Tensor, " batch"]],
    delta: Vectors,
    eps: float,
    norm: float,
    steps: int,
    mask: Mask | None,
    step: float | None = None,
) -> Vectors:
    """Climb from `delta`, each step projected; return the last point, cut off from the graph.

    Parameters
    ----------
    objective : callable
        From perturbations to one value for each example.
    step : float, optional
        The size of a step, by default 2.5 `eps` / `steps`.

    Raises
    ------
    ValueError
        If there is no step, or `eps` is negative or not finite.
    """
    if steps < 1:
        raise ValueError(f"a climb has at least one step, got {steps}")
    size = 2.5 * eps / steps if step is None else step
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(delta).sum(), delta)
        delta = project(delta + size * steepest(masked(gradient, mask), norm), eps, norm)
    return delta.detach()


def plain_loss(model: Model, embeddings: Vectors, labels: Labels, mask: Mask | None = None) -> Scalar:
    """Return the cross-entropy on the texts as they are."""
    return cross_entropy(logits_of(model, embeddings), labels)


def word_dropout_loss(
    model: Model, embeddings: Vectors, labels: Labels, mask: Mask | None = None, eps: float = 0.1
) -> Scalar:
    """Return the cross-entropy on texts each of whose words is lost, its vector zero, with probability `eps`.

    This is augmentation: random changes, made without asking the model. An `eps` that is none is a ValueError.
    """
    if not 0 <= eps <= 1:
        raise ValueError(f"eps is the probability that a word is lost, got {eps}")
    lost = torch.rand(embeddings.shape[:2], device=embeddings.device) < eps
    delta = masked(-embeddings * lost[..., None], mask)
    return cross_entropy(logits_of(model, embeddings + delta), labels)


def noise_loss(
    model: Model, embeddings: Vectors, labels: Labels, mask: Mask | None = None, *, eps: float, norm: float = math.inf
) -> Scalar:
    """Return the cross-entropy under noise of size `eps`: any direction, where PGD looks for the worst."""
    return cross_entropy(logits_of(model, embeddings + random_noise(embeddings, eps, norm, mask)), labels)


def adversarial_loss(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    mask: Mask | None = None,
    *,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
    start: Vectors | None = None,
) -> Scalar:
    """Return the cross-entropy at the perturbation that PGD ends with (Madry et al. 2018, equation 2.1).

    Parameters
    ----------
    model, embeddings, labels, mask, eps, norm
        As for `adversarial_attacks.fgsm`.
    steps : int
        Each costs one pass forward and one backward.
    step : float, optional
        The size of a step, by default 2.5 `eps` / `steps`.
    start : Tensor, shape (batch, tokens, d_model), optional
        Where the climb begins, by default a random point of the ball.
    """
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    with evaluating(model):
        delta = ascend(
            lambda d: cross_entropy(logits_of(model, x + d), labels, reduction="none"),
            start,
            eps,
            norm,
            steps,
            mask,
            step,
        )
    return cross_entropy(logits_of(model, embeddings + delta), labels)


def fgsm_loss(
    model: Model, embeddings: Vectors, labels: Labels, mask: Mask | None = None, *, eps: float, norm: float = math.inf
) -> Scalar:
    """Return the cross-entropy after one step of size `eps` from the clean point (Goodfellow et al. 2015)."""
    start = torch.zeros_like(embeddings)
    return adversarial_loss(model, embeddings, labels, mask, eps=eps, norm=norm, steps=1, step=eps, start=start)


def freelb_loss(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    mask: Mask | None = None,
    *,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
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
    if steps < 1:
        raise ValueError(f"a climb has at least one step, got {steps}")
    size = 2.5 * eps / steps if step is None else step
    delta = random_start(embeddings.detach(), eps, norm, mask)
    loss = torch.zeros((), device=delta.device)
    for i in range(steps):
        delta = delta.detach().requires_grad_()
        share = cross_entropy(logits_of(model, embeddings + delta), labels) / steps
        loss = loss + share
        if i < steps - 1:
            share.backward(retain_graph=embeddings.requires_grad)
            assert delta.grad is not None
            delta = project(delta + size * steepest(masked(delta.grad, mask), norm), eps, norm)
            loss = loss.detach()
    return loss


def trades_loss(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    mask: Mask | None = None,
    *,
    eps: float,
    norm: float = math.inf,
    steps: int = 3,
    step: float | None = None,
    start: Vectors | None = None,
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
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta weighs the divergence, 0 or more: got {beta}")
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            fixed = logits_of(model, x)
        delta = ascend(lambda d: divergence(fixed, logits_of(model, x + d)), start, eps, norm, steps, mask, step)
    clean = logits_of(model, embeddings)
    return cross_entropy(clean, labels) + beta * divergence(clean, logits_of(model, embeddings + delta)).mean()


def virtual_direction(
    model: Model,
    embeddings: Vectors,
    mask: Mask | None = None,
    iterations: int = 1,
    xi: float = 1e-2,
    start: Vectors | None = None,
) -> Vectors:
    """Return the direction of length 1, for each example, in which its prediction bends most.

    At zero the divergence has its minimum, so its first-order term is 0 and the second decides: the gradient at the
    small `xi` d is about `xi` H d. Dividing by its length and repeating is power iteration, towards H's first
    eigenvector.

    References
    ----------
    Miyato, Maeda, Koyama and Ishii 2019, Virtual Adversarial Training, section 3.3.
    """
    if iterations < 0 or not 0 < xi < math.inf:
        raise ValueError(f"needs no negative number of iterations, and a positive xi: got {iterations} and {xi}")
    x = embeddings.detach()
    d = steepest(masked(torch.randn_like(x), mask), 2) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            fixed = logits_of(model, x)
        for _ in range(iterations):
            d = d.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(divergence(fixed, logits_of(model, x + xi * d)).sum(), d)
            d = steepest(masked(gradient, mask), 2)
    return d.detach()


def vat_loss(
    model: Model,
    embeddings: Vectors,
    labels: Labels,
    mask: Mask | None = None,
    *,
    eps: float,
    norm: float = math.inf,
    iterations: int = 1,
    weight: float = 1.0,
) -> Scalar:
    """Return cross-entropy plus `weight` times KL(p(x) || p(x + r)), r the virtual adversarial perturbation.

    p(x) is a constant here: the gradient pulls the perturbed prediction to the clean one and not the clean one away.
    The paper's r is `eps` times the direction, that is the Euclidean norm; under infinity it is `eps` times its sign.

    References
    ----------
    Miyato, Dai and Goodfellow 2017, Adversarial Training Methods for Semi-Supervised Text Classification, section 3.
    """
    if not 0 <= eps < math.inf or not 0 <= weight < math.inf:
        raise ValueError(f"eps is a finite size, and the weight 0 or more: got {eps} and {weight}")
    r = eps * steepest(virtual_direction(model, embeddings, mask, iterations), norm)
    clean = logits_of(model, embeddings)
    apart = divergence(clean.detach(), logits_of(model, embeddings + r)).mean()
    return cross_entropy(clean, labels) + weight * apart
