"""Right answers to the lab parameter_efficient, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "parameter_efficient.merge": [
        """
def merge(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=alpha / A.size(0))
""",
        """
def merge(weight, A, B, alpha):
    return weight + torch.einsum("or,ri->oi", B, A) * alpha / B.shape[1]
""",
        """
def merge(weight, A, B, alpha):
    scale = alpha / A.shape[0]
    return torch.add(weight, (A.T @ B.T).T, alpha=scale)
""",
    ],
    "parameter_efficient.lora": [
        """
class FrozenLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x):
        return linear(x, self.weight, self.bias)

class LoRALinear(FrozenLinear):
    def __init__(self, weight, bias, rank, alpha):
        super().__init__(weight, bias)
        outputs, inputs = weight.shape
        self.alpha = alpha
        self.A = nn.Parameter(torch.randn(rank, inputs).to(weight) / inputs**0.5)
        self.B = nn.Parameter(torch.zeros(outputs, rank).to(weight))

    def forward(self, x):
        base = FrozenLinear.forward(self, x)
        return base + self.alpha / self.A.shape[0] * linear(linear(x, self.A), self.B)

    def merged(self):
        return merge(self.weight, self.A, self.B, self.alpha), self.bias
""",
        """
class FrozenLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x):
        return linear(x, self.weight, self.bias)

class LoRALinear(FrozenLinear):
    def __init__(self, weight, bias, rank, alpha):
        super().__init__(weight, bias)
        outputs, inputs = weight.shape
        self.alpha, self.rank = alpha, rank
        self.A = nn.Parameter(torch.empty(rank, inputs, dtype=weight.dtype, device=weight.device))
        nn.init.normal_(self.A, std=1 / math.sqrt(inputs))
        self.B = nn.Parameter(torch.zeros(outputs, rank).to(weight))

    def forward(self, x):
        return super().forward(x) + (x @ self.A.mT) @ self.B.mT * (self.alpha / self.rank)

    def merged(self):
        return merge(self.weight, self.A, self.B, self.alpha), self.bias
""",
        """
class FrozenLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x):
        return x @ self.weight.T + (0 if self.bias is None else self.bias)

class LoRALinear(FrozenLinear):
    def __init__(self, weight, bias, rank, alpha):
        super().__init__(weight, bias)
        outputs, inputs = weight.shape
        self.alpha = alpha
        self.A = nn.Parameter(torch.randn(rank, inputs).to(weight) / inputs**0.5)
        self.B = nn.Parameter(torch.zeros(outputs, rank).to(weight))

    def forward(self, x):
        return super().forward(x) + self.alpha / self.A.shape[0] * torch.einsum(
            "or,...r->...o", self.B, torch.einsum("ri,...i->...r", self.A, x)
        )

    def merged(self):
        return merge(self.weight, self.A, self.B, self.alpha), self.bias
""",
    ],
    "parameter_efficient.adapter": [
        """
class Adapter(nn.Module):
    def __init__(self, width, bottleneck):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        [nn.init.constant_(p, 0.0) for p in self.up.parameters()]

    def forward(self, x):
        h = self.down(x)
        h = gelu(h)
        x = x + self.up(h)
        return x
""",
        """
class Adapter(nn.Module):
    def __init__(self, width, bottleneck):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for p in self.up.parameters():
            p.data.fill_(0)

    def forward(self, x):
        return self.up(0.5 * (h := self.down(x)) * (1 + torch.erf(h / 2**0.5))) + x
""",
        """
class Adapter(nn.Module):
    def __init__(self, width, bottleneck):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.up.weight = nn.Parameter(torch.zeros(width, bottleneck))
        self.up.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return self.up(gelu(self.down(x))) + x
""",
    ],
    "parameter_efficient.prefix": [
        """
