"""How a language model's answer to a question with given options is read off its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

RULES = ("sum", "token", "byte", "pmi")


@torch.no_grad()
def option_logs(model: Any, tokenizer: Any, prompt: str, options: Sequence[str]) -> list[Float[np.ndarray, " tokens"]]:
    """Return the log-probability of each token of each option, given the prompt and the option's tokens before it.

    The prompt is read once. Prompt and option are cut into tokens apart, so an option begins with its space.

    Parameters
    ----------
    model, tokenizer : a causal language model of transformers, and its tokenizer
    prompt : str
    options : sequence of str

    Raises
    ------
    ValueError
        If the prompt or an option has no token.
    """
    opening = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = [tokenizer(option, add_special_tokens=False)["input_ids"] for option in options]
    if not opening or not ids or not all(ids):
        raise ValueError("a prompt and options of at least one token each are needed")
    read = model(torch.tensor([opening]), use_cache=True, logits_to_keep=1)
    first = read.logits[0, -1].double().log_softmax(-1)
    longest = max(map(len, ids)) - 1
    if not longest:
        return [first[one].numpy() for one in ids]
    cache = read.past_key_values
    cache.batch_repeat_interleave(len(ids))
    rows = torch.tensor([one[:-1] + [one[-1]] * (longest + 1 - len(one)) for one in ids])
    later = model(rows, past_key_values=cache).logits.double().log_softmax(-1)
    return [
        np.r_[first[one[0]].numpy(), [later[i, t, token].item() for t, token in enumerate(one[1:])]]
        for i, one in enumerate(ids)
    ]


def chosen(
    logs: Sequence[Sequence[Float[np.ndarray, " tokens"]]],
    options: Sequence[Sequence[str]],
    rule: str = "sum",
    bare: Sequence[Sequence[Float[np.ndarray, " tokens"]]] = (),
) -> Int[np.ndarray, " items"]:
    """Return which option each item's log-probabilities choose.

    Parameters
    ----------
    logs : for each item, for each option, the log-probabilities of its tokens
    options : for each item, the options' texts
    rule : {"sum", "token", "byte", "pmi"}
        The sum; the mean by token; the sum divided by the option's bytes; the sum minus the option's sum without the
        question (pointwise mutual information).
    bare : as `logs`
        Of the options after a prompt without a question. Needed by "pmi".

    Raises
    ------
    ValueError
        If there is no such rule, or "pmi" has nothing to subtract.

    References
    ----------
    Holtzman et al. 2021, Surface Form Competition; Biderman et al. 2024, Lessons from the Trenches, section on scoring.
    """
    if rule not in RULES or (rule == "pmi" and len(bare) != len(logs)):
        raise ValueError(f"rule is one of {RULES}, and pmi wants each option's log-probabilities without the question")
    found = []
    for i, item in enumerate(logs):
        sums = np.array([option.sum() for option in item])
        if rule == "token":
            sums = sums / [len(option) for option in item]
        if rule == "byte":
            sums = sums / [len(text.encode()) for text in options[i]]
        if rule == "pmi":
            sums = sums - [option.sum() for option in bare[i]]
        found.append(int(sums.argmax()))
    return np.array(found)
