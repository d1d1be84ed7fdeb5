"""Exercise 5: pairs of sentences, by what may never happen and by chi-square."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checks.pretraining.masking import unlikely


@exercise(
    "pretraining.pairs",
    "Next sentence or not",
    points=3,
    difficulty=2,
    importance=2,
    minutes=10,
    answer="sentence_pairs",
    mutants=(
        Mutant("strangers from the same document", " if i != number", "", "its own document"),
        Mutant("always the next", "if rng.random() < 0.5:", "if rng.random() < 2:", "half"),
        Mutant("labels swapped", "follows, True", "follows, False", "label"),
        Mutant(
            "skips every other sentence",
            "pairwise(document):",
            "zip(document[::2], document[1::2], strict=False):",
            "each sentence",
        ),
        Mutant("always the first stranger", "others[rng.integers(len(others))]", "others[0]", "evenly"),
        Mutant("last stranger left out", "rng.integers(len(others))", "rng.integers(len(others) - 1)", "evenly"),
        Mutant("one other document", " if i != number", " if i == (number or len(documents)) - 1", "evenly"),
        Mutant(
            "one stranger for a document", "others[rng.integers(len(others))]", "others[number - 7]", "again and again"
        ),
        Mutant("no coin", "if rng.random() < 0.5:", "if len(pairs) % 2:", "no pattern"),
        Mutant(
            "a coin for a document",
            "        for first, follows in pairwise(document):\n            if rng.random() < 0.5:",
            "        heads = rng.random() < 0.5\n"
            "        for first, follows in pairwise(document):\n            if heads:",
            "coin for each",
        ),
        Mutant("seed ignored", "default_rng(seed)", "default_rng(0)", "seed"),
        Mutant("labels as text", "follows, True", "follows, 'True'", "without quotes"),
        Mutant("empty document counted", "for document in documents if document)", "for _ in documents)", "ValueError"),
    ),
)
def check_pairs(answer: Answer, dice: Dice) -> None:
    names = dice.integer(100, 900)
    sizes = [300, 5, 1, 6, 300]
    documents = [[f"{names + d} says line {s}." for s in range(size)] for d, size in enumerate(sizes)]
    seed = dice.integer(0, 10**6)
    pairs = _pairs(answer(documents, seed), documents)
    labels = [follows for _, _, follows in pairs]
    true = sum(labels)
    expect(
        not unlikely([true, len(pairs) - true], [0.5, 0.5]),
        "About half of the pairs should follow, by a coin for each.",
        expected=0.5,
        got=true / len(pairs),
    )
    turns = sum(a != b for a, b in pairwise(labels))
    expect(
        not unlikely([turns, len(pairs) - 1 - turns], [0.5, 0.5]),
        "The labels of neighbours hang together: one coin for each first sentence, and no pattern.",
        expected="about half of the labels differ from the one before",
        got=f"{turns} of {len(pairs) - 1} do",
    )
    for here, there in ((0, 4), (4, 0)):
        strangers = [second for first, second, follows in pairs if not follows and first in documents[here]]
        many = sum(second in documents[there] for second in strangers)
        expect(
            not unlikely([len(strangers) - many, many], [12, 300]),
            "The strangers are not drawn evenly from the sentences of all other documents.",
            expected="each sentence with the same chance, so a long document gives more",
            got=f"{many} of {len(strangers)} from the other long document",
        )
        expect(
            len(set(strangers)) > len(strangers) / 2,
            "The same strangers come again and again.",
            expected="a new draw for each pair",
            got=f"{len(set(strangers))} different ones in {len(strangers)} pairs",
        )
    expect(_pairs(answer(documents, seed), documents) == pairs, "Two calls with the same seed differ.")
    other = [follows for _, _, follows in _pairs(answer(documents, seed + 1), documents)]
    expect(other != labels, "Two seeds give the same labels: the seed is not used.")

    few = [documents[0], documents[2], documents[3][:2]]
    drawn = Counter(
        second for first, second, follows in _pairs(answer(few, seed), few) if first in few[0] and not follows
    )
    every = [drawn[sentence] for document in few[1:] for sentence in document]
    expect(
        not unlikely(every, [1, 1, 1]),
        "The strangers are not drawn evenly from the sentences of all other documents.",
        expected="each of three sentences equally often",
        got=f"{every} times",
        hint="rng.integers(n) draws from 0 to n - 1.",
    )
    _expect_refusal(answer, [documents[2], []], seed)


def _pairs(reply: Any, documents: list[list[str]]) -> list[tuple[str, str, bool]]:
    """Return triples that hold each first sentence once, rightly labelled, with strangers from other documents."""
    whole = isinstance(reply, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 3 for pair in reply)
    expect(whole, "A list of triples is asked for.", expected="(first, second, follows)", got=reply)
    place = {sentence: (d, s) for d, document in enumerate(documents) for s, sentence in enumerate(document)}
    for first, second, follows in reply:
        expect(
            all(isinstance(sentence, str) and sentence in place for sentence in (first, second)),
            "A sentence of yours is in no document.",
            expected="(first, second, follows)",
            got=(first, second, follows),
        )
        expect(
            isinstance(follows, int),
            f"A label is neither True nor False, but a {type(follows).__name__}.",
            expected="True or False, without quotes",
            got=repr(follows),
        )
    firsts = Counter(first for first, _, _ in reply)
    expected = Counter(sentence for document in documents for sentence in document[:-1])
    expect(
        firsts == expected,
        "Not each sentence is a first sentence once (but the last of a document, which nothing follows).",
        expected=f"{expected.total()} pairs",
        got=f"{len(reply)} pairs of {len(firsts)} first sentences",
    )
    for first, second, follows in reply:
        (d, s), (e, t) = place[first], place[second]
        is_next = (e, t) == (d, s + 1)
        expect(
            is_next or e != d,
            f"A stranger comes from its own document: {first!r} and {second!r}.",
            expected="a sentence of another document",
            hint="From its own document it might even be the sentence that follows.",
        )
        expect(
            follows == is_next,
            f"The label of a pair is wrong: {first!r} and {second!r}.",
            expected=is_next,
            got=follows,
            hint="True where the second follows the first in its document, False for a stranger.",
        )
    return [(first, second, bool(follows)) for first, second, follows in reply]


def _expect_refusal(answer: Answer, documents: list[list[str]], seed: int) -> None:
    try:
        got = answer(documents, seed)
    except Failed as stopped:
        if "ValueError" in stopped.message:
            return
        got = stopped.message
    raise Failed(
        "One document holds sentences and the other none, so there are no strangers.",
        expected="a ValueError",
        got=got,
        hint="Count the documents that hold a sentence; below two, raise ValueError(...).",
    )
