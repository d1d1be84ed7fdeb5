from __future__ import annotations

import importlib.util
import json
import math
from functools import partial
from pathlib import Path

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from llmsafety_lab import models
from llmsafety_lab.adversarial_attacks.gradients import (
    attack_success_rate,
    evaluating,
    fgsm,
    lengths,
    logits_of,
    loss_gradient,
    margins,
    nearest_tokens,
    perturbation_norms,
    pgd,
    project,
    random_noise,
    random_start,
    steepest,
    wilson,
)
from llmsafety_lab.adversarial_attacks.texts import Embedded, predictions, word_mask

WORDS = [
    "good",
    "bad",
    "film",
    "plot",
    "the",
    "a",
    "is",
    "was",
    "dull",
    "fine",
    "bright",
    "slow",
    "warm",
    "cold",
    "ever",
    "never",
]
BOTH = pytest.mark.parametrize("norm", [math.inf, 2])
PAD, CLS, SEP = 0, 2, 3


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizerFast(str(path))


def build(seed: int, classes: int = 3) -> nn.Module:
    """A random BERT of two layers, scaled up so that its answers differ and its loss is curved."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=5 + len(WORDS), num_labels=classes, initializer_range=0.4, **sizes)
    model = BertForSequenceClassification(config).eval()
    model.embed = model.get_input_embeddings()
    return model


class Model(nn.Module):
    """Logits as a plain tensor, and nothing moves outside of the mask: what foolbox can be asked."""

    def __init__(self, model: nn.Module, clean: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.model, self.clean, self.mask = model, clean, mask
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.clean + (x - self.clean) * self.mask[..., None]).logits


class Case:
    """Random texts of several lengths, the model on their embeddings, and what it answers as their labels."""

    def __init__(self, examples: int = 200, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self.bert = build(seed).to(dtype)
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(5, 5 + len(WORDS), (examples, 9), generator=generator)
        length = torch.randint(3, 10, (examples, 1), generator=generator)
        place = torch.arange(9)
        self.ids = self.ids.where(place < length, PAD).where(place != length - 1, SEP)
        self.ids[:, 0] = CLS
        self.attended = (self.ids != PAD).long()
        self.mask = word_mask(self.ids, self.attended, [PAD, CLS, SEP])
        self.model = Embedded(self.bert, self.attended)
        self.x = self.bert.embed(self.ids).detach()
        with torch.no_grad():
            self.labels = logits_of(self.model, self.x).argmax(-1)

    def predicted(self, delta: Tensor) -> Tensor:
        with torch.no_grad():
            return logits_of(self.model, self.x + delta).argmax(-1)

    def margins(self, delta: Tensor) -> Tensor:
        with torch.no_grad():
            return margins(logits_of(self.model, self.x + delta), self.labels)

    def foolbox(self, attack: foolbox.attacks.base.FixedEpsilonAttack, eps: float) -> Tensor:
        model = foolbox.PyTorchModel(Model(self.model, self.x, self.mask), bounds=(-100, 100), device="cpu")
        _, adversarial, _ = attack(model, self.x, self.labels, epsilons=eps)
        return (adversarial - self.x) * self.mask[..., None]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def size(delta: Tensor, norm: float) -> Tensor:
    return delta.flatten(1).norm(p=norm, dim=1)


# The gradient.


def test_the_gradient_is_the_finite_difference() -> None:
    case = Case(examples=4, dtype=torch.float64)
    logits, gradient = loss_gradient(case.model, case.x, case.labels)
    torch.testing.assert_close(logits, logits_of(case.model, case.x).detach())
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        direction = torch.randn(case.x.shape, generator=generator, dtype=torch.float64)
        up, down = (logits_of(case.model, case.x + h * direction).detach() for h in (1e-5, -1e-5))
        rows = torch.arange(len(case.labels))
        difference = (down.log_softmax(-1) - up.log_softmax(-1))[rows, case.labels] / 2e-5
        torch.testing.assert_close((gradient * direction).sum((1, 2)), difference, rtol=1e-5, atol=1e-7)


def test_an_examples_gradient_does_not_depend_on_its_batch(case: Case) -> None:
    _, together = loss_gradient(case.model, case.x, case.labels)
    alone = Embedded(case.bert, case.attended[:1])
    torch.testing.assert_close(loss_gradient(alone, case.x[:1], case.labels[:1])[1], together[:1], rtol=1e-3, atol=1e-5)


def test_an_attack_leaves_the_model_as_it_was(case: Case) -> None:
    case.bert.train()
    case.bert.classifier.eval()
    before = {name: part.training for name, part in case.bert.named_modules()}
    with torch.no_grad():
        attacked = pgd(case.model, case.x[:], case.labels, 0.1, steps=2)
        again = pgd(case.model, case.x[:], case.labels, 0.1, steps=2)
    assert before == {name: part.training for name, part in case.bert.named_modules()}
    assert all(parameter.grad is None for parameter in case.bert.parameters()) and not attacked.requires_grad
    case.bert.eval()
    torch.testing.assert_close(attacked, again, rtol=0, atol=0)
    torch.testing.assert_close(attacked, pgd(case.model, case.x, case.labels, 0.1, steps=2), rtol=0, atol=0)


def test_a_failing_attack_puts_the_mode_back(case: Case) -> None:
    case.bert.train()
    with pytest.raises(RuntimeError, match="broken"), evaluating(case.model):
        assert not case.bert.training
        raise RuntimeError("broken")
    assert case.bert.training
    case.bert.eval()


def test_what_is_no_module_can_be_attacked_too(case: Case) -> None:
    plain = fgsm(lambda x: case.model(x).logits, case.x, case.labels, 0.1, mask=case.mask)
    torch.testing.assert_close(plain, fgsm(case.model, case.x, case.labels, 0.1, mask=case.mask), rtol=0, atol=0)


# The geometry.

values = st.floats(-10, 10, width=32)
some_delta = st.lists(st.lists(values, min_size=6, max_size=6), min_size=1, max_size=3).map(
    lambda rows: torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 2, 3)
)


@BOTH
@given(delta=some_delta, eps=st.just(0.0) | st.floats(1e-9, 5))
def test_a_projection_is_in_the_ball_and_stays(norm: float, delta: Tensor, eps: float) -> None:
    once = project(delta, eps, norm)
    assert bool((size(once, norm) <= eps * (1 + 1e-12)).all())
    torch.testing.assert_close(project(once, eps, norm), once, rtol=1e-12, atol=0)
    inside = size(delta, norm) <= eps
    torch.testing.assert_close(once[inside], delta[inside], rtol=0, atol=0)


@BOTH
@given(delta=some_delta, other=some_delta, eps=st.floats(0.01, 5))
def test_a_projection_is_the_nearest_point(norm: float, delta: Tensor, other: Tensor, eps: float) -> None:
    """A point p of a convex set is the nearest to d exactly if no point q of it has (d - p)(q - p) > 0."""
    p = project(delta, eps, norm)
    q = eps * other[:1] / max(float(size(other[:1], norm)), 1e-9)
    assert bool((((delta - p) * (q - p)).sum((1, 2)) <= 1e-9).all())


@BOTH
def test_a_numerical_optimiser_finds_the_same_projection(norm: float) -> None:
    torch.manual_seed(0)
    delta = torch.randn(1, 2, 3, dtype=torch.float64)
    flat = delta.flatten().numpy()
    budget = {"type": "ineq", "fun": lambda q: 0.25 - q @ q} if norm == 2 else ()
    limits = [(-0.5, 0.5)] * 6 if norm == math.inf else None
    found = minimize(lambda q: ((q - flat) ** 2).sum(), 0 * flat, bounds=limits, constraints=budget, tol=1e-12)
    torch.testing.assert_close(project(delta, 0.5, norm).flatten(), torch.tensor(found.x), rtol=0, atol=1e-5)


@BOTH
@given(gradient=some_delta, other=some_delta)
def test_no_step_of_size_1_rises_faster(norm: float, gradient: Tensor, other: Tensor) -> None:
    best = (gradient * steepest(gradient, norm)).sum((1, 2))
    dual = size(gradient, 1 if norm == math.inf else 2)
    torch.testing.assert_close(best, dual)
    step = other[:1] / max(float(size(other[:1], norm)), 1e-9)
    assert bool(((gradient * step).sum((1, 2)) <= best + 1e-9).all())


@BOTH
def test_noise_has_the_size_of_the_attack(case: Case, norm: float) -> None:
    delta = random_noise(case.x, 0.3, norm, case.mask)
    some = case.mask.any(-1)
    torch.testing.assert_close(size(delta, norm)[some], torch.full((int(some.sum()),), 0.3))
    step = fgsm(case.model, case.x, case.labels, 0.3, norm, case.mask)
    torch.testing.assert_close(lengths(delta), lengths(step), rtol=1e-4, atol=1e-4)
    assert not delta[~case.mask].any()
    assert not torch.equal(delta, random_noise(case.x, 0.3, norm, case.mask))


@BOTH
def test_a_start_is_anywhere_in_the_ball(case: Case, norm: float) -> None:
    sizes = size(random_start(case.x, 0.3, norm, case.mask), norm)
    assert float(sizes.max()) <= 0.3 * (1 + 1e-6)
    assert norm == math.inf or 0.1 < float(sizes.mean()) < 0.2


# The attacks.


def test_fgsm_is_foolboxs(case: Case) -> None:
    delta = fgsm(case.model, case.x, case.labels, 0.1, mask=case.mask)
    torch.testing.assert_close(delta, case.foolbox(foolbox.attacks.LinfFastGradientAttack(), 0.1), rtol=0, atol=1e-6)
    delta = fgsm(case.model, case.x, case.labels, 0.5, 2, case.mask)
    torch.testing.assert_close(delta, case.foolbox(foolbox.attacks.L2FastGradientAttack(), 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("norm", "eps"), [(math.inf, 0.06), (2, 0.3)])
def test_pgd_succeeds_as_often_as_foolboxs(case: Case, norm: float, eps: float) -> None:
    theirs = foolbox.attacks.LinfPGD if norm == math.inf else foolbox.attacks.L2PGD
    attack = theirs(abs_stepsize=eps / 4, steps=10, random_start=False)
    delta = pgd(case.model, case.x, case.labels, eps, norm, steps=10, step=eps / 4, mask=case.mask)
    ours = attack_success_rate(case.labels, case.labels, case.predicted(delta))
    other = attack_success_rate(case.labels, case.labels, case.predicted(case.foolbox(attack, eps)))
    assert 0.2 < ours[0] < 0.9 and ours[1] <= other[0] <= ours[2], (ours, other)


@BOTH
def test_the_path_is_foolboxs(case: Case, norm: float) -> None:
    """With steps as long as the budget the first one is no exception, and the last point visited is foolbox's."""
    visited = []

    def model(x: Tensor) -> Tensor:
        visited.append(x.detach() - case.x)
        return case.model(x).logits

    theirs = foolbox.attacks.LinfPGD if norm == math.inf else foolbox.attacks.L2PGD
    delta = pgd(model, case.x, case.labels, 0.02, norm, steps=3, step=0.02, mask=case.mask)
    other = case.foolbox(theirs(abs_stepsize=0.02, steps=3, random_start=False), 0.02)
    same = (visited[-1] - other).abs().amax((1, 2)) < 1e-6  # a gradient near 0 may have either sign
    assert len(visited) == 4 and float(same.float().mean()) > 0.95
    best = torch.stack([case.margins(point) for point in visited]).amax(0)
    torch.testing.assert_close(case.margins(delta), best, rtol=0, atol=1e-5)


