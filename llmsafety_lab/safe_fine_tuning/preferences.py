"""Learning from comparisons: a reward model after Bradley and Terry, and DPO, which needs none."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from llmsafety_lab.pretraining.small_lm import SmallLM


def bradley_terry_loss(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> Float[Tensor, ""]:
    """Return the mean of -log sigmoid(r(chosen) - r(rejected)): the loss of a reward model.

    References
    ----------
    Bradley and Terry 1952; Ouyang et al. 2022, eq. 1.
    """
    _same(chosen, rejected)
    return -logsigmoid(chosen - rejected).mean()


def dpo_loss(
    chosen: Float[Tensor, " pairs"],
    rejected: Float[Tensor, " pairs"],
    reference_chosen: Float[Tensor, " pairs"],
    reference_rejected: Float[Tensor, " pairs"],
    beta: float = 0.1,
) -> Float[Tensor, ""]:
    """Return the loss of direct preference optimisation: Bradley and Terry's, with beta log(pi / pi_ref) as reward.

    Parameters
    ----------
    chosen, rejected : Tensor, shape (pairs)
        Log-probabilities of whole answers under the policy, in nats.
    reference_chosen, reference_rejected : Tensor, shape (pairs)
        The same under the model that it started from. No gradient goes there.
    beta : float, optional
        How dear it is to leave the reference.

    Raises
    ------
    ValueError
        If beta is not above 0, or the shapes differ.

    References
    ----------
    Rafailov et al. 2023, eq. 7.
    """
    if not beta > 0:
        raise ValueError(f"beta is the price of leaving the reference and above 0, got {beta}")
    _same(chosen, rejected, reference_chosen, reference_rejected)
    ratio = chosen - reference_chosen.detach()
    other = rejected - reference_rejected.detach()
    return -logsigmoid(beta * (ratio - other)).mean()


def _same(*parts: Tensor) -> None:
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"one number for each pair is needed everywhere; got {[tuple(part.shape) for part in parts]}")


class RewardModel(nn.Module):
    """Score a conversation: the small model's body, and a number read at each row's last token."""

    def __init__(self, body: SmallLM) -> None:
        super().__init__()
        self.body = body
        self.body.unembed = nn.Linear(body.recipe.width, 1)
        nn.init.zeros_(self.body.unembed.bias)
        nn.init.normal_(self.body.unembed.weight, std=body.recipe.width**-0.5)

    def forward(self, ids: Tensor) -> Float[Tensor, " rows"]:
        return self.body(ids)[:, -1, 0]
