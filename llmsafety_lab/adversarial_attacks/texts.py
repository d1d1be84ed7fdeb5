"""Attacks on texts: a classifier as a function of embeddings, what may be perturbed, and a data set under an attack."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from llmsafety_lab import runtime
from llmsafety_lab.adversarial_attacks.gradients import Mask, Vectors, evaluating, logits_of


class Embedded(nn.Module):
    """A classifier as a function of one batch's embeddings: the batch's attention mask goes along.

    Parameters
    ----------
    classifier : nn.Module
        Called as `classifier(inputs_embeds=..., attention_mask=...)`; `fine_tuning.Classifier` or one of transformers.
    attention_mask : Tensor, shape (batch, tokens)
    """

    def __init__(self, classifier: nn.Module, attention_mask: Int[Tensor, "batch tokens"]) -> None:
        super().__init__()
        self.classifier = classifier
        self.attention_mask = attention_mask
        self.training = classifier.training

    def forward(self, embeddings: Vectors) -> Any:
        return self.classifier(inputs_embeds=embeddings, attention_mask=self.attention_mask)


def word_mask(
    input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"], special: Sequence[int]
) -> Mask:
    """Return where a token stands for text: not padding, and none of the `special` ids (`tokenizer.all_special_ids`).

    An unknown token (`[UNK]`) is special to the tokenizer, too, and is left alone.
    """
    return attention_mask.bool() & ~torch.isin(input_ids, torch.tensor(list(special), device=input_ids.device))


def predictions(
    classifier: Any,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    attack: Callable[..., Vectors] | None = None,
    source: Any = None,
    batch_size: int = 32,
    max_tokens: int = 48,
) -> Int[Tensor, " examples"]:
    """Return the classes that a classifier predicts, for texts as they are or under an attack.

    Parameters
    ----------
    classifier, tokenizer : as `models.load("reviews-classifier")` returns them
    texts, labels : sequences of str and int
    attack : callable, optional
        Called as `attack(model, embeddings, labels, mask=mask)` for each batch; `functools.partial(fgsm, eps=0.01)`.
    source : fine_tuning.Classifier, optional
        The model that the attack is made on, where it is another than the one that is asked; its tokenizer must be the
        same. The perturbation is carried over, not the perturbed embeddings.

    Raises
    ------
    ValueError
        If there are no texts, not as many labels, or a batch holds none.
    """
    if not len(texts) or len(texts) != len(labels) or batch_size < 1:
        raise ValueError(f"needs as many labels as texts: got {len(texts)}, {len(labels)}, in batches of {batch_size}")
    device = next(classifier.parameters()).device
    found = []
    for i in runtime.progress(range(0, len(texts), batch_size), "batches"):
        encoded = tokenizer(
            list(texts[i : i + batch_size]), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
        ).to(device)
        ids, attended = encoded["input_ids"], encoded["attention_mask"]
        model = Embedded(classifier, attended)
        with evaluating(model), torch.no_grad():
            embeddings = classifier.embed(ids)
            if attack is not None:
                other = source or classifier
                mask = word_mask(ids, attended, tokenizer.all_special_ids)
                right = torch.as_tensor(labels[i : i + batch_size], device=device)
                embeddings = embeddings + attack(Embedded(other, attended), other.embed(ids), right, mask=mask)
            found.append(logits_of(model, embeddings).argmax(-1).cpu())
    return torch.cat(found)
