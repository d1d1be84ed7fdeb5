"""Exercise 6: what a credential proves."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect

STATES = ("missing", "forged", "edited", "valid")


def _signed(text: str, facts: dict[str, Any], key: bytes) -> dict[str, Any]:
    claim = dict(sorted({**facts, "sha256": hashlib.sha256(text.encode()).hexdigest()}.items()))
    message = json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {"claim": claim, "signature": hmac.new(key, message, hashlib.sha256).hexdigest()}


def _word(dice: Dice, length: int = 7) -> str:
    return "".join(chr(97 + int(number)) for number in dice.integers(0, 25, length))


EXPECTED = 'hmac.compare_digest(expected, credential["signature"])'


@exercise(
    "provenance.verify",
    "Who vouches for what?",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    answer="verify",
    mutants=(
        Mutant(
            "the hash alone",
            "if not hmac.compare_digest",
            "if False and not hmac.compare_digest",
            "signature was not checked",
        ),
        Mutant(
            "the signature alone",
            'return "valid" if credential["claim"]["sha256"] == digest(text) else "edited"',
            'return "valid"',
            "the text's hash was not compared",
        ),
        Mutant(
            "the hash first",
            "    expected = with_key",
            '    if credential["claim"]["sha256"] != digest(text):\n        return "edited"\n    expected = with_key',
            "signature first",
        ),
        Mutant(
            "only the text is signed",
            'canonical(credential["claim"])',
            'canonical({"sha256": credential["claim"]["sha256"]})',
            "whole claim",
        ),
        Mutant("no key", "with_key(key)(", "with_key(bytes(16))(", "with this key"),
        Mutant("blanks do not count", "== digest(text)", "== digest(text.strip())", "One blank"),
        Mutant("capitals do not count", "== digest(text)", "== digest(text[:1].upper() + text[1:])", "capital"),
        Mutant("no credential, no edit", 'return "missing"', 'return "valid"', "without a credential"),
        Mutant("missing is forged", 'return "missing"', 'return "forged"', "nobody has claimed"),
        Mutant(
            "in the order of arrival",
            'canonical(credential["claim"])',
            'json.dumps(credential["claim"], separators=(",", ":"), ensure_ascii=False).encode()',
            "order",
        ),
        Mutant(
            "letters escaped",
            'canonical(credential["claim"])',
            'json.dumps(credential["claim"], sort_keys=True, separators=(",", ":")).encode()',
            "not ASCII",
        ),
        Mutant(
            "digits in any order",
            EXPECTED,
            'sorted(expected) == sorted(credential["signature"])',
            "changed places",
        ),
        Mutant("half of the signature", EXPECTED, 'expected[:8] == credential["signature"][:8]', "whole signature"),
    ),
)
def check_verify(answer: Answer, dice: Dice) -> None:
    key = bytes(int(number) for number in dice.integers(0, 255, 20))
    text = f"It is {_word(dice)} in {_word(dice)}, \u4e2d {_word(dice, 4)}."
    facts = {"tool": _word(dice), "made": f"2026-{dice.integer(10, 12)}-{dice.integer(10, 28)}", "author": _word(dice)}
    good = _signed(text, facts, key)
    turned = {"claim": dict(reversed(list(good["claim"].items()))), "signature": good["signature"]}
    other = f"{text} {_word(dice)}"
    stolen = {
        "claim": {**good["claim"], "sha256": hashlib.sha256(other.encode()).hexdigest()},
        "signature": good["signature"],
    }
    lie = {"claim": {**good["claim"], "author": _word(dice)}, "signature": good["signature"]}
    tool = {"claim": {**good["claim"], "tool": _word(dice)}, "signature": good["signature"]}
    digits = list(good["signature"])
    place = max(number for number, digit in enumerate(digits) if digit != digits[-1])
    digits[place], digits[-1] = digits[-1], digits[place]
    tampered = {"claim": good["claim"], "signature": "".join(digits)}
    cases = [
        (
            text,
            good,
            "valid",
            "The text is as it was signed, with this key, and the signature is over the whole claim.",
        ),
        (text, turned, "valid", "The fields of the claim may come in any order: a claim is signed in its sorted form."),
        (
            text,
            _signed(text, {**facts, "author": f"{_word(dice)} \u00e9"}, key),
            "valid",
            "A field may have a letter that is not ASCII: it is signed as it is, not as an escape. Use canonical().",
        ),
        (text, None, "missing", "A text without a credential: nobody has claimed anything."),
        (
            other,
            good,
            "edited",
            "The claim is genuine, and the text has another word: the text's hash was not compared.",
        ),
        (text + " ", good, "edited", "One blank more is another text: its hash is another."),
        (text[:1].lower() + text[1:], good, "edited", "A small letter in place of a capital is another text."),
        (
            text,
            lie,
            "forged",
            "Somebody changed a field, and the hash still fits: the signature was not checked, or not over all facts.",
        ),
        (
            text,
            tool,
            "forged",
            "Somebody changed the tool, and the hash still fits: the signature was not checked over all facts.",
        ),
        (other, stolen, "forged", "Somebody put another text's hash into the claim: the signature was not checked."),
        (
            other,
            lie,
            "forged",
            "Claim and text were both changed. Look at the signature first: nobody vouches for this hash.",
        ),
        (text, tampered, "forged", "Two digits of the signature have changed places. Compare the whole signature."),
        (
            text,
            _signed(text, facts, key[::-1]),
            "forged",
            "The signature was made with another key, so it is not valid here.",
        ),
    ]
    order = sorted(range(len(cases)), key=lambda _: float(dice.uniform(1)))
    said = {number: answer(*cases[number][:2], key) for number in order}
    for number, (_, _, expected, words) in enumerate(cases):
        got = said[number]
        expect(
            isinstance(got, str) and got in STATES,
            "The verdict is none of the four.",
            expected=", ".join(STATES),
            got=got,
        )
        if got != expected:
            raise Failed(words, expected=expected, got=got)
