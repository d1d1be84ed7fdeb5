"""The experiment behind the kept table: one classifier, seven ways to train it on, and the attacks on what came out.

`scripts/robust_training.py` runs all of it; the chapter and the tests run single rows again.
"""

import copy
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from llmsafety_lab import data, models
from llmsafety_lab.adversarial_attacks import Vectors, fgsm, pgd, random_noise
from llmsafety_lab.fine_tuning import freeze
from llmsafety_lab.fine_tuning_measures import baseline
from llmsafety_lab.robust_training import (
    Loss,
    adversarial_loss,
    fgsm_loss,
    freelb_loss,
    plain_loss,
    trades_loss,
    vat_loss,
    word_dropout_loss,
)
from llmsafety_lab.robust_training_runs import fit_robust, holds

EPS = 0.005
EPS_2 = 0.1
MAX_TOKENS = 24
TRAINED, TESTED, AGAIN = 480, 200, 96
SEEDS = (0, 1, 2)
METHODS: dict[str, Loss] = {
    "plain": plain_loss,
    "word dropout": word_dropout_loss,
    "FGSM": partial(fgsm_loss, eps=EPS),
    "PGD": partial(adversarial_loss, eps=EPS),
    "FreeLB": partial(freelb_loss, eps=EPS),
    "VAT": partial(vat_loss, eps=EPS),
    "TRADES": partial(trades_loss, eps=EPS),
}
ATTACKS = {
    "clean": "as they are",
    "noise": "random noise of the same size",
    "FGSM": "one step",
    "PGD": "10 steps, where the training used 3",
    "PGD, L2": "10 steps under the other norm, on which no method trained",
    "transferred": "PGD's perturbation for the classifier that all began with",
    "lost words": "every fifth word unknown, at random",
}


class Texts(NamedTuple):
    """Texts and their labels."""

    texts: list[str]
    labels: list[int]


class Bench(NamedTuple):
    """What every row of the table begins with."""

    start: nn.Module
    tokenizer: Any
    train: Texts
    test: Texts
    known: Texts


def bench() -> Bench:
    """Return the classifier, short reviews that it has not seen to train on, the test's, and what it was trained on."""
    start, tokenizer = models.load("reviews-classifier")
    freeze(start, 3)
    rows = data.load("reviews")
    sizes = [len(ids) for ids in tokenizer(list(rows["text"]))["input_ids"]]
    parts: dict[str, list[int]] = {"train": [], "test": []}
    for i, split in enumerate(rows["split"]):
        parts[split].append(i)
    known, unseen = parts["train"][:4_500], [i for i in parts["train"][4_500:] if sizes[i] <= MAX_TOKENS]
    test = [i for i in parts["test"] if sizes[i] <= MAX_TOKENS][:TESTED]
    texts, labels = list(rows["text"]), list(rows["label"])
    return Bench(start, tokenizer, *(Texts([texts[i] for i in p], [labels[i] for i in p]) for p in (unseen, test, known)))


def trained(begin: Bench, method: str, seed: int) -> tuple[nn.Module, list[dict[str, float]], float]:
    """Train a copy of the classifier on by one method; return it, its history, and the seconds of processor time."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(begin.train.texts), generator=generator)[:TRAINED].tolist()
    model = copy.deepcopy(begin.start)
    since = time.process_time()
    history = fit_robust(
        model,
        begin.tokenizer,
        [begin.train.texts[i] for i in rows],
        [begin.train.labels[i] for i in rows],
        METHODS[method],
        learning_rate=2e-4,
        max_tokens=MAX_TOKENS,
        seed=seed,
    )
    return model, history, time.process_time() - since


def measured(begin: Bench, model: nn.Module, attacks: Sequence[str], seed: int = 0) -> dict[str, Tensor]:
    """Return for each attack which of the test's texts hold: are right as they are, and under the attack.

    PGD visits the clean point and FGSM's, so what fell there is not attacked again.
    """
    at = (model, begin.tokenizer, *begin.test)
    found = {"clean": holds(*at, max_tokens=MAX_TOKENS)}

    def noise(model: Any, embeddings: Vectors, labels: Tensor, mask: Tensor) -> Vectors:
        return random_noise(embeddings, EPS, mask=mask)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for attack in attacks:
            among = found.get("FGSM", found["clean"]) if attack == "PGD" else found["clean"]
            how = {
                "noise": noise,
                "FGSM": partial(fgsm, eps=EPS),
                "PGD": partial(pgd, eps=EPS, steps=10),
                "PGD, L2": partial(pgd, eps=EPS_2, norm=2, steps=10),
            }
            if attack in how:
                found[attack] = holds(*at, how[attack], MAX_TOKENS, among)
    return found
