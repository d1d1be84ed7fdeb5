"""Right answers to the lab safe_fine_tuning, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "safe_fine_tuning.labels": [
        """
def assistant_labels(ids, user, assistant, end):
    out = []
    for row in ids.tolist():
        if assistant not in row:
            raise ValueError("no assistant")
        labels, mine = [], False
        for token in row:
            if token in (user, assistant):
                mine = token == assistant
                labels.append(-100)
            elif mine:
                labels.append(token)
                mine = token != end
            else:
                labels.append(-100)
        out.append(labels)
    return torch.tensor(out)
""",
        """
def assistant_labels(ids, user, assistant, end):
    if not (ids == assistant).any(dim=1).all():
        raise ValueError("nothing to learn")
    places = torch.arange(ids.shape[1]).expand_as(ids)
    def last(mask):
        before = torch.where(mask, places, -1).cummax(1).values
        return torch.cat([torch.full_like(before[:, :1], -1), before[:, :-1]], 1)
    speaks = last(ids == assistant) > torch.maximum(last(ids == user), last(ids == end))
    return ids.masked_fill(~speaks | (ids == user) | (ids == assistant), -100)
""",
        """
def assistant_labels(ids, user, assistant, end):
    labels = -100 * torch.ones_like(ids)
    for i, row in enumerate(ids.tolist()):
        starts = [t for t, token in enumerate(row) if token == assistant]
        if not starts:
            raise ValueError(f"row {i}")
        for start in starts:
            t = start + 1
            while t < len(row) and row[t] not in (user, assistant):
                labels[i, t] = row[t]
                if row[t] == end:
                    break
                t += 1
    return labels.to(torch.int32)
""",
    ],
    "safe_fine_tuning.log_probs": [
        """
def answer_log_probs(logits, labels):
    logs = torch.log_softmax(logits[:, :-1], dim=-1)
    targets = labels[:, 1:]
    picked = logs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (picked * (targets != -100)).sum(dim=-1)
""",
        """
def answer_log_probs(logits, labels):
    totals = []
    for scores, wanted in zip(logits, labels):
        kept = wanted[1:] != -100
        totals.append(-cross_entropy(scores[:-1][kept], wanted[1:][kept], reduction="sum"))
    return torch.stack(totals)
""",
        """
def answer_log_probs(logits, labels):
    each = logits.sum() * 0 + torch.zeros(len(labels), dtype=logits.dtype)
    for t in range(1, labels.shape[1]):
        norm = torch.logsumexp(logits[:, t - 1], -1)
        mine = logits[torch.arange(len(labels)), t - 1, labels[:, t].clamp(min=0)] - norm
        each = each + torch.where(labels[:, t] == -100, torch.zeros_like(mine), mine)
    return each
""",
    ],
    "safe_fine_tuning.policy_gradient": [
        """
def reinforce_loss(log_probs, scores, baseline=True):
    with torch.no_grad():
        a = scores.clone()
        n = scores.size(1)
        if baseline:
            if n == 1:
                raise ValueError("one sample")
            a = (scores - scores.mean(1, keepdim=True)) * n / (n - 1)
    return (-a * log_probs).mean()
""",
        """
def reinforce_loss(log_probs, scores, baseline=True):
    m, n = scores.shape
    if baseline and n < 2:
        raise ValueError("two at least")
    total = 0.0
    for i in range(m):
        for j in range(n):
            others = [float(scores[i, k]) for k in range(n) if k != j]
            b = sum(others) / len(others) if baseline else 0.0
            total = total - (float(scores[i, j]) - b) * log_probs[i, j]
    return total / (m * n)
""",
        """
def reinforce_loss(log_probs, scores, baseline=True):
    s = scores.detach()
    n = s.shape[-1]
    if baseline:
        if n <= 1:
            raise ValueError("no others")
        others = (torch.ones(n, n, dtype=s.dtype) - torch.eye(n, dtype=s.dtype)) / (n - 1)
        s = s - s @ others
    return -torch.einsum("mn,mn->", s, log_probs) / s.numel()
""",
    ],
    "safe_fine_tuning.lagrangian": [
        """
class Lagrangian:
    def __init__(self, limit, rate, start=0.0):
        self.limit = limit
        self.rate = rate
        self.lam = torch.tensor(float(start), dtype=torch.float64)

    def objective(self, reward, cost):
        lam = self.lam.item()
        return reward / (1 + lam) - lam / (1 + lam) * (cost - self.limit)

    def update(self, cost):
        self.lam = (self.lam + self.rate * (cost - self.limit)).clamp(min=0)
        return self.lam
""",
        """
class Lagrangian:
    def __init__(self, limit, rate, start=0.0):
        self.state = {"limit": limit, "rate": rate, "price": start}

    def objective(self, reward, cost):
        price = self.state["price"]
        return (reward - price * cost + price * self.state["limit"]) / (1 + price)

    def update(self, cost):
        price = self.state["price"] + self.state["rate"] * (cost - self.state["limit"])
        self.state["price"] = price if price > 0 else 0.0
        return self.state["price"]
""",
        """
from dataclasses import dataclass

@dataclass
class Lagrangian:
    limit: float
    rate: float
    start: float = 0.0

    def __post_init__(self):
        self.multiplier = self.start

    def objective(self, reward, cost):
        return torch.div(reward - self.multiplier * (cost - self.limit), 1 + self.multiplier)

    def update(self, cost):
        self.multiplier += self.rate * (cost - self.limit)
        if self.multiplier < 0:
            self.multiplier = 0.0
        return self.multiplier
""",
    ],
    "safe_fine_tuning.kl": [
        """
def kl_to_reference(logits, reference, answer):
    p = torch.distributions.Categorical(logits=logits)
    q = torch.distributions.Categorical(logits=reference.detach())
    each = torch.distributions.kl_divergence(p, q)
    return (each[:, :-1] * answer[:, 1:].to(each.dtype)).sum(-1)
""",
        """
def kl_to_reference(logits, reference, answer):
    with torch.no_grad():
        q = reference.log_softmax(-1)
    p = logits.log_softmax(-1)
    each = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    shifted = torch.cat([answer[:, 1:], torch.zeros_like(answer[:, :1])], 1)
    return torch.where(shifted, each, torch.zeros_like(each)).sum(1)
""",
        """
def kl_to_reference(logits, reference, answer):
    rows = []
    for z, r, mask in zip(logits, reference.detach(), answer):
        places = mask.nonzero()[:, 0] - 1
        p = z[places].softmax(-1)
        rows.append((p * (p.log() - r[places].softmax(-1).log())).sum())
    return torch.stack(rows)
""",
    ],
    "safe_fine_tuning.dpo": [
        """
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    with torch.no_grad():
        offset = reference_chosen - reference_rejected
    return torch.nn.functional.softplus(-beta * (chosen - rejected - offset)).mean()
""",
        """
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    margin = beta * ((chosen - rejected) - (reference_chosen - reference_rejected).detach())
    return torch.nn.functional.binary_cross_entropy_with_logits(margin, torch.ones_like(margin))
""",
        """
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    losses = []
    for c, r, rc, rr in zip(chosen, rejected, reference_chosen.tolist(), reference_rejected.tolist()):
        losses.append(-torch.nn.functional.logsigmoid(beta * (c - rc) - beta * (r - rr)))
    return sum(losses) / len(losses)
""",
    ],
}
