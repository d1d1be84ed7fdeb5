"""Exercises 1 and 2: the area under the curve, and the rate at a low false positive rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, are, expect, expect_list, expect_number, expect_tensor, kind_of

PACKAGE = "llmsafety_lab.membership_inference"
CURVES = ("sklearn.metrics.roc_curve", "sklearn.metrics.det_curve", "sklearn.metrics.RocCurveDisplay")


def numbers(got: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """Return an answer as a tensor, whether it came as an array, a tensor or lists."""
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(got)
    elif isinstance(got, list | tuple):
        try:
            got = torch.tensor(
                [[float(v) for v in row] if isinstance(row, list | tuple) else float(row) for row in got],
                dtype=torch.float64,
            )
        except (ValueError, TypeError, RuntimeError):
            raise Failed(f"{what} are a list that holds something else than numbers.", expected=str(shape)) from None
    if not isinstance(got, torch.Tensor):
        raise Failed(f"{what} {are(what)} not an array.", expected=f"an array of shape {shape}", got=kind_of(got))
    return expect_tensor(got, shape, what)


def refuses(answer: Answer, *arguments: Any, because: str) -> None:
    """Fail unless the answer raises a ValueError for these arguments."""
    try:
        got = answer(*arguments)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed(because, expected="a ValueError", got=got)


def _area(inside: np.ndarray, outside: np.ndarray, ties: float = 0.5) -> float:
    difference = inside[:, None] - outside
    return float(((difference > 0) + ties * (difference == 0)).mean())


def _drawn(dice: Dice, count: int, share: float, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores with ties, and who is a member: a share of all."""
    members = (torch.randperm(count, generator=dice.generator) < round(share * count)).numpy()
    raw = dice.normal(count).numpy() + effect * members
    return np.round(raw * 4) / 4, members


@exercise(
    "membership_inference.area",
    "A coin for each pair",
    points=2,
    difficulty=1,
    importance=4,
    minutes=6,
    answer="area",
    forbid=(
        f"{PACKAGE}.measures.area",
        f"{PACKAGE}.measures.auc",
        "sklearn.metrics.roc_auc_score",
        "sklearn.metrics.auc",
        *CURVES,
        "sklearn.metrics.get_scorer",
        "scipy.stats.mannwhitneyu",
        "scipy.stats.ranksums",
        "scipy.stats.somersd",
    ),
    mutants=(
        Mutant(
            "from hard labels",
            "    ranks = ",
            "    middle = np.median(np.concatenate([inside, outside]))\n"
            "    inside, outside = inside > middle, outside > middle\n    ranks = ",
            "hard labels",
        ),
        Mutant(
            "ties count nothing",
            "return float(above / (len(inside) * len(outside)))",
            "return float((inside[:, None] > outside).mean())",
            "ties",
        ),
        Mutant(
            "ties count whole",
            "return float(above / (len(inside) * len(outside)))",
            "return float((inside[:, None] >= outside).mean())",
            "ties",
        ),
        Mutant("turned round", "float(above", "float(1 - above", "turned round"),
        Mutant("among all", "(len(inside) * len(outside))", "((len(inside) + len(outside)) ** 2 / 4)", "pairs"),
        Mutant("ranks of members kept", "- len(inside) * (len(inside) + 1) / 2", "", "among themselves"),
        Mutant(
            "the better of two",
            "return float(above / (len(inside) * len(outside)))",
            "share = above / (len(inside) * len(outside))\n    return float(max(share, 1 - share))",
            "below 1/2",
        ),
    ),
)
def check_area(answer: Answer, dice: Dice) -> None:
    for effect, share in ((0.8, 0.3), (-0.6, 0.6), (0.0, 0.5)):
        scores, members = _drawn(dice, dice.integer(50, 70), share, effect)
        inside, outside = scores[members], scores[~members]
        right = _area(inside, outside)
        middle = float(np.median(scores))
        mistakes = {
            "You compare hard labels, above the middle or not. The area wants the scores themselves: any two records "
            "whose scores differ can be told apart.": [
                _area((inside > middle) * 1.0, (outside > middle) * 1.0),
                _area((inside >= middle) * 1.0, (outside >= middle) * 1.0),
            ],
            "Your ties are wrong: a member and a non-member with the same score count one half.": [
                _area(inside, outside, 0.0),
                _area(inside, outside, 1.0),
            ],
            "It is turned round: how often is the member's score the higher one?": [1 - right] * (right > 0.5),
            "Divide by the number of pairs: members times non-members.": [
                right * len(inside) * len(outside) / len(scores) ** 2 * k for k in (1, 2, 4)
            ],
            "An attack that is mostly wrong has an area below 1/2. Do not turn it into the better one.": [
                max(right, 1 - right),
                0.5 + abs(right - 0.5),
            ],
            "The ranks of the members among themselves are in your sum: subtract n (n + 1) / 2 for n members.": [
                right + (len(inside) + 1) / 2 / len(outside)
            ],
            "This is the share of right answers at the best threshold, or another measure of one threshold.": [
                _best(inside, outside)
            ],
        }
        got = expect_number(answer(scores, members), "The area")
        hint = next((text for text, values in mistakes.items() if any(abs(got - v) < 1e-9 for v in values)), "")
        if not hint and not 0 <= got <= 1:
            hint = "A probability is from 0 to 1: is it divided by the number of pairs, and starts the rank sum at 0?"
        hint = hint or "For each pair of a member and a non-member: 1 if the member is higher, 1/2 for a tie, else 0."
        what = f"The area for {len(inside)} members and {len(outside)} non-members is wrong."
        expect(abs(got - right) < 1e-6, what, expected=right, got=got, hint=hint)
    got = expect_number(answer(scores.tolist(), members.tolist()), "The area of lists")
    expect(abs(got - right) < 1e-6, "The area of plain lists is wrong: they may come, too.", expected=right, got=got)
    refuses(answer, np.ones(4), np.ones(4, dtype=bool), because="Without a non-member there is no pair.")


