"""Right answers to the lab adversarial_attacks, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "adversarial_attacks.gradient": [
        """
def loss_gradient(model, embeddings, labels):
    with evaluating(model), torch.enable_grad():
        delta = torch.zeros_like(embeddings, requires_grad=True)
        z = logits_of(model, embeddings.detach() + delta)
        (g,) = torch.autograd.grad(cross_entropy(z, labels) * len(labels), delta)
    return [z.detach(), g]
""",
        """
from torch.func import functional_call

def loss_gradient(model, embeddings, labels):
    def f(x):
        z = logits_of(model, x)
        return cross_entropy(z, labels, reduction="sum"), z

    with evaluating(model), torch.enable_grad():
        g, z = torch.func.grad(f, has_aux=True)(embeddings)
    return z.detach(), g
""",
        """
def loss_gradient(model, embeddings, labels):
    with torch.enable_grad(), evaluating(model):
        x = torch.tensor(embeddings.tolist(), dtype=embeddings.dtype, requires_grad=True)
        z = logits_of(model, x)
        losses = cross_entropy(z, labels, reduction="none")
        g = torch.autograd.grad(losses, x, grad_outputs=torch.ones_like(losses))
    return z, g[0]
""",
    ],
    "adversarial_attacks.project": [
        """
def lengths(delta):
    return torch.stack([row.square().sum().sqrt() for row in delta]).view(-1, 1, 1)

def project(delta, eps, norm):
    if norm == 2:
        rows = []
        for row in delta:
            size = float(row.norm())
            rows.append(row * eps / size if size > eps else row.clone())
        return torch.stack(rows)
    return torch.minimum(torch.maximum(delta, torch.tensor(-eps).to(delta)), torch.tensor(eps).to(delta))
""",
        """
def lengths(delta):
    return delta.flatten(1).norm(dim=1)[:, None, None]

def project(delta, eps, norm):
    if math.isinf(norm):
        return torch.where(delta > eps, eps, torch.where(delta < -eps, -eps, delta))
    return delta * eps / lengths(delta).clamp(min=eps) if eps else 0 * delta
""",
        """
import numpy as np

def lengths(delta):
    return torch.sqrt(torch.einsum("btd,btd->b", delta, delta))[:, None, None]

def project(delta, eps, norm):
    d = delta.detach().numpy()
    if np.isinf(norm):
        return torch.from_numpy(np.clip(d, -eps, eps))
    n = np.sqrt((d**2).sum(axis=(1, 2), keepdims=True))
    return torch.from_numpy(d * np.minimum(1, eps / np.maximum(n, 1e-30)))
""",
    ],
    "adversarial_attacks.fgsm": [
        """
def masked(values, mask):
    return values if mask is None else values * mask[..., None]

def steepest(gradient, norm):
    if norm == math.inf:
        return torch.sign(gradient)
    n = lengths(gradient)
    return gradient / (n + 1e-12)

def fgsm(model, embeddings, labels, eps, norm=math.inf, mask=None):
    _, g = loss_gradient(model, embeddings, labels)
    g = masked(g, mask)
    return eps * steepest(g, norm)
""",
        """
def masked(values, mask):
    return values if mask is None else values * mask[..., None]

def steepest(gradient, norm):
    rows = []
    for g in gradient:
        size = g.norm()
        rows.append(g.sign() if norm == math.inf else g / size if size > 0 else torch.zeros_like(g))
    return torch.stack(rows)

def fgsm(model, embeddings, labels, eps, norm=math.inf, mask=None):
    _, g = loss_gradient(model, embeddings, labels)
    return steepest(masked(g, mask), norm).mul(eps)
""",
        """
def steepest(gradient, norm):
    if norm == 2:
        return torch.nn.functional.normalize(gradient.flatten(1), dim=1).view_as(gradient)
    return (gradient > 0).to(gradient.dtype) - (gradient < 0).to(gradient.dtype)

def fgsm(model, embeddings, labels, eps, norm=math.inf, mask=None):
    g = loss_gradient(model, embeddings, labels)[1]
    if mask is not None:
        g = g.masked_fill(~mask.unsqueeze(-1), 0.0)
    delta = project(eps * steepest(g, norm), eps, norm)
    return delta
""",
    ],
    "adversarial_attacks.pgd": [
        """
def margins(logits, labels):
    right = labels[:, None]
    return logits.scatter(1, right, -math.inf).amax(1) - logits.gather(1, right)[:, 0]

def random_noise(embeddings, eps, norm=math.inf, mask=None):
    return eps * steepest(masked(torch.randn_like(embeddings), mask), norm)

def random_start(embeddings, eps, norm=math.inf, mask=None):
    if norm == math.inf:
        return masked(eps * (2 * torch.rand_like(embeddings) - 1), mask)
    return torch.rand_like(embeddings[:, :1, :1]) * random_noise(embeddings, eps, norm, mask)

def pgd(model, embeddings, labels, eps, norm=math.inf, steps=10, restarts=1, step=None, mask=None):
    size = 2.5 * eps / steps if step is None else step

    def path(run):
        delta = torch.zeros_like(embeddings) if run == 0 else random_start(embeddings, eps, norm, mask)
        yield delta
        for i in range(steps):
            if run == 0 and i == 0:
                delta = fgsm(model, embeddings, labels, eps, norm, mask)
            else:
                g = loss_gradient(model, embeddings + delta, labels)[1]
                delta = project(delta + size * steepest(masked(g, mask), norm), eps, norm)
            yield delta

    best, top = None, None
    for run in range(restarts):
        for delta in path(run):
            m = margins(loss_gradient(model, embeddings + delta, labels)[0], labels)
            if best is None:
                best, top = delta.clone(), m.clone()
            else:
                up = m > top
                best[up], top[up] = delta[up], m[up]
    return best
