"""Filters in front of a model and behind it, put together from rules, with a report of what was blocked and why."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

INPUT, OUTPUT = "input", "output"
SIGNS = str.maketrans("013457@$!|", "oieastasil")
LOOKALIKES = str.maketrans("аеорсухіѕԁ", "aeopcyxisd")  # letters of the Cyrillic script


def despelled(text: str) -> str:
    """Return a text as it reads, where its spelling hides words: signs for letters, foreign look-alikes, split words.

    It goes by Unicode's form NFKC, drops characters that have no width, joins single letters in a row, and puts letters
    for the signs in a word that has a letter already: "i.d.i.o.t" and "1d1ot" are "idiot", and "mp3" becomes "mpe".
    """
    shown = unicodedata.normalize("NFKC", text)
    shown = "".join(letter for letter in shown if unicodedata.category(letter) not in ("Cf", "Mn"))
    shown = shown.translate(LOOKALIKES)
    shown = re.sub(r"\b(?:\w[ .*_-]){2,}\w\b", lambda match: re.sub(r"[ .*_-]", "", match[0]), shown)
    return re.sub(r"[\w@$!|]*[^\W\d_][\w@$!|]*[\w@$]|[^\W\d_]", lambda match: match[0].translate(SIGNS), shown)


def word_list(words: Iterable[str]) -> Callable[[str], float]:
    """Return a scorer: 1 where a text holds one of some words or phrases as whole words, else 0."""
    listed = sorted({word.lower() for word in words}, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, listed))})(?!\w)")
    return lambda text: float(bool(pattern.search(text.lower())))


@dataclass(frozen=True)
class Rule:
    """One filter of a guard.

    Parameters
    ----------
    name : str
        For the report.
    score : callable
        From a text to a number.
    threshold : float
        A text is blocked if its score is at least this.
    sides : collection of str
        Where it looks: "input", what comes to the model, and "output", what the model says.
    """

    name: str
    score: Callable[[str], float]
    threshold: float = 0.5
    sides: Collection[str] = (INPUT, OUTPUT)


class Finding(NamedTuple):
    """Why a text was blocked: the rule, its score, its threshold."""

    rule: str
    score: float
    threshold: float


class Verdict(NamedTuple):
    """Whether a text may pass, and what speaks against it."""

    passed: bool
    findings: tuple[Finding, ...]


@dataclass
class Guard:
    """Rules in front of a model and behind it; it keeps count of what they blocked.

    Two guards added give one with the rules of both. The texts are not kept.

    Parameters
    ----------
    rules : tuple of Rule
    prepare : callable
        What is done with each text before a rule sees it, such as `despelled`.
    refusal : str
        What the user reads in place of a blocked answer.
    """

    rules: tuple[Rule, ...]
    prepare: Callable[[str], str] = str
    refusal: str = "I cannot help with that."
    seen: Counter[str] = field(default_factory=Counter, repr=False)
    blocked: Counter[tuple[str, str]] = field(default_factory=Counter, repr=False)

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(rule.name for rule in self.rules).items() if count > 1]
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}, and a report could not tell them apart")

    def __add__(self, other: Guard) -> Guard:
        return Guard((*self.rules, *other.rules), lambda text: other.prepare(self.prepare(text)), self.refusal)

    def look(self, text: str, side: str = INPUT) -> Verdict:
        """Return whether a text may pass on this side, and count it.

        Raises
        ------
        ValueError
            If the side is neither "input" nor "output".
        """
        if side not in (INPUT, OUTPUT):
            raise ValueError(f'a side is "input" or "output"; got {side!r}')
        shown = self.prepare(text)
        scores = [(rule, rule.score(shown)) for rule in self.rules if side in rule.sides]
        found = tuple(Finding(r.name, score, r.threshold) for r, score in scores if score >= r.threshold)
        self.seen[side] += 1
        self.blocked.update((side, finding.rule) for finding in found)
        return Verdict(not found, found)

    def around(self, model: Callable[[str], str]) -> Callable[[str], str]:
        """Return a model that is asked only what passes, and whose answer is heard only if it passes."""

        def guarded(prompt: str) -> str:
            if not self.look(prompt, INPUT).passed:
                return self.refusal
            answer = model(prompt)
            return answer if self.look(answer, OUTPUT).passed else self.refusal

        return guarded

    def report(self) -> list[list[str]]:
        """Return rows for a table: side, rule, how many texts it blocked, of how many that it saw."""
        return [
            [side, rule.name, str(self.blocked[side, rule.name]), str(self.seen[side])]
            for side in (INPUT, OUTPUT)
            for rule in self.rules
            if side in rule.sides
        ]
