"""Exercise 2: learning which pairs to join, against counting everything anew each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_unchanged
from llmsafety_lab.checks.tokenization.pairs import BYTES, LIBRARIES, Pair, join, join_from_right, pick, sequence

Words = dict[bytes, int]
Pairs = Callable[[list[bytes]], Iterable[Pair]]


def _once(parts: list[bytes]) -> Iterable[Pair]:
    return dict.fromkeys(pairwise(parts))


def _apart(parts: list[bytes]) -> Iterable[Pair]:
    kept: list[tuple[int, Pair]] = []
    for place, pair in enumerate(pairwise(parts)):
        if not kept or kept[-1] != (place - 1, pair):
            kept.append((place, pair))
    return [pair for _, pair in kept]


def _counted(parts: dict[bytes, list[bytes]], words: Words, pairs: Pairs = pairwise) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for word, times in words.items():
        for pair in pairs(parts[word]):
            counts[pair] += times
    return counts


Join = Callable[[list[bytes], Pair], list[bytes]]
Choose = Callable[[Counter[Pair], Mapping[bytes, int], Counter[bytes]], Pair]


def train(words: Words, merges: int, choose: Choose, join: Join = join, pairs: Pairs = pairwise) -> list[Pair]:
    """Count all pairs anew for each merge; ``pairs`` says which of a word are counted."""
    parts = {word: [bytes([byte]) for byte in word] for word in words}
    ids = dict(BYTES)
    learnt: list[Pair] = []
    while len(learnt) < merges and (counts := _counted(parts, words, pairs)):
        single: Counter[bytes] = Counter()
        for word, times in words.items():
            for part in parts[word]:
                single[part] += times
        pair = choose(counts, ids, single)
        parts = {word: join(parts[word], pair) for word in words}
        ids.setdefault(pair[0] + pair[1], len(ids))
        learnt.append(pair)
    return learnt


def rule(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
    return min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))


_RIGHT = "Ties: where the left tokens are equal, too, the right token's smallest id decides."


def _wrong_training(words: Words, merges: int) -> dict[str, list[Pair]]:
    def by_tokens(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-single[pair[0]] - single[pair[1]], ids[pair[0]], ids[pair[1]]))

    def newest(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-counts[pair], -ids[pair[0]], -ids[pair[1]]))

    def alphabet(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-counts[pair], pair))

    def right_newest(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], -ids[pair[1]]))

    def stale(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        short = {pair: n for pair, n in counts.items() if len(pair[0] + pair[1]) == 2}
        return rule(Counter(short or counts), ids, single)

    start = _counted({word: [bytes([byte]) for byte in word] for word in words}, words)
    counted_once = sorted(start, key=lambda pair: (-start[pair], pair))
    across = {b"".join(word * times for word, times in words.items()): 1}
    return {
        "You chose by how frequent the two tokens are. Frequent tokens need not be neighbours: count pairs.": (
            train(words, merges, by_tokens)
        ),
        "Ties: of equally frequent pairs take the one with the smallest ids, the oldest tokens.": (
            train(words, merges, newest)
        ),
        "Ties: you took the first in the alphabet. The ids decide, and later tokens have larger ones.": (
            train(words, merges, alphabet)
        ),
        _RIGHT: train(words, merges, right_newest),
        "You counted a pair once in each word: count every place in the word where it stands.": (
            train(words, merges, rule, pairs=_once)
        ),
        "Count a pair of equal tokens at each place: it stands twice in three equal tokens in a row.": (
            train(words, merges, rule, pairs=_apart)
        ),
        "Merge from left to right: of three equal tokens in a row the first two become one.": (
            train(words, merges, rule, join_from_right)
        ),
        "You counted each word once: a pair counts as how often its word stands in the text.": train(
            dict.fromkeys(words, 1), merges, rule
        ),
        "Your pairs reach from one word into the next: no token does.": train(across, merges, rule),
        "You counted once, at the start: after each merge the text has other pairs, so count them again.": (
            counted_once[:merges]
        ),
        "You never merge joined tokens: after each merge the pairs that they make have to be counted, too.": train(
            words, merges, stale
        ),
    }


def draw_words(dice: Dice) -> Words:
    """Draw words of four letters; one is a letter five times, on which the order of merges shows."""
    letters = [bytes([97 + (dice.integer(0, 4) + 5 * n)]) for n in range(4)]
    words = {pick(dice, letters) * 5: dice.integer(4, 6)}
    while len(words) < 14:
        word = b"".join(pick(dice, letters) for _ in range(dice.integer(2, 6)))
        words[word] = dice.integer(1, 6)
    return words


def _agree(some: list[Pair], others: list[Any]) -> int:
    """Return how many merges two lists share before they part."""
    return next((i for i, (a, b) in enumerate(zip(some, others, strict=False)) if a != b), min(len(some), len(others)))


def _tie(words: Words, merged: list[Pair], right: Pair, came: Any) -> str:
    """Return what to say of a pair that should not have been merged now: the rule for ties, if that is the cause."""
    parts = {word: [bytes([byte]) for byte in word] for word in words}
    for pair in merged:
        parts = {word: join(parts[word], pair) for word in words}
    counts = _counted(parts, words)
    if came is None or counts[came] != counts[right]:
        return "Count the pairs, merge the most frequent one, count again."
    return (
        _RIGHT
        if came[0] == right[0]
        else "Ties: of equally frequent pairs the left token with the smallest id decides."
    )


def _telling(dice: Dice, merges: int) -> tuple[Words, list[Pair], dict[str, list[Pair]]]:
    """Draw words on which every mistake shows."""
    for _ in range(60):
        words = draw_words(dice)
        exact, wrong = train(words, merges, rule), _wrong_training(words, merges)
        once, apart = (train(words, merges, rule, pairs=pairs) for pairs in (_once, _apart))
        if once != apart and all(pairs != exact for pairs in wrong.values()):
            break
    return words, exact, wrong


@exercise(
    "tokenization.train",
    "Learn a vocabulary",
    points=4,
    difficulty=3,
    importance=5,
    minutes=15,
    answer="train_bpe",
    forbid=LIBRARIES,
    mutants=(
        Mutant(
            "frequency of characters",
            "(pair for pair in counts if counts[pair] == most), key=lambda pair: (",
            "counts, key=lambda pair: (-sum(n * parts[w].count(t) for w, n in words.items() for t in pair), ",
            "how frequent the two tokens are",
        ),
        Mutant("newest pair wins a tie", "pair = min((pair for", "pair = max((pair for", "smallest ids"),
        Mutant(
            "alphabet decides a tie",
            "key=lambda pair: (ids[pair[0]], ids[pair[1]])",
            "key=lambda pair: pair",
            "first in the alphabet",
        ),
        Mutant("left token decides a tie", "(ids[pair[0]], ids[pair[1]])", "ids[pair[0]]", "right token"),
        Mutant("largest right id", "(ids[pair[0]], ids[pair[1]])", "(ids[pair[0]], -ids[pair[1]])", "right token"),
        Mutant("once in a word", "in pairwise(parts[word]):", "in set(pairwise(parts[word])):", "every place"),
        Mutant("words used up", "    return learnt", "    words.clear()\n    return learnt", "changes `words`"),
        Mutant(
            "a row of equal tokens counted once",
            "in pairwise(parts[word]):",
            "in [\n"
            "            (a, b)\n"
            "            for i, (a, b) in enumerate(pairwise(parts[word]))\n"
            "            if a != b\n"
            "            or (i - next(j for j in range(i, -1, -1) if j == 0 or parts[word][j - 1] != a)) % 2 == 0\n"
            "        ]:",
            "twice in three equal tokens",
        ),
        Mutant("single pairs left out", "and counts:", "and max(counts.values(), default=0) > 1:", "only once"),
        Mutant(
            "from right to left",
            "merge(parts[word], pair)",
            "[t[::-1] for t in merge([t[::-1] for t in parts[word][::-1]], (pair[1][::-1], pair[0][::-1]))][::-1]",
            "from left to right",
        ),
        Mutant(
            "each word once",
            "counts[pair] += times",
            "counts[pair] += 1 if times > 0 else -1",
            "how often its word stands",
        ),
        Mutant(
            "across words",
            "    ids = {",
            '    words = {b"".join(word * times for word, times in words.items()): 1}\n    ids = {',
            "from one word into the next",
        ),
        Mutant(
            "counted once",
            "        for word in where.pop(pair):\n",
            "        del counts[pair]\n        for word in ():\n",
            "counted once, at the start",
        ),
        Mutant(
            "bytes only",
            "            counts[pair] += times\n",
            "            if len(pair[0] + pair[1]) > 2:\n                continue\n            counts[pair] += times\n",
            "never merge joined tokens",
        ),
    ),
)
def check_train(answer: Answer, dice: Dice) -> None:
    merges = dice.integer(9, 11)
    words, exact, wrong = _telling(dice, merges)
    called = answer.trace(dict(words), merges)
    reply = sequence(called.value, list | tuple, "The answer", "a list of pairs of bytes")
    got = [tuple(pair) for pair in reply]
    for i, pair in enumerate(exact):
        if i < len(got) and got[i] == pair:
            continue
        closest = max(wrong, key=lambda says: _agree(wrong[says], got))
        explained = i < len(got) and _agree(wrong[closest], got) > i
        hint = closest if explained else _tie(words, exact[:i], pair, (*got, None)[i])
        raise Failed(
            f"Merge {i + 1} of {merges} is wrong, on the words {words}.",
            expected=f"{pair}",
            got=f"{got[i]}" if i < len(got) else f"no merge: the list ends after {len(got)}",
            hint=hint,
        )
    expect(len(got) == merges, "There are too many merges.", expected=merges, got=len(got))
    expect_unchanged(called, message="The merges are right, but your answer changes `words`.")
    for order in (b"bc", b"cb"):
        tied = {b"a" + bytes([letter]): 3 for letter in order}
        first = sequence(answer(tied, 1), list | tuple, "The answer", "a list of pairs of bytes")
        expect(
            [tuple(pair) for pair in first] == [(b"a", b"b")],
            f"The first merge is wrong, on the words {tied}.",
            expected=[(b"a", b"b")],
            got=first,
            hint=_RIGHT,
        )
    few = sequence(answer({b"ab": 1}, 5), list | tuple, "The answer", "a list of pairs of bytes")
    expect(
        len(few) == 1,
        "The word b'ab', which stands there once, allows one merge, however many are asked for.",
        expected=1,
        got=len(few),
        hint="Go on while there is a pair, even if it stands there only once.",
    )
