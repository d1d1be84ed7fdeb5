"""Exercise 5: pairs of sentences, by what may never happen and by chi-square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, expect_unchanged
from llmsafety_lab.checks.pretraining.chance import unlikely


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
        Mutant("a coin of 0.55", "< 0.5:", "< 0.55:", "half"),
        Mutant("a coin of 0.6", "< 0.5:", "< 0.6:", "half"),
        Mutant(
            "exactly half",
            "            if rng.random() < 0.5:",
            "            size = sum(len(one) - 1 for one in documents if one)\n"
            "            heads = np.random.default_rng(seed).permutation(size) < size // 2\n"
            "            if heads[len(pairs)]:",
            "the same number",
        ),
        Mutant(
            "seeded for each document",
            "        others = [",
            "        rng = np.random.default_rng(seed)\n        others = [",
            "once, at the beginning",
        ),
        Mutant(
            "seeded for each sentence",
            "            if rng.random() < 0.5:",
            "            rng = np.random.default_rng(seed + len(pairs))\n            if rng.random() < 0.5:",
            "once, at the beginning",
        ),
        Mutant(
            "documents changed", "    pairs = []", "    pairs = []\n    documents.reverse()", "changed the documents"
        ),
        Mutant(
            "no empty document",
            "if sum(1 for document in documents if document) < 2:",
            "if not all(documents):",
            "An empty document",
        ),
        Mutant(
            "documents of one sentence not counted",
            "in documents if document)",
            "in documents if document[1:])",
            "An empty document",
        ),
    ),
)
def check_pairs(answer: Answer, dice: Dice) -> None:
    names = dice.integer(100, 900)
    sizes = [300, 5, 0, 1, 6, 300]
    documents = [[f"{names + d} says line {s}." for s in range(size)] for d, size in enumerate(sizes)]
    seed = dice.integer(0, 10**6)
    some = [documents[1], [], *([sentence] for sentence in documents[5][:8])]
    try:
        _pairs(answer(some, seed), some)
    except Failed as failed:
        if "ValueError" not in failed.message:
            raise
        message = f"An empty document among three, or one of a single sentence, is no reason to stop: {failed.message}"
        raise Failed(message, expected="4 pairs", hint="Count the documents that hold a sentence.") from None
    called = answer.trace(documents, seed)
    pairs = _pairs(called.value, documents)
    expect_unchanged(called, message="You changed the documents: whoever called you still needs them.")
    calls = [pairs, *(_pairs(answer(documents, seed + i), documents) for i in range(1, 12))]
    _coins([[follows for _, _, follows in sorted(call, key=_place(documents))] for call in calls], sizes)
    for here, there in ((0, 5), (5, 0)):
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

    few = [documents[0], documents[3], documents[4][:2]]
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
    _expect_refusal(answer, [documents[3], []], seed)


def _place(documents: list[list[str]]) -> Callable[[tuple[str, str, bool]], int]:
    """Return a key that sorts pairs by the place of their first sentence."""
    place = {sentence: i for i, sentence in enumerate(sentence for document in documents for sentence in document)}
    return lambda pair: place[pair[0]]


def _half(true: int, count: int) -> None:
    expect(
        not unlikely([true, count - true], [0.5, 0.5]),
        f"About half of the pairs should follow, by a coin for each: {true} of {count} do.",
        expected=0.5,
        got=true / count,
        hint="rng.random() < 0.5 is a toss of a coin.",
    )


def _coins(tosses: list[list[bool]], sizes: list[int]) -> None:
    """Fail unless the labels of several seeds, each in the order of the first sentences, look like tosses of a coin."""
    first = tosses[0]
    _half(sum(first), len(first))
    turns = sum(one != other for one, other in pairwise(first))
    expect(
        not unlikely([turns, len(first) - 1 - turns], [0.5, 0.5]),
        "The labels of neighbours hang together: one coin for each first sentence, and no pattern.",
        expected="about half of the labels differ from the one before",
        got=f"{turns} of {len(first) - 1} do",
    )
    expect(tosses[0] != tosses[1], "Two seeds give the same labels: the seed is not used.")
    hint = "Make the generator once, at the beginning, and draw all coins and strangers from it."
    long = sizes[0] - 1
    same = [one == other for labels in tosses for one, other in zip(labels[:long], labels[-long:], strict=True)]
    expect(
        not unlikely([sum(same), len(same) - sum(same)], [0.5, 0.5]),
        "The labels of one document are those of another.",
        expected="about half of them agree",
        got=f"{sum(same)} of {len(same)} do",
        hint=hint,
    )
    same = [one == other for here, there in pairwise(tosses) for one, other in zip(here[1:], there, strict=False)]
    expect(
        not unlikely([sum(same), len(same) - sum(same)], [0.5, 0.5]),
        "The labels of one seed are those of the next, moved by a place.",
        expected="about half of them agree",
        got=f"{sum(same)} of {len(same)} do",
        hint=hint,
    )
    _half(sum(map(sum, tosses)), sum(map(len, tosses)))
    expect(
        len({sum(labels) for labels in tosses}) > 1,
        f"In each of {len(tosses)} calls the same number of pairs follow.",
        expected="a coin for each pair, so that the number varies",
        got=f"{sum(tosses[0])} each time",
    )


def _pairs(reply: Any, documents: list[list[str]]) -> list[tuple[str, str, bool]]:
    """Return triples that hold each first sentence once, rightly labelled, with strangers from other documents."""
    for pair in expect_list(reply, "The answer", expected="a list of triples (first, second, follows)"):
        expect_list(pair, "A pair", length=3, expected="(first, second, follows)")
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
