"""Right answers to the lab on differential privacy, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "differential_privacy.mean": [
        """
def noisy_mean(values, low, high, epsilon, draw):
    if low >= high:
        raise ValueError("an empty range")
    if epsilon <= 0:
        raise ValueError("no such epsilon")
    total = sum(min(max(value, low), high) for value in values)
    return (total + (high - low) / epsilon * draw) / len(values)
""",
        """
def noisy_mean(values, low, high, epsilon, draw):
    if not (low < high and epsilon > 0):
        raise ValueError
    x = torch.tensor(values, dtype=torch.float64).clamp(low, high)
    sensitivity = (high - low) / x.numel()
    return x.mean() + draw * sensitivity / epsilon
""",
        """
def noisy_mean(values, low, high, epsilon, draw):
    if high - low <= 0 or epsilon <= 0:
        raise ValueError("refused")
    n = len(values)
    return np.mean(np.minimum(np.maximum(values, low), high)) + draw / (epsilon * n / (high - low))
""",
    ],
    "differential_privacy.per_record": [
        """
def per_record_gradients(model, x, y):
    rows = []
    for one, label in zip(x, y):
        loss = cross_entropy(model(one[None]), label[None])
        parts = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)
""",
        """
def per_record_gradients(model, x, y):
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    def losses(weights):
        return cross_entropy(torch.func.functional_call(model, weights, (x,)), y, reduction="none")
    each = torch.func.jacrev(losses)(weights)
    return torch.cat([each[name].reshape(len(x), -1) for name in weights], 1)
""",
        """
def per_record_gradients(model, x, y):
    weights = list(model.parameters())
    losses = cross_entropy(model(x), y, reduction="none")
    found = torch.empty(len(x), sum(w.numel() for w in weights), dtype=losses.dtype)
    for i in range(len(x)):
        parts = torch.autograd.grad(losses[i], weights, retain_graph=True)
        found[i] = torch.nn.utils.parameters_to_vector(parts)
    return found
""",
    ],
    "differential_privacy.private_gradient": [
        """
def private_gradient(gradients, bound, multiplier, expected, draw):
    total = torch.zeros_like(draw)
    for row in gradients:
        length = row.norm()
        total = total + (row if length <= bound else row * bound / length)
    return (total + multiplier * bound * draw) / expected
""",
        """
def private_gradient(gradients, bound, multiplier, expected, draw):
    factor = torch.ones(len(gradients), dtype=gradients.dtype)
    norms = (gradients**2).sum(1).sqrt()
    factor[norms > bound] = bound / norms[norms > bound]
    return factor @ gradients / expected + draw * (multiplier * bound / expected)
""",
        """
def private_gradient(gradients, bound, multiplier, expected, draw):
    rows = [torch.renorm(row[None], 2, 0, bound)[0] for row in gradients]
    noise = multiplier * bound * draw
    return (sum(rows, torch.zeros_like(draw)) + noise) / expected
""",
    ],
    "differential_privacy.poisson": [
        """
import random

def poisson_batches(records, rate, steps, seed):
    if rate <= 0 or rate > 1:
        raise ValueError("rate")
    coins = random.Random(seed)
    return [[i for i in range(records) if coins.random() < rate] for _ in range(steps)]
""",
        """
def poisson_batches(records, rate, steps, seed):
    if not 0 < rate <= 1:
        raise ValueError("rate")
    generator = torch.Generator().manual_seed(seed)
    inside = torch.bernoulli(torch.full((steps, records), rate), generator=generator).bool()
    return [row.nonzero()[:, 0].tolist() for row in inside]
""",
        """
def poisson_batches(records, rate, steps, seed):
    if not 0 < rate <= 1:
        raise ValueError("rate")
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(steps):
        size = rng.binomial(records, rate)
        batches.append(sorted(rng.choice(records, size, replace=False).tolist()))
    return batches
""",
    ],
    "differential_privacy.epsilon": [
        """
