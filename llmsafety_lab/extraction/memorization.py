"""Discoverable memorisation: given how a training record begins, does the model write its end?"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llmsafety_lab.extraction.candidates import generate


def discovered(model: nn.Module, texts: Int[Tensor, "texts tokens"], suffix: int) -> Bool[np.ndarray, " texts"]:
    """Say of which texts greedy decoding writes the last tokens when it is given those before them.

    Raises
    ------
    ValueError
        Unless a token is left to prompt with, and one to write.

    References
    ----------
    Carlini et al. 2023, Quantifying Memorization Across Neural Language Models, definition 3.1.
    """
    return (generate(model, _prompts(texts, suffix), suffix, top=1) == texts).all(1).numpy()


@torch.no_grad()
def suffix_log_probability(
    model: nn.Module, texts: Int[Tensor, "texts tokens"], suffix: int
) -> Float[np.ndarray, " texts"]:
    """Return the log-probability that sampling writes exactly the last tokens, given those before them, in nats.

    One pass gives the probability that would take many samples to count.

    Raises
    ------
    ValueError
        As `discovered`.

    References
    ----------
    Hayes et al. 2025, Measuring Memorization in Language Models via Probabilistic Extraction.
    """
    start = _prompts(texts, suffix).shape[1]
    logits = torch.cat([model(part[:, :-1])[:, start - 1 :] for part in texts.split(256)])
    return -cross_entropy(logits.transpose(1, 2), texts[:, start:], reduction="none").sum(1).double().numpy()


def _prompts(texts: Int[Tensor, "texts tokens"], suffix: int) -> Int[Tensor, "texts prompt"]:
    if not 0 < suffix < texts.shape[1]:
        raise ValueError(f"of {texts.shape[1]} tokens, 1 to {texts.shape[1] - 1} can be the suffix; got {suffix}")
    return texts[:, :-suffix]


def queries_needed(log_probability: Float[np.ndarray, " texts"], chance: float = 0.5) -> Float[np.ndarray, " texts"]:
    """Return how many samples write a text at least once with that chance: the n of (n, p)-discoverable extraction.

    It is the least whole n with 1 - (1 - q)^n >= chance, for a text of probability q.

    Raises
    ------
    ValueError
        If the chance is not between 0 and 1, or a log-probability is above 0.

    References
    ----------
    Hayes et al. 2025, section 3.
    """
    logs = np.asarray(log_probability, dtype=float)
    if not 0 < chance < 1 or not (logs <= 0).all():
        raise ValueError(f"a chance between 0 and 1 and log-probabilities of at most 0 are needed; got {chance}")
    with np.errstate(divide="ignore"):
        each = np.log1p(-np.exp(logs))
    tiny = np.exp(logs) == 0
    needed = np.divide(np.log1p(-chance), each, out=np.full(logs.shape, np.inf), where=~tiny)
    return np.maximum(np.ceil(needed - 1e-9), 1)