@BOTH
def test_pgd_is_never_weaker_than_fgsm_and_restarts_never_hurt(case: Case, norm: float) -> None:
    eps = 0.05 if norm == math.inf else 0.25
    once = case.margins(fgsm(case.model, case.x, case.labels, eps, norm, case.mask))
    attack = partial(pgd, case.model, case.x, case.labels, eps, norm, 5, mask=case.mask)
    iterated, again = case.margins(attack()), case.margins(attack(restarts=3))
    assert bool((iterated >= once - 1e-5).all()) and bool((again >= iterated - 1e-5).all())
    assert float((iterated - once).mean()) > 0 and float((again - iterated).mean()) > 0


@BOTH
@settings(max_examples=15)
@given(eps=st.floats(0, 1), restarts=st.integers(1, 2), seed=st.integers(0, 3))
def test_pgd_stays_in_its_budget_and_off_padding(norm: float, eps: float, restarts: int, seed: int) -> None:
    case = Case(examples=6, seed=seed)
    delta = pgd(case.model, case.x, case.labels, eps, norm, 3, restarts, step=eps, mask=case.mask)
    assert float(size(delta, norm).max()) <= eps * (1 + 1e-5)
    assert not delta[~case.mask].any()


def test_restarts_leave_a_flat_place() -> None:
    """Where the gradient is 0 a run from the clean point cannot begin; a random start can."""

    def hill(x: Tensor) -> Tensor:
        height = ((x.sum((1, 2)) - 0.1).relu() * 50).clamp(max=20)
        return torch.stack([1 - height, torch.zeros_like(height)], -1)

    x, labels = torch.zeros(4, 2, 3), torch.zeros(4, dtype=torch.long)
    stuck = pgd(hill, x, labels, 0.2, steps=5)
    assert not stuck.any()
    freed = pgd(hill, x, labels, 0.2, steps=5, restarts=20)
    assert bool((margins(hill(freed), labels) > 0).all())


