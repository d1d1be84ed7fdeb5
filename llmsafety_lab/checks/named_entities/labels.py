"""Exercises 1 and 2: from words to sub-words and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, expect_list

IGNORED = -100
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def whole_list(reply: Any, length: int, what: str) -> list[Any]:
    """Return a list of this length, or fail; an array or a tensor is one, too."""
    if isinstance(reply, np.ndarray | torch.Tensor):
        reply = reply.tolist()
    return expect_list(reply, what, length=length)


def draw_words(dice: Dice, words: int) -> list[int | None]:
    """Draw how words are cut: the word of each position, special tokens and padding around them."""
    pieces = [dice.integer(1, 4) for _ in range(words)]
    pieces[dice.integer(0, words - 1)] = 3
    body: list[int | None] = [word for word, n in enumerate(pieces) for _ in range(n)]
    return [None, *body, None, *[None] * dice.integer(1, 4)]


def _aligned(word_ids: list[int | None], labels: list[int], special: int, first_only: bool) -> list[int]:
    out: list[int] = []
    for i, word in enumerate(word_ids):
        goes_on = i > 0 and word == word_ids[i - 1]
        out.append(special if word is None else IGNORED if goes_on and first_only else labels[word])
    return out


def _by_label(word_ids: list[int | None], labels: list[int]) -> list[int]:
    out, previous = [], None
    for word in word_ids:
        same = word is not None and previous is not None and labels[word] == labels[previous]
        out.append(IGNORED if word is None or same else labels[word])
        previous = word
    return out


def _counted(aligned: list[int], labels: list[int]) -> list[int]:
    following = iter(labels)
    return [label if label == IGNORED else next(following) for label in aligned]


@exercise(
    "named_entities.align",
    "One label for each word",
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
    answer="align_labels",
    mutants=(
        Mutant("continuations labelled", " or word == previous", "", "counted twice"),
        Mutant(
            "specials labelled O",
            "IGNORED if word is None or word == previous else labels[word]",
            "0 if word is None else IGNORED if word == previous else labels[word]",
            "special tokens and padding",
        ),
        Mutant(
            "labels compared",
            "or word == previous",
            "or (previous is not None and labels[word] == labels[previous])",
            "two words with the same label",
        ),
        Mutant("one position off", "labels[word])", "labels[max(word - 1, 0)])", "its own word"),
        Mutant(
            "labels counted",
            "labels[word])",
            "labels[sum(label != IGNORED for label in aligned)])",
            "no piece",
        ),
        Mutant("label 0 left out", "labels[word])", "labels[word] or IGNORED)", "a label like the others"),
    ),
)
def check_align(answer: Answer, dice: Dice) -> None:
    for when in (
        "of words with different labels",
        "with two words of the same label side by side",
        "with a word that has no piece",
    ):
        words = dice.integer(5, 8)
        word_ids = draw_words(dice, words)
        labels = [(i + dice.integer(0, 1)) % 4 + 1 for i in range(words)]
        if "same" in when:
            labels[1:4] = [labels[1]] * 3
        labels[0] = 0
        if "no piece" in when:
            dropped = dice.integer(1, words - 2)
            word_ids = [word for word in word_ids if word != dropped]
            labels[dropped] = labels[dropped + 1] % 4 + 1
        exact = _aligned(word_ids, labels, IGNORED, True)
        got = whole_list(answer(list(word_ids), list(labels)), len(word_ids), f"The answer for a sentence {when}")
        mistakes = {
            "You labelled every sub-word, so a long word is counted twice: label the first, ignore the rest.": (
                _aligned(word_ids, labels, IGNORED, False)
            ),
            "You gave special tokens and padding a label: they are no words, and their label is -100.": _aligned(
                word_ids, labels, 0, True
            ),
            "You ignore a word whose label is that of the word before. Compare words: two words with the same label "
            "are two words.": _by_label(word_ids, labels),
            "0 is a label like the others: ask whether the word is None.": [label or IGNORED for label in exact],
            "A word may have no piece, if the tokenizer drops its characters: take labels[word], not the next label.": (
                _counted(exact, labels)
            ),
        }
        slips = [says for says, wrong in mistakes.items() if wrong == got]
        expect(
            got == exact,
            f"The labels of a sentence {when} are wrong, for the word ids {word_ids} and the labels {labels}.",
            expected=exact,
            got=got,
            hint=slips[0] if slips else "Each position that starts a word has the label of its own word.",
        )


@exercise(
    "named_entities.words",
    "Back to words",
    points=2,
    difficulty=2,
    importance=4,
    minutes=7,
    answer="word_tags",
    mutants=(
        Mutant("padding scored", " if label != IGNORED", "", "padding is scored"),
        Mutant("only where the truth is a name", "if label != IGNORED", "if label > 0", "where the truth is O"),
        Mutant("predicted O dropped", "if label != IGNORED", "if label != IGNORED and p != 0", "predicted O"),
        Mutant("the truth returned", "[names[p] for p, label", "[names[label] for p, label", "the true tags"),
    ),
)
def check_words(answer: Answer, dice: Dice) -> None:
    rows = [draw_words(dice, dice.integer(6, 8)) for _ in range(3)]
    longest = max(map(len, rows))
    labels = torch.full((3, longest), IGNORED)
    for i, word_ids in enumerate(rows):
        aligned = _aligned(word_ids, [dice.integer(0, 4) for _ in range(9)], IGNORED, True)
        labels[i, : len(aligned)] = torch.tensor(aligned)
        starts = [j for j, label in enumerate(aligned) if label != IGNORED]
        labels[i, starts[0]], labels[i, starts[1]], labels[i, starts[2]] = 0, 1, 3
    predicted = dice.integers(0, 4, 3, longest)
    for row, true in zip(predicted, labels, strict=True):
        words = (true != IGNORED).nonzero().flatten()
        row[words[0]], row[words[1]], row[words[2]] = 1, 0, 2
    got = whole_list(answer(predicted, labels, list(NAMES)), 3, "The answer for three sentences")

    def kept(keep: Any, what: Any = predicted) -> list[list[str]]:
        cells = ((what[i], keep(predicted[i], labels[i])) for i in range(3))
        return [[NAMES[int(p)] for p, yes in zip(row, mask, strict=True) if yes] for row, mask in cells]

    exact = kept(lambda p, label: label != IGNORED)
    mistakes = {
        "You return a tag for every position, so padding is scored, and pieces of words: leave out what is -100.": (
            kept(lambda p, label: label == label)
        ),
        "You left out the words where the truth is O. A false alarm there is a mistake, too.": kept(
            lambda p, label: label > 0
        ),
        "You left out predicted O: then the tags no longer fit the words.": kept(
            lambda p, label: (label != IGNORED) & (p != 0)
        ),
        "You returned the true tags: names of the labels, where those of the predictions are asked for.": kept(
            lambda p, label: label != IGNORED, labels
        ),
    }
    slips = [says for says, wrong in mistakes.items() if [list(row) for row in got] == wrong]
    for i, (row, right) in enumerate(zip(got, exact, strict=True)):
        expect(
            list(row) == right,
            f"The tags of sentence {i + 1} are wrong, for the labels {labels[i].tolist()}.",
            expected=right,
            got=row,
            hint=slips[0] if slips else "A tag for each position whose label is not -100, in order.",
        )