def epsilon_of(rate, sigma, steps, delta):
    if sigma <= 0 or delta <= 0 or delta >= 1:
        raise ValueError("refused")
    best = math.inf
    for a in range(2, 65):
        logs = [
            math.log(math.comb(a, k)) + (a - k) * math.log(1 - rate) + k * math.log(rate) + k * (k - 1) / 2 / sigma**2
            for k in range(a + 1)
        ]
        top = max(logs)
        spent = steps * (top + math.log(sum(math.exp(x - top) for x in logs))) / (a - 1)
        best = min(best, spent + math.log((a - 1) / a) - math.log(delta * a) / (a - 1))
    return max(0, best)
""",
        """
def epsilon_of(rate, sigma, steps, delta):
    if not 0 < delta < 1 or sigma <= 0:
        raise ValueError("refused")
    def spent(a):
        z = np.linspace(-14 * sigma, a + 14 * sigma, 40_001)
        ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (2 * z - 1) / (2 * sigma**2))
        logs = a * ratio - z**2 / (2 * sigma**2) - np.log(sigma * np.sqrt(2 * np.pi)) + np.log(z[1] - z[0])
        return steps * logsumexp(logs) / (a - 1)
    return max(0.0, min(spent(a) + np.log(1 - 1 / a) - (np.log(delta) + np.log(a)) / (a - 1) for a in range(2, 65)))
""",
        """
def epsilon_of(rate, sigma, steps, delta):
    if delta <= 0 or delta >= 1 or sigma <= 0:
        raise ValueError("refused")
    orders = torch.arange(2, 65, dtype=torch.float64)
    k = torch.arange(65, dtype=torch.float64)
    choose = torch.lgamma(orders[:, None] + 1) - torch.lgamma(k + 1) - torch.lgamma((orders[:, None] - k).relu() + 1)
    terms = choose + k * math.log(rate) + (orders[:, None] - k) * math.log1p(-rate) + k * (k - 1) / (2 * sigma**2)
    terms = terms.masked_fill(k > orders[:, None], -math.inf)
    each = steps * terms.logsumexp(1) / (orders - 1) + torch.log1p(-1 / orders)
    each = each - (math.log(delta) + orders.log()) / (orders - 1)
    return float(each.min().clamp(min=0))
""",
    ],
    "differential_privacy.audit": [
        """
from scipy.stats import beta

def audit_epsilon(scores, members, guesses, level):
    if guesses % 2 == 1 or guesses > len(scores):
        raise ValueError("guesses")
    ranked = sorted(zip(scores.tolist(), members.tolist()))
    low, high = ranked[: guesses // 2], ranked[-guesses // 2 :]
    right = sum(not inside for _, inside in low) + sum(inside for _, inside in high)
    if right == 0:
        return 0.0
    p = beta.ppf(1 - level, right, guesses - right + 1)
    return max(0.0, float(np.log(p / (1 - p))))
""",
        """
from scipy.optimize import brentq

def audit_epsilon(scores, members, guesses, level):
    if guesses % 2 or guesses > len(scores):
        raise ValueError("guesses")
    places = np.argsort(-scores)
    k = guesses // 2
    v = int(np.sum(members[places[:k]])) + int(np.sum(~members[places[-k:]]))
    f = lambda e: 1 - binom.cdf(v - 1, guesses, np.exp(e) / (1 + np.exp(e))) - (1 - level)
    return 0.0 if f(0) >= 0 else brentq(f, 0, 30)
""",
        """
from scipy.stats import binomtest

def audit_epsilon(scores, members, guesses, level):
    if guesses % 2 or guesses > len(scores):
        raise ValueError("guesses")
    order = np.argsort(scores)
    said = np.array([False] * (guesses // 2) + [True] * (guesses // 2))
    truth = members[np.concatenate([order[: guesses // 2], order[len(order) - guesses // 2 :]])]
    test = binomtest(int((said == truth).sum()), guesses, alternative="greater")
    low = test.proportion_ci(level, "exact").low
    return max(0.0, math.log(low / (1 - low))) if low > 0 else 0.0
""",
    ],
}
