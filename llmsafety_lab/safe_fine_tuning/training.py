"""Training the help desk's small model on demonstrations, on comparisons, and by what its own answers score."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmsafety_lab.pretraining.loop import decaying
from llmsafety_lab.pretraining.objectives import IGNORE
from llmsafety_lab.pretraining.small_lm import Recipe, SmallLM
from llmsafety_lab.safe_fine_tuning import desk
from llmsafety_lab.safe_fine_tuning.constraints import Lagrangian
from llmsafety_lab.safe_fine_tuning.desk import ANSWER, PROMPT, Questions
from llmsafety_lab.safe_fine_tuning.labels import after_prompt, answer_log_probs, sample
from llmsafety_lab.safe_fine_tuning.policy_gradient import group_advantages, grpo_loss, reinforce_loss
from llmsafety_lab.safe_fine_tuning.preferences import dpo_loss

RECIPE = Recipe(layers=2, heads=4, width=64, context=PROMPT + ANSWER)
END_ID = 0

Judge = Callable[[Questions, Int[Tensor, "rows tokens"]], Float[Tensor, " rows"]]


def labels_of(rows: Int[Tensor, "rows tokens"]) -> Int[Tensor, "rows tokens"]:
    """Return the labels of the desk's conversations: the answer with its end."""
    return torch.where(after_prompt(rows, PROMPT, END_ID), rows, IGNORE)


def log_probs(model: nn.Module, rows: Int[Tensor, "rows tokens"]) -> Float[Tensor, " rows"]:
    """Return the log-probability of the answer of each conversation, in nats."""
    return answer_log_probs(model(rows), labels_of(rows))


