"""The experiment behind the kept table: one classifier, seven ways to train it on, and the attacks on what came out.

`scripts/robust_training.py` runs all of it; the chapter and the tests run rows of it again.
"""

import copy
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from llmsafety_lab import data, models
from llmsafety_lab.adversarial_attacks.gradients import Labels, Mask, Vectors, fgsm, masked, pgd, random_noise
from llmsafety_lab.fine_tuning.classifier import freeze
from llmsafety_lab.robust_training.losses import (
    Loss,
    adversarial_loss,
    fgsm_loss,
    freelb_loss,
    plain_loss,
    trades_loss,
    vat_loss,
    word_dropout_loss,
)
from llmsafety_lab.robust_training.runs import fit_robust, holds

EPS, EPS_2 = 0.002, 0.12
MAX_TOKENS = 24
KNOWN, TRAINED, TESTED = 4_500, 2_560, 300
LEARNING_RATE = 1e-4
SEEDS = (0, 1, 2)
METHODS: dict[str, Loss] = {
    "plain": plain_loss,
    "PGD": partial(adversarial_loss, eps=EPS),
    "FreeLB": partial(freelb_loss, eps=EPS),
    "TRADES": partial(trades_loss, eps=EPS),
    "FGSM": partial(fgsm_loss, eps=EPS),
    "VAT": partial(vat_loss, eps=EPS),
    "word dropout": word_dropout_loss,
}
ATTACKS = ("clean", "noise", "lost words", "transferred", "FGSM", "PGD", "PGD, L2")


class Texts(NamedTuple):
    """Texts and their labels."""

    texts: list[str]
    labels: list[int]


class Bench(NamedTuple):
    """What every row of the table begins with."""

    start: nn.Module
    tokenizer: Any
    known: Texts
    train: Texts
    test: Texts


def bench(among: int | None = None) -> Bench:
    """Return the reviews classifier, what it was trained on, and short reviews to train on and to test with.

    Its word embeddings are frozen: a budget in their units means the same before and after training.

    Parameters
    ----------
    among : int, optional
        The short reviews are looked for among so many first ones of both splits; among all by default.
    """
    start, tokenizer = models.load("reviews-classifier")
    freeze(start, 0)
    rows = data.load("reviews")
    texts, labels = list(rows["text"]), list(rows["label"])
    tested = [i for i, split in enumerate(rows["split"]) if split == "test"]
    rest = [i for i, split in enumerate(rows["split"]) if split == "train"]

    def short(places: list[int]) -> list[int]:
        ids = tokenizer([texts[i] for i in places])["input_ids"]
        return [i for i, one in zip(places, ids, strict=True) if len(one) <= MAX_TOKENS]

    parts = (rest[:KNOWN], short(rest[KNOWN:][:among]), short(tested[:among])[:TESTED])
    return Bench(start, tokenizer, *(Texts([texts[i] for i in part], [labels[i] for i in part]) for part in parts))


def carried(begin: Bench) -> list[Tensor]:
    """Return the perturbations that PGD finds for the classifier as it was, batch by batch of the test."""
    found: list[Tensor] = []

    def keep(model: Any, embeddings: Vectors, labels: Labels, mask: Mask) -> Tensor:
        found.append(pgd(model, embeddings, labels, EPS, steps=10, mask=mask))
        return found[-1]

    holds(begin.start, begin.tokenizer, *begin.test, keep, MAX_TOKENS)
    return found


def trained(begin: Bench, method: str, seed: int, most: int = TRAINED) -> tuple[nn.Module, float, float]:
    """Train a copy of the classifier on by one method, on at most so many texts, which the seed draws.

    Returns
    -------
    model : nn.Module
    loss, seconds : float
        The mean of the training's losses, and the processor time that it took.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(begin.train.texts), generator=generator)[:most].tolist()
    texts, labels = ([column[i] for i in rows] for column in begin.train)
    model = copy.deepcopy(begin.start)
    since = time.process_time()
    (epoch,) = fit_robust(
        model,
        begin.tokenizer,
        texts,
        labels,
        METHODS[method],
        learning_rate=LEARNING_RATE,
        max_tokens=MAX_TOKENS,
        seed=seed,
    )
    return model, epoch["loss"], time.process_time() - since


def noise(model: Any, embeddings: Vectors, labels: Labels, mask: Mask) -> Vectors:
    """Return random noise of the attacks' size."""
    return random_noise(embeddings, EPS, mask=mask)


def lost_words(model: Any, embeddings: Vectors, labels: Labels, mask: Mask) -> Vectors:
    """Return what makes every fifth word's vector zero, at random: far outside of the budget, and aimed at nothing."""
    return masked(-embeddings * (torch.rand(embeddings.shape[:2]) < 0.2)[..., None], mask)


HOW: dict[str, Callable[..., Vectors]] = {
    "noise": noise,
    "lost words": lost_words,
    "FGSM": partial(fgsm, eps=EPS),
    "PGD": partial(pgd, eps=EPS, steps=10),
    "PGD, L2": partial(pgd, eps=EPS_2, norm=2, steps=5),
}


def measured(
    begin: Bench, model: nn.Module, seed: int, attacks: Iterable[str] = ATTACKS, transferred: Iterable[Tensor] = ()
) -> dict[str, Tensor]:
    """Return for each attack which of the test's texts hold: are right as they are, and under the attack.

    Only texts that are right are attacked, and PGD, which visits FGSM's point, only those that held under FGSM. The
    transferred perturbations are those of `carried`.
    """
    at = (model, begin.tokenizer, *begin.test)
    found = {"clean": holds(*at, max_tokens=MAX_TOKENS)}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for attack in attacks:
            if attack == "transferred":
                deltas = iter(transferred)
                held = holds(*at, lambda *batch, mask, deltas=deltas: next(deltas), MAX_TOKENS)
                found[attack] = held & found["clean"]
            elif attack != "clean":
                among = found["FGSM"] if attack == "PGD" and "FGSM" in found else found["clean"]
                found[attack] = holds(*at, HOW[attack], MAX_TOKENS, among)
    return found


def attacked_again(
    begin: Bench, model: nn.Module, among: Bool[Tensor, " examples"], steps: int = 20, restarts: int = 2
) -> Bool[Tensor, " examples"]:
    """Return which of the texts that held still hold under more and smaller steps, and several starts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attack = partial(pgd, eps=EPS, steps=steps, restarts=restarts)
        return holds(model, begin.tokenizer, *begin.test, attack, MAX_TOKENS, among)
