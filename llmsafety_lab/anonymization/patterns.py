"""Personal data that has a form: regular expressions, and the check digits that most of it carries."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmsafety_lab.anonymization.redaction import Span

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def luhn_holds(text: str) -> bool:
    """Say whether the digits of a text end in their Luhn check digit, as bank cards' do; other characters are skipped.

    From the right, every second digit is doubled, and 9 is taken off where that has two digits. The sum is a multiple
    of 10 in one of ten random numbers, and never after one digit is mistyped.

    References
    ----------
    ISO/IEC 7812-1, annex B.
    """
    digits = [int(letter) for letter in reversed(text) if letter.isascii() and letter.isdigit()]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return len(digits) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def chinese_id_holds(text: str) -> bool:
    """Say whether 18 characters may be a Chinese resident identity number: a day of birth, and the check character.

    The check character belongs to the sum of the 17 digits, each times its weight 2^(18 - place) mod 11, so that one
    number in eleven has the right one by chance.

    References
    ----------
    GB 11643-1999; ISO 7064, MOD 11-2.
    """
    if not re.fullmatch(r"[1-9][0-9]{16}[0-9Xx]", text, re.ASCII):
        return False
    try:
        born = datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    rest = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True)) % 11
    return born.year >= 1900 and "10X98765432"[rest] == text[17].upper()


def iban_holds(text: str) -> bool:
    """Say whether a text is an IBAN by its check digits: with the first four characters at the end it is 1 modulo 97.

    References
    ----------
    ISO 13616-1; ISO 7064, MOD 97-10.
    """
    plain = text.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", plain, re.ASCII):
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


# In Python \w and \b take a Chinese character for a letter, so that an address right behind one would have no edge.


@dataclass(frozen=True)
class Pattern:
    """A form: the expression, and what has to hold besides."""

    expression: re.Pattern[str]
    holds: Callable[[str], bool] = bool


def _made(expression: str, holds: Callable[[str], bool] = bool) -> Pattern:
    return Pattern(re.compile(expression), holds)


_EMAIL = _made(r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_IP = _made(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)")

ENGLISH: Mapping[str, Pattern] = {
    "EMAIL": _EMAIL,
    "IBAN": _made(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Z0-9])", iban_holds),
    "CARD": _made(r"(?<!\d)\d(?:[ -]?\d){11,18}(?!\d)", luhn_holds),
    "SSN": _made(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
    "IP": _IP,
    "PHONE": _made(r"(?<![\w.-])(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-]?)\d{3}[ .-]?\d{4}(?: ?x\d{1,5})?(?!\d|-\d)"),
}
"""Patterns for English text and numbers as in the United States, by type."""

CHINESE: Mapping[str, Pattern] = {
    "EMAIL": _EMAIL,
    "CN_ID": _made(r"(?<![0-9A-Za-z])[1-9]\d{16}[\dXx](?![0-9A-Za-z])", chinese_id_holds),
    "CARD": _made(r"(?<!\d)\d(?:[ -]?\d){15,18}(?!\d)", luhn_holds),
    "CN_MOBILE": _made(r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)"),
}
"""Patterns for Chinese text, by type. A word has no edges there, so that a number is told by its neighbours alone."""


def detect(text: str, patterns: Mapping[str, Pattern], checked: bool = True) -> list[Span]:
    """Return the spans of a text that have one of the forms, in their order; an earlier pattern takes its characters.

    Parameters
    ----------
    text : str
    patterns : mapping
        `ENGLISH`, `CHINESE`, or a part of them.
    checked : bool
        Whether check digits have to hold. Without, more is found, and more wrongly.

    Returns
    -------
    list of (type, start, end)
        `text[start:end]` is what was found.
    """
    found: list[Span] = []
    for kind, pattern in patterns.items():
        for match in pattern.expression.finditer(text):
            free = all(match.end() <= start or end <= match.start() for _, start, end in found)
            if free and (not checked or pattern.holds(match[0])):
                found.append((kind, match.start(), match.end()))
    return sorted(found, key=lambda span: span[1])
