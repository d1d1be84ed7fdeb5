from __future__ import annotations

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div
from transformers import BertConfig, BertModel, BertTokenizerFast

from llmsafety_lab.adversarial_attacks import fgsm, pgd, project, random_start, steepest
from llmsafety_lab.adversarial_attacks_texts import Embedded, word_mask
from llmsafety_lab.fine_tuning import Classifier
from llmsafety_lab.robust_training import (
    Batch,
    adversarial_loss,
    ascend,
    divergence,
    fgsm_loss,
    freelb_loss,
    logits_at,
    noise_loss,
    plain_loss,
    trades_loss,
    vat_loss,
    virtual_direction,
    word_dropout_loss,
    worst_delta,
)
from llmsafety_lab.robust_training_runs import CHECKPOINT, batch_of, fit_robust, holds

WORDS = ["good", "bad", "film", "plot", "the", "a", "is", "was", "dull", "fine", "bright", "slow", "warm", "cold"]
BOTH = pytest.mark.parametrize("norm", [math.inf, 2])
LOSSES = {
    "word dropout": partial(word_dropout_loss, unknown=1),
    "noise": noise_loss,
    "FGSM": fgsm_loss,
    "PGD": adversarial_loss,
    "FreeLB": freelb_loss,
    "TRADES": trades_loss,
    "VAT": vat_loss,
}
EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def classifier(dtype: torch.dtype = torch.float64, width: int = 8) -> Classifier:
    """A random BERT of one layer, scaled up so that its answers differ and its loss is curved."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
    )
    config._attn_implementation = "eager"  # has second derivatives
    model = Classifier(BertModel(config), 3).to(dtype).eval()
    nn.init.normal_(model.head.weight)
    return model


def drawn(examples: int = 5, tokens: int = 6) -> Batch:
    ids = torch.randint(5, 5 + len(WORDS), (examples, tokens))
    length = torch.randint(3, tokens + 1, (examples, 1))
    ids = torch.where(torch.arange(tokens) < length, ids, 0)
    ids[:, 0] = 2
    attended = (ids != 0).long()
    return Batch(ids, attended, torch.randint(0, 3, (examples,)), word_mask(ids, attended, [0, 1, 2]))


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    """The gradient that the weights end up with: what the loss has left in them, completed by its backward."""
    loss.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


# What all losses have in common.


@EVERY
@BOTH
def test_without_a_budget_every_loss_trains_plainly(loss, norm: float) -> None:
    model, batch = classifier(), drawn()
    plain = gradients(model, plain_loss(model, batch))
    options = {} if loss is LOSSES["word dropout"] else {"norm": norm}
    robust = gradients(model, loss(model, batch, eps=0.0, **options))
    for ours, theirs in zip(robust, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@EVERY
def test_looking_for_the_worst_leaves_no_trace(loss) -> None:
    """Mode, weights and, but for FreeLB, gradients are as before; padding and special tokens are never perturbed."""
    model, batch = classifier(), drawn()
    model.train()
    before = copy.deepcopy(model.state_dict())
    value = loss(model, batch, eps=0.1)
    assert model.training and model.encoder.training
    if loss is not LOSSES["FreeLB"]:
        assert all(p.grad is None for p in model.parameters())
    value.backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@EVERY
def test_what_is_masked_stays(loss) -> None:
    """Where nothing may be perturbed, nothing is, whatever the budget."""
    model, batch = classifier(), drawn()
    batch = batch._replace(mask=torch.zeros_like(batch.mask))
    torch.testing.assert_close(loss(model, batch, eps=3.0), plain_loss(model, batch), rtol=1e-9, atol=1e-12)


# The inner problem.


@BOTH
def test_the_climb_takes_pgds_steps(norm: float) -> None:
    """Over a linear model the loss keeps its gradient's sign, and the steps are those of `adversarial_attacks.pgd`."""
    model, batch = classifier(), drawn()
    embedded, x = Embedded(model, batch.attended), model.embed(batch.ids).detach()
    ours = worst_delta(model, batch, 0.05, norm, steps=1, step=0.05, random=False)
    theirs = fgsm(embedded, x, batch.labels, 0.05, norm, batch.mask)
    torch.testing.assert_close(ours, theirs)

    visited = []

    def spy(at: Tensor) -> Tensor:
        visited.append(at.detach() - x)
        return embedded(at)

    pgd(spy, x, batch.labels, 0.05, norm, steps=4, step=0.05, mask=batch.mask)
    ours = worst_delta(model, batch, 0.05, norm, steps=4, step=0.05, random=False)
    torch.testing.assert_close(ours, visited[-1], rtol=1e-6, atol=1e-9)


