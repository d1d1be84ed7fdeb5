"""Exercise 5: a word that a reader sees and a plain search does not, in sentences that are hidden as attackers do."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, expect
from llmsafety_lab.checks.tokenization.pairs import pick

WORDS = ("pineapple", "pistachio", "avocado", "espresso", "ravioli", "paprika", "eclair", "sashimi")
DOTTED = ("dr.pepper", "st.agur", "jell.o", "mr.bagel")
GERMAN = ("weißwurst", "süßholz", "grießbrei", "weißbier")
SENTENCES = (
    "I would love {} today.",
    "Bring {}, please!",
    "{} is on the table",
    "(no {} for me)",
    "more\n{}\nand tea",
    "tea,{},cake",
)
_PLACES = (*range(0x20000), *range(0xE0000, 0xE0080))
_USUAL = "\u200b\u200c\u200d\u2060\u00ad\ufeff"
INVISIBLE = [letter for letter in map(chr, _PLACES) if unicodedata.category(letter) == "Cf" and letter not in _USUAL]
LOOKALIKES = {"а": "a", "е": "e", "о": "o", "р": "p", "с": "c", "х": "x", "і": "i", "ѕ": "s", "ν": "v", "α": "a"}
LOOKS = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "i": "і", "s": "ѕ", "v": "ν"}

Question = tuple[str, str, Mapping[str, str], bool, str, str]
"""The text, the word, the look-alikes, whether the word is seen; for the student, how it is written and a hint."""


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
        Mutant(
            "accents stripped",
            'visible = "".join(character for character in text if',
            'visible = "".join(character for character in unicodedata.normalize("NFKD", text) if '
            "not unicodedata.combining(character) and",
            "takes accents away",
        ),
        Mutant(
            "table turned round",
            "lookalikes.get(character, character)",
            "{a: b for b, a in lookalikes.items()}.get(character, character)",
            "Replace each look-alike",
        ),
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
        Mutant("lower case", "visible.casefold()", "visible.lower()", "ß in capitals"),
        Mutant("word as a pattern", "regex.escape(skeleton(word, lookalikes))", "skeleton(word, lookalikes)", "escape"),
        Mutant(
            "split and strip",
            'regex.search(rf"(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            "skeleton(word, lookalikes) in [\n"
            '        part.strip(".,!?()") for part in skeleton(text, lookalikes).split()\n'
            "    ]",
            "make no longer word",
        ),
        Mutant(
            "cut at what is no letter",
            'regex.search(rf"(?<!\\w){seen}(?!\\w)", skeleton(text, lookalikes)) is not None',
            r'skeleton(word, lookalikes) in regex.split(r"\W+", skeleton(text, lookalikes))',
            "may be two words",
        ),
        Mutant(
            "digits end a word",
            r'rf"(?<!\w){seen}(?!\w)"',
            r'rf"(?<!\p{{L}}){seen}(?!\p{{L}})"',
            "and so does 2",
        ),
        Mutant(
            "a table of its own",
            "lookalikes.get(character, character)",
            "LOOKALIKES.get(character, character)",
            "is an argument",
        ),
        Mutant(
            "the word's look-alikes kept",
            "regex.escape(skeleton(word, lookalikes))",
            "regex.escape(skeleton(word, {}))",
            "bring both",
        ),
    ),
)
def check_filter(answer: Answer, dice: Dice) -> None:
    questions = [*_plain_questions(dice), *_disguised_questions(dice)]
    questions += [pick(dice, questions) for _ in range(dice.integer(1, 6))]
    replies: dict[int, bool] = {}
    for place in torch.randperm(len(questions), generator=dice.generator).tolist():
        text, word, lookalikes, *_ = questions[place]
        got = answer(text, word, dict(lookalikes))
        got = got.item() if isinstance(got, np.ndarray | torch.Tensor) and got.size == 1 else got
        if not isinstance(got, bool):
            raise Failed("The answer is neither True nor False.", got=came(got))
        replies[place] = got
    for place, (text, word, _, expected, how, hint) in enumerate(questions):
        expect(
            replies[place] == expected,
            f"In {text!r} the word {word!r} is written {how}.",
            expected=str(expected),
            got=str(replies[place]),
            hint=hint,
        )


def _plain_questions(dice: Dice) -> list[Question]:
    """Return questions about words that nobody has disguised."""
    word, dotted = pick(dice, WORDS), pick(dice, DOTTED)
    other = pick(dice, [each for each in WORDS if each != word])
    asked: list[Question] = []
    for sentence in SENTENCES:
        hint = "Punctuation and line ends stand beside a word as blanks do: they make no longer word of it."
        if "\n" in sentence:
            hint = "A line end separates words. It is of category Cc, not Cf, so do not drop it."
        asked.append((sentence.format(word), word, LOOKALIKES, True, "as it is", hint))
    two = "A banned word may be two words: look for it in the whole text, not among the text's words."
    asked.append(
        (pick(dice, SENTENCES).format(f"{word} {other}"), f"{word} {other}", LOOKALIKES, True, "as it is", two)
    )
    dot = "A dot in the banned word is a dot: in a pattern it would be any character, so escape the word (`re.escape`)."
    asked.append((pick(dice, SENTENCES).format(dotted), dotted, LOOKALIKES, True, "as it is", dot))
    letter = pick(dice, "bdfgklmnt")
    for written in (dotted.replace(".", letter), dotted.replace(".", "")):
        asked.append((pick(dice, SENTENCES).format(written), dotted, LOOKALIKES, False, "without its dot", dot))
    longer = "It stands inside a longer word, which nobody meant to ban."
    accent = "A word has other letters than a to z, too, and digits: é makes a longer one of it, and so does 2."
    for how, written, expected, hint in (
        ("not at all", other, False, "Another word stands there."),
        ("inside a longer word", f"{word}s", False, longer),
        ("inside a longer word", f"un{word}", False, longer),
        ("inside a longer word", f"{word}é", False, accent),
        (
            "with an accent on its last letter",
            f"{word}\u0301",
            False,
            "An accent makes another letter, and none of the steps takes accents away.",
        ),
        ("inside a longer word", f"é{word}", False, accent),
        ("inside a longer word", f"{word}{dice.integer(2, 9)}", False, accent),
        (
            "inside a longer word and once more by itself",
            f"{word}s, {word}",
            True,
            "Look at every place where the word stands, not at the first alone.",
        ),
    ):
        asked.append((pick(dice, SENTENCES).format(written), word, LOOKALIKES, expected, how, hint))
    return asked


def _disguised_questions(dice: Dice) -> list[Question]:
    """Return questions about words that are hidden as attackers do, or given in another form than they are written."""
    word, german, odd = pick(dice, [word for word in WORDS if "a" in word]), pick(dice, GERMAN), pick(dice, INVISIBLE)
    look = _look(word, dice)
    asked: list[Question] = []
    for how, written, hint in (
        ("in capitals", word.upper(), "Fold upper case to lower case (`casefold`)."),
        ("with a zero-width space in it", _broken(word, dice, "\u200b"), "Drop invisible characters first."),
        (
            f"with the invisible U+{ord(odd):04X} in it",
            _broken(word, dice, odd),
            "There is more than one invisible character: drop all of Unicode's category Cf.",
        ),
        ("with a look-alike in it", look, "Replace each look-alike by the letter it looks like."),
        ("with a Greek look-alike", word.replace("a", "α"), "Replace each look-alike by the letter it looks like."),
        ("with a Cyrillic look-alike", word.replace("a", "а"), "Replace each look-alike by the letter it looks like."),
        (
            "in capitals with a look-alike",
            look.upper(),
            "A capital look-alike is in the table by its small letter: fold the case before you look it up.",
        ),
        ("in full-width letters", _wide(word), "Unify compatibility forms: `unicodedata.normalize` with NFKC."),
        ("in several ways at once", _broken(look.upper(), dice, odd), "Each step works; now apply them all, in order."),
    ):
        asked.append((pick(dice, SENTENCES).format(written), word, LOOKALIKES, True, how, hint))
    both = "Bring both to the same plain form: the banned word, too."
    for given in (word.upper(), look):
        form = "in other letters than the filter was given"
        asked.append((pick(dice, SENTENCES).format(word), given, LOOKALIKES, True, form, both))
    sharp = "ß in capitals is SS. `casefold` makes both the same; `lower` leaves the ß."
    asked.append((pick(dice, SENTENCES).format(german.upper()), german, LOOKALIKES, True, "in capitals", sharp))
    table = "Which characters look alike is an argument, `lookalikes`. Here it is empty."
    asked.append((pick(dice, SENTENCES).format(look), word, {}, False, "in letters of two alphabets", table))
    return asked
