"""The ways to make the help desk safe that the chapter compares, each with the same number of answers to learn from."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.pretraining.small_lm import SmallLM
from llmsafety_lab.safe_fine_tuning import desk
from llmsafety_lab.safe_fine_tuning.constraints import Lagrangian
from llmsafety_lab.safe_fine_tuning.desk import ANSWER, Questions
from llmsafety_lab.safe_fine_tuning.labels import sample
from llmsafety_lab.safe_fine_tuning.preferences import RewardModel, bradley_terry_loss
from llmsafety_lab.safe_fine_tuning.training import END_ID, fine_tune, improve, prefer, repeated

STEPS, BATCH = 60, 96
LIMIT, PENALTY, LEASH = 0.1, 3.0, 0.05
"""Of the unsafe answers to forbidden questions; what one costs where the price is fixed; beta of the leash."""


def hoped(asked: Questions, answers: Int[Tensor, "rows tokens"]) -> Float[Tensor, " rows"]:
    """Return the users' score: 1 for the advice they hope for, on medicines, too."""
    return desk.is_right(asked, answers).float()


def priced(asked: Questions, answers: Int[Tensor, "rows tokens"], penalty: float = PENALTY) -> Float[Tensor, " rows"]:
    """Return the users' score minus the penalty for an unsafe answer: what the methods without a multiplier rank by."""
    return hoped(asked, answers) - penalty * (~desk.is_safe(asked, answers)).float()


def demonstrations(seed: int, split: int = 0, count: int = 3_000) -> tuple[Questions, Int[Tensor, "rows tokens"]]:
    """Return what was found on the net, as questions and as conversations."""
    asked, answers = desk.found_on_the_net(count, seed, split=split)
    return asked, desk.with_answers(asked.ids, answers)


def filtered(policy: SmallLM, rate: float, seed: int, split: int = 0) -> None:
    """Learn from the safe demonstrations alone."""
    asked, rows = demonstrations(seed, split)
    kept = desk.is_safe(asked, rows[:, asked.ids.shape[1] :])
    fine_tune(policy, rows[kept], STEPS, rate, seed, BATCH)


def skipping(policy: SmallLM, rate: float, seed: int, split: int = 0, steps: int = STEPS) -> list[tuple[int, int]]:
    """Skip the step where the model's own answer is unsafe: folk recipe 5, question by question.

    Returns for each step how many forbidden questions were learnt from, and how many there were.
    """
    asked, rows = demonstrations(seed, split)
    generator = torch.Generator().manual_seed(seed)
    learnt = []

    def is_safe_now(model: SmallLM, places: Tensor) -> Tensor:
        those = asked[places]
        safe = desk.is_safe(those, sample(model, those.ids, ANSWER, END_ID, generator))
        learnt.append((int(safe[those.forbidden].sum()), int(those.forbidden.sum())))
        return safe

    fine_tune(policy, rows, steps, rate, seed, BATCH, is_safe_now)
    return learnt


def drawn_answers(
    policy: SmallLM, count: int, seed: int, split: int, samples: int = 4
) -> tuple[Questions, Tensor, Tensor]:
    """Draw answers to questions: the questions, repeated; the conversations; the priced scores (questions, samples)."""
    asked = repeated(desk.mixed(count, False, seed + 1_000, split), samples)
    answers = sample(policy, asked.ids, ANSWER, END_ID, torch.Generator().manual_seed(seed))
    rows = torch.cat([asked.ids, answers], dim=1)
    return asked, rows, priced(asked, answers).view(-1, samples)