def _best(inside: np.ndarray, outside: np.ndarray) -> float:
    return max(float(((inside >= t).mean() + (outside < t).mean()) / 2) for t in np.r_[inside, outside])


def _rate(scores: np.ndarray, members: np.ndarray, fpr: float, slip: str = "") -> tuple[float, float, float]:
    inside, outside = scores[members], scores[~members]
    judged = {"members": inside, "all": scores}.get(slip, outside)
    allowed = int(fpr * len(judged) + 1e-9 * (slip != "no hair")) + {"one less": -1, "one more": 1}.get(slip, 0)
    if slip in ("rounded", "rounded up"):
        allowed = max(round(fpr * len(judged) + 0.499 * (slip == "rounded up")), allowed)
    ranked = np.sort(judged)[::-1]
    bar = ranked[min(max(allowed, 0), len(ranked) - 1)]
    found = inside >= bar if slip == "ties" else inside > bar
    if slip == "members, counted right":
        found = inside > np.sort(inside)[::-1][int(fpr * len(outside) + 1e-9)]
    if slip == "last accused":
        found = inside >= ranked[max(allowed - 1, 0)]
    if slip == "outside's":
        found = outside > bar
    count, of = int(found.sum()), len(outside) if slip in ("of non-members", "outside's") else len(inside)
    count = min(count, of)
    method = "wilson" if slip == "Wilson" else "exact"
    interval = stats.binomtest(count, of).proportion_ci(0.9 if slip == "level" else 0.95, method)
    return count / of, float(interval.low), float(interval.high)


RATES = {
    "members": "Your threshold is a quantile of the members. An attacker does not know them: take the non-members.",
    "members, counted right": "Your threshold is a quantile of the members. An attacker does not know them: take the "
    "non-members.",
    "all": "Your threshold is a quantile of all records. The rate is one of non-members alone.",
    "ties": "A non-member at your threshold is accused, too, and then there are more of them than the rate allows: "
    "with ties the threshold has to go above all of them.",
    "last accused": "Ties: other non-members have the same score as the last one that you accuse, and then more are "
    "accused than the rate allows.",
    "no hair": "In binary numbers a product can fall short of a whole number by a hair. Add 1e-9 before you cut off.",
    "one less": "You accuse one non-member less than the rate allows.",
    "rounded": "You round the number of non-members that may be accused: the rate is a bound, so round down.",
    "rounded up": "You round the number of non-members that may be accused up: the rate is a bound, so round down.",
    "one more": "You accuse one non-member more than the rate allows.",
    "of non-members": "Divide by the number of members.",
    "outside's": "This is the share of accused non-members: the false positives, not the true ones.",
    "Wilson": "The rate is right, the interval is not: that is Wilson's. Clopper and Pearson's is `exact=True`.",
    "level": "The rate is right, the interval is not of the level 0.95.",
}