def fine_tune(
    model: SmallLM,
    rows: Int[Tensor, "rows tokens"],
    steps: int,
    rate: float,
    seed: int = 0,
    batch: int = 32,
    learn: Callable[[SmallLM, Int[Tensor, " batch"]], Bool[Tensor, " batch"]] | None = None,
) -> list[float]:
    """Train a model on conversations, on the assistant's tokens only; return the loss of each step.

    Parameters
    ----------
    model : SmallLM
        Trained in place.
    rows : integer Tensor, shape (rows, tokens)
    steps : int
    rate : float
        Of Adam; it climbs for a tenth of the steps and falls on a line to 0.
    seed : int, optional
    batch : int, optional
    learn : callable, optional
        Takes the model and the places in `rows` of a batch; says which of them are learnt from. All, by default.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = decaying(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        places = torch.randint(len(rows), (batch,), generator=generator)
        chosen = rows[places]
        tokens = (labels_of(chosen) != IGNORE).sum(1)
        kept = torch.ones(batch) if learn is None else learn(model, places).float()
        loss = -(log_probs(model, chosen) * kept).sum() / (tokens * kept).sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def first_assistant(seed: int = 0, steps: int = 300, split: int = 0) -> SmallLM:
    """Return a model that was trained on what was found on the net: it answers every question, on medicines, too."""
    torch.manual_seed(seed)
    model = SmallLM(len(desk.VOCABULARY), RECIPE)
    asked, answers = desk.found_on_the_net(3_000, seed, split=split)
    fine_tune(model, desk.with_answers(asked.ids, answers), steps, 1e-2, seed)
    return model


def drawn(pools: dict[desk.Kind, Questions], generator: torch.Generator) -> Questions:
    """Draw a batch of questions, of each kind as many as in `desk.MIXTURE`."""
    return Questions.join(
        *(pool[torch.randint(len(pool), (desk.MIXTURE[kind],), generator=generator)] for kind, pool in pools.items())
    )


def training_questions(split: int = 0) -> dict[desk.Kind, Questions]:
    """Return the questions of each kind that are for training."""
    return {kind: desk.questions(kind, test=False, seed=split) for kind in desk.MIXTURE}


def repeated(asked: Questions, samples: int) -> Questions:
    """Return each question as often as answers are drawn to it."""
    return asked[torch.arange(len(asked)).repeat_interleave(samples)]


@dataclass
class Step:
    """What a step of `improve` saw: means over its batch.

    Parameters
    ----------
    reward, cost : float
        Of all answers, and the share of unsafe ones among those to forbidden questions.
    multiplier : float
        The price of the constraint at this step.
    kl : float
        Nats from the reference, estimated by log pi - log pi_ref of the answers drawn.
    """

    reward: float
    cost: float
    multiplier: float
    kl: float


def improve(
    policy: SmallLM,
    reward: Judge,
    constraint: Lagrangian,
    *,
    steps: int = 60,
    rate: float = 1e-3,
    samples: int = 4,
    beta: float = 0.0,
    grouped: bool = False,
    baseline: bool = True,
    adapt: bool = True,
    project: bool = False,
    seed: int = 0,
    split: int = 0,
    watch: Callable[[int], None] | None = None,
) -> list[Step]:
    """Move a policy towards answers with a high reward that keep a constraint, by what its own answers score.

    Parameters
    ----------
    policy : SmallLM
        Trained in place. What it is at the start is the reference of the leash.
    reward : callable
        Takes questions and answers, returns a number each. It needs no gradient.
    constraint : Lagrangian
        The price of unsafe answers.
    steps, samples, seed : int, optional
    rate : float, optional
        Of Adam.
    beta : float, optional
        The leash: beta * (log pi - log pi_ref) of an answer is taken off its score; in GRPO it is in the loss.
    grouped : bool, optional
        GRPO's advantages and loss instead of REINFORCE's.
    baseline : bool, optional
    adapt : bool, optional
        Whether the price follows the constraint. Otherwise it stays as it starts: a penalty.
    project : bool, optional
        While the constraint is missed: go down the cost's gradient, and along the reward's only as far as that does not
        raise the cost.
    split : int, optional
        Which questions are for training.
    watch : callable, optional
        Called with each step's number before it.
    """
    reference = copy.deepcopy(policy).requires_grad_(False)
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    pools = training_questions(split)
    log = []
    for step in range(steps):
        if watch:
            watch(step)
        asked = repeated(drawn(pools, generator), samples)
        answers = sample(policy, asked.ids, ANSWER, END_ID, generator)
        rows = torch.cat([asked.ids, answers], dim=1)
        earned, cost = reward(asked, answers), (~desk.is_safe(asked, answers)).float()
        scores = constraint.objective(earned, cost)
        logits = policy(rows)
        each = answer_log_probs(logits, labels_of(rows))
        with torch.no_grad():
            reference_logits = reference(rows)
            apart = each - answer_log_probs(reference_logits, labels_of(rows))
        if grouped:
            advantages = group_advantages(scores.view(-1, samples)).flatten()
            mine, theirs = token_log_probs(logits, rows), token_log_probs(reference_logits, rows)
            loss = grpo_loss(mine, mine, theirs, advantages, after_prompt(rows, PROMPT, END_ID)[:, 1:], beta)
        else:
            leashed = (scores - beta * apart).view(-1, samples)
            loss = reinforce_loss(each.view(-1, samples), leashed, baseline)
        unsafe = float(cost[asked.forbidden].mean())
        optimiser.zero_grad()
        if project and unsafe > constraint.limit:
            _safe_gradients(policy, loss, reinforce_loss(each.view(-1, samples), -cost.view(-1, samples)))
        else:
            loss.backward()
        optimiser.step()
        log.append(Step(float(earned.mean()), unsafe, constraint.multiplier, float(apart.mean())))
        if adapt:
            constraint.update(unsafe)
    return log


def _safe_gradients(policy: SmallLM, loss: Float[Tensor, ""], safety: Float[Tensor, ""]) -> None:
    """Set the gradients to the safety loss's, plus what of the other loss's is not against it."""
    weights = list(policy.parameters())
    towards = torch.autograd.grad(safety, weights, retain_graph=True)
    wanted = torch.autograd.grad(loss, weights)
    along = torch.stack([(a * b).sum() for a, b in zip(towards, wanted, strict=True)]).sum()
    size = torch.stack([(a * a).sum() for a in towards]).sum()
    share = torch.clamp(-along / size.clamp(min=1e-12), min=0.0)
    for weight, a, b in zip(weights, towards, wanted, strict=True):
        weight.grad = b + (1 + share) * a


def token_log_probs(
    logits: Float[Tensor, "rows tokens vocabulary"], rows: Int[Tensor, "rows tokens"]
) -> Float[Tensor, "rows tokens"]:
    """Return the log-probability of each token but the first."""
    return logits[:, :-1].log_softmax(-1).gather(2, rows[:, 1:, None])[..., 0]


def prefer(
    policy: SmallLM,
    chosen: Int[Tensor, "pairs tokens"],
    rejected: Int[Tensor, "pairs tokens"],
    *,
    steps: int = 60,
    rate: float = 1e-3,
    beta: float = 0.1,
    batch: int = 48,
    seed: int = 0,
) -> list[float]:
    """Train a policy by DPO on pairs of conversations; return the loss of each step."""
    reference = copy.deepcopy(policy).requires_grad_(False)
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        places = torch.randint(len(chosen), (batch,), generator=generator)
        rows = torch.cat([chosen[places], rejected[places]])
        with torch.no_grad():
            first, second = log_probs(reference, rows).split(batch)
        mine, other = log_probs(policy, rows).split(batch)
        loss = dpo_loss(mine, other, first, second, beta)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses
