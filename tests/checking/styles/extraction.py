"""Right answers to the lab extraction, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "extraction.exposure": [
        """
from scipy.stats import rankdata

def exposure(secret, candidates):
    found = np.flatnonzero(np.asarray(candidates) == secret)
    if not len(found):
        raise ValueError("the secret is not there")
    return math.log2(len(candidates) / rankdata(candidates)[found[0]])
""".replace("math.log2", "np.log2"),
        """
def exposure(secret, candidates):
    order = sorted(candidates)
    places = [i for i, loss in enumerate(order, 1) if loss == secret]
    if not places:
        raise ValueError("the secret is not there")
    return float(np.log(len(order) / (sum(places) / len(places))) / np.log(2))
""",
        """
def exposure(secret, candidates):
    losses = torch.as_tensor(candidates, dtype=torch.float64)
    if not (losses == secret).any():
        raise ValueError("the secret is not there")
    rank = (losses < secret).sum() + ((losses == secret).sum() + 1) / 2
    return torch.log2(len(losses) / rank)
""",
    ],
    "extraction.fit": [
        """
def exposure_fit(secret, sample):
    if max(sample) == min(sample):
        raise ValueError("all equal")
    g = min(max(float(skew(sample)), -0.99), 0.99)
    a = abs(g) ** (2 / 3)
    d = math.copysign(math.sqrt(math.pi / 2 * a / (a + (2 - math.pi / 2) ** (2 / 3))), g)
    scale = np.std(sample) / math.sqrt(1 - 2 * d * d / math.pi)
    place = np.mean(sample) - scale * d * math.sqrt(2 / math.pi)
    return -float(skewnorm.logcdf(secret, d / math.sqrt(1 - d * d), loc=place, scale=scale)) / math.log(2)
""".replace("\ndef exposure_fit", "\nimport math\n\ndef exposure_fit"),
        """
def exposure_fit(secret, sample):
    sample = np.asarray(sample)
    if sample.std() < 1e-12:
        raise ValueError("all equal")
    g = np.clip(((sample - sample.mean()) ** 3).mean() / sample.std() ** 3, -0.99, 0.99)
    power = np.abs(g) ** (2 / 3)
    delta = np.sign(g) * np.sqrt(np.pi / 2 * power / (power + (2 - np.pi / 2) ** (2 / 3)))
    scale = sample.std() / np.sqrt(1 - 2 * delta**2 / np.pi)
    frozen = skewnorm(delta / np.sqrt(1 - delta**2), sample.mean() - scale * delta * np.sqrt(2 / np.pi), scale)
    return float(frozen.logcdf(secret) / -np.log(2))
""",
        """
def moments(x):
    x = torch.as_tensor(x)
    z = (x - x.mean()) / x.std(correction=0)
    return float(x.mean()), float(x.std(correction=0)), float((z**3).mean())

def exposure_fit(secret, sample):
    m, s, g = moments(sample)
    if s == 0:
        raise ValueError("all equal")
    g = max(-0.99, min(0.99, g))
    p = abs(g) ** (2 / 3)
    d2 = np.pi / 2 * p / (p + (2 - np.pi / 2) ** (2 / 3))
    d = d2**0.5 * (1 if g > 0 else -1)
    w = s / (1 - 2 * d2 / np.pi) ** 0.5
    return float(-skewnorm.logcdf(secret, d / (1 - d2) ** 0.5, m - w * d * (2 / np.pi) ** 0.5, w) / np.log(2))
""",
    ],
    "extraction.rank": [
        """
def rank_candidates(texts, losses, by, other=None):
    sizes = [len(zlib.compress(text.encode())) for text in texts]
    divisor = {"perplexity": lambda i: 1.0, "zlib": lambda i: sizes[i], "ratio": lambda i: other[i]}
    if by not in divisor:
        raise ValueError(by)
    if not all(np.isfinite(x) and x > 0 for x in losses):
        raise ValueError("losses")
    first = {}
    for i, text in enumerate(texts):
        first.setdefault(text, i)
    return sorted(first.values(), key=lambda i: losses[i] / divisor[by](i))
""",
        """
def rank_candidates(texts, losses, by, other=None):
    if by == "perplexity":
        score = np.asarray(losses)
    elif by == "zlib":
        score = np.asarray(losses) / [len(zlib.compress(t.encode())) for t in texts]
    elif by == "ratio":
        score = np.asarray(losses) / np.asarray(other)
    else:
        raise ValueError("no such score")
    if not np.isfinite(score).all() or (score <= 0).any():
        raise ValueError("not finite")
    seen, places = set(), []
    for place, text in enumerate(texts):
        if text not in seen:
            seen.add(text)
            places.append(place)
    return np.array(places)[np.argsort(score[places], kind="stable")]
