"""Exercise 1: a pseudonym that nobody can compute without the key."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, kind_of


def _plain(value: str) -> str:
    return unicodedata.normalize("NFKC", value).strip().lower()


def _keyed(key: bytes, message: str, digits: int, how: str = "sha256") -> str:
    return hmac.new(key, message.encode(), how).hexdigest()[:digits]


def _wrong(value: str, key: bytes, purpose: str, digits: int) -> dict[str, str]:
    plain, message = _plain(value), f"{purpose}\0{_plain(value)}"
    stripped, lower = value.strip(), unicodedata.normalize("NFKC", value).lower()
    return {
        "This is a plain hash, without the key: whoever can list all phone numbers can undo it. Use HMAC.": (
            hashlib.sha256(message.encode()).hexdigest()[:digits]
        ),
        "This is a plain hash of the value, with neither key nor purpose: whoever can list the values can undo it.": (
            hashlib.sha256(plain.encode()).hexdigest()[:digits]
        ),
        "Key and message are glued together and hashed. With HMAC nobody can extend the message; use hmac.": (
            hashlib.sha256(key + message.encode()).hexdigest()[:digits]
        ),
        "The purpose has no effect: two recipients could join their tables by the pseudonym.": _keyed(
            key, plain, digits
        ),
        "Between purpose and value there is a zero byte. Without it purpose 'ab' and value 'c' meet 'a' and 'bc'.": (
            _keyed(key, purpose + plain, digits)
        ),
        "The value is taken as it was typed: blanks at its ends and capitals make two people of one.": _keyed(
            key, f"{purpose}\0{unicodedata.normalize('NFKC', value)}", digits
        ),
        "Capitals still make two people of one: turn the value into lower case.": _keyed(
            key, f"{purpose}\0{unicodedata.normalize('NFKC', value).strip()}", digits
        ),
        "Blanks at the ends of the value still make two people of one: strip them.": _keyed(
            key, f"{purpose}\0{lower}", digits
        ),
        "Wide and narrow characters (１ and 1) still make two people of one: use unicodedata.normalize, form NFKC.": (
            _keyed(key, f"{purpose}\0{stripped.lower()}", digits)
        ),
        "Key and message have changed places: the message would be the secret.": (
            hmac.new(message.encode(), key, "sha256").hexdigest()[:digits]
        ),
        "The purpose goes before the value.": _keyed(key, f"{plain}\0{purpose}", digits),
        "Blanks inside of the value are taken out, so that two people can be one: only those at its ends go.": _keyed(
            key, f"{purpose}\0{plain.replace(' ', '')}", digits
        ),
        "Letters that are not English ones are lost, so that two people can be one: encode the message as UTF-8.": (
            hmac.new(key, message.encode("ascii", "ignore"), "sha256").hexdigest()[:digits]
        ),
        "Wide blanks at the ends of the value still make two people of one: NFKC first, then strip.": _keyed(
            key, f"{purpose}\0{unicodedata.normalize('NFKC', value.strip(' ')).lower()}", digits
        ),
        "That is HMAC with another hash. Take SHA-256.": _keyed(key, message, digits, "sha1"),
        "These are the last digits. Take the first.": hmac.new(key, message.encode(), "sha256").hexdigest()[-digits:],
    }


def _text(dice: Dice, length: int) -> str:
    return "".join(chr(97 + int(number)) for number in dice.integers(0, 25, length))


@exercise(
    "anonymization.pseudonym",
    "A name that only the key can make",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    answer="pseudonym",
    mutants=(
        Mutant(
            "plain hash",
            "hmac.new(key, message, hashlib.sha256)",
            "hashlib.sha256(message)",
            "plain hash",
        ),
        Mutant("key glued on", "hmac.new(key, message, hashlib.sha256)", "hashlib.sha256(key + message)", "glued"),
        Mutant("purpose ignored", '{purpose}\\0{plain}"', '{plain}"', "no effect"),
        Mutant("no zero byte", "{purpose}\\0{plain}", "{purpose}{plain}", "zero byte"),
        Mutant("as typed", '.normalize("NFKC", value).strip().lower()', '.normalize("NFKC", value)', "as it was typed"),
        Mutant("wide characters", 'unicodedata.normalize("NFKC", value)', "value", "NFKC"),
        Mutant("capitals", ".strip().lower()", ".strip()", "lower case"),
        Mutant("places changed", "hmac.new(key, message,", "hmac.new(message, key,", "changed places"),
        Mutant("another hash", "hashlib.sha256)", "hashlib.sha1)", "another hash"),
        Mutant("any key", "len(key) < 16", "len(key) < 0", "short key"),
        Mutant("inner blanks", ".strip().lower()", '.replace(" ", "").lower()', "inside of the value"),
        Mutant("English letters", ".encode()", '.encode("ascii", "ignore")', "not English"),
        Mutant("blanks before NFKC", '"NFKC", value).strip()', '"NFKC", value.strip(" "))', "NFKC first"),
        Mutant("key of 16", "len(key) < 16", "len(key) <= 16", "key of 16 bytes"),
        Mutant("length of 8", "if not 8 <= digits <= 64:", "if not 8 < digits < 64:", "from 8 to 64"),
        Mutant("nobody", "if not plain:", "if plain is None:", "nothing"),
        Mutant("any length", "if not 8 <= digits <= 64:", "if digits < 0:", "too many people"),
        Mutant("always sixteen", "[:digits]", "[:16]", "digits"),
        Mutant("never the same", 'f"{purpose}\\0{plain}"', 'f"{purpose}\\0{plain}{secrets.token_hex(4)}"', "twice"),
    ),
)
def check_pseudonym(answer: Answer, dice: Dice) -> None:
    key = bytes(int(number) for number in dice.integers(0, 255, 20))
    wide = "".join(chr(0xFF10 + int(number)) for number in dice.integers(0, 9, 6))
    cases = [
        (f"  {_text(dice, 5).title()}.{_text(dice, 4)}@Example.ORG ", _text(dice, 6), 16),
        (f"\u3000\u00c4{wide} \u00d6b ", _text(dice, 5).upper(), 16),
        (_text(dice, 9), "", dice.integer(20, 40)),
    ]
    for value, purpose, digits in cases:
        exact = _keyed(key, f"{purpose}\0{_plain(value)}", digits)
        got = answer(value, key, purpose, digits)
        again = answer(value, key, purpose, digits)
        expect(
            isinstance(got, str), "A pseudonym is a text.", expected=f"{digits} hexadecimal digits", got=kind_of(got)
        )
        expect(got == again, "The same value has two pseudonyms when it is asked for twice: no table can be joined.")
        expect(
            len(got) == digits,
            "The pseudonym has the wrong length.",
            expected=f"{digits} hexadecimal digits",
            got=f"{len(got)} characters",
        )
        slips = _wrong(value, key, purpose, digits)
        hint = next((words for words, slip in slips.items() if slip == got and slip != exact), "")
        expect(
            got == exact,
            f"The pseudonym of {value!r} for the purpose {purpose!r} is wrong.",
            expected=exact,
            got=got,
            hint=hint
            or "HMAC-SHA-256 with the key, of the purpose, a zero byte and the plain value; the first digits.",
        )
    value = _text(dice, 6)
    expect(
        answer(value, key) == _keyed(key, f"\0{value}", 16), "Without a purpose and a length: '' and 16 are missing."
    )
    for digits, words in ((16, "A key of 16 bytes is long enough."), (8, "A length is from 8 to 64, both included.")):
        exact = _keyed(key[:16], f"\0{value}", digits)
        try:
            got = answer(value, key[:16], "", digits)
        except Failed as failed:
            got = failed.message
        expect(got == exact, words, expected=exact, got=got)
    _refused(lambda: answer(value, key[:15]), "A short key of 15 bytes was taken: 16 random bytes cannot be tried out.")
    _refused(lambda: answer(value, "0" * 32), "A key of text was taken: a key is bytes.")
    _refused(lambda: answer(value, key, "", 7), "A pseudonym of 7 digits was given: too many people would share one.")
    _refused(lambda: answer(value, key, "", 65), "A pseudonym of 65 digits was asked for: SHA-256 has 64.")
    _refused(lambda: answer("  ", key), "A value of blanks was given a pseudonym: there is nothing to hide.")


def _refused(call: Callable[[], Any], words: str) -> None:
    try:
        got = call()
    except Failed as failed:
        if "ValueError" in failed.message:
            return
        got = failed.message
    raise Failed(words, expected="a ValueError", got=got)
