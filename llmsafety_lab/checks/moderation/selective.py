"""Exercise 3: selective risk against coverage."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list

Points = list[tuple[float, float, float]]


def _curve(sure: list[float], right: list[int], slip: str = "") -> Points:
    found = []
    for threshold in sorted(set(sure), reverse=slip not in ("rising", "turned")):
        answered = [
            good
            for one, good in zip(sure, right, strict=True)
            if (one > threshold if slip == "above" else one >= threshold)
        ]
        if slip == "turned":
            answered = [good for one, good in zip(sure, right, strict=True) if one <= threshold]
        wrong = answered.count(0)
        of = {"abstentions right": len(sure), "over all": len(sure)}.get(slip, len(answered)) or 1
        risk = wrong / of
        if slip == "accuracy":
            risk = 1 - risk
        if slip == "abstentions wrong":
            risk = (wrong + len(sure) - len(answered)) / len(sure)
        if slip == "missed":
            risk = wrong / max(1, right.count(0))
        share = (len(sure) - len(answered)) / len(sure) if slip == "withheld" else len(answered) / len(sure)
        found.append((threshold, share, risk))
    return found


SLIPS = {
    "abstentions right": "You counted abstentions as right: the wrong answers are divided by "
    "all questions. Divide by those that are answered.",
    "abstentions wrong": "You counted abstentions as wrong. An answer that is withheld is no part of the risk.",
    "accuracy": "This is the share of right answers; the risk is the share of wrong ones.",
    "missed": "You divided by all wrong answers. The risk is among the answered questions.",
    "withheld": "This is the share of withheld answers; the coverage is the share of questions that are answered.",
    "turned": "You answer the questions of which the model is least sure.",
    "above": "A question whose confidence equals the threshold is answered, too.",
    "rising": "The points come in falling order of the threshold: from few answers to all.",
}


@exercise(
    "moderation.risk_coverage",
    "Answer only when sure",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="risk_coverage",
    mutants=(
        Mutant(
            "abstentions counted as right",
            "np.cumsum(1 - good[order])[last] / answered",
            "np.cumsum(1 - good[order])[last] / len(sure)",
            "counted abstentions as right",
        ),
        Mutant(
            "abstentions counted as wrong",
            "np.cumsum(1 - good[order])[last] / answered",
            "(np.cumsum(1 - good[order])[last] + len(sure) - answered) / len(sure)",
            "counted abstentions as wrong",
        ),
        Mutant("accuracy", "np.cumsum(1 - good[order])", "np.cumsum(good[order])", "share of right answers"),
        Mutant("least sure first", "np.argsort(-sure,", "np.argsort(sure,", "least sure"),
        Mutant(
            "a point for each question",
            "last = np.r_[np.flatnonzero(np.diff(sure[order])), len(sure) - 1]",
            "last = np.arange(len(sure))",
            "come together",
        ),
        Mutant(
            "wrong ones last among equals",
            "last = np.r_[np.flatnonzero(np.diff(sure[order])), len(sure) - 1]",
            "order = np.lexsort((1 - good, -sure))\n    last = np.r_[0, 1 + np.flatnonzero(np.diff(sure[order]))]",
            "confidence",
        ),
        Mutant("answered means above", "answered = last + 1", "answered = last", "equals the threshold"),
        Mutant("share withheld", "answered / len(sure), np.cumsum", "1 - answered / len(sure), np.cumsum", "withheld"),
        Mutant(
            "among the wrong",
            "[last] / answered)",
            "[last] / max(1, (1 - good).sum()))",
            "all wrong answers",
        ),
        Mutant(
            "full coverage missing",
            "last = np.r_[np.flatnonzero(np.diff(sure[order])), len(sure) - 1]",
            "last = np.flatnonzero(np.diff(sure[order]))",
            "as many points",
        ),
    ),
)
def check_risk_coverage(answer: Answer, dice: Dice) -> None:
    for count in (dice.integer(23, 30), dice.integer(31, 40)):
        sure = [round(float(one), 1) for one in dice.uniform(count).tolist()]
        right = [int(x < 0.3 + 0.5 * one) for x, one in zip(dice.uniform(count).tolist(), sure, strict=True)]
        right[0], right[1] = 0, 1
        _expect(answer(sure, right), sure, right)
    _expect(answer([-2.5, -7.0, -2.5], [1, 0, 0]), [-2.5, -7.0, -2.5], [1, 0, 0])
    _expect(answer([0.4, 0.4], [1, 1]), [0.4, 0.4], [1, 1])


def _expect(got: object, sure: list[float], right: list[int]) -> None:
    three = expect_list(got, "The curve", length=3, expected="(thresholds, coverages, risks)")
    rows = [list(getattr(one, "tolist", lambda one=one: one)()) for one in three]
    exact = _curve(sure, right)
    expect(
        all(len(row) == len(exact) for row in rows),
        f"The curve has not as many points as there are distinct confidences, {len(exact)}.",
        expected=f"{len(exact)} thresholds, coverages and risks",
        got=" and ".join(str(len(row)) for row in rows),
        hint="Questions of equal confidence come together: no threshold can part them. The last point answers all.",
    )
    points = list(zip(*rows, strict=True))
    if _same(points, exact):
        return
    hint = next((words for slip, words in SLIPS.items() if _same(points, _curve(sure, right, slip))), "")
    place = next(i for i, (one, two) in enumerate(zip(points, exact, strict=True)) if not _same([one], [two]))
    if not hint and abs(points[place][1] - exact[place][1]) > 1e-9:
        slips = {"equals the threshold": 1 / len(sure)}
        short = exact[place][1] - points[place][1]
        hint = (
            "A question whose confidence equals the threshold is answered, too."
            if abs(short - slips["equals the threshold"]) < 1e-9
            else "Questions of equal confidence come together: no threshold can part them."
        )
    raise Failed(
        f"The curve is wrong at its point {place}.",
        expected=tuple(round(x, 4) for x in exact[place]),
        got=tuple(round(float(x), 4) for x in points[place]),
        hint=hint or "At a threshold all questions with at least this confidence are answered; the risk is among them.",
    )


def _same(points: list[tuple[float, ...]] | Points, exact: Points) -> bool:
    return len(points) == len(exact) and all(
        abs(a - b) < 1e-9 for one, two in zip(points, exact, strict=True) for a, b in zip(one, two, strict=True)
    )
