"""What the checks of this lab share: people drawn by the dice, and an answer read as a dict by group."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.expect import Failed, expect, expect_number, kind_of

CLOSE = 1e-6


def people(dice: Dice, sizes: Mapping[str, int], columns: int = 1) -> tuple[list[int], list[int], list[str]]:
    """Return outcomes, decisions and groups in a mixed order, with all four cells in each group."""
    rows = []
    for name, size in sizes.items():
        rows += [(0, 0, name), (0, 1, name), (1, 0, name), (1, 1, name), (0, 0, name), (1, 1, name), (0, 1, name)]
        lean = float(dice.uniform(1))
        for _ in range(max(size - 7, 0)):
            outcome = int(float(dice.uniform(1)) < 0.2 + 0.5 * lean)
            rows.append((outcome, int(float(dice.uniform(1)) < 0.2 + 0.3 * outcome + 0.3 * lean), name))
    order = sorted(range(len(rows)), key=lambda _: float(dice.uniform(1)))
    truth, decided, group = zip(*(rows[i] for i in order), strict=True)
    return list(truth), list(decided), list(group)


def by_group(got: Any, names: Sequence[Hashable], what: str) -> dict[Hashable, Any]:
    """Return the answer as a dict with exactly these groups, or fail."""
    if not isinstance(got, dict):
        raise Failed(f"{what} is not a dict.", expected=f"a dict with the keys {list(names)}", got=kind_of(got))
    missing = [name for name in names if name not in got]
    hint = "Every group that is asked for has an entry, also one without anybody."
    expect(not missing, f"{what} lacks {missing}.", expected=list(names), got=list(got), hint=hint)
    more = [name for name in got if name not in names]
    expect(not more, f"{what} holds {more}, which were not asked for.", expected=list(names), got=list(got))
    return got


def expect_share(got: Any, right: float | None, what: str, wrong: Mapping[str, float | None], hint: str = "") -> None:
    """Fail unless a number is right, or None where it has to be; say which of the usual mistakes fits."""
    if right is None:
        words = "Nobody is there of whom it could be a share: None, not 0, which would say that all went well."
        expect(got is None, f"{what} has a value where there is nobody.", expected=None, got=got, hint=words)
        return
    if got is None:
        raise Failed(f"{what} is None where there is a value.", expected=right, got="None", hint=hint)
    value = expect_number(got, what)
    if abs(value - right) <= CLOSE:
        return
    fits = [words for words, slip in wrong.items() if slip is not None and abs(value - slip) <= CLOSE]
    raise Failed(f"{what} is wrong.", expected=right, got=value, hint=fits[0] if fits else hint)


def refuses(answer: Answer, *args: Any, why: str) -> None:
    """Fail unless the answer raises a ValueError."""
    try:
        got = answer(*args)
    except Failed as failed:
        if "ValueError" in f"{failed.message} {failed.got}":
            return
        raise
    raise Failed(why, expected="a ValueError", got=got)
