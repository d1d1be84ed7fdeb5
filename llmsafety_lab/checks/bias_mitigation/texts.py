"""Exercise 6: counterfactual copies of texts."""

from __future__ import annotations

import re

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect_equal, expect_list, expect_pair, expect_unchanged

_WORDS = ("deaf", "old", "blind", "young", "tall")
_TEXTS = (
    "the {} man sang",
    "{} people came late",
    "nobody thanked my {} neighbour",
    "a {} singer, and a good one",
    "they are {}.",
)
_TRAPS = {
    "deaf": "a deafening noise",
    "old": "he told a golden joke",
    "blind": "the blinds are down",
    "young": "youngsters laughed",
    "tall": "the stall was open",
}


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){word}(?!\w)", text, re.IGNORECASE) is not None


def _swap(text: str, old: str, new: str) -> str:
    return re.sub(
        rf"(?<!\w){old}(?!\w)",
        lambda found: new.capitalize() if found[0][0].isupper() else new,
        text,
        flags=re.IGNORECASE,
    )


def _wanted(texts: list[str], labels: list[int], words: list[str]) -> tuple[list[str], list[int]]:
    made, marks = list(texts), list(labels)
    for text, label in zip(texts, labels, strict=True):
        named = [word for word in words if _has(text, word)]
        if len(named) == 1:
            for other in words:
                if other != named[0]:
                    made.append(_swap(text, named[0], other))
                    marks.append(label)
    return made, marks


@exercise(
    "bias_mitigation.augment",
    "The same said of others",
    points=2,
    difficulty=2,
    importance=4,
    minutes=9,
    answer="augment",
    mutants=(
        Mutant("parts of words", r"(?<!\w){old}(?!\w)", "{old}", "part of a longer word"),
        Mutant("label flipped", "marks.append(label)", "marks.append(1 - label)", "label"),
        Mutant("copies are harmless", "marks.append(label)", "marks.append(0)", "label"),
        Mutant("originals dropped", "made, marks = list(texts), list(labels)", "made, marks = [], []", "originals"),
        Mutant("itself among the others", "if other != named[0]:", "if True:", "same text"),
        Mutant("several identities swapped", "if len(named) == 1:", "if named:", "several"),
        Mutant("capital lost", "new.capitalize() if found[0][0].isupper() else new", "new", "capital"),
        Mutant("small letters only", "flags=re.IGNORECASE", "flags=0", "capital"),
        Mutant(
            "first copy only",
            "                    marks.append(label)\n",
            "                    marks.append(label)\n                    break\n",
            "each of the others",
        ),
        Mutant("labels emptied", "    return made, marks", "    labels.clear()\n    return made, marks", "in place"),
        Mutant(
            "removed instead of swapped",
            "made.append(swap(text, named[0], other))",
            'made.append(swap(text, named[0], ""))',
            "replaced",
        ),
    ),
)
def check_augment(answer: Answer, dice: Dice) -> None:
    order = [_WORDS[i] for i in dice.integers(0, 10**6, 5).argsort().tolist()]
    words, other = order[:3], order[3]
    plain = [_TEXTS[i].format(words[dice.integer(0, 2)]) for i in dice.integers(0, 4, 3).tolist()]
    start = _TEXTS[1].format(words[0].capitalize())
    twice = f"the {words[1]} helped the {words[1]}"
    both = f"the {words[0]} one and the {words[2]} one"
    trap = _TRAPS[words[dice.integer(0, 2)]]
    texts = [*plain, start, trap, twice, both, _TEXTS[0].format(other)]
    mixed = dice.integers(0, 10**6, len(texts)).argsort().tolist()
    texts = [texts[i] for i in mixed]
    labels = dice.integers(0, 1, len(texts)).tolist()
    labels[0], labels[-1] = 0, 1
    for pair in ((texts, labels), ([start], [1]), ([trap], [0])):
        _check(answer, list(pair[0]), list(pair[1]), words)


def _check(answer: Answer, texts: list[str], labels: list[int], words: list[str]) -> None:
    called = answer.trace(list(texts), list(labels), list(words))
    expect_unchanged(called)
    reply = expect_pair(called.value, "The answer", expected="(texts, labels)")
    made = expect_list(reply[0], "The texts")
    marks = reply[1].tolist() if hasattr(reply[1], "tolist") else expect_list(reply[1], "The labels")
    wanted, labelled = _wanted(texts, labels, words)
    if made[: len(texts)] != texts:
        raise Failed(
            "The originals are not there, first and in their order.",
            expected=texts[:2],
            got=made[:2],
            hint="Augmentation adds: the originals come first, then the copies.",
        )
    for text in texts:
        named = [word for word in words if _has(text, word)]
        copies = [_swap(text, named[0], one) for one in words if one != named[0]] if len(named) == 1 else []
        for copy in copies:
            if copy not in made:
                raise Failed(
                    "A copy is missing.",
                    expected=copy,
                    got=[one for one in made[len(texts) :] if one[-6:] == copy[-6:]][:3],
                    hint="Each text that names one identity gets a copy for each of the others, in which it is "
                    "replaced; a "
                    "capital at the beginning of the word stays one.",
                )
    for text in made[len(texts) :]:
        if text in wanted[len(texts) :]:
            continue
        hint = "Only whole words that name an identity of the list are replaced."
        if text in texts:
            hint = "This copy is the same text as its original: the identity was replaced by itself."
        elif any(_swap(one, a, b) == text for one in texts for a in words for b in words if a != b and _has(one, a)):
            hint = "This text names several of the identities: leave it as it is."
        else:
            hint += " Here a part of a longer word was, or something was put in that is not one of the others."
        raise Failed("There is a copy that should not be there.", got=text, hint=hint)
    expect_equal(len(made), len(wanted), "The number of texts", hint="One copy for each of the other identities.")
    if any(type(one) not in (int, float) for one in marks):
        raise Failed("The labels hold something that is not a number.", expected=labelled, got=marks)
    pairs, asked = sorted(zip(made, marks, strict=False)), sorted(zip(wanted, labelled, strict=True))
    if len(marks) != len(made) or [(a, int(b)) for a, b in pairs] != asked:
        raise Failed(
            "The labels are wrong.",
            expected=labelled,
            got=[int(one) for one in marks],
            hint="A copy has the label of its original: who is spoken of does not make a text offensive.",
        )