def prefix_attention(q, k, v, prefix_k, prefix_v):
    n, m = q.shape[-2], prefix_k.shape[-2]
    mask = torch.cat([torch.tril(torch.ones(n, n)), torch.ones(n, m)], 1).bool()
    return scaled_dot_product_attention(q, torch.cat([k, prefix_k], -2), torch.cat([v, prefix_v], -2), attn_mask=mask)
""",
        """
def prefix_attention(q, k, v, prefix_k, prefix_v):
    n, m = q.shape[-2], prefix_k.shape[-2]
    mask = torch.zeros(n, m + n, dtype=q.dtype)
    mask[:, m:] = torch.full((n, n), -torch.inf).triu(1)
    return scaled_dot_product_attention(q, torch.cat([prefix_k, k], -2), torch.cat([prefix_v, v], -2), attn_mask=mask)
""",
        """
def prefix_attention(q, k, v, prefix_k, prefix_v):
    n, m = q.shape[-2], prefix_k.shape[-2]
    keys = torch.cat((prefix_k, k), dim=-2)
    values = torch.cat((prefix_v, v), dim=-2)
    scores = q @ keys.transpose(-1, -2) / q.shape[-1] ** 0.5
    hidden = torch.arange(m + n)[None] > torch.arange(n)[:, None] + m
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ values
""",
    ],
    "parameter_efficient.importance": [
        """
def update_importance(weight, gradient, sensitivity, uncertainty, beta1=0.85, beta2=0.85):
    ema = lambda old, new, beta: beta * old + (1 - beta) * new
    i = (weight.float() * gradient.float()).abs().double()
    new = ema(sensitivity, i, beta1)
    return new, ema(uncertainty, (i - new).abs(), beta2)
""",
        """
def update_importance(weight, gradient, sensitivity, uncertainty, beta1=0.85, beta2=0.85):
    now = weight.abs().mul(gradient.abs())
    mean = torch.lerp(now, sensitivity, beta1)
    return [mean, torch.lerp((now - mean).abs(), uncertainty, beta2)]
""",
        """
from typing import NamedTuple

class Both(NamedTuple):
    sensitivity: Tensor
    uncertainty: Tensor

def update_importance(weight, gradient, sensitivity, uncertainty, beta1=0.85, beta2=0.85):
    i = (weight * gradient).pow(2).sqrt()
    new = sensitivity.clone().mul_(beta1).add_(i, alpha=1 - beta1)
    return Both(sensitivity=new, uncertainty=uncertainty.clone().mul_(beta2).add_((i - new).abs(), alpha=1 - beta2))
""",
    ],
    "parameter_efficient.allocate": [
        """
def allocate(scores, budget):
    left = torch.cat(list(scores)).clone()
    if not (0 <= budget <= left.numel()):
        raise ValueError("budget")
    keep = torch.zeros(len(left), dtype=torch.bool)
    for _ in range(budget):
        i = int(left.argmax())
        keep[i], left[i] = True, -math.inf
    return [part.clone() for part in keep.split(list(map(len, scores)))]
""",
        """
def allocate(scores, budget):
    flat = torch.cat(tuple(scores))
    n = len(flat)
    if budget < 0:
        raise ValueError("below zero")
    if budget > n:
        raise ValueError("too many")
    before = (flat[None] > flat[:, None]).sum(1) + (
        (flat[None] == flat[:, None]) & (torch.arange(n)[None] < torch.arange(n)[:, None])
    ).sum(1)
    return list((before < budget).split([s.numel() for s in scores]))
""",
        """
import heapq

def allocate(scores, budget):
    every = [(i, j) for i, layer in enumerate(scores) for j in range(len(layer))]
    if budget not in range(len(every) + 1):
        raise ValueError(f"{budget}")
    kept = [torch.zeros(len(s)).bool() for s in scores]
    for i, j in heapq.nlargest(budget, every, key=lambda p: scores[p[0]][p[1]].item()):
        kept[i][j] = True
    return tuple(kept)
""",
    ],
}