@BOTH
def test_the_worst_is_in_the_budget_and_worse_than_noise(norm: float) -> None:
    model, batch = classifier(), drawn(40)
    eps = 0.05 if norm == math.inf else 0.3
    delta = worst_delta(model, batch, eps, norm, steps=5)
    assert float(delta.flatten(1).norm(p=norm, dim=1).max()) <= eps * (1 + 1e-9)
    assert not delta[~batch.mask].any() and not delta.requires_grad
    start = random_start(delta, eps, norm, batch.mask)
    losses = [cross_entropy(logits_at(model, batch, d), batch.labels) for d in (torch.zeros_like(delta), start, delta)]
    assert losses[2] > max(losses[:2]) + 0.05
    torch.testing.assert_close(ascend(lambda d: d.sum((1, 2)), start, eps, norm, 0, 1.0, batch.mask), start)


def test_the_adversarial_gradient_is_dankins() -> None:
    """The gradient of the loss at the perturbation, the perturbation held: Danskin's theorem."""
    model, batch = classifier(), drawn()
    torch.manual_seed(3)
    delta = worst_delta(model, batch, 0.1)
    held = gradients(model, cross_entropy(logits_at(model, batch, delta), batch.labels))
    torch.manual_seed(3)
    for ours, theirs in zip(gradients(model, adversarial_loss(model, batch, 0.1)), held, strict=True):
        torch.testing.assert_close(ours, theirs)


# The methods.


@BOTH
def test_freelb_is_the_mean_of_the_gradients_along_its_climb(norm: float) -> None:
    model, batch = classifier(), drawn()
    x = model.embed(batch.ids).detach()
    torch.manual_seed(7)
    ours = gradients(model, freelb_loss(model, batch, 0.1, norm, steps=3, step=0.04))
    torch.manual_seed(7)
    delta = random_start(x, 0.1, norm, batch.mask)
    each = []
    for _ in range(3):
        embedded = Embedded(model, batch.attended)
        each.append(gradients(model, cross_entropy(logits_at(model, batch, delta), batch.labels)))
        at = (x + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(embedded(at), batch.labels, reduction="sum"), at)
        delta = project(delta + 0.04 * steepest(gradient * batch.mask[..., None], norm), 0.1, norm)
    for mean, found in zip(ours, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(mean, torch.stack(found).mean(0), rtol=1e-6, atol=1e-10)


def test_the_divergence_is_torchs() -> None:
    clean, other = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=clean), torch.distributions.Categorical(logits=other)
    )
    torch.testing.assert_close(divergence(clean, other), theirs)
    assert not torch.allclose(divergence(clean, other), divergence(other, clean))


def test_trades_is_the_authors_formula() -> None:
    """As in the authors' program: batch mean of KL(p(x) || p(x')), times beta, and both terms reach the weights."""
    model, batch = classifier(), drawn()
    torch.manual_seed(5)
    ours = trades_loss(model, batch, 0.1, steps=2, beta=3.0)
    torch.manual_seed(5)
    start = random_start(model.embed(batch.ids).detach(), 0.1, math.inf, batch.mask)
    fixed = logits_at(model, batch).softmax(-1).detach()

    def apart(delta: Tensor) -> Tensor:
        return kl_div(logits_at(model, batch, delta).log_softmax(-1), fixed, reduction="none").sum(-1)

    delta = ascend(apart, start, 0.1, math.inf, 2, 0.125, batch.mask)
    clean = logits_at(model, batch)
    far = kl_div(logits_at(model, batch, delta).log_softmax(-1), clean.softmax(-1), reduction="batchmean")
    theirs = cross_entropy(clean, batch.labels) + 3.0 * far
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        torch.testing.assert_close(one, other)


