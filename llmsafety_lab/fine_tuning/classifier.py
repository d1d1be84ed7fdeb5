"""Turning a pretrained encoder into a classifier: pooling, head, training, honest evaluation, the baseline to beat."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmsafety_lab import runtime
from llmsafety_lab.fine_tuning.batches import encoded, like_lengths, padded
from llmsafety_lab.fine_tuning.measures import Evaluation, score
from llmsafety_lab.fine_tuning.measures import expected_calibration_error as expected_calibration_error
from llmsafety_lab.pretraining.loop import decaying


def mean_pool(
    hidden: Float[Tensor, "batch tokens width"], mask: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch width"]:
    """Average the vectors of the real tokens of each text; padding has no part in it.

    Parameters
    ----------
    hidden : Float[Tensor, "batch tokens width"]
    mask : Int[Tensor, "batch tokens"]
        1 for a token, 0 for padding.
    """
    real = mask[..., None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * real).sum(1) / real.sum(1).clamp(min=1)


class AttentionPooling(nn.Module):
    """Average the tokens' vectors with learnt weights: a softmax over one score for each token.

    At the start all scores are 0, which is the plain mean.

    Parameters
    ----------
    width : int

    References
    ----------
    Yang et al. 2016, Hierarchical Attention Networks for Document Classification, equations 5 to 7, without their
    hidden layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(
        self, hidden: Float[Tensor, "batch tokens width"], mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch width"]:
        scores = self.score(hidden).squeeze(-1)  # (B, T)
        weights = scores.masked_fill(mask == 0, float("-inf")).softmax(-1)
        return (weights[..., None] * hidden).sum(1)


class Classifier(nn.Module):
    """An encoder, a pooling of its last layer, dropout, and a linear head.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
        Gives `last_hidden_state`.
    classes : int
    pooling : {"mean", "cls", "attention"}
    dropout : float
        Between pooling and head.

    Raises
    ------
    ValueError
        If the pooling has another name, or there is no class.
    """

    def __init__(self, encoder: Any, classes: int, pooling: str = "mean", dropout: float = 0.1) -> None:
        super().__init__()
        if pooling not in ("mean", "cls", "attention"):
            raise ValueError(f'pooling is {pooling!r}; choose one of "mean", "cls", "attention".')
        if classes < 1:
            raise ValueError(f"a classifier has at least one class, got {classes}")
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.pooling = pooling
        self.pool = AttentionPooling(width) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"] | None = None,
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        inputs_embeds: Float[Tensor, "batch tokens width"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits; `inputs_embeds` are word embeddings in the place of ids, and no mask means no padding."""
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None:
            raise ValueError("Classifier needs input_ids or inputs_embeds.")
        if attention_mask is None:
            attention_mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        outputs = self.encoder(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds)
        hidden = outputs.last_hidden_state  # (B, T, W)
        pooled = hidden[:, 0] if self.pooling == "cls" else (self.pool or mean_pool)(hidden, attention_mask)
        return self.head(self.dropout(pooled))

    def embed(self, input_ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens width"]:
        """Return the word embeddings of token ids, as `forward` takes them back."""
        return self.encoder.get_input_embeddings()(input_ids)


def freeze(model: Classifier, layers: int) -> int:
    """Freeze the embeddings and the lowest layers of a BERT encoder; return how many parameters are left to train.

    Parameters
    ----------
    model : Classifier
    layers : int
        How many layers from below; with 0 the embeddings alone.

    Raises
    ------
    ValueError
        If there are not so many layers.
    """
    if not 0 <= layers <= len(model.encoder.encoder.layer):
        raise ValueError(f"the encoder has {len(model.encoder.encoder.layer)} layers; {layers} cannot be frozen")
    for part in (model.encoder.embeddings, *model.encoder.encoder.layer[:layers]):
        part.requires_grad_(False)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def fit(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    epochs: int = 1,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    max_tokens: int = 64,
    seed: int = 0,
) -> list[float]:
    """Train what is not frozen by AdamW: a tenth of the steps warm-up, then linear decay, gradients clipped at norm 1.

    Parameters
    ----------
    model : torch.nn.Module
        From `input_ids` and `attention_mask` to logits, such as a `Classifier`. It is left in evaluation mode.
    tokenizer : transformers.PreTrainedTokenizerBase
    texts : sequence of str
    labels : sequence of int
    epochs, batch_size : int
    learning_rate : float
        The highest.
    max_tokens : int
        Longer texts are cut.
    seed : int
        Draws the order and the dropout; the generators outside are left as they were.

    Returns
    -------
    list of float
        The loss of each step.

    Raises
    ------
    ValueError
        If there are no texts, not as many labels, no epoch, or the learning rate is not finite.
    """
    if not len(texts) or len(texts) != len(labels):
        raise ValueError(
            f"fit got {len(texts)} texts and {len(labels)} labels; it needs as many of both, at least one."
        )
    if epochs < 1 or not 0 <= learning_rate < math.inf:
        raise ValueError(f"fit needs an epoch and a finite learning rate, got {epochs} and {learning_rate}")
    rows, rng = encoded(tokenizer, texts, max_tokens), np.random.default_rng(seed)
    order = [
        batch for _ in range(epochs) for batch in like_lengths([len(r["input_ids"]) for r in rows], batch_size, rng)
    ]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
    schedule = decaying(optimizer, len(order))
    losses = []
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in runtime.progress(order, "fine-tuning"):
            logits = model(**padded(model, tokenizer, [rows[i] for i in batch]))
            loss = nn.functional.cross_entropy(logits, torch.tensor([labels[i] for i in batch], device=logits.device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    model.eval()
    return losses


def predict(model: nn.Module, batches: Iterable[dict[str, Tensor]]) -> Float[Tensor, "texts classes"]:
    """Return the probabilities of the classes, with dropout off and no gradients; leave the model's mode as it was.

    Parameters
    ----------
    model : torch.nn.Module
        Called with a batch's entries by name; gives logits.
    batches : iterable of dict
    """
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(**batch) for batch in batches])
    model.train(was_training)
    return logits.softmax(-1)


def evaluate(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    batch_size: int = 64,
    max_tokens: int = 64,
) -> Evaluation:
    """Return a classifier's probabilities for texts, in their order, and the measures of `Evaluation`.

    Raises
    ------
    ValueError
        If there are no texts, or not as many labels.
    """
    if not len(texts) or len(texts) != len(labels):
        raise ValueError(f"evaluate got {len(texts)} texts and {len(labels)} labels; it needs as many of both.")
    rows = encoded(tokenizer, texts, max_tokens)
    cut = like_lengths([len(row["input_ids"]) for row in rows], batch_size)
    batches = (padded(model, tokenizer, [rows[i] for i in part]) for part in runtime.progress(cut, "evaluating"))
    found = predict(model, batches).float().cpu().numpy()
    probabilities = np.empty_like(found)
    probabilities[np.concatenate(cut)] = found
    return score(probabilities, labels)


def label_scores(
    model: Any, tokenizer: Any, prompts: Sequence[str], labels: Sequence[str], *, batch_size: int = 8
) -> Float[np.ndarray, "prompts labels"]:
    """Return a language model's log-probability of each label as the token that follows each prompt.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    tokenizer : transformers.PreTrainedTokenizerBase
    prompts : sequence of str
    labels : sequence of str
        Each one token, with the blank before it, such as " positive".

    Raises
    ------
    ValueError
        If a label is not one token.
    """
    ids = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in labels]
    if long := [label for label, tokens in zip(labels, ids, strict=True) if len(tokens) != 1]:
        raise ValueError(f"{long[0]!r} is not one token of this model; choose a label that is, blank included.")
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in tokenizer(list(prompts))["input_ids"]]
    found = np.empty((len(rows), len(labels)))
    for part in runtime.progress(like_lengths([len(row["input_ids"]) for row in rows], batch_size), "asking"):
        batch = tokenizer.pad([rows[i] for i in part], padding_side="left", return_tensors="pt").to(model.device)
        with torch.no_grad():
            positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            logits = model(**batch, position_ids=positions, logits_to_keep=1).logits[:, -1]
        found[part] = logits.float().log_softmax(-1)[:, [token for [token] in ids]].cpu().numpy()
    return found
