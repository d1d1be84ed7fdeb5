"""Right answers to the lab robust_training, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "robust_training.loss": [
        """
def ascend(objective, delta, eps, norm, steps, mask, step=None):
    size = 2.5 * eps / steps if step is None else step
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        (g,) = torch.autograd.grad(objective(delta).sum(), delta)
        delta = project(delta + size * steepest(masked(g, mask), norm), eps, norm)
    return delta.detach()

def adversarial_loss(model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None):
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    if True:
        delta = ascend(
            lambda d: cross_entropy(logits_of(frozen, x + d), labels, reduction="none"),
            start,
            eps,
            norm,
            steps,
            mask,
            step,
        )
    return cross_entropy(logits_of(model, embeddings + delta), labels)
""",
        """
def ascend(objective, delta, eps, norm, steps, mask, step=None):
    if step is None:
        step = 2.5 * eps / steps
    if steps == 0:
        return delta.detach()
    g = torch.func.grad(lambda d: objective(d).sum())(delta.detach())
    return ascend(
        objective,
        project(delta + step * steepest(masked(g, mask), norm), eps, norm).detach(),
        eps,
        norm,
        steps - 1,
        mask,
        step,
    )

def adversarial_loss(model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None):
    if start is None:
        start = random_start(embeddings, eps, norm, mask)

    def objective(d):
        return -logits_of(model, embeddings.detach() + d).log_softmax(-1)[torch.arange(len(labels)), labels]

    with evaluating(model):
        delta = ascend(objective, start, eps, norm, steps, mask, step)
    z = logits_of(model, embeddings + delta)
    return (z.logsumexp(-1) - z.gather(1, labels[:, None])[:, 0]).mean()
""",
        """
def ascend(objective, delta, eps, norm, steps, mask, step=None):
    size = 2.5 * eps / steps if step is None else step
    delta = delta.detach().clone()
    for k in range(steps):
        with torch.enable_grad():
            d = delta.requires_grad_(True)
            value = objective(d).sum()
            g = torch.autograd.grad(outputs=value, inputs=d)[0]
        with torch.no_grad():
            delta = project(d + size * steepest(masked(g, mask), norm), eps, norm)
    return delta

def adversarial_loss(model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None):
    x = embeddings.detach()
    delta = random_start(x, eps, norm, mask) if start is None else start
    was = model.training
    model.eval()
    delta = ascend(
        lambda d: nn.functional.cross_entropy(logits_of(model, x + d), labels, reduction="none"),
        delta,
        eps,
        norm,
        steps,
        mask,
        step,
    )
    model.train(was)
    return nn.functional.cross_entropy(logits_of(model, x + delta), labels)
""",
    ],
    "robust_training.step": [
        """
def robust_step(model, embeddings, labels, mask, eps, lr):
    delta = library_attack(copy.deepcopy(model), embeddings, labels, mask, eps)
    cross_entropy(logits_of(model, embeddings + delta), labels).backward()
    out = []
    with torch.no_grad():
        for w in weights_of(model):
            w.copy_(w - lr * w.grad)
            out.append(w.clone())
    return out
""",
        """
def robust_step(model, embeddings, labels, mask, eps, lr):
    delta = library_attack(model, embeddings, labels, mask, eps)
    model.zero_grad()
    z = logits_of(model, embeddings + delta.detach())
    (-z.log_softmax(1).gather(1, labels.unsqueeze(1)).sum() / len(labels)).backward()
    for w in weights_of(model):
        w.data.add_(w.grad, alpha=-lr)
    model.zero_grad()
    return tuple(w.data.clone() for w in weights_of(model))
""",
        """
def robust_step(model, embeddings, labels, mask, eps, lr):
    delta = library_attack(model, embeddings, labels, mask, eps)
    ws = weights_of(model)
    grads = torch.autograd.grad(cross_entropy(logits_of(model, embeddings + delta), labels), ws)
    with torch.no_grad():
        [w.sub_(lr * g) for w, g in zip(ws, grads)]
    return [w.detach().clone() for w in ws]
""",
    ],
    "robust_training.freelb": [
        """
def freelb_gradients(model, embeddings, labels, mask, eps, steps, step, start):
    clear(model)
    delta = start
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        loss = cross_entropy(logits_of(model, embeddings + delta), labels)
        loss.backward()
        delta = project(delta + step * steepest(masked(delta.grad, mask), math.inf), eps, math.inf)
    return [w.grad / steps for w in weights_of(model)]
""",
        """
def freelb_gradients(model, embeddings, labels, mask, eps, steps, step, start):
    clear(model)
    ws, delta = weights_of(model), start.detach().clone()
    total = [torch.zeros_like(w) for w in ws]
    for _ in range(steps):
        delta.requires_grad_()
        loss = cross_entropy(logits_of(model, embeddings + delta), labels)
        g, *gw = torch.autograd.grad(loss, [delta, *ws])
        total = [t + h / steps for t, h in zip(total, gw)]
        delta = (delta.detach() + step * masked(g, mask).sign()).clamp(-eps, eps)
    for w, t in zip(ws, total):
        w.grad = t
    return [w.grad for w in ws]
