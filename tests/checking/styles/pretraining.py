"""Right answers to the lab pretraining, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "pretraining.causal_loss": [
        """
def causal_loss(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
""",
        """
def causal_loss(logits, ids):
    return torch.stack(
        [torch.nn.functional.cross_entropy(z[:-1].double(), i[1:]) for z, i in zip(logits, ids)]
    ).mean()
""",
        """
import torch.nn.functional as F

def causal_loss(logits, ids):
    labels = ids.clone()
    labels = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], dim=1)
    return F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
""",
    ],
    "pretraining.schedule": [
        """
def warm_linear(step, steps, warmup):
    if step < warmup:
        return torch.tensor((step + 1) / warmup).item()
    return torch.tensor((steps - step) / (steps - warmup)).item()
""",
        """
def warm_linear(step, steps, warmup):
    if warmup == 0:
        return float(np.interp(step, [0, steps], [1, 0]))
    return float(np.interp(step, [-1, warmup - 1, warmup, steps], [0, 1, 1, 0]))
""",
        """
def warm_linear(step, steps, warmup):
    up = (step + 1) / warmup if warmup else float("inf")
    return min(up, 1.0) if step < warmup else 1 - (step - warmup) / (steps - warmup)
""",
    ],
    "pretraining.perplexity": [
        """
def perplexity(losses):
    return torch.cat(list(losses)).mean().exp().item()
""",
        """
def perplexity(losses):
    flat = [x for loss in losses for x in loss.tolist()]
    return math.e ** (math.fsum(flat) / len(flat))
""",
        """
def perplexity(losses):
    every = np.concatenate([x.numpy() for x in losses])
    return np.exp(every.mean())
""",
    ],
    "pretraining.mask": [
        """
def mask_tokens(ids, special, mask, vocabulary, seed, rate=0.15):
    g = torch.Generator().manual_seed(seed)
    p = torch.full(ids.shape, rate)
    p.masked_fill_((ids[..., None] == special).any(-1), 0.0)
    chosen = torch.bernoulli(p, generator=g).bool()
    labels = ids.masked_fill(~chosen, -100)
    inputs = ids.clone()
    masked = torch.bernoulli(torch.full(ids.shape, 0.8), generator=g).bool() & chosen
    inputs[masked] = mask
    rand = torch.bernoulli(torch.full(ids.shape, 0.5), generator=g).bool() & chosen & ~masked
    words = torch.randint(0, vocabulary, ids.shape, generator=g)
    inputs[rand] = words[rand]
    return [inputs, labels]
""",
        """
def mask_tokens(ids, special, mask, vocabulary, seed, rate=0.15):
    g = torch.Generator().manual_seed(seed)
    inputs = ids.clone()
    labels = torch.full_like(ids, -100)
    ordinary = ~torch.isin(ids, special)
    chosen = (torch.rand(ids.shape, generator=g) < rate) & ordinary
    labels[chosen] = ids[chosen]
    u = torch.rand(ids.shape, generator=g)
    inputs[chosen & (u < 0.8)] = mask
    r = chosen & (u >= 0.8) & (u < 0.9)
    inputs[r] = torch.randint(vocabulary, (int(r.sum()),), generator=g)
    return inputs.to(torch.int32), labels.to(torch.int32)
""",
        """
def mask_tokens(ids, special, mask, vocabulary, seed, rate=0.15):
    g = torch.Generator()
    g.manual_seed(seed)
    draws = torch.rand(3, *ids.shape, generator=g).tolist()
    bad = set(special.tolist())
    inputs, labels = ids.tolist(), [[-100] * ids.shape[1] for _ in range(ids.shape[0])]
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            token = int(ids[b, t])
            if token in bad or draws[0][b][t] >= rate:
                continue
            labels[b][t] = token
            if draws[1][b][t] < 0.8:
                inputs[b][t] = mask
            elif draws[1][b][t] < 0.9:
                inputs[b][t] = int(draws[2][b][t] * vocabulary)
    return torch.tensor(inputs), torch.tensor(labels)
""",
    ],
    "pretraining.pairs": [
        """
def sentence_pairs(documents, seed):
    full = [list(d) for d in documents if d]
    if len(full) < 2:
        raise ValueError
    rng = np.random.default_rng(seed)

    def partner(n, t):
        if rng.integers(2):
            return full[n][t + 1], True
        others = sum((d for m, d in enumerate(full) if m != n), [])
        return str(rng.choice(others)), False

    return [[d[t], *partner(n, t)] for n, d in enumerate(full) for t in range(len(d) - 1)]
""",
        """
def sentence_pairs(documents, seed):
    rng = np.random.default_rng(seed)
    if sum(len(d) > 0 for d in documents) < 2:
        raise ValueError("two documents are needed")
    out = []
    for i in range(len(documents)):
        pool = [s for j in range(len(documents)) if j != i for s in documents[j]]
        for t in range(len(documents[i]) - 1):
            if rng.random() < 0.5:
                out.append((documents[i][t], documents[i][t + 1], 1))
            else:
                out.append((documents[i][t], pool[rng.integers(len(pool))], 0))
    return out
""",
        """
def sentence_pairs(documents, seed):
    rng = np.random.default_rng(seed)
    if sum(len(d) > 0 for d in documents) < 2:
        raise ValueError("two documents are needed")
    out = []
    for i in range(len(documents)):
        pool = [s for j in range(len(documents)) if j != i for s in documents[j]]
        for t in range(len(documents[i]) - 1):
            heads = rng.random() < 0.5
            if heads:
                out.append((documents[i][t], documents[i][t + 1], bool(heads)))
            else:
                out.append((documents[i][t], pool[rng.integers(len(pool))], False))
    return out
""",
    ],
    "pretraining.orthogonalise": [
        """
def orthogonalise(matrices, steps=5):
    a, b, c = QUINTIC
    norm = torch.linalg.norm(matrices.flatten(1), dim=1).clamp(min=1e-12)
    x = (matrices / norm[:, None, None]).double()
    for _ in range(steps):
        g = torch.bmm(x, x.mT)
        x = torch.baddbmm(a * x, torch.baddbmm(b * g, g, g, beta=1, alpha=c), x)
    return x.to(matrices.dtype)
""",
        """
def orthogonalise(matrices, steps=5):
    a, b, c = QUINTIC
    X = matrices / matrices.square().sum((1, 2), keepdim=True).sqrt()
    for _ in range(steps):
        S = torch.einsum("nij,nkj->nik", X, X)
        SX = torch.einsum("nik,nkj->nij", S, X)
        X = a * X + b * SX + c * torch.einsum("nik,nkj->nij", S, SX)
    return X
""",
        """
def orthogonalise(matrices, steps=5):
    def one(x, left):
        if left == 0:
            return x
        s = x.mm(x.t())
        return one(QUINTIC[0] * x + (QUINTIC[1] * s + QUINTIC[2] * s.mm(s)).mm(x), left - 1)

    return torch.stack([one(m / m.norm(), steps) for m in matrices])
""",
    ],
}
