"""Exercise 5: a word that a reader sees and a plain search does not, in sentences that are hidden as attackers do."""

from __future__ import annotations

import unicodedata

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checks.tokenization.pairs import pick

WORDS = ("pineapple", "pistachio", "avocado", "espresso", "ravioli", "paprika", "eclair", "sashimi")
SENTENCES = ("I would love {} today.", "Bring {}, please!", "{} is on the table", "(no {} for me)", "more\n{}\nand tea")
_PLACES = (*range(0x20000), *range(0xE0000, 0xE0080))
_USUAL = "\u200b\u200c\u200d\u2060\u00ad\ufeff"
INVISIBLE = [letter for letter in map(chr, _PLACES) if unicodedata.category(letter) == "Cf" and letter not in _USUAL]
LOOKALIKES = {"а": "a", "е": "e", "о": "o", "р": "p", "с": "c", "х": "x", "і": "i", "ѕ": "s", "ν": "v", "α": "a"}
LOOKS = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "i": "і", "s": "ѕ", "v": "ν"}


def _broken(word: str, dice: Dice, by: str) -> str:
    place = dice.integer(2, len(word) - 2)
    return word[:place] + by + word[place:]


def _look(word: str, dice: Dice) -> str:
    places = [i for i, letter in enumerate(word) if letter in LOOKS]
    place = pick(dice, places)
    return word[:place] + LOOKS[word[place]] + word[place + 1 :]


def _wide(word: str) -> str:
    return "".join(chr(ord(letter) - ord("a") + ord("ａ")) for letter in word)


@exercise(
    "tokenization.filter",
    "Find the word that a reader sees",
    points=4,
    difficulty=4,
    importance=5,
    minutes=12,
    answer="finds",
    mutants=(
        Mutant("invisible kept", 'if unicodedata.category(character) != "Cf"', "", "invisible"),
        Mutant(
            "zero-width space only",
            'if unicodedata.category(character) != "Cf"',
            'if character != "\\u200b"',
            "more than one invisible character",
        ),
        Mutant("canonical forms only", '"NFKC"', '"NFC"', "NFKC"),
        Mutant("case kept", "visible.casefold()", "visible", "upper case"),
        Mutant("look-alikes kept", "lookalikes.get(character, character)", "character", "look-alike"),
        Mutant(
            "look-alikes before case",
            "lookalikes.get(character, character) for character in visible.casefold())",
            "lookalikes.get(character, character) for character in visible).casefold()",
            "capital look-alike",
        ),
        Mutant(
            "part of a word",
            'regex.search(rf"(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            "skeleton(word, lookalikes) in skeleton(text, lookalikes)",
            "inside a longer word",
        ),
        Mutant(
            "listed invisibles only",
            'unicodedata.category(character) != "Cf"',
            'character not in "\u200b\u200c\u200d\u2060\u00ad\ufeff"',
            "more than one invisible character",
        ),
        Mutant(
            "line ends dropped",
            'unicodedata.category(character) != "Cf"',
            'not unicodedata.category(character).startswith("C")',
            "A line end",
        ),
        Mutant("banned word as given", "regex.escape(skeleton(word, lookalikes))", "regex.escape(word)", "bring both"),
        Mutant("borders of a to z", r'rf"(?<!\w){seen}(?!\w)"', r'rf"(?<![a-z]){seen}(?![a-z])"', "than a to z"),
        Mutant(
            "blanks only",
            'regex.search(rf"(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            "skeleton(word, lookalikes) in skeleton(text, lookalikes).split()",
            "punctuation and line ends",
        ),
        Mutant(
            "first place only",
            'regex.search(rf"(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            'regex.match(rf"(?s)((?!{seen}).)*(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            "every place",
        ),
    ),
)
def check_filter(answer: Answer, dice: Dice) -> None:
    word = pick(dice, WORDS)
    other = pick(dice, [each for each in WORDS if each != word])
    capital = _look(word, dice).upper()
    odd = pick(dice, INVISIBLE)
    for sentence in SENTENCES:
        hint = "Punctuation and line ends stand beside a word as blanks do: they make no longer word of it."
        if "\n" in sentence:
            hint = "A line end separates words. It is of category Cc, not Cf, so do not drop it."
        _ask(answer, sentence.format(word), word, True, "as it is", hint)
    longer = "It stands inside a longer word, which nobody meant to ban."
    accent = "A word has other letters than a to z, too: é makes a longer one of it."
    for how, written, expected, hint in (
        ("not at all", other, False, "Another word stands there."),
        ("inside a longer word", f"{word}s", False, longer),
        ("inside a longer word", f"un{word}", False, longer),
        ("inside a longer word", f"{word}é", False, accent),
        ("inside a longer word", f"é{word}", False, accent),
        ("in capitals", word.upper(), True, "Fold upper case to lower case (`casefold`)."),
        ("with a zero-width space in it", _broken(word, dice, "\u200b"), True, "Drop invisible characters first."),
        (
            f"with the invisible U+{ord(odd):04X} in it",
            _broken(word, dice, odd),
            True,
            "There is more than one invisible character: drop all of Unicode's category Cf.",
        ),
        ("with a look-alike in it", _look(word, dice), True, "Replace each look-alike by the letter it looks like."),
        (
            "in capitals with a look-alike",
            capital,
            True,
            "A capital look-alike is in the table by its small letter: fold the case before you look it up.",
        ),
        ("in full-width letters", _wide(word), True, "Unify compatibility forms: `unicodedata.normalize` with NFKC."),
        (
            "in several ways at once",
            _broken(capital, dice, odd),
            True,
            "Each step works; now apply them all, in order.",
        ),
        (
            "inside a longer word and once more by itself",
            f"{word}s, {word}",
            True,
            "Look at every place where the word stands, not at the first alone.",
        ),
    ):
        _ask(answer, pick(dice, SENTENCES).format(written), word, expected, how, hint)
    hint = "Bring both to the same plain form: the banned word, too."
    _ask(answer, f"Bring {word}!", word.upper(), True, "in other letters than the filter was given", hint)


def _ask(answer: Answer, text: str, word: str, expected: bool, how: str, hint: str) -> None:
    got = answer(text, word, dict(LOOKALIKES))
    if not isinstance(got, bool):
        raise Failed(
            "The answer is neither True nor False.", got="None: is there a return statement?" if got is None else got
        )
    if got != expected:
        raise Failed(
            f"In {text!r} the word {word!r} is written {how}.", expected=str(expected), got=str(got), hint=hint
        )