""",
        """
def freelb_gradients(model, embeddings, labels, mask, eps, steps, step, start):
    model.zero_grad()
    delta = torch.nn.Parameter(start.clone())
    for k in range(steps):
        delta.grad = None
        loss = cross_entropy(logits_of(model, embeddings + delta), labels)
        loss.div(steps).backward()
        with torch.no_grad():
            delta.add_(step * torch.sign(delta.grad) * mask.unsqueeze(-1))
            delta.clamp_(-eps, eps)
    return tuple(w.grad.clone() for w in weights_of(model))
""",
    ],
    "robust_training.trades": [
        """
def trades_loss(
    model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None, beta=6.0
):
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            held = logits_of(model, x)
        delta = ascend(lambda d: divergence(held, logits_of(model, x + d)), start, eps, norm, steps, mask, step)
    clean = logits_of(model, embeddings)
    other = logits_of(model, embeddings + delta)
    return cross_entropy(clean, labels) + beta * kl_div(
        other.log_softmax(-1), clean.softmax(-1), reduction="batchmean"
    )
""",
        """
def trades_loss(
    model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None, beta=6.0
):
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            held = logits_of(model, x)
        delta = ascend(lambda d: divergence(held, logits_of(model, x + d)), start, eps, norm, steps, mask, step)
    clean, other = logits_of(model, torch.cat([embeddings, embeddings + delta])).chunk(2)
    return cross_entropy(clean, labels) + beta * divergence(clean, other).mean()
""",
        """
def trades_loss(
    model, embeddings, labels, mask=None, *, eps, norm=math.inf, steps=3, step=None, start=None, beta=6.0
):
    x = embeddings.detach()
    start = random_start(x, eps, norm, mask) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            held = logits_of(model, x)
        delta = ascend(lambda d: divergence(held, logits_of(model, x + d)), start, eps, norm, steps, mask, step)
    clean = logits_of(model, embeddings)
    other = logits_of(model, embeddings + delta)
    return (
        cross_entropy(clean, labels)
        + beta * (clean.softmax(-1) * (clean.log_softmax(-1) - other.log_softmax(-1))).sum(-1).mean()
    )
""",
    ],
    "robust_training.direction": [
        """
def virtual_direction(model, embeddings, mask=None, iterations=1, xi=1e-2, start=None):
    x = embeddings.detach()
    d = steepest(masked(torch.randn_like(x), mask), 2) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            p = logits_of(model, x)
        for _ in range(iterations):
            r = (xi * d).detach().requires_grad_()
            kl = divergence(p, logits_of(model, x + r)).sum()
            g = torch.autograd.grad(kl, r)[0]
            d = steepest(masked(g, mask), 2)
    return d.detach()
""",
        """
def virtual_direction(model, embeddings, mask=None, iterations=1, xi=1e-2, start=None):
    x = embeddings.detach()
    d = steepest(masked(torch.randn_like(x), mask), 2) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            p = logits_of(model, x)
        for _ in range(iterations):
            d = d.detach().requires_grad_()
            kl = divergence(p, logits_of(model, x + xi * d)).sum()
            g = torch.autograd.grad(kl, [d], retain_graph=False)[0]
            d = g if mask is None else torch.where(mask[..., None], g, 0.0)
            d = d / torch.sqrt(torch.einsum("btd,btd->b", d, d))[:, None, None]
    return d.detach()
""",
        """
def virtual_direction(model, embeddings, mask=None, iterations=1, xi=1e-2, start=None):
    x = embeddings.detach()
    d = steepest(masked(torch.randn_like(x), mask), 2) if start is None else start
    with evaluating(model):
        with torch.no_grad():
            p = logits_of(model, x)
        for _ in range(iterations):
            d = d.detach().requires_grad_()
            kl = divergence(p, logits_of(model, x + xi * d)).sum()
            g = torch.autograd.grad(kl, d)[0]
            d = torch.nn.functional.normalize(masked(g, mask).flatten(1), dim=1).view_as(g)
    return d.detach()
""",
    ],
    "robust_training.report": [
        """
def robust_accuracy(labels, clean, attacked):
    n = sum(all(int(p[i]) == int(y) for p in [clean] + list(attacked)) for i, y in enumerate(labels))
    share, low, high = wilson(n, len(labels))
    return [share, low, high]
""",
        """
import numpy as np

def robust_accuracy(labels, clean, attacked):
    y = labels.numpy()
    held = np.logical_and.reduce([p.numpy() == y for p in [clean, *attacked]])
    return tuple(map(float, wilson(int(held.sum()), len(y))))
""",
        """
import functools

def robust_accuracy(labels, clean, attacked):
    held = functools.reduce(torch.logical_and, [a == labels for a in attacked], clean == labels)
    return wilson(count=int(held.sum()), of=held.numel())
""",
    ],
}
