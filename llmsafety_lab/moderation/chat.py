"""Ask a language model that was tuned to chat: yes or no, one answer, several answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import torch

Turns = Sequence[str]
"""What was said, by turns: the user's first text, the assistant's answer, the user's next text and so on."""


class Reply(NamedTuple):
    """A text that a model wrote, and the log-probability of each of its tokens."""

    text: str
    logs: list[float]


def written(tokenizer: Any, turns: Turns) -> str:
    """Return a conversation as the model reads it, up to where it is to answer.

    Raises
    ------
    ValueError
        If the last turn is not the user's.
    """
    if len(turns) % 2 == 0:
        raise ValueError(f"the last of {len(turns)} turns is the assistant's; the user has to ask something")
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)


def yes_minus_no(model: torch.nn.Module, tokenizer: Any, asked: Sequence[Turns]) -> Float[np.ndarray, "questions 2"]:
    """Return for each question the log-odds of "Yes" against "No", and the probability of both together.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    asked : sequence of Turns

    Returns
    -------
    array, shape (questions, 2)
        log p(Yes) - log p(No) for the first token of the answer, and p(Yes) + p(No).
    """
    import torch

    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    found = np.empty((len(asked), 2))
    with torch.no_grad():
        for row, turns in enumerate(asked):
            ids = tokenizer(written(tokenizer, turns), return_tensors="pt", add_special_tokens=False)
            logs = model(**ids, logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
            found[row] = logs[yes] - logs[no], logs[yes].exp() + logs[no].exp()
    return found


def replies(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Turns],
    samples: int = 0,
    longest: int = 16,
    temperature: float = 0.7,
    seed: int = 0,
) -> list[list[Reply]]:
    """Return for each conversation some answers of the model: some that are drawn, or the greedy one.

    Parameters
    ----------
    asked : sequence of Turns
        Of about one length: they are answered together, the shorter ones padded on the left.
    samples : int
        How many answers are drawn; 0 takes the most probable token each time, once.
    longest : int
        How many tokens an answer has at most.
    temperature : float
        Of the draws: below 1 the probable tokens are drawn more often than the model says.
    seed : int
        Of the draws.
    """
    import torch

    tokenizer.padding_side = "left"
    ids = tokenizer(
        [written(tokenizer, turns) for turns in asked], return_tensors="pt", padding=True, add_special_tokens=False
    )
    torch.manual_seed(seed)
    drawn: dict[str, Any] = {"do_sample": False}
    if samples:
        drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "num_return_sequences": samples}
    with torch.no_grad():
        made = model.generate(
            **ids,
            **drawn,
            max_new_tokens=longest,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=tokenizer.pad_token_id,
        )
    new = made.sequences[:, ids["input_ids"].shape[1] :]
    logs = torch.stack(made.logits, 1).float().log_softmax(-1).gather(-1, new[..., None])[..., 0]
    ends = tokenizer.eos_token_id
    told = []
    for row, values in zip(new.tolist(), logs.tolist(), strict=True):
        length = row.index(ends) + 1 if ends in row else len(row)
        text = tokenizer.decode(row[:length], skip_special_tokens=True).strip()
        told.append(Reply(text, [round(value, 4) for value in values[:length]]))
    each = samples or 1
    return [told[i : i + each] for i in range(0, len(told), each)]