# What is measured.


def test_margins_say_where_the_model_errs() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3.0, 3.5]])
    labels = torch.tensor([0, 1, 2])
    assert margins(logits, labels).tolist() == [-1.0, 1.0, -0.5]


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_scipys(case: tuple[int, int]) -> None:
    count, of = case
    share, theirs = wilson(count, of), binomtest(count, of).proportion_ci(method="wilson")
    assert share == pytest.approx((count / of, theirs.low, theirs.high), abs=1e-6)


def test_success_counts_only_what_was_right() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    clean = torch.tensor([0, 0, 1, 1, 1, 0])
    attacked = torch.tensor([1, 0, 1, 0, 1, 1])
    assert attack_success_rate(labels, clean, attacked) == wilson(2, 4)


@settings(max_examples=30)
@given(some_delta)
def test_norms_are_torchs(delta: Tensor) -> None:
    norms = perturbation_norms(delta)
    torch.testing.assert_close(norms.linf, size(delta, math.inf))
    torch.testing.assert_close(norms.l2, size(delta, 2))
    assert norms.tokens.tolist() == [(row.abs().sum(-1) > 0).sum().item() for row in delta]


def test_the_nearest_token_is_cdists() -> None:
    torch.manual_seed(0)
    table, x = torch.randn(50, 8, dtype=torch.float64), torch.randn(3, 4, 8, dtype=torch.float64)
    assert torch.equal(nearest_tokens(x, table), torch.cdist(x.flatten(0, 1), table).argmin(-1).view(3, 4))
    assert torch.equal(nearest_tokens(table[None], table), torch.arange(50)[None])


