"""Moving a policy towards answers that score well, where the score has no gradient: REINFORCE, GRPO, and the leash."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def reinforce_loss(
    log_probs: Float[Tensor, "prompts samples"], scores: Float[Tensor, "prompts samples"], baseline: bool = True
) -> Float[Tensor, ""]:
    """Return the loss whose gradient is REINFORCE's: minus the mean of advantage * log-probability.

    Parameters
    ----------
    log_probs : Tensor, shape (prompts, samples)
        Of answers that were drawn from the policy, each a sum over its tokens.
    scores : Tensor, shape (prompts, samples)
        What each answer earns. No gradient goes there.
    baseline : bool, optional
        Whether the mean score of the prompt's *other* answers is taken off. It changes no mean of the gradient, and
        makes it vary less.

    Raises
    ------
    ValueError
        If the shapes differ, or a baseline is asked for of one sample a prompt.

    References
    ----------
    Williams 1992; Kool, van Hoof and Welling 2019; Ahmadian et al. 2024.
    """
    if log_probs.shape != scores.shape or log_probs.ndim != 2:
        raise ValueError(f"prompts times samples of both: got {tuple(log_probs.shape)} and {tuple(scores.shape)}")
    samples = scores.shape[1]
    advantage = scores.detach()
    if baseline:
        if samples < 2:
            raise ValueError("the baseline is the mean of the prompt's other answers: draw two or more")
        advantage = advantage - (advantage.sum(1, keepdim=True) - advantage) / (samples - 1)
    return -(advantage * log_probs).mean()


def group_advantages(scores: Float[Tensor, "prompts samples"]) -> Float[Tensor, "prompts samples"]:
    """Return GRPO's advantages: each score less its prompt's mean, over its prompt's deviation (DeepSeekMath 2024)."""
    return (scores - scores.mean(1, keepdim=True)) / (scores.std(1, keepdim=True) + 1e-4)


def grpo_loss(
    log_probs: Float[Tensor, "rows tokens"],
    old: Float[Tensor, "rows tokens"],
    reference: Float[Tensor, "rows tokens"],
    advantages: Float[Tensor, " rows"],
    answer: Bool[Tensor, "rows tokens"],
    beta: float = 0.04,
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    """Return GRPO's loss: the clipped ratio times the advantage, and the leash, a token's mean over its answer.

    Parameters
    ----------
    log_probs, old, reference : Tensor, shape (rows, tokens)
        Each token's log-probability under the policy, the policy that drew it, and the reference.
    advantages : Tensor, shape (rows)
    answer : bool Tensor, shape (rows, tokens)
        The tokens that were drawn, ends included.
    beta, clip : float, optional

    References
    ----------
    Shao et al. 2024, DeepSeekMath, eq. 3 and 4; Schulman et al. 2017, eq. 7.
    """
    ratio = (log_probs - old.detach()).exp()
    gain = torch.minimum(ratio * advantages[:, None], ratio.clamp(1 - clip, 1 + clip) * advantages[:, None])
    apart = reference.detach() - log_probs
    leash = apart.exp() - apart - 1
    each = ((gain - beta * leash) * answer).sum(1) / answer.sum(1)
    return -each.mean()


def kl_to_reference(
    logits: Float[Tensor, "rows tokens vocabulary"],
    reference: Float[Tensor, "rows tokens vocabulary"],
    answer: Bool[Tensor, "rows tokens"],
) -> Float[Tensor, " rows"]:
    """Return the KL divergence of the policy's next tokens from the reference's, summed over each row's answer.

    The direction is KL(policy | reference), in nats. On answers that the policy drew, the mean over them estimates the
    divergence of whole answers.

    Parameters
    ----------
    logits, reference : Tensor, shape (rows, tokens, vocabulary)
        Position t scores token t + 1. No gradient goes into the reference.
    answer : bool Tensor, shape (rows, tokens)
        Which *tokens* are the answer's: token t is judged where it is predicted, at position t - 1.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if logits.shape != reference.shape or logits.shape[:2] != answer.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)}, reference {tuple(reference.shape)}, answer {tuple(answer.shape)} do not fit"
        )
    log_policy = logits[:, :-1].log_softmax(-1)
    log_reference = reference[:, :-1].detach().log_softmax(-1)
    each = (log_policy.exp() * (log_policy - log_reference)).sum(-1)
    return (each * answer[:, 1:]).sum(1)
