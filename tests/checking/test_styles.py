"""Right answers in other styles than the solution's earn all points, too."""

from __future__ import annotations

import pytest

from llmsafety_lab.checking import exercise
from tests.checking.test_mutants import answered, labs  # noqa: F401

FREELB = """
def freelb_gradients(model, embeddings, labels, mask, eps, steps, step, start):
    clear(model)
    weights, total, delta = weights_of(model), None, start
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        loss = cross_entropy(logits_of(model, embeddings + delta), labels)
        by_delta, *found = torch.autograd.grad(loss, [delta, *weights])
        total = found if total is None else [sum(pair) for pair in zip(total, found)]
        delta = (delta + step * by_delta.sign() * mask[..., None]).clamp(-eps, eps)
    return [each / steps for each in total]
"""
GRADIENT = """
def loss_gradient(model, embeddings, labels):
    with evaluating(model), torch.enable_grad():
        x = embeddings.detach().clone().requires_grad_(True)
        z = logits_of(model, x)
        found = torch.autograd.grad(-z.log_softmax(-1)[torch.arange(len(z)), labels].sum(), [x])
    return [z, found[0]]
"""
CAUSAL = """
def causal_loss(logits, ids):
    total = 0
    for b in range(len(ids)):
        for t in range(ids.shape[1] - 1):
            total = total - torch.log_softmax(logits[b, t], 0)[ids[b, t + 1]]
    return total / (len(ids) * (ids.shape[1] - 1))
"""
REPORT = """
def robust_accuracy(labels, clean, attacked):
    held = (torch.stack([clean, *attacked]) == labels).all(0)
    return list(wilson(int(held.sum()), len(labels)))
"""
POOL = """
class AttentionPooling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, hidden, mask):
        rows = []
        for states, kept in zip(hidden, mask.bool()):
            real = states[kept]
            rows.append(torch.einsum("t,tw->w", self.score(real)[:, 0].softmax(0), real))
        return torch.stack(rows)
"""


WRITTEN = {
    "robust_training.freelb": FREELB,
    "adversarial_attacks.gradient": GRADIENT,
    "pretraining.causal_loss": CAUSAL,
    "robust_training.report": REPORT,
    "fine_tuning.pool": POOL,
}


@pytest.mark.parametrize("id", WRITTEN)
def test_an_answer_written_otherwise_earns_all_points(id: str, labs) -> None:  # noqa: F811
    for seed in ("a", "b"):
        result = answered(exercise.find(id), labs, WRITTEN[id], seed)
        assert result.passed, result.to_text()


EDITED = [
    (
        "robust_training.loss",
        "return cross_entropy(logits_of(model, embeddings + delta), labels)",
        "clear(model)  # what backward() has left\n"
        "    return -logits_of(model, embeddings + delta).log_softmax(-1).gather(1, labels[:, None]).mean()",
        "(gradient,) = torch.autograd.grad(objective(delta).sum(), delta)",
        "objective(delta).sum().backward()\n        gradient = delta.grad",
    ),
    (
        "robust_training.trades",
        "divergence(clean, logits_of(model, embeddings + delta)).mean()",
        "kl_div(logits_of(model, embeddings + delta).log_softmax(-1), clean.softmax(-1), reduction='batchmean')",
    ),
    (
        "parameter_efficient.lora",
        "(x @ self.A.T @ self.B.T)",
        "torch.einsum('...i,ri,or->...o', x, self.A, self.B)",
    ),
    (
        "parameter_efficient.adapter",
        "return x + self.up(gelu(self.down(x)))",
        "return torch.add(self.up(nn.GELU()(self.down(x))), x)",
    ),
]


@pytest.mark.parametrize("edits", EDITED, ids=lambda edits: edits[0])
def test_the_solution_in_other_words_earns_all_points(edits: tuple[str, ...], labs) -> None:  # noqa: F811
    id, *words = edits
    one = exercise.find(id)
    source = labs[one.topic][id]
    for find, replace in zip(words[::2], words[1::2], strict=True):
        assert source.count(find) == 1
        source = source.replace(find, replace)
    for seed in ("a", "b"):
        result = answered(one, labs, source, seed)
        assert result.passed, result.to_text()