# Texts.


def test_the_mask_leaves_padding_and_special_tokens_out(tokenizer: BertTokenizerFast) -> None:
    encoded = tokenizer(["good film", "a zebra was"], padding=True, return_tensors="pt")
    mask = word_mask(encoded["input_ids"], encoded["attention_mask"], tokenizer.all_special_ids)
    assert mask.tolist() == [[False, True, True, False, False], [False, True, False, True, False]]


def test_predictions_under_an_attack_are_those_of_the_batch(tokenizer: BertTokenizerFast) -> None:
    bert, other = build(0), build(1)
    generator = torch.Generator().manual_seed(0)
    texts = [" ".join(WORDS[i] for i in torch.randint(0, 16, (5,), generator=generator)) for _ in range(40)]
    labels = predictions(bert, tokenizer, texts, [0] * 40).tolist()
    assert labels == predictions(bert, tokenizer, texts, labels, batch_size=7, max_tokens=16).tolist()
    attack = partial(fgsm, eps=0.3)
    turned = predictions(bert, tokenizer, texts, labels, attack)
    assert attack_success_rate(torch.tensor(labels), torch.tensor(labels), turned)[0] > 0.3
    carried = predictions(bert, tokenizer, texts, labels, attack, source=other)

    encoded = tokenizer(texts, return_tensors="pt")
    mask = word_mask(encoded["input_ids"], encoded["attention_mask"], tokenizer.all_special_ids)
    x, y = bert.embed(encoded["input_ids"]).detach(), other.embed(encoded["input_ids"]).detach()
    model, source = (Embedded(one, encoded["attention_mask"]) for one in (bert, other))
    right = torch.tensor(labels)
    with torch.no_grad():
        assert torch.equal(turned, logits_of(model, x + fgsm(model, x, right, 0.3, mask=mask)).argmax(-1))
        assert torch.equal(carried, logits_of(model, x + fgsm(source, y, right, 0.3, mask=mask)).argmax(-1))


def test_a_kept_row_comes_out_again() -> None:
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("kept_attacks", root / "scripts" / "adversarial_attacks.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = json.loads((root / "results" / "adversarial_attacks.json").read_text(encoding="utf-8"))
    rows = script.chosen()[:32]  # one batch of the script's
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    classifier, tokenizer = models.load("reviews-classifier")
    for name, attack in (("none", None), ("FGSM", partial(fgsm, eps=0.004))):
        row = next(row for row in kept["rows"] if row["attack"] == name and row["eps"] in (0, 0.004) and "held" in row)
        found = predictions(classifier, tokenizer, texts, labels, attack, max_tokens=kept["max_tokens"])
        held = "".join("1" if a == b else "0" for a, b in zip(found.tolist(), labels, strict=True))
        _, low, high = wilson(held.count("1"), len(held))
        assert low <= row["held"][:32].count("1") / 32 <= high
        assert sum(a != b for a, b in zip(held, row["held"], strict=False)) <= 2  # another processor rounds otherwise


def test_errors(case: Case) -> None:
    with pytest.raises(ValueError, match="norm must be 2"):
        project(case.x, 1.0, 1)
    with pytest.raises(ValueError, match="norm must be 2"):
        fgsm(case.model, case.x, case.labels, 1.0, 3)
    for eps in (-0.1, math.nan):
        with pytest.raises(ValueError, match="eps"):
            pgd(case.model, case.x, case.labels, eps)
    with pytest.raises(ValueError, match="at least 1"):
        pgd(case.model, case.x, case.labels, 0.1, restarts=0)
    with pytest.raises(ValueError, match="no example right"):
        attack_success_rate(torch.tensor([0]), torch.tensor([1]), torch.tensor([1]))
    for count, of in ((0, 0), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="a share needs cases"):
            wilson(count, of)
