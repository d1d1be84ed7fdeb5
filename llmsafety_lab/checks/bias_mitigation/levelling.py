"""Exercise 5: who pays for a smaller gap."""

from __future__ import annotations

import torch
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect_close, expect_list, expect_number, expect_unchanged


def _rates(decisions: Tensor, among: Tensor, groups: Tensor) -> Tensor:
    return torch.stack([decisions[among & (groups == g)].double().mean() for g in (0, 1, 2)])


def _four(before: Tensor, after: Tensor, lost: Tensor) -> Tensor:
    low, high = int(before.argmin()), int(before.argmax())
    closed = (before.max() - before.min()) - (after.max() - after.min())
    return torch.stack([closed, after[low] - before[low], before[high] - after[high], lost.double()])


@exercise(
    "bias_mitigation.levelling",
    "Who pays",
    points=2,
    difficulty=2,
    importance=5,
    minutes=9,
    answer="who_pays",
    mutants=(
        Mutant("everybody", "    among = labels == 1", "    among = labels >= 0", "label 1"),
        Mutant("the others", "    among = labels == 1", "    among = labels == 0", "label 1"),
        Mutant("extremes chosen anew", "new[low] - old[low]", "min(new.values()) - min(old.values())", "same group"),
        Mutant("highest chosen anew", "old[high] - new[high]", "max(old.values()) - max(new.values())", "same group"),
        Mutant(
            "net losses", "(before[among] > after[among]).sum()", "(before[among].sum() - after[among].sum())", "net"
        ),
        Mutant("losses of everybody", "(before[among] > after[among]).sum()", "(before > after).sum()", "label 1"),
        Mutant("all changes", "(before[among] > after[among])", "(before[among] != after[among])", "taken away"),
        Mutant("gap widened", "spread(old) - spread(new)", "spread(new) - spread(old)", "sign"),
        Mutant("two groups only", "for group in groups.unique().tolist()", "for group in (0, 1)", "groups"),
        Mutant("sign of lowered", "old[high] - new[high]", "new[high] - old[high]", "sign"),
        Mutant(
            "share for a count",
            "int((before[among] > after[among]).sum())",
            "float((before[among] > after[among]).double().mean())",
            "count of people",
        ),
    ),
)
def check_levelling(answer: Answer, dice: Dice) -> None:
    for _ in range(2):
        for _ in range(2_000):
            of = dice.integer(90, 120)
            groups = dice.integers(0, 2, of)
            labels = dice.integers(0, 1, of)
            base, later = dice.uniform(3), dice.uniform(3)
            before = (dice.uniform(of) < 0.15 + 0.75 * base[groups]).long()
            after = (dice.uniform(of) < 0.15 + 0.75 * later[groups]).long()
            yes, no, every = labels == 1, labels == 0, labels >= 0
            if any(not (mask & (groups == g)).any() for mask in (yes, no) for g in (0, 1, 2)):
                continue
            tables = {
                name: (_rates(before, mask, groups), _rates(after, mask, groups))
                for name, mask in (("yes", yes), ("no", no), ("every", every))
            }
            old, new = tables["yes"]
            lost = (yes & (before > after)).sum()
            wanted = _four(old, new, lost)
            moved = int(old.argmin()) != int(new.argmin()) and int(old.argmax()) != int(new.argmax())
            distinct = len(set(old.tolist())) == 3 and len(set(new.tolist())) == 3
            some = 2 in (int(old.argmin()), int(old.argmax()))
            differ = all(
                abs(float((_four(*tables[name], lost) - wanted)[:3].abs().min())) > 1e-3 for name in ("no", "every")
            )
            two = (old[:2].max() - old[:2].min()) - (new[:2].max() - new[:2].min())
            if (
                moved
                and distinct
                and some
                and differ
                and abs(float(two - wanted[0])) > 1e-3
                and int(lost) > 1
                and abs(float(wanted[0])) > 0.02
                and int((every & (before > after)).sum()) > int(lost)
                and int((yes & (before < after)).sum()) > 0
            ):
                break
        called = answer.trace(before, after, labels, groups)
        four = expect_list(called.value, "The answer", length=4, expected="(closed, raised, lowered, lost)")
        got = torch.tensor([expect_number(value, "Each of the four") for value in four], dtype=torch.float64)
        again = wanted.clone()
        again[1], again[2] = new.min() - old.min(), old.max() - new.max()
        mistakes = {
            "These are rates of all people: a true positive rate is among those with label 1.": _four(
                *tables["every"], lost
            ),
            "These are rates among those with label 0: a true positive rate is among those with label 1.": _four(
                *tables["no"], (no & (before > after)).sum()
            ),
            "All of it is about everybody: a true positive rate is among those with label 1.": _four(
                *tables["every"], (before > after).sum()
            ),
        }
        for words, changes in {
            "The lowest group is chosen anew after the repair: follow the same group, the one that was lowest "
            "before.": {1: again[1]},
            "The highest group is chosen anew after the repair: follow the same group, the one that was highest "
            "before.": {2: again[2]},
            "Lowest and highest group are chosen anew after the repair: follow the same groups.": {
                1: again[1],
                2: again[2],
            },
            "closed has the wrong sign: it is positive where the gap became smaller.": {0: -wanted[0]},
            "lowered has the wrong sign: it is positive where the highest group's rate fell.": {2: -wanted[2]},
            "raised has the wrong sign: it is positive where the lowest group's rate rose.": {1: -wanted[1]},
            "The last number is a net loss: count all with label 1 whose yes was taken away, whoever gained one.": {
                3: (before[yes].sum() - after[yes].sum()).double()
            },
            "The last number counts everybody: count those with label 1 whose yes was taken away.": {
                3: (before > after).sum().double()
            },
            "The last number counts all changes: count those with label 1 whose yes was taken away.": {
                3: (before[yes] != after[yes]).sum().double()
            },
            "The last number is a share: it is a count of people.": {3: lost.double() / yes.sum()},
            "The last number counts those who gained: count those whose yes was taken away.": {
                3: (yes & (before < after)).sum().double()
            },
            "Only two groups were looked at: take all groups that there are.": {0: two},
        }.items():
            value = wanted.clone()
            for place, number in changes.items():
                value[place] = number
            mistakes[words] = value
        mistakes["These are percents: return shares."] = wanted * torch.tensor([100.0, 100.0, 100.0, 1.0])
        mistakes[
            "raised and lowered are exchanged: raised comes first. (Or the rates are those of a no among the people "
            "with label 1: a true positive rate is that of a yes.)"
        ] = wanted[[0, 2, 1, 3]]
        mistakes["closed is not raised plus lowered: the extremes after the repair may be other groups."] = torch.stack(
            [wanted[1] + wanted[2], wanted[1], wanted[2], wanted[3]]
        )
        low, high = int(old[:2].argmin()), int(old[:2].argmax())
        mistakes["Only groups 0 and 1 were looked at: take all groups that there are."] = torch.stack(
            [two, new[low] - old[low], old[high] - new[high], lost.double()]
        )
        expect_close(
            got,
            wanted,
            "The answer (closed, raised, lowered, lost)",
            tolerance=1e-5,
            mistakes=mistakes,
            hint="closed: largest minus smallest rate before, minus the same after. raised: how much the rate of the "
            "group "
            "that was lowest rose. lowered: how much that of the group that was highest fell.",
        )
        expect_unchanged(called)
