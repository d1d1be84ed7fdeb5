"""Right answers in other styles than the solution's."""

RIGHT = {
    "federated_learning.server": [
        """
def server_step(weights, reports, velocity, lr=1.0, momentum=0.0):
    if len(reports) == 0:
        raise ValueError("nobody came")
    counts = torch.tensor([float(r["records"]) for r in reports], dtype=weights.dtype)
    stacked = torch.stack([r["weights"] for r in reports])
    update = (counts[:, None] * stacked).sum(0) / counts.sum() - weights
    v = velocity.clone().mul_(momentum).add_(update)
    return (weights + lr * v, v)
""",
        """
def server_step(weights, reports, velocity, lr=1.0, momentum=0.0):
    if not list(reports): raise ValueError
    w = [r["weights"].numpy() for r in reports]
    n = [r["records"] for r in reports]
    u = np.average(np.stack(w), axis=0, weights=n) - weights.numpy()
    v = momentum * velocity.numpy() + u
    return [torch.from_numpy(weights.numpy() + lr * v), torch.from_numpy(v)]
""",
        """
def server_step(weights, reports, velocity, lr=1.0, momentum=0.0):
    total = 0
    update = torch.zeros_like(weights)
    for report in reports:
        total += report["records"]
        update += report["records"] * (report["weights"] - weights)
    if total == 0:
        raise ValueError("no records")
    new = momentum * velocity + update / total
    return weights.add(new, alpha=lr), new
""",
    ],
    "federated_learning.local": [
        """
def local_update(model, x, y, lr, steps, momentum=0.0):
    start = flat(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    change = flat(model) - start
    load(model, start)
    return change
""",
        """
def local_update(model, x, y, lr, steps, momentum=0.0):
    import copy
    mine = copy.deepcopy(model)
    optimizer = torch.optim.SGD(mine.parameters(), lr=lr, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -mine(x).log_softmax(-1).gather(1, y[:, None]).mean()
        loss.backward()
        optimizer.step()
    return flat(mine) - flat(model)
""",
        """
def local_update(model, x, y, lr, steps, momentum=0.0):
    names = dict(model.named_parameters())
    now = {n: p.detach().clone().requires_grad_() for n, p in names.items()}
    v = {n: 0.0 for n in names}
    for _ in range(steps):
        loss = nn.functional.nll_loss(torch.func.functional_call(model, now, (x,)).log_softmax(1), y)
        grads = torch.autograd.grad(loss, list(now.values()))
        for (n, p), g in zip(list(now.items()), grads):
            v[n] = momentum * v[n] + g
            now[n] = (p - lr * v[n]).detach().requires_grad_()
    return torch.cat([(now[n] - names[n]).detach().flatten() for n in names])
""",
    ],
    "federated_learning.invert": [
        """
def invert_linear(weight, bias):
    if not bias.any():
        raise ValueError("nothing")
    i = max(range(len(bias)), key=lambda k: abs(float(bias[k])))
    return weight[i] / float(bias[i])
""",
        """
def invert_linear(weight, bias):
    if float(bias.abs().max()) == 0: raise ValueError("zero")
    return (bias @ weight) / (bias @ bias)
""",
        """
def invert_linear(weight, bias):
    w, b = weight.numpy(), bias.numpy()
    k = np.argmax(np.abs(b))
    if b[k] == 0:
        raise ValueError("all zero")
    return torch.tensor(w[k, :] / b[k])
""",
    ],
    "federated_learning.span": [
        """
def outside_span(gradient, candidates, tolerance=2e-6):
    _, s, v = np.linalg.svd(gradient.numpy(), full_matrices=False)
    if s.max() == 0:
        raise ValueError("zero")
    v = v[s > tolerance * s.max()]
    c = candidates.numpy()
    out = c - (c @ v.T) @ v
    return torch.from_numpy(np.linalg.norm(out, axis=1) / np.linalg.norm(c, axis=1))
""",
        """
def outside_span(gradient, candidates, tolerance=2e-6):
    u, s, vh = torch.linalg.svd(gradient)
    if not s.any(): raise ValueError("nothing")
    rank = int((s / s[0] > tolerance).sum())
    rest = vh[rank:]
    unit = candidates / candidates.norm(dim=1, keepdim=True)
    return (unit @ rest.T).norm(dim=1) if len(rest) else torch.zeros(len(candidates))
""",
        """
def outside_span(gradient, candidates, tolerance=2e-6):
    if gradient.abs().max() == 0: raise ValueError("nothing")
    _, s, vh = torch.linalg.svd(gradient, full_matrices=False)
    rows = vh[s > tolerance * s.max()]
    found = []
    for c in candidates:
        inside = sum(((c @ row) * row for row in rows), torch.zeros_like(c))
        found.append(float((c - inside).norm() / c.norm()))
    return found
""",
    ],
    "federated_learning.krum": [
        """
def krum_scores(updates, attackers):
    n = len(updates)
    if attackers < 0 or n < 2 * attackers + 3:
        raise ValueError("too few")
    scores = []
    for i in range(n):
        far = sorted(float(((updates[i] - updates[j]) ** 2).sum()) for j in range(n) if j != i)
        scores.append(sum(far[: n - attackers - 2]))
    return torch.tensor(scores, dtype=torch.float64)
""",
        """
def krum_scores(updates, attackers):
    n = updates.shape[0]
    if n < 2 * attackers + 3 or attackers < 0: raise ValueError
    d = torch.cdist(updates, updates) ** 2
    d.fill_diagonal_(float("inf"))
    return d.topk(n - attackers - 2, dim=1, largest=False).values.sum(1)
""",
        """
def krum_scores(updates, attackers):
    a = updates.numpy()
    n = len(a)
    if not 0 <= attackers <= (n - 3) / 2: raise ValueError("no")
    d = ((a[:, None] - a[None]) ** 2).sum(-1)
    return np.sort(d, axis=1)[:, 1 : n - attackers - 1].sum(1)
""",
    ],
    "federated_learning.private": [
        """
def private_average(updates, bound, multiplier, expected, noise):
    if bound <= 0 or expected <= 0 or multiplier < 0:
        raise ValueError("bad")
    total = multiplier * bound * noise
    for u in updates:
        length = float(u.norm())
        total = total + (u * (bound / length) if length > bound else u)
    return total / expected
""",
        """
def private_average(updates, bound, multiplier, expected, noise):
    if not (bound > 0 and expected > 0 and multiplier >= 0): raise ValueError
    factor = 1 / torch.clamp(updates.norm(dim=1) / bound, min=1)
    return (factor @ updates + bound * multiplier * noise) / expected
""",
        """
def private_average(updates, bound, multiplier, expected, noise):
    if min(bound, expected) <= 0 or multiplier < 0: raise ValueError("bad")
    short = torch.renorm(updates, 2, 0, bound) if len(updates) else updates
    return short.sum(0) / expected + noise * bound * multiplier / expected
""",
    ],
}
