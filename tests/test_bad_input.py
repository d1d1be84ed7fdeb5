"""Bad input is refused at the door, in words: no NaN, empty, negative or misfitting argument gives a number."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from llmsafety_lab import tokenization
from llmsafety_lab.adversarial_attacks import (
    attack_success_rate,
    fgsm,
    pgd,
    predictions,
    project,
    random_noise,
    random_start,
    wilson,
)
from llmsafety_lab.attention import MultiHeadAttention
from llmsafety_lab.decoding import bleu, distinct_n, extend, repetition, self_bleu, speculate
from llmsafety_lab.fine_tuning import (
    Classifier,
    expected_calibration_error,
    fit,
    fit_temperature,
    freeze,
    like_lengths,
    reliability,
    score,
    suspects,
)
from llmsafety_lab.named_entities import TokenClassifier, bootstrap_interval, spans_to_bio, token_scores
from llmsafety_lab.parameter_efficient import (
    AdaLoRALinear,
    Adapter,
    LoRALinear,
    PrefixTuning,
    PromptTuning,
    budget_at,
    inject,
    merge,
)
from llmsafety_lab.pretraining import (
    Muon,
    bits_per_character,
    causal_loss,
    draw_windows,
    mask_tokens,
    train_lm,
    warm_cosine,
    warm_linear,
)
from llmsafety_lab.robust_training import (
    adversarial_loss,
    fit_robust,
    freelb_loss,
    trades_loss,
    vat_loss,
    virtual_direction,
    word_dropout_loss,
)

NAN, INF = math.nan, math.inf
HALF = np.full((4, 2), 0.5)
X, Y = torch.ones(2, 3, 4), torch.tensor([0, 1])
IDS = torch.zeros(1, 5, dtype=torch.long)
ENCODER = SimpleNamespace(encoder=SimpleNamespace(layer=[None] * 6), config=SimpleNamespace(hidden_size=4))


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.head(embeddings.mean(1))


MODEL = Mean()

CASES = {
    "attention: no head": (lambda: MultiHeadAttention(8, 0), "at least 1"),
    "attention: no shared head": (lambda: MultiHeadAttention(8, 2, kv_heads=-1), "at least 1"),
    "tokenization: negative merges": (lambda: tokenization.train_bpe({b"ab": 1}, -1), "-1 merges"),
    "tokenization: a word that occurs no time": (lambda: tokenization.train_bpe({b"ab": 0}, 1), "words that occur"),
    "pretraining: a text of one token": (lambda: causal_loss(torch.zeros(1, 1, 3), IDS[:, :1]), "predicts none"),
    "pretraining: a rate above 1": (lambda: mask_tokens(IDS, IDS[0], 1, 5, 0, rate=1.5), "from 0 to 1"),
    "pretraining: a rate that is NaN": (lambda: mask_tokens(IDS, IDS[0], 1, 5, 0, rate=NAN), "from 0 to 1"),
    "pretraining: no window": (lambda: draw_windows(IDS[0], 0, 2, 0), "needs a window"),
    "pretraining: an empty window": (lambda: draw_windows(IDS[0], 1, 0, 0), "needs a window"),
    "pretraining: a loss that is NaN": (lambda: bits_per_character(NAN, 3, 9), "finite loss"),
    "pretraining: negative tokens": (lambda: bits_per_character(1.0, -3, 9), "needs a token"),
    "pretraining: a step past the end": (lambda: warm_linear(12, 10, 2), "no step 12"),
    "pretraining: a negative step": (lambda: warm_cosine(-1, 10, 2), "no step -1"),
    "pretraining: a floor above 1": (lambda: warm_cosine(1, 10, 2, floor=2), "a share"),
    "pretraining: a rate that is infinite": (lambda: Muon([nn.Parameter(torch.ones(2, 2))], lr=INF), "finite rate"),
    "pretraining: momentum of 1": (lambda: Muon([nn.Parameter(torch.ones(2, 2))], momentum=1.0), "below 1"),
    "pretraining: no step between checkpoints": (lambda: train_lm(MODEL, None, [], None, 3, every=0), "checkpoints"),
    "pretraining: a negative norm": (lambda: train_lm(MODEL, None, [], None, 3, clip=-1.0), "norm of 0 or more"),
    "decoding: n of 0": (lambda: repetition([1, 2, 3], 0), "n = 0"),
    "decoding: a negative n": (lambda: distinct_n([[1, 2, 3]], -1), "n = -1"),
    "decoding: no reference": (lambda: bleu([1, 2], []), "a reference"),
    "decoding: order 0": (lambda: bleu([1, 2], [[1, 2]], 0), "order 0"),
    "decoding: one text": (lambda: self_bleu([[1, 2]]), "compares texts"),
    "decoding: no beam asked for": (lambda: extend(torch.zeros(1), torch.zeros(1, 3), 0), "asks for 0"),
    "decoding: scores of other beams": (lambda: extend(torch.zeros(2), torch.zeros(1, 3), 1), "2,"),
    "decoding: a draft of another length": (
        lambda: speculate(torch.tensor([0]), torch.ones(2, 3) / 3, torch.ones(2, 3) / 3, torch.Generator()),
        "drafted tokens",
    ),
    "fine_tuning: no bin": (lambda: expected_calibration_error(HALF, [0, 1, 0, 1], bins=0), "at least one bin"),
    "fine_tuning: negative bins": (lambda: reliability(HALF, [0, 1, 0, 1], -3), "at least one bin"),
    "fine_tuning: a label out of range": (lambda: score(HALF, [0, 1, 0, 2]), "below 2.*2"),
    "fine_tuning: a negative label": (lambda: expected_calibration_error(HALF, [0, 1, 0, -1]), "from 0"),
    "fine_tuning: a label that is no whole number": (lambda: score(HALF, [0.0, 1.0, 0.5, 1.0]), "whole numbers"),
    "fine_tuning: labels true and false": (lambda: score(HALF, [True, False, True, False]), "whole numbers"),
    "fine_tuning: probabilities that are NaN": (lambda: score(HALF * NAN, [0, 1, 0, 1]), "sum to 1"),
    "fine_tuning: logits that are NaN": (lambda: fit_temperature(HALF * NAN, [0, 1, 0, 1]), "finite logits"),
    "fine_tuning: too few labels": (lambda: fit_temperature(HALF, [0, 1]), "labels"),
    "fine_tuning: a label that is no class": (lambda: fit_temperature(HALF, [0, 1, 0, -1]), "from 0 to 1"),
    "fine_tuning: a class without texts": (lambda: suspects(HALF, [0, 0, 0, 0]), "no text is labelled 1"),
    "fine_tuning: a batch of nothing": (lambda: like_lengths([1, 2], 0, np.random.default_rng(0)), "at least one row"),
    "fine_tuning: no class": (lambda: Classifier(ENCODER, 0), "at least one class"),
    "fine_tuning: negative layers": (lambda: freeze(SimpleNamespace(encoder=ENCODER), -1), "6 layers; -1"),
    "fine_tuning: no epoch": (lambda: fit(MODEL, None, ["a"], [0], epochs=0), "needs an epoch"),
    "fine_tuning: a rate that is NaN": (lambda: fit(MODEL, None, ["a"], [0], learning_rate=NAN), "finite learning"),
    "named_entities: no class": (lambda: TokenClassifier(ENCODER, 0), "needs a class"),
    "named_entities: too many fixed layers": (lambda: TokenClassifier(ENCODER, 3, frozen=7), "0 to 6 fixed"),
    "named_entities: a span outside": (lambda: spans_to_bio([("PER", 1, 4)], 3), "from 1 to 4"),
    "named_entities: spans that overlap": (lambda: spans_to_bio([("PER", 0, 2), ("LOC", 1, 3)], 3), "overlaps"),
    "named_entities: tags of another sentence": (
        lambda: token_scores([["O"], ["O", "O"]], [["O", "O"], ["O"]]),
        "word",
    ),
    "named_entities: negative counts": (lambda: bootstrap_interval(np.array([[-1, 2, 3]])), "three numbers"),
    "named_entities: two columns": (lambda: bootstrap_interval(np.ones((4, 2), int)), "three numbers"),
    "named_entities: no draw": (lambda: bootstrap_interval(np.ones((4, 3), int), draws=0), "0 draws"),
    "named_entities: a level in percent": (
        lambda: bootstrap_interval(np.ones((4, 3), int), level=95),
        "between 0 and 1",
    ),
    "parameter_efficient: LoRA of rank 0": (lambda: LoRALinear(torch.ones(3, 2), None, 0, 1.0), "rank of at least 1"),
    "parameter_efficient: LoRA of rank -1": (lambda: LoRALinear(torch.ones(3, 2), None, -1, 1.0), "rank of at least 1"),
    "parameter_efficient: AdaLoRA of rank 0": (
        lambda: AdaLoRALinear(torch.ones(3, 2), None, 0, 1.0),
        "rank of at least",
    ),
    "parameter_efficient: an update of rank 0": (
        lambda: merge(torch.ones(3, 2), torch.ones(0, 2), torch.ones(3, 0), 1.0),
        "for each rank",
    ),
    "parameter_efficient: no bottleneck": (lambda: Adapter(4, 0), "at least 1 wide"),
    "parameter_efficient: an empty prefix": (lambda: PrefixTuning(MODEL, 0), "at least one place"),
    "parameter_efficient: an empty prompt": (lambda: PromptTuning(MODEL, 0), "at least one embedding"),
    "parameter_efficient: no names": (lambda: inject(MODEL, [], Adapter), "no layer is named"),
    "parameter_efficient: no step between": (lambda: budget_at(3, 10, 2, 3, 3, 6), "no schedule"),
    "parameter_efficient: a budget that grows": (lambda: budget_at(3, 2, 10, 1, 1, 6), "no schedule"),
    "adversarial_attacks: an infinite budget": (lambda: pgd(MODEL, X, Y, INF), "finite size"),
    "adversarial_attacks: a budget that is NaN": (lambda: pgd(MODEL, X, Y, NAN), "finite size"),
    "adversarial_attacks: embeddings that are NaN": (lambda: pgd(MODEL, X * NAN, Y, 0.1), "not finite"),
    "adversarial_attacks: a step downhill": (lambda: pgd(MODEL, X, Y, 0.1, step=-0.1), "finite size"),
    "adversarial_attacks: FGSM on NaN": (lambda: fgsm(MODEL, X * NAN, Y, 0.1), "not finite"),
    "adversarial_attacks: FGSM, infinite": (lambda: fgsm(MODEL, X, Y, INF), "finite size"),
    "adversarial_attacks: a ball without end": (lambda: project(X, INF, 2), "finite size"),
    "adversarial_attacks: negative noise": (lambda: random_noise(X, -1.0), "finite size"),
    "adversarial_attacks: a negative start": (lambda: random_start(X, -1.0), "finite size"),
    "adversarial_attacks: z of 0": (lambda: wilson(1, 2, 0.0), "standard errors"),
    "adversarial_attacks: labels of other texts": (lambda: attack_success_rate(Y, Y[:1], Y), "shapes differ"),
    "adversarial_attacks: no texts": (lambda: predictions(MODEL, None, [], []), "as many labels as texts"),
    "robust_training: TRADES with -1 steps": (lambda: trades_loss(MODEL, X, Y, eps=0.1, steps=-1), "at least one step"),
    "robust_training: TRADES with 0 steps": (lambda: trades_loss(MODEL, X, Y, eps=0.1, steps=0), "at least one step"),
    "robust_training: a negative beta": (lambda: trades_loss(MODEL, X, Y, eps=0.1, beta=-1.0), "beta"),
    "robust_training: PGD with 0 steps": (lambda: adversarial_loss(MODEL, X, Y, eps=0.1, steps=0), "at least one step"),
    "robust_training: an infinite budget": (lambda: adversarial_loss(MODEL, X, Y, eps=INF), "finite size"),
    "robust_training: FreeLB with 0 steps": (lambda: freelb_loss(MODEL, X, Y, eps=0.1, steps=0), "at least one step"),
    "robust_training: negative iterations": (
        lambda: virtual_direction(MODEL, X, iterations=-1),
        "negative number of iterations",
    ),
    "robust_training: xi of 0": (lambda: virtual_direction(MODEL, X, xi=0.0), "positive xi"),
    "robust_training: VAT with NaN": (lambda: vat_loss(MODEL, X, Y, eps=NAN), "finite size"),
    "robust_training: a chance above 1": (lambda: word_dropout_loss(MODEL, X, Y, eps=2.0), "probability"),
    "robust_training: no epoch": (lambda: fit_robust(MODEL, None, ["a"], [0], trades_loss, epochs=0), "an epoch"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case: str) -> None:
    call, words = CASES[case]
    with pytest.raises(ValueError, match=words):
        call()
