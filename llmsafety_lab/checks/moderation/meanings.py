"""Exercise 4: the entropy of meanings."""

from __future__ import annotations

import math

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_number

Table = list[list[bool]]


def _classes(entails: Table, slip: str = "") -> list[int]:
    first: list[list[int]] = []
    found = []
    for row in range(len(entails)):
        place = None
        for number, members in enumerate(first):
            compared = members if slip in ("any", "all") else members[:1]
            if slip == "one way":
                holds = [entails[row][one] for one in compared]
            elif slip == "other way":
                holds = [entails[one][row] for one in compared]
            elif slip == "either":
                holds = [entails[one][row] or entails[row][one] for one in compared]
            else:
                holds = [entails[one][row] and entails[row][one] for one in compared]
            if (any if slip == "any" else all)(holds):
                place = number
                if slip != "last":
                    break
        if place is None:
            first.append([row])
            found.append(len(first) - 1)
        else:
            first[place].append(row)
            found.append(place)
    return found


def _entropy(entails: Table, logs: list[float] | None, slip: str = "") -> float:
    classes = list(range(len(entails))) if slip == "strings" else _classes(entails, slip)
    values = [0.0] * len(classes) if logs is None or slip == "no weights" else logs
    weights = [math.exp(value - max(values)) for value in values]
    sums = [0.0] * len(classes)
    for one, weight in zip(classes, weights, strict=True):
        sums[one] += weight
    if slip == "mean":
        sums = [total / max(1, classes.count(one)) for one, total in enumerate(sums)]
    if slip == "largest":
        sums = [
            max([w for c, w in zip(classes, weights, strict=True) if c == one] or [0.0]) for one in range(len(sums))
        ]
    shares = [total / sum(sums) for total in sums if total > 0]
    entropy = -sum(share * math.log(share) for share in shares)
    if slip == "bits":
        entropy /= math.log(2)
    if slip == "scaled":
        entropy /= math.log(len(entails))
    return -entropy if slip == "sign" else entropy


SLIPS = {
    "strings": "This is the entropy over strings, each answer for itself. Answers of one meaning are one outcome.",
    "one way": "To entail in one direction is not enough: 'Tallinn, a port' "
    "entails 'Tallinn', and not the other way round.",
    "other way": "To be entailed is not enough: the two must entail each other, in both directions.",
    "either": "One direction is not enough: the two must entail each other, in both directions.",
    "last": "An answer takes the first meaning that fits, not the last.",
    "any": "You compare with every member of a meaning, so that meanings "
    "chain together. Compare with its first answer.",
    "all": "You compare with all members of a meaning. Compare with its first answer.",
    "no weights": "With log-probabilities an answer weighs as much as it is probable; you let all weigh the same.",
    "mean": "You took the mean weight of a meaning's answers. Its probability is their sum.",
    "largest": "You took the most probable answer of a meaning alone. Its probability is the sum over its answers.",
    "bits": "This is in bits; nats, the natural logarithm, are asked for.",
    "scaled": "You divided by the largest possible entropy. The entropy itself is asked for.",
    "sign": "The sign is turned round: an entropy is never below 0.",
}


def _table(dice: Dice, count: int, one_way: float = 0.4) -> Table:
    """Return who entails whom: classes of equal meaning, one-way entailments between them, and two that chain."""
    classes = [dice.integer(0, 3) for _ in range(count)]
    table = [[one == other for other in classes] for one in classes]
    for row in range(count):
        for column in range(count):
            if classes[row] < classes[column] and float(dice.uniform(1)) < one_way:
                table[row][column] = True
    for row in range(2, count):  # bridges: equal to one answer of another class, but not to its first
        other = next((c for c in range(1, row) if classes[c] != classes[row] and classes.index(classes[c]) != c), None)
        if other is not None and float(dice.uniform(1)) < 0.5:
            table[row][other] = table[other][row] = True
    firsts = sorted({classes.index(one) for one in classes})
    for row in [row for row in range(count) if row not in firsts][-2:]:  # it fits two meanings, and takes the first
        for one in [first for first in firsts if first < row][:2]:
            table[row][one] = table[one][row] = True
    return table