""",
        """
def rank_candidates(texts, losses, by, other=None):
    sizes = [len(zlib.compress(bytes(text, "utf-8"))) for text in texts]
    below = dict(perplexity=[1.0] * len(texts), zlib=sizes, ratio=other)
    if by not in below:
        raise ValueError("no such score")
    if not np.isfinite(losses).all():
        raise ValueError("not finite")
    rows = sorted((loss / b, i) for i, (loss, b) in enumerate(zip(losses, below[by])) if texts.index(texts[i]) == i)
    return torch.tensor([i for _, i in rows])
""",
    ],
    "extraction.npo": [
        """
def npo_loss(forget, reference, beta=0.1):
    if beta <= 0:
        raise ValueError("beta")
    return -2 / beta * torch.nn.functional.logsigmoid(beta * (reference.detach() - forget)).mean()
""",
        """
def npo_loss(forget, reference, beta=0.1):
    if not beta > 0:
        raise ValueError("beta")
    with torch.no_grad():
        before = reference.clone()
    x = beta * (forget - before)
    return torch.logaddexp(torch.zeros_like(x), x).sum() * 2 / (beta * len(x))
""",
        """
def npo_loss(forget, reference, beta=0.1):
    if beta <= 0:
        raise ValueError("beta")
    gap = (forget - reference.detach()) * beta
    each = torch.relu(gap) + torch.log1p(torch.exp(-gap.abs()))
    return each.mean() / (beta / 2)
""",
    ],
    "extraction.judge": [
        """
def judge(before, after, relearned, retrained, retrained_relearned, forgotten, outsiders):
    whole = np.mean(before) - np.mean(retrained)
    if whole <= 0:
        raise ValueError("nothing to forget")
    wins = np.mean([(a < b) + 0.5 * (a == b) for a in forgotten for b in outsiders])
    back = np.mean(relearned) - np.mean(after) - np.mean(retrained_relearned) + np.mean(retrained)
    return (np.mean(before) - np.mean(after)) / whole, back / whole, max(wins, 1 - wins)
""",
        """
def judge(before, after, relearned, retrained, retrained_relearned, forgotten, outsiders):
    b, a, r, n, nr = (sum(row) / len(row) for row in (before, after, relearned, retrained, retrained_relearned))
    if b <= n:
        raise ValueError("nothing to forget")
    losses = list(forgotten) + list(outsiders)
    told = area(np.array(losses), np.array([True] * len(forgotten) + [False] * len(outsiders)))
    return [(b - a) / (b - n), (r - a - (nr - n)) / (b - n), 0.5 + abs(told - 0.5)]
""",
        """
def judge(before, after, relearned, retrained, retrained_relearned, forgotten, outsiders):
    rows = np.stack([before, after, relearned, retrained, retrained_relearned]).mean(1)
    total = rows[0] - rows[3]
    if not total > 0:
        raise ValueError("nothing to forget")
    gap = np.subtract.outer(np.asarray(forgotten), np.asarray(outsiders))
    higher = (np.sign(gap) / 2 + 0.5).mean()
    shares = np.array([rows[0] - rows[1], rows[2] - rows[1] - rows[4] + rows[3]]) / total
    return (*shares, max(higher, 1 - higher))
""",
    ],
    "extraction.width": [
        """
def hidden_width(logits):
    if not np.isfinite(logits).all():
        raise ValueError("not finite")
    s = np.linalg.svd(logits, compute_uv=False)
    s = np.clip(s, s.max() * 1e-13, None)
    steps = -np.diff(np.log(s))
    if steps.max() < np.log(100):
        raise ValueError("too few queries")
    return 1 + np.argmax(steps)
""",
        """
def hidden_width(logits):
    rows = torch.as_tensor(logits, dtype=torch.float64)
    if not torch.isfinite(rows).all():
        raise ValueError("not finite")
    s = torch.linalg.svdvals(rows)
    s = s.clamp(min=float(s[0]) * 1e-12)
    ratio = s[:-1] / s[1:]
    if ratio.max() < 100:
        raise ValueError("too few queries")
    return int(ratio.argmax()) + 1
""",
        """
def hidden_width(logits):
    if not np.isfinite(logits).all():
        raise ValueError("not finite")
    s = list(np.linalg.svd(np.asarray(logits, dtype=float), compute_uv=False))
    floor = s[0] * 1e-12
    best, place = 0.0, 0
    for i in range(len(s) - 1):
        ratio = max(s[i], floor) / max(s[i + 1], floor)
        if ratio > best:
            best, place = ratio, i
    if best < 100:
        raise ValueError("too few queries")
    return place + 1
""",
    ],
}
