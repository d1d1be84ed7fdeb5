"""Exercise 5: which updates have close neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_close, expect_unchanged
from llmsafety_lab.checks.federated_learning.refusals import as_tensor, refused


def _scores(updates: Tensor, attackers: int, slip: str = "") -> Tensor:
    clients = len(updates)
    found = []
    for one in range(clients):
        far = [(updates[one] - updates[other]).square().sum() for other in range(clients) if other != one]
        near = torch.stack(far).sort(descending=slip == "farthest").values
        near = near.sqrt() if slip == "plain" else near
        count = clients - attackers - 2
        count += {"one more": 1, "itself": -1}.get(slip, 0)
        count = clients - 1 if slip == "all" else count
        total = near[:count].sum()
        found.append(total / count if slip == "mean" else total)
    return torch.stack(found)


SLIPS = {
    "itself": "The distance to itself, 0, is among the nearest: leave it out.",
    "one more": "One neighbour too many: the nearest n - attackers - 2 others count.",
    "all": "All others count here. Only the nearest n - attackers - 2 do: the far ones may be the attackers.",
    "farthest": "These are the farthest others: take the nearest.",
    "plain": "These are distances: take their squares.",
    "mean": "This is the mean: take the sum.",
}


@exercise(
    "federated_learning.krum",
    "Who has close neighbours?",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="krum_scores",
    mutants=(
        Mutant("itself counted", "distances.sort(dim=1).values[:, 1:]", "distances.sort(dim=1).values", "itself"),
        Mutant("one too many", "clients - attackers - 2]", "clients - attackers - 1]", "one neighbour too many"),
        Mutant("the attackers only", "clients - attackers - 2]", "clients - 2]", "neighbour"),
        Mutant("all others", "others[:, : clients - attackers - 2]", "others", "all others"),
        Mutant(
            "farthest",
            "distances.sort(dim=1).values[:, 1:]",
            "distances.sort(dim=1, descending=True).values",
            "farthest",
        ),
        Mutant("not squared", ".square().sum(-1)", ".square().sum(-1).sqrt()", "squares"),
        Mutant("mean", "clients - attackers - 2].sum(1)", "clients - attackers - 2].mean(1)", "the mean"),
        Mutant("too few clients", "clients < 2 * attackers + 3", "clients < 2 * attackers + 1", "2 * attackers + 3"),
        Mutant("too many refused", "clients < 2 * attackers + 3", "clients < 2 * attackers + 4", "enough"),
        Mutant("negative attackers", "attackers < 0 or ", "", "fewer than 0"),
    ),
)
def check_krum(answer: Answer, dice: Dice) -> None:
    for attackers in (1, 2, 0):
        clients, width = 2 * attackers + 3 + dice.integer(1, 3), dice.integer(4, 8)
        updates = dice.normal(clients, width)
        updates[:attackers] *= 6
        right = _scores(updates, attackers)
        mistakes = {
            words: _scores(updates, attackers, slip)
            for slip, words in SLIPS.items()
            if attackers or slip not in ("one more", "all")
        }
        called = answer.trace(updates, attackers)
        hint = "For each update: squared distances to all others, sorted; the sum of the n - attackers - 2 smallest."
        what = f"The scores of {clients} updates against {attackers} attackers"
        expect_close(as_tensor(called.value), right, what, mistakes=mistakes, tolerance=1e-6, hint=hint)
        expect_unchanged(called, 0)
    fewest = dice.normal(5, 3)
    try:
        got = answer(fewest, 1)
    except Failed as failed:
        raise Failed(
            "Five clients are enough for one attacker, 2 * 1 + 3.", expected="scores", got=failed.message
        ) from None
    expect_close(as_tensor(got), _scores(fewest, 1), "The scores of five updates against one attacker", tolerance=1e-6)
    refused(lambda: answer(fewest[:4], 1), "Fewer than 2 * attackers + 3 clients were not refused.")
    refused(lambda: answer(fewest, -1), "Attackers fewer than 0 were not refused.")
