"""Right answers in other styles than the solution's earn all points, too."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from llmsafety_lab.checking import exercise
from tests.checking import styles
from tests.checking.test_mutants import answered, labs  # noqa: F401

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


WRITTEN = [
    ("fine_tuning.pool", POOL),
    *(
        pytest.param(id, source, id=f"{id} {number}")
        for topic in pkgutil.iter_modules(styles.__path__)
        for id, sources in importlib.import_module(f"{styles.__name__}.{topic.name}").RIGHT.items()
        for number, source in enumerate(sources)
    ),
]


@pytest.mark.parametrize(("id", "source"), WRITTEN)
def test_an_answer_written_otherwise_earns_all_points(id: str, source: str, labs) -> None:  # noqa: F811
    for seed in ("a", "b"):
        result = answered(exercise.find(id), labs, source, seed)
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
