"""AdaLoRA, written out: low-rank changes whose ranks are dealt out to the layers by importance (Zhang et al. 2023)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmsafety_lab.parameter_efficient.layers import FrozenLinear


class AdaLoRALinear(FrozenLinear):
    """Add to a frozen layer a change in the form of an SVD: alpha / rank * P diag(lam) Q x.

    Parameters
    ----------
    weight, bias : Tensor, shapes (out, in), (out); the bias may be None
    rank : int
        At the start. A triplet (a column of P, an entry of lam, a row of Q) is given up by setting its lam to zero.
    alpha : float
    """

    def __init__(
        self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, rank: int, alpha: float
    ) -> None:
        super().__init__(weight, bias)
        if not rank >= 1:
            raise ValueError(f"a change has a rank of at least 1, got {rank}")
        outputs, inputs = weight.shape
        self.P = nn.Parameter(0.02 * torch.randn(outputs, rank).to(weight))
        self.lam = nn.Parameter(torch.zeros(rank).to(weight))
        self.Q = nn.Parameter(0.02 * torch.randn(rank, inputs).to(weight))
        self.scaling = alpha / rank

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return super().forward(x) + self.scaling * (x @ self.Q.T * self.lam @ self.P.T)

    def merged(self) -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
        return self.weight + self.scaling * (self.P * self.lam @ self.Q), self.bias


def orthogonality(layers: Sequence[AdaLoRALinear]) -> Float[Tensor, " matrices"]:
    """Return how far each P and each Q is from orthogonal: |PᵀP - 1| and |QQᵀ - 1|, in the Frobenius norm.

    The paper adds the sum of their squares to the loss, the library `peft` their mean, each times a small factor.
    """
    gaps = []
    for layer in layers:
        one = torch.eye(len(layer.lam)).to(layer.lam)
        gaps += [(layer.P.T @ layer.P - one).norm(), (layer.Q @ layer.Q.T - one).norm()]
    return torch.stack(gaps)


def update_importance(
    weight: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    sensitivity: Float[Tensor, "*shape"],
    uncertainty: Float[Tensor, "*shape"],
    beta1: float = 0.85,
    beta2: float = 0.85,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return the smoothed sensitivity and its smoothed uncertainty after one more step.

    Parameters
    ----------
    weight, gradient : Tensor
        |weight * gradient| is about how much the loss of this batch would change without the weight.
    sensitivity, uncertainty : Tensor
        What this function returned a step earlier, zeros at first. Importance is their product.
    beta1, beta2 : float
        How much of the old values is kept.
    """
    now = (weight * gradient).abs()
    sensitivity = beta1 * sensitivity + (1 - beta1) * now
    uncertainty = beta2 * uncertainty + (1 - beta2) * (now - sensitivity).abs()
    return sensitivity, uncertainty


def triplet_scores(
    P: Float[Tensor, "out rank"], lam: Float[Tensor, " rank"], Q: Float[Tensor, "rank in"]
) -> Float[Tensor, " rank"]:
    """Return each triplet's importance from that of its numbers: lam's, and the means of P's and of Q's."""
    return lam + P.mean(dim=0) + Q.mean(dim=1)


def budget_at(step: int, start: int, final: int, warmup: int, cooldown: int, total: int) -> int:
    """Return how many triplets all layers together may keep: first all, then fewer by a cubic, then the final number.

    `warmup` steps keep `start`; the last `cooldown` of `total` steps keep `final` (Zhang et al. 2023, section 3.3).

    Raises
    ------
    ValueError
        If warm-up and cool-down leave no step between them, or more are kept in the end than at the start.
    """
    if min(warmup, cooldown) < 0 or warmup + cooldown >= total or not 0 <= final <= start:
        raise ValueError(f"{total} steps with {warmup} + {cooldown}, and {start} triplets to {final}, make no schedule")
    if step <= warmup:
        return start
    if step >= total - cooldown:
        return final
    left = 1 - (step - warmup) / (total - cooldown - warmup)
    return int((start - final) * left**3 + final)


def allocate(scores: Sequence[Float[Tensor, " rank"]], budget: int) -> list[Bool[Tensor, " rank"]]:
    """Return which triplets are kept: the `budget` most important ones of all layers together.

    Parameters
    ----------
    scores : sequence of Tensor, one for each layer
    budget : int
        A layer may keep all of its triplets, or none. Of equal scores the earlier one is kept.

    Raises
    ------
    ValueError
        If the budget is negative, or more than there are triplets.
    """
    everything = torch.cat(list(scores))
    if not 0 <= budget <= len(everything):
        raise ValueError(f"a budget of {budget} cannot be kept from {len(everything)} triplets")
    kept = torch.zeros(len(everything), dtype=torch.bool, device=everything.device)
    kept[everything.argsort(descending=True, stable=True)[:budget]] = True
    return list(kept.split([len(score) for score in scores]))


class RankAllocator:
    """Watches the importance of all triplets while a model trains, and gives up the least important by a schedule.

    Parameters
    ----------
    layers : sequence of AdaLoRALinear
    final : int
        How many triplets all layers together keep in the end.
    total, warmup, cooldown : int
        See `budget_at`.
    every : int
        Triplets are given up every so many steps; in between a lam may grow again.
    """

    def __init__(
        self, layers: Sequence[AdaLoRALinear], final: int, *, total: int, warmup: int, cooldown: int, every: int = 10
    ) -> None:
        self.layers = list(layers)
        self.start = sum(len(layer.lam) for layer in self.layers)
        self.final, self.total, self.warmup, self.cooldown, self.every = final, total, warmup, cooldown, every
        self.kept = [torch.ones_like(layer.lam, dtype=torch.bool) for layer in self.layers]
        self._averages = {
            parameter: (torch.zeros_like(parameter), torch.zeros_like(parameter))
            for layer in self.layers
            for parameter in layer.parameters()
        }

    @torch.no_grad()
    def step(self, step: int) -> int:
        """Take note of the gradients, and prune where it is time; call it after the optimiser's step, with 1, 2, ...

        Returns
        -------
        int
            The budget at this step.

        Raises
        ------
        ValueError
            If a layer has no gradient: call this before `zero_grad`.
        """
        budget = budget_at(step, self.start, self.final, self.warmup, self.cooldown, self.total)
        frozen_from = self.total - self.cooldown
        if step < frozen_from:
            for parameter, averages in self._averages.items():
                if parameter.grad is None:
                    raise ValueError("a layer has no gradient: call step after backward and before zero_grad")
                self._averages[parameter] = update_importance(parameter, parameter.grad, *averages)
        if step == frozen_from or (self.warmup < step < frozen_from and step % self.every == 0):
            self.kept = allocate(self.scores(), budget)
        elif step < frozen_from:
            return budget
        for layer, kept in zip(self.layers, self.kept, strict=True):
            layer.lam.masked_fill_(~kept, 0)
        return budget

    def scores(self) -> list[Float[Tensor, " rank"]]:
        """Return the importance of each layer's triplets."""

        def score(parameter: nn.Parameter) -> Tensor:
            sensitivity, uncertainty = self._averages[parameter]
            return sensitivity * uncertainty

        return [triplet_scores(score(layer.P), score(layer.lam), score(layer.Q)) for layer in self.layers]