def best_of_four(policy: SmallLM, rate: float, seed: int, split: int = 0, rounds: int = 3) -> None:
    """Rejection sampling: in rounds, draw four answers to each question and learn from the best one, if it is safe."""
    for turn in range(rounds):
        _, rows, scores = drawn_answers(policy, STEPS * BATCH // 4 // rounds, seed + 100 * turn, split)
        best = scores.argmax(1) + 4 * torch.arange(len(scores))
        good = scores.max(1).values >= 0
        fine_tune(policy, rows[best[good]], STEPS // rounds, rate, seed + turn, BATCH)


def comparisons(
    policy: SmallLM, seed: int, split: int = 0, count: int = STEPS * BATCH // 4
) -> tuple[Int[Tensor, "pairs tokens"], Int[Tensor, "pairs tokens"]]:
    """Draw four answers to each question; return the best and the worst of them, where they differ."""
    _, rows, scores = drawn_answers(policy, count, seed, split)
    differ = scores.max(1).values > scores.min(1).values
    start = 4 * torch.arange(len(scores))
    return rows[(start + scores.argmax(1))[differ]], rows[(start + scores.argmin(1))[differ]]


def preferring(policy: SmallLM, rate: float, seed: int, split: int = 0, beta: float = 0.5) -> None:
    """DPO on comparisons of the model's own answers."""
    chosen, rejected = comparisons(policy, seed, split)
    prefer(policy, chosen, rejected, steps=STEPS, rate=rate, beta=beta, batch=BATCH // 2, seed=seed)


def reward_model(
    policy: SmallLM, chosen: Int[Tensor, "pairs tokens"], rejected: Int[Tensor, "pairs tokens"], steps: int, seed: int
) -> RewardModel:
    """Train a reward model on comparisons; it starts from the policy's own weights."""
    torch.manual_seed(seed)
    judge = RewardModel(copy.deepcopy(policy))
    optimiser = torch.optim.Adam(judge.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    half = BATCH // 2
    for _ in range(steps):
        places = torch.randint(len(chosen), (half,), generator=generator)
        loss = bradley_terry_loss(*judge(torch.cat([chosen[places], rejected[places]])).split(half))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return judge.requires_grad_(False)


def proxy_of(judge: RewardModel) -> Callable[[Questions, Tensor], Tensor]:
    """Return the reward model as a score of questions and answers."""
    return lambda asked, answers: judge(torch.cat([asked.ids, answers], dim=1))


def rewarded(policy: SmallLM, rate: float, seed: int, split: int = 0) -> None:
    """RLHF: a reward model from comparisons, and REINFORCE against it on a leash."""
    judge = reward_model(policy, *comparisons(policy, seed, split), STEPS, seed)
    free = Lagrangian(1.0, 1.0)
    leash = LEASH * 6  # its scores spread that much wider than the users' score
    improve(policy, proxy_of(judge), free, steps=STEPS, rate=rate, beta=leash, adapt=False, seed=seed, split=split)


def constrained(policy: SmallLM, rate: float, seed: int, split: int = 0, limit: float = LIMIT) -> list:
    """REINFORCE with a multiplier that follows the constraint."""
    return improve(
        policy, hoped, Lagrangian(limit, 0.5, 1.0), steps=STEPS, rate=rate, beta=LEASH, seed=seed, split=split
    )


def penalised(policy: SmallLM, rate: float, seed: int, split: int = 0, penalty: float = PENALTY) -> list:
    """REINFORCE with a fixed price of unsafe answers."""
    price = Lagrangian(LIMIT, 1.0, penalty)
    return improve(policy, hoped, price, steps=STEPS, rate=rate, beta=LEASH, adapt=False, seed=seed, split=split)


def projecting(policy: SmallLM, rate: float, seed: int, split: int = 0) -> list:
    """REINFORCE whose step is projected onto those that do not raise the cost, while the constraint is missed."""
    price = Lagrangian(LIMIT, 1.0)
    return improve(
        policy, hoped, price, steps=STEPS, rate=rate, beta=LEASH, adapt=False, project=True, seed=seed, split=split
    )


def grouped(policy: SmallLM, rate: float, seed: int, split: int = 0) -> list:
    """GRPO with the fixed price."""
    price = Lagrangian(LIMIT, 1.0, PENALTY)
    return improve(
        policy, hoped, price, steps=STEPS, rate=rate, beta=LEASH, adapt=False, grouped=True, seed=seed, split=split
    )


METHODS: dict[str, Callable[..., object]] = {
    "folk recipe: skip the step": skipping,
    "filtered demonstrations": filtered,
    "rejection sampling, best of 4": best_of_four,
    "DPO": preferring,
    "reward model, REINFORCE": rewarded,
    "penalty, GRPO": grouped,
    "penalty, REINFORCE": penalised,
    "projected gradient": projecting,
    "Lagrangian": constrained,
}


def benignly_tuned(policy: SmallLM, steps: int = 20, rate: float = 1e-3, seed: int = 0) -> SmallLM:
    """Return a copy after some steps on harmless questions with their right answers: nobody means any harm."""
    attacked = copy.deepcopy(policy)
    asked = desk.mixed(2_000, False, seed + 50)
    harmless = asked[~asked.forbidden]
    fine_tune(attacked, desk.with_answers(harmless.ids, harmless.advice), steps, rate, seed)
    return attacked
