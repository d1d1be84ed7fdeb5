from __future__ import annotations

import copy
import functools
import json
import math
import runpy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div
from transformers import BertConfig, BertModel, BertTokenizerFast

from llmsafety_lab.adversarial_attacks.gradients import fgsm, logits_of, pgd, project, random_start, steepest
from llmsafety_lab.adversarial_attacks.texts import Embedded, word_mask
from llmsafety_lab.fine_tuning.classifier import Classifier
from llmsafety_lab.robust_training import experiment as table
from llmsafety_lab.robust_training.losses import (
    adversarial_loss,
    divergence,
    fgsm_loss,
    freelb_loss,
    noise_loss,
    plain_loss,
    trades_loss,
    vat_loss,
    virtual_direction,
    word_dropout_loss,
)
from llmsafety_lab.robust_training.runs import CHECKPOINT, Batch, batch_of, fit_robust, holds

WORDS = ["good", "bad", "film", "plot", "the", "a", "is", "was", "dull", "fine", "bright", "slow", "warm", "cold"]
BOTH = pytest.mark.parametrize("norm", [math.inf, 2])
LOSSES = {
    "word dropout": word_dropout_loss,
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


def drawn(model: Classifier, examples: int = 5, tokens: int = 6) -> Batch:
    ids = torch.randint(5, 5 + len(WORDS), (examples, tokens))
    length = torch.randint(3, tokens + 1, (examples, 1))
    ids = torch.where(torch.arange(tokens) < length, ids, 0)
    ids[:, 0] = 2
    attended = (ids != 0).long()
    labels = torch.randint(0, 3, (examples,))
    return Batch(Embedded(model, attended), model.embed(ids), labels, word_mask(ids, attended, [0, 1, 2]))


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
    model = classifier()
    torch.manual_seed(1)
    plain = gradients(model, plain_loss(*drawn(model)))
    options = {} if loss is LOSSES["word dropout"] else {"norm": norm}
    torch.manual_seed(1)
    robust = gradients(model, loss(*drawn(model), eps=0.0, **options))
    assert len(plain) == len(robust) > 10
    for ours, theirs in zip(robust, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@EVERY
def test_looking_for_the_worst_leaves_no_trace(loss) -> None:
    """Mode, weights and, but for FreeLB, gradients are as before."""
    model = classifier()
    batch = drawn(model)
    model.train()
    before = copy.deepcopy(model.state_dict())
    value = loss(*batch, eps=0.1)
    assert model.training and model.encoder.training
    if loss is not LOSSES["FreeLB"]:
        assert all(p.grad is None for p in model.parameters())
    value.backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@EVERY
def test_what_is_masked_stays(loss) -> None:
    """Where nothing may be perturbed, nothing is, whatever the budget."""
    batch = drawn(classifier())
    batch = batch._replace(mask=torch.zeros_like(batch.mask))
    torch.testing.assert_close(loss(*batch, eps=1.0), plain_loss(*batch), rtol=1e-9, atol=1e-12)


# The inner problem.


def climbed(batch: Batch, eps: float, norm: float, steps: int, step: float | None, start: Tensor) -> Tensor:
    """The perturbation at which `adversarial_loss` ends: the last one that the model is asked about."""
    seen = []

    def spy(x: Tensor) -> Tensor:
        seen.append(x.detach() - batch.embeddings.detach())
        return batch.model(x)

    adversarial_loss(spy, *batch[1:], eps=eps, norm=norm, steps=steps, step=step, start=start)
    return seen[-1]


@BOTH
def test_the_climb_takes_pgds_steps(norm: float) -> None:
    batch = drawn(classifier())
    x, zero = batch.embeddings.detach(), torch.zeros_like(batch.embeddings)
    ours = climbed(batch, 0.05, norm, 1, 0.05, zero)
    torch.testing.assert_close(ours, fgsm(batch.model, x, batch.labels, 0.05, norm, batch.mask))

    visited = []

    def spy(at: Tensor) -> Tensor:
        visited.append(at.detach() - x)
        return batch.model(at)

    pgd(spy, x, batch.labels, 0.05, norm, steps=4, step=0.05, mask=batch.mask)
    ours = climbed(batch, 0.05, norm, 4, 0.05, zero)
    torch.testing.assert_close(ours, visited[-1], rtol=1e-6, atol=1e-9)


@BOTH
def test_the_worst_is_in_the_budget_and_worse_than_noise(norm: float) -> None:
    batch = drawn(classifier(), 40)
    eps = 0.05 if norm == math.inf else 0.3
    start = random_start(batch.embeddings.detach(), eps, norm, batch.mask)
    delta = climbed(batch, eps, norm, 5, None, start)
    assert float(delta.flatten(1).norm(p=norm, dim=1).max()) <= eps * (1 + 1e-9)
    assert not delta[~batch.mask].any()
    points = (torch.zeros_like(delta), start, delta)
    losses = [plain_loss(batch.model, batch.embeddings + point, batch.labels) for point in points]
    assert losses[2] > max(losses[:2]) + 0.05


def test_the_adversarial_gradient_is_danskins() -> None:
    """The gradient of the loss at the perturbation, the perturbation held: Danskin's theorem."""
    model = classifier()
    model.encoder.embeddings.word_embeddings.requires_grad_(False)
    batch = drawn(model)
    start = random_start(batch.embeddings.detach(), 0.1, math.inf, batch.mask)
    delta = climbed(batch, 0.1, math.inf, 3, None, start)
    held = gradients(model, plain_loss(batch.model, batch.embeddings + delta, batch.labels))
    ours = gradients(model, adversarial_loss(*batch, eps=0.1, start=start))
    for one, other in zip(ours, held, strict=True):
        torch.testing.assert_close(one, other)


# The methods.


@BOTH
def test_freelb_is_the_mean_of_the_gradients_along_its_climb(norm: float) -> None:
    model = classifier()
    model.encoder.embeddings.word_embeddings.requires_grad_(False)
    batch = drawn(model)
    x = batch.embeddings
    torch.manual_seed(7)
    ours = gradients(model, freelb_loss(*batch, eps=0.1, norm=norm, steps=3, step=0.04))
    torch.manual_seed(7)
    delta = random_start(x, 0.1, norm, batch.mask)
    each = []
    for _ in range(3):
        each.append(gradients(model, plain_loss(batch.model, x + delta, batch.labels)))
        at = (x + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(batch.model(at), batch.labels, reduction="sum"), at)
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
    model = classifier()
    model.encoder.embeddings.word_embeddings.requires_grad_(False)
    batch = drawn(model)
    x = batch.embeddings
    start = random_start(x, 0.1, math.inf, batch.mask)
    ours = trades_loss(*batch, eps=0.1, steps=2, beta=3.0, start=start)
    fixed = logits_of(batch.model, x).softmax(-1).detach()
    delta = start
    for _ in range(2):
        delta = delta.detach().requires_grad_()
        far = kl_div(batch.model(x + delta).log_softmax(-1), fixed, reduction="sum")
        (gradient,) = torch.autograd.grad(far, delta)
        delta = (delta + 0.125 * gradient.sign() * batch.mask[..., None]).clamp(-0.1, 0.1).detach()
    clean = batch.model(x)
    far = kl_div(batch.model(x + delta).log_softmax(-1), clean.softmax(-1), reduction="batchmean")
    theirs = cross_entropy(clean, batch.labels) + 3.0 * far
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        torch.testing.assert_close(one, other)


def test_vats_direction_is_the_hessians_first_eigenvector() -> None:
    batch = drawn(classifier(width=4), 2, 4)
    x = batch.embeddings.detach()
    fixed = batch.model(x).detach()
    found = virtual_direction(batch.model, x, batch.mask, iterations=300, xi=1e-5)
    for i in range(2):
        where = batch.mask[i].nonzero()[:, 0]

        def apart(free: Tensor, i: int = i, where: Tensor = where) -> Tensor:
            delta = torch.zeros_like(x).index_put((torch.tensor(i), where), free.view(-1, 4))
            return divergence(fixed, batch.model(x + delta))[i]

        free = torch.zeros(4 * len(where), dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(apart, free)
        values, vectors = torch.linalg.eigh(hessian)
        assert values[-1] > 1.05 * values[-2]
        cosine = float(vectors[:, -1] @ found[i, where].flatten())
        assert abs(cosine) > 0.999
        d = torch.randn_like(x)
        once = virtual_direction(batch.model, x, batch.mask, iterations=1, xi=1e-5, start=d * batch.mask[..., None])
        product = hessian @ d[i, where].flatten()
        torch.testing.assert_close(once[i, where].flatten(), product / product.norm(), rtol=1e-3, atol=1e-4)


def test_vat_holds_the_clean_prediction() -> None:
    """Half of the divergence's gradient, that through the clean side, is left out."""
    model = classifier()
    model.encoder.embeddings.word_embeddings.requires_grad_(False)
    batch = drawn(model)
    torch.manual_seed(2)
    ours = gradients(model, vat_loss(*batch, eps=0.3, norm=2, weight=2.0))
    torch.manual_seed(2)
    r = 0.3 * virtual_direction(batch.model, batch.embeddings, batch.mask)
    clean = batch.model(batch.embeddings)
    other = batch.model(batch.embeddings + r).log_softmax(-1)
    far = kl_div(other, clean.softmax(-1).detach(), reduction="batchmean")
    for one, other in zip(ours, gradients(model, cross_entropy(clean, batch.labels) + 2.0 * far), strict=True):
        torch.testing.assert_close(one, other)


def test_word_dropout_loses_words_and_nothing_else() -> None:
    batch = drawn(classifier(), 50)
    seen = []
    word_dropout_loss(lambda x: batch.model(seen.append(x) or x), *batch[1:], eps=0.3)
    lost = (seen[0] == 0).all(-1) & batch.model.attention_mask.bool()  # padding's own vector is zero
    assert not lost[~batch.mask].any() and 0.2 < float(lost[batch.mask].double().mean()) < 0.4
    torch.testing.assert_close(seen[0][~lost], batch.embeddings[~lost])


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
    torch.manual_seed(0)
    first = Classifier(classifier(torch.float32).encoder, 2)
    loss = partial(adversarial_loss, eps=0.01, steps=2)
    options = {"validation": (texts, labels), "attack": partial(pgd, eps=0.01, steps=5)}
    options |= {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "seed": 0}

    whole = copy.deepcopy(first)
    history = fit_robust(whole, tokenizer, texts, labels, loss, **options)
    printed = capsys.readouterr().out
    assert len(history) == 3 and "epoch 3 of 3: loss" in printed and "under attack" in printed
    assert history[-1]["loss"] < history[0]["loss"] and history[-1]["accuracy"] >= history[-1]["attacked"] > 0.8
    assert not whole.training

    class Stop(Exception):
        pass

    steps = 0

    @functools.wraps(loss)
    def interrupted(*batch) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 20:
            raise Stop
        return loss(*batch)

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
        fit_robust(again, tokenizer, texts, labels, loss, **{**options, "seed": 1}, folder=tmp_path)
    with pytest.raises(ValueError, match=r"eps=0\.2"):
        fit_robust(again, tokenizer, texts, labels, partial(loss.func, eps=0.2, steps=2), **options, folder=tmp_path)


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
    batch = batch_of(model, tokenizer, texts, labels, 32)
    right = batch.model(batch.embeddings).argmax(-1) == batch.labels
    assert torch.equal(holds(model, tokenizer, texts, labels), right)
    assert not holds(model, tokenizer, texts, labels, among=torch.zeros(50, dtype=torch.bool)).any()
    one_step = holds(model, tokenizer, texts, labels, partial(fgsm, eps=0.1), among=right)
    many = partial(pgd, eps=0.1, steps=5)
    quick = holds(model, tokenizer, texts, labels, many, among=one_step)
    assert torch.equal(quick, holds(model, tokenizer, texts, labels, many)) and 0 < int(quick.sum()) < int(right.sum())


def test_errors(tokenizer: BertTokenizerFast) -> None:
    with pytest.raises(ValueError, match="as many of both"):
        fit_robust(classifier(), tokenizer, ["good"], [], plain_loss)


# The kept table.

KEPT = json.loads((Path(__file__).parents[2] / "results" / "robust_training.json").read_text(encoding="utf-8"))


def differences(one: str, other: str) -> int:
    """Return in how many places two rows of bits differ; another processor may round the other way in a few."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_a_row_of_the_table_comes_out_again() -> None:
    """The first texts of the row without training, and a row in small: trained on, attacked, and kept for this."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "robust_training.py"))
    kept, size = KEPT["slice"], script["SLICE"]["tested on"]
    assert kept["of"] == script["SLICE"] and KEPT["settings"] == script["SETTINGS"]
    begin = table.bench(script["SLICE"]["among"])
    first = begin._replace(test=table.Texts(*(column[:size] for column in begin.test)))
    for attack, held in table.measured(first, begin.start, 0, ["FGSM"]).items():
        assert differences(script["bits"](held), KEPT["cells"]["start 0"]["held"][attack][:size]) <= 2, attack
    again = script["small_row"](begin)
    assert again["loss"] == pytest.approx(kept["loss"], abs=0.01)
    assert all(differences(again["held"][attack], held) <= 2 for attack, held in kept["held"].items())
    assert kept["held"]["FGSM"] != kept["held"]["clean"] and "0" in kept["held"]["clean"]


def test_the_table_is_whole() -> None:
    cells = KEPT["cells"]
    assert {"start 0", *(f"{method} {seed}" for method in table.METHODS for seed in KEPT["seeds"])} <= set(cells)
    assert KEPT["seeds"] and KEPT["versions"]["torch"] and KEPT["date"] and KEPT["cores"]
    for cell in cells.values():
        held = {name: {i for i, bit in enumerate(row) if bit == "1"} for name, row in cell["held"].items()}
        assert set(held) == set(table.ATTACKS) and {len(row) for row in cell["held"].values()} == {table.TESTED}
        assert all(stands <= held["clean"] for stands in held.values()) and held["PGD"] <= held["FGSM"]