""",
        """
def margins(logits, labels):
    right = labels[:, None]
    return logits.scatter(1, right, -math.inf).amax(1) - logits.gather(1, right)[:, 0]

def random_noise(embeddings, eps, norm=math.inf, mask=None):
    return eps * steepest(masked(torch.randn_like(embeddings), mask), norm)

def random_start(embeddings, eps, norm=math.inf, mask=None):
    if norm == math.inf:
        return masked(eps * (2 * torch.rand_like(embeddings) - 1), mask)
    return torch.rand_like(embeddings[:, :1, :1]) * random_noise(embeddings, eps, norm, mask)

def pgd(model, embeddings, labels, eps, norm=math.inf, steps=10, restarts=1, step=None, mask=None):
    step = step if step is not None else 2.5 * eps / steps
    state = {
        "best": torch.zeros_like(embeddings),
        "worst": torch.full((len(labels),), -math.inf, dtype=embeddings.dtype),
    }

    def look(delta):
        with torch.no_grad(), evaluating(model):
            m = margins(logits_of(model, embeddings + delta), labels)
        for b in range(len(labels)):
            if m[b] > state["worst"][b]:
                state["worst"][b] = m[b]
                state["best"][b] = delta[b]

    for run in range(restarts):
        delta = torch.zeros_like(embeddings) if run == 0 else random_start(embeddings, eps, norm, mask)
        look(delta)
        for i in range(steps):
            _, g = loss_gradient(model, embeddings + delta, labels)
            delta = project(delta + (eps if run == i == 0 else step) * steepest(masked(g, mask), norm), eps, norm)
            look(delta)
    return state["best"]
""",
        """
def margins(logits, labels):
    right = labels[:, None]
    return logits.scatter(1, right, -math.inf).amax(1) - logits.gather(1, right)[:, 0]

def random_noise(embeddings, eps, norm=math.inf, mask=None):
    return eps * steepest(masked(torch.randn_like(embeddings), mask), norm)

def random_start(embeddings, eps, norm=math.inf, mask=None):
    if norm == math.inf:
        return masked(eps * (2 * torch.rand_like(embeddings) - 1), mask)
    return torch.rand_like(embeddings[:, :1, :1]) * random_noise(embeddings, eps, norm, mask)

def pgd(model, embeddings, labels, eps, norm=math.inf, steps=10, restarts=1, step=None, mask=None):
    if step is None:
        step = 2.5 * eps / steps
    points, sizes = [], []
    for run in range(restarts):
        delta = random_start(embeddings, eps, norm, mask) if run else 0 * embeddings
        for i in range(steps):
            z, g = loss_gradient(model, embeddings + delta, labels)
            points.append(delta)
            sizes.append(margins(z, labels))
            delta = project(delta + (eps if run + i == 0 else step) * steepest(masked(g, mask), norm), eps, norm)
        z, _ = loss_gradient(model, embeddings + delta, labels)
        points.append(delta)
        sizes.append(margins(z, labels))
    choice = torch.stack(sizes).argmax(0)
    return torch.stack(points)[choice, torch.arange(len(labels))]
""",
    ],
    "adversarial_attacks.success": [
        """
def wilson(count, of, z=1.959964):
    p = count / of
    d = 1 + z**2 / of
    c = (p + z**2 / (2 * of)) / d
    h = z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / d
    return p, c - h, c + h

def attack_success_rate(labels, clean, attacked):
    kept = attacked[clean == labels] != labels[clean == labels]
    return list(wilson(kept.sum().item(), kept.numel()))
""",
        """
def wilson(count, of, z=1.959964):
    p = count / of
    d = 1 + z**2 / of
    c = (p + z**2 / (2 * of)) / d
    h = z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / d
    return p, c - h, c + h

def attack_success_rate(labels, clean, attacked):
    trials = [(y, a) for y, c, a in zip(labels.tolist(), clean.tolist(), attacked.tolist()) if y == c]
    won = sum(1 for y, a in trials if a != y)
    return wilson(won, len(trials))
""",
        """
def wilson(count, of, z=1.959964):
    p = count / of
    d = 1 + z**2 / of
    c = (p + z**2 / (2 * of)) / d
    h = z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / d
    return p, c - h, c + h

from typing import NamedTuple

class Rate(NamedTuple):
    share: float
    low: float
    high: float

def attack_success_rate(labels, clean, attacked):
    ok = clean == labels
    return Rate(*wilson(int((attacked[ok] != clean[ok]).sum()), int(ok.sum())))
""",
    ],
    "adversarial_attacks.tokens": [
        """
def nearest_tokens(embeddings, table):
    b, t, d = embeddings.shape
    return torch.cdist(embeddings.reshape(b * t, d), table).argmin(1).reshape(b, t)
""",
        """
def nearest_tokens(embeddings, table):
    return torch.einsum("btd,vd->btv", embeddings, table).sub((table**2).sum(-1) / 2).max(-1).indices.int()
""",
        """
def nearest_tokens(embeddings, table):
    return torch.tensor([[int((table - e).norm(dim=-1).argmin()) for e in row] for row in embeddings])
""",
    ],
}