@exercise(
    "membership_inference.rate",
    "How many are caught, and how many accused",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="tpr_at_fpr",
    forbid=(f"{PACKAGE}.measures.tpr_at_fpr", f"{PACKAGE}.measures.roc_curve_log", *CURVES),
    mutants=(
        Mutant(
            "quantile of the members", "np.sort(outside)[-allowed - 1]", "np.sort(inside)[-allowed - 1]", "quantile of"
        ),
        Mutant("ties accused", "(inside > first_refused)", "(inside >= first_refused)", "ties"),
        Mutant("one less", "[-allowed - 1]", "[-allowed]", "one non-member less"),
        Mutant("one more", "[-allowed - 1]", "[-allowed - 2]", "one non-member more"),
        Mutant("rounded up", "int(fpr * len(outside) + 1e-9)", "int(fpr * len(outside) + 0.999)", "round down"),
        Mutant(
            "rate of all records", "int(fpr * len(outside) + 1e-9)", "int(fpr * (len(inside) + len(outside)))", "wrong"
        ),
        Mutant("Wilson's interval", ", exact=True", "", "Wilson"),
        Mutant(
            "false positives",
            "int((inside > first_refused).sum()), len(inside)",
            "int((outside > first_refused).sum()), len(outside)",
            "false positives",
        ),
        Mutant("always 0.1%", "    allowed = int(fpr", "    fpr = 0.1\n    allowed = int(fpr", "wrong"),
        Mutant("the level ignored", "len(inside), level, exact", "len(inside), exact", "level=0.8"),
        Mutant("no refusal", "    if not allowed:", "    if False:", "cannot show"),
        Mutant("cut off without the hair", "int(fpr * len(outside) + 1e-9)", "int(fpr * len(outside))", "1e-9"),
    ),
)
def check_rate(answer: Answer, dice: Dice) -> None:
    cases = []
    for wanted in (0.05, 0.1, 0.21, 0.0):
        for _ in range(50):
            scores, members = _drawn(dice, dice.integer(400, 440), 0.75, 1.0)
            fpr = wanted or dice.integer(7, 13) / int((~members).sum())
            fine = scores + 1e-3 * dice.uniform(len(scores)).numpy()
            if len({_rate(fine, members, fpr, slip)[0] for slip in ("", "one less", "one more")}) == 3:
                break
        cases += [(scores, members, fpr), (fine, members, fpr)]
    came = []
    for scores, members, fpr in cases:
        got = expect_list(answer(scores, members, fpr), "The answer", length=3, expected="(rate, low, high)")
        came.append(tuple(expect_number(value, "A part of the answer") for value in got))
    right = [_rate(*case) for case in cases]
    if not all(np.allclose(a, b, atol=1e-6) for a, b in zip(came, right, strict=True)):
        first = next(i for i, (a, b) in enumerate(zip(came, right, strict=True)) if not np.allclose(a, b, atol=1e-6))
        scores, members, fpr = cases[first]
        fits = [
            words
            for slip, words in RATES.items()
            if all(np.allclose(a, _rate(*case, slip), atol=1e-6) for a, case in zip(came, cases, strict=True))
        ]
        ends = "" if abs(came[first][0] - right[first][0]) > 1e-6 else " The rate is right, its interval is not."
        raise Failed(
            f"The rate at {fpr:.2%} false positives of {int((~members).sum())} non-members is wrong.{ends}",
            expected=[round(v, 4) for v in right[first]],
            got=[round(v, 4) for v in came[first]],
            hint=(fits or ["How many non-members may be accused? Which is the next one, who must not be?"])[0],
        )
    scores, members, fpr = cases[0]
    wide = expect_list(answer(scores, members, fpr, 0.8), "The answer at level 0.8", length=3)
    share = stats.binomtest(round(right[0][0] * int(members.sum())), int(members.sum())).proportion_ci(0.8, "exact")
    expect(
        bool(np.allclose([float(v) for v in wide[1:]], [share.low, share.high], atol=1e-6)),
        "The interval at level=0.8 is wrong: the level is an argument.",
        expected=[round(share.low, 4), round(share.high, 4)],
        got=[round(float(v), 4) for v in wide[1:]],
    )
    order = torch.randperm(160, generator=dice.generator).numpy()
    fine, some = np.r_[np.arange(60) + 20.5, np.arange(100.0)][order], order < 60
    got = expect_list(answer(fine, some, 0.29), "The answer at 29% of a hundred", length=3)
    exact = _rate(fine, some, 0.29)
    expect(
        bool(np.allclose([float(v) for v in got], exact, atol=1e-6)),
        "Of a hundred non-members a rate of 0.29 allows 29: the answer is wrong there.",
        expected=[round(v, 4) for v in exact],
        got=[round(float(v), 4) for v in got],
        hint="In binary numbers 0.29 * 100 is 28.999999999999996. Add 1e-9 before you cut off.",
    )
    few = members.nonzero()[0][:4].tolist() + (~members).nonzero()[0][:8].tolist()
    refuses(
        answer,
        scores[few],
        members[few],
        0.1,
        because="Eight non-members cannot show a false positive rate of 10%: one accused is 12.5%.",
    )
    got = expect_list(answer(scores[few], members[few], 0.125), "The answer at one accused of eight", length=3)
    exact = _rate(scores[few], members[few], 0.125)
    expect(
        bool(np.allclose([float(v) for v in got], exact, atol=1e-6)),
        "With eight non-members a rate of 0.125 allows one: the answer is wrong there.",
        expected=[round(v, 4) for v in exact],
        got=[round(float(v), 4) for v in got],
        hint="Do you accuse one non-member more than the rate allows?",
    )