@exercise(
    "moderation.semantic_entropy",
    "What is meant, not how it is said",
    points=4,
    difficulty=3,
    importance=5,
    minutes=14,
    answer="semantic_entropy",
    forbid=("scipy.stats.entropy",),
    mutants=(
        Mutant(
            "entropy over strings",
            "of = np.array(meanings(entails))",
            "of = np.arange(len(meanings(entails)))",
            "over strings",
        ),
        Mutant("one direction", "if holds[row, one] and holds[one, row]", "if holds[row, one]", "one direction"),
        Mutant(
            "the other direction", "if holds[row, one] and holds[one, row]", "if holds[one, row]", "in both directions"
        ),
        Mutant(
            "either direction",
            "if holds[row, one] and holds[one, row]",
            "if holds[row, one] or holds[one, row]",
            "direction",
        ),
        Mutant(
            "chained",
            "        same = [number for number, one in enumerate(first) if holds[row, one] and holds[one, row]]\n",
            "        same = sorted(found[one] for one in range(row) if holds[row, one] and holds[one, row])\n",
            "chain",
        ),
        Mutant("last that fits", "found.append(same[0] if same", "found.append(same[-1] if same", "not the last"),
        Mutant(
            "weights ignored",
            "weights = np.exp(values - values.max())",
            "weights = np.ones(len(values))",
            "weigh the same",
        ),
        Mutant(
            "mean weight",
            'shares: Float[np.ndarray, " meanings"] = np.bincount(of, weights) / weights.sum()',
            "shares = np.bincount(of, weights) / np.bincount(of)\n    shares = shares / shares.sum()",
            "mean weight",
        ),
        Mutant(
            "underflow",
            "weights = np.exp(values - values.max())",
            "weights = np.exp(values)",
            "underflow",
        ),
        Mutant("bits", "np.log(shares)", "np.log2(shares)", "in bits"),
        Mutant("not scaled to 1", "np.bincount(of, weights) / weights.sum()", "np.bincount(of, weights)", "sum of 1"),
        Mutant(
            "logs as weights",
            "weights = np.exp(values - values.max())",
            "weights = np.ones(len(values)) if logs is None else values / values.sum()",
            "exponential",
        ),
        Mutant("sign", "abs(-(shares", "-abs(-(shares", "never below 0"),
    ),
)
def check_semantic_entropy(answer: Answer, dice: Dice) -> None:
    for count, one_way in ((10, 0.0), (9, 0.4), (12, 0.4)):
        table = _table(dice, count, one_way)
        logs = [round(float(-4 + 2 * x), 4) for x in dice.normal(count).tolist()]
        _expect(answer(table), table, None)
        _expect(answer(table, logs), table, logs)
    alike = [[True] * 3 for _ in range(3)]
    _expect(answer(alike), alike, None)
    table = _table(dice, 6)
    small = [-900.0 - x for x in dice.uniform(6).tolist()]
    exact = _entropy(table, small)
    try:
        got = answer(table, small)
    except Failed as failed:
        got = failed.message
    close = isinstance(got, float | int) and abs(got - exact) < 1e-6
    if not close:
        raise Failed(
            "Log-probabilities near -900, those of long answers, give no number "
            "or a wrong one: exp(-900) is 0, an underflow.",
            expected=exact,
            got=got,
            hint="Subtract the largest log-probability from all before you take exp: the shares stay the same.",
        )


def _expect(got: object, table: Table, logs: list[float] | None) -> None:
    number = expect_number(got, "The entropy")
    exact = _entropy(table, logs)
    if abs(number - exact) < 1e-6:
        return
    hint = next((words for slip, words in SLIPS.items() if abs(number - _entropy(table, logs, slip)) < 1e-6), "")
    raise Failed(
        f"The semantic entropy of {len(table)} answers {'without' if logs is None else 'with'} log-probabilities "
        "is wrong.",
        expected=exact,
        got=number,
        hint=hint
        or "The weight of an answer is the exponential of its log-probability; all weights are scaled to a sum of 1.",
    )