def test_vats_direction_is_the_hessians_first_eigenvector() -> None:
    model, batch = classifier(width=4), drawn(2, 4)
    with torch.no_grad():
        fixed = logits_at(model, batch)
    found = virtual_direction(model, batch, iterations=300, xi=1e-5)
    for i in range(2):
        where = batch.mask[i].nonzero()[:, 0]

        def apart(free: Tensor, i: int = i, where: Tensor = where) -> Tensor:
            delta = torch.zeros(2, 4, 4, dtype=torch.float64).index_put((torch.tensor(i), where), free.view(-1, 4))
            return divergence(fixed, logits_at(model, batch, delta))[i]

        free = torch.zeros(4 * len(where), dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(apart, free)
        values, vectors = torch.linalg.eigh(hessian)
        assert values[-1] > 1.05 * values[-2]
        cosine = float(vectors[:, -1] @ found[i, where].flatten())
        assert abs(cosine) > 0.999
        d = torch.randn_like(free)
        (slope,) = torch.autograd.grad(apart(at := (1e-5 * d).requires_grad_()), at)
        torch.testing.assert_close(slope / 1e-5, hessian @ d, rtol=1e-3, atol=1e-6)


def test_vat_holds_the_clean_prediction() -> None:
    """Half of the divergence's gradient, that through the clean side, is left out."""
    model, batch = classifier(), drawn()
    torch.manual_seed(2)
    ours = gradients(model, vat_loss(model, batch, 0.3, 2, weight=2.0))
    torch.manual_seed(2)
    r = 0.3 * virtual_direction(model, batch)
    clean = logits_at(model, batch)
    far = kl_div(logits_at(model, batch, r).log_softmax(-1), clean.softmax(-1).detach(), reduction="batchmean")
    for one, other in zip(ours, gradients(model, cross_entropy(clean, batch.labels) + 2.0 * far), strict=True):
        torch.testing.assert_close(one, other)


def test_word_dropout_loses_words_and_nothing_else() -> None:
    model, batch = classifier(), drawn(50)
    seen = []
    model.encoder.register_forward_pre_hook(lambda *a: seen.append(a[2]["inputs_embeds"]), with_kwargs=True)
    word_dropout_loss(model, batch, 0.3, unknown=1)
    lost = (seen[0] == model.embed(torch.tensor(1))).all(-1)
    assert not lost[~batch.mask].any() and 0.2 < float(lost[batch.mask].double().mean()) < 0.4
    torch.testing.assert_close(seen[0][~lost], model.embed(batch.ids)[~lost])


# The loop.


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizerFast(str(path))


def reviews(examples: int = 64) -> tuple[list[str], list[int]]:
    """Texts whose label is in one of their words."""
    labels = torch.randint(0, 2, (examples,)).tolist()
    words = [["bad", "good"][label] for label in labels]
    return [f"the {WORDS[2 + i % 12]} is {word}" for i, word in enumerate(words)], labels


def test_the_loop_learns_prints_and_resumes(tokenizer: BertTokenizerFast, tmp_path: Path, capsys) -> None:
    texts, labels = reviews()
    first = Classifier(classifier(torch.float32).encoder, 2)
    loss = partial(adversarial_loss, eps=0.01, steps=2)
    options = {"validation": (texts, labels), "attack": partial(pgd, eps=0.01, steps=5)}
    options |= {"epochs": 3, "learning_rate": 1e-2, "seed": 1}

    whole = copy.deepcopy(first)
    history = fit_robust(whole, tokenizer, texts, labels, loss, **options)
    printed = capsys.readouterr().out
    assert len(history) == 3 and "epoch 3: loss" in printed and "under attack" in printed
    assert history[-1]["accuracy"] > 0.95 and history[-1]["accuracy"] >= history[-1]["attacked"] > 0.5
    assert not whole.training

    class Stop(Exception):
        pass

    steps = 0

    def interrupted(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 7:
            raise Stop
        return loss(model, batch)

    halved = copy.deepcopy(first)
    with pytest.raises(Stop):
        fit_robust(halved, tokenizer, texts, labels, interrupted, **options, folder=tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    again = copy.deepcopy(first)
    torch.manual_seed(99)
    resumed = fit_robust(again, tokenizer, texts, labels, loss, **options, folder=tmp_path)
    assert resumed == history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert fit_robust(again, tokenizer, texts, labels, loss, **options, folder=tmp_path) == history
    assert list(tmp_path.glob("events.*"))
    with pytest.raises(ValueError, match="kept by another run"):
        fit_robust(again, tokenizer, texts, labels, loss, **{**options, "seed": 2}, folder=tmp_path)


def test_frozen_weights_stay(tokenizer: BertTokenizerFast) -> None:
    texts, labels = reviews(16)
    model = Classifier(classifier(torch.float32).encoder, 2)
    model.encoder.embeddings.requires_grad_(False)
    before = copy.deepcopy(model.encoder.embeddings.state_dict())
    fit_robust(model, tokenizer, texts, labels, partial(freelb_loss, eps=0.1))
    assert all(torch.equal(before[name], value) for name, value in model.encoder.embeddings.state_dict().items())


def test_holds_puts_the_answers_in_the_texts_order(tokenizer: BertTokenizerFast) -> None:
    texts, labels = reviews(50)
    texts = [" ".join([text] * (1 + i % 3)) for i, text in enumerate(texts)]
    model = Classifier(classifier(torch.float32).encoder, 2).eval()
    batch = batch_of(tokenizer, texts, labels, 32)
    with torch.no_grad():
        right = logits_at(model, batch).argmax(-1) == batch.labels
    assert torch.equal(holds(model, tokenizer, texts, labels), right)
    assert not holds(model, tokenizer, texts, labels, among=torch.zeros(50, dtype=torch.bool)).any()
    one_step = holds(model, tokenizer, texts, labels, partial(fgsm, eps=0.1), among=right)
    many = partial(pgd, eps=0.1, steps=5)
    quick = holds(model, tokenizer, texts, labels, many, among=one_step)
    assert torch.equal(quick, holds(model, tokenizer, texts, labels, many)) and 0 < int(quick.sum()) < int(right.sum())


def test_errors(tokenizer: BertTokenizerFast) -> None:
    with pytest.raises(ValueError, match="as many of both"):
        fit_robust(classifier(), tokenizer, ["good"], [], plain_loss)
