"""Exercises 1 and 2: joining a pair, and learning which pairs to join, against counting everything anew each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect

Pair = tuple[bytes, bytes]
Words = dict[bytes, int]
BYTES = {bytes([byte]): byte for byte in range(256)}


def pick(dice: Dice, choices: Any) -> Any:
    return choices[dice.integer(0, len(choices) - 1)]


def sequence(reply: Any, kind: Any, what: str, expected: str) -> list[Any]:
    """Return a list (or tuple) of one kind of thing, or fail."""
    whole = isinstance(reply, list | tuple)
    if whole and all(isinstance(item, kind) and not (kind is int and isinstance(item, bool)) for item in reply):
        return list(reply)
    got = "None: is there a return statement?" if reply is None else reply
    raise Failed(f"{what} has the wrong form.", expected=expected, got=got)


def join(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Join the occurrences of a pair, the leftmost first, one after the other."""
    for i in range(len(parts) - 1):
        if (parts[i], parts[i + 1]) == pair:
            return [*parts[:i], parts[i] + parts[i + 1], *join(parts[i + 2 :], pair)]
    return parts


def _wrong_merges(parts: list[bytes], pair: Pair) -> dict[str, list[bytes]]:
    hits = [i for i in range(len(parts) - 1) if (parts[i], parts[i + 1]) == pair]
    overlapping = [p + parts[i + 1] if i in hits else p for i, p in enumerate(parts)]
    first = [*parts[: hits[0]], pair[0] + pair[1], *parts[hits[0] + 2 :]] if hits else parts
    joined, i = [], 0
    while i < len(parts):
        two = b"".join(parts[i : i + 2]) == b"".join(pair)
        joined.append(b"".join(parts[i : i + 2]) if two else parts[i])
        i += 1 + (two and i + 1 < len(parts))
    return {
        "Your merges overlap: a token that has been joined is used up, so go on behind it.": overlapping,
        "You joined the first occurrence only: go on to the end.": first,
        "The last token is lost: a list can end behind a pair or before one.": join(parts, pair)[:-1],
        "Compare the two tokens one by one, not by their joined bytes: b'ab', b'c' is not b'a', b'bc'.": joined,
        "You joined nothing: put the two tokens together where they stand side by side.": list(parts),
    }


@exercise(
    "tokenization.merge",
    "Join a pair wherever it stands",
    points=2,
    difficulty=1,
    importance=4,
    minutes=6,
    answer="merge",
    mutants=(
        Mutant("overlapping pairs", "i += 2", "i += 1", "overlap"),
        Mutant("last token lost", "while i < len(parts):", "while i < len(parts) - 1:", "last token is lost"),
        Mutant(
            "first occurrence only",
            "if tuple(parts[i : i + 2]) == tuple(pair):",
            "if tuple(parts[i : i + 2]) == tuple(pair) and len(merged) == i:",
            "first occurrence only",
        ),
        Mutant(
            "joined bytes compared",
            "if tuple(parts[i : i + 2]) == tuple(pair):",
            'if b"".join(parts[i : i + 2]) == b"".join(pair) and i + 1 < len(parts):',
            "not by their joined bytes",
        ),
    ),
)
def check_merge(answer: Answer, dice: Dice) -> None:
    a, b = (bytes([97 + dice.integer(0, 8) + 9 * n]) for n in range(2))
    c = a + b
    some = [pick(dice, (a, b, c)) for _ in range(dice.integer(12, 18))]
    for when, parts, pair in (
        ("where the pair stands at the end", [c, a, b], (a, b)),
        ("where the pair stands twice", [a, b, c, a, b, a], (a, b)),
        ("where a token stands beside itself", [b, *[a] * dice.integer(4, 7), b], (a, a)),
        ("where other tokens have the same bytes when joined", [b, c, a, b, a, c, b], (b, c)),
        ("where they have the same bytes, the other way", [c, a, a, b + a], (a, b + a)),
        ("of random tokens", some, (a, b)),
        ("without the pair", [a, a, a], (a, b)),
        ("of nothing", [], (a, b)),
    ):
        got = sequence(answer(list(parts), pair), bytes, f"The list {when}", "a list of bytes")
        exact = join(list(parts), pair)
        slips = [words for words, wrong in _wrong_merges(parts, pair).items() if got == wrong]
        hint = slips[0] if slips else "Joined together, the bytes stay the same and in the same order."
        expect(
            got == exact, f"The list {when} is wrong: {parts} with the pair {pair}.", expected=exact, got=got, hint=hint
        )


def _counted(parts: dict[bytes, list[bytes]], words: Words) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for word, times in words.items():
        for pair in pairwise(parts[word]):
            counts[pair] += times
    return counts


Choose = Callable[[Counter[Pair], Mapping[bytes, int], Counter[bytes]], Pair]


def train(words: Words, merges: int, choose: Choose) -> list[Pair]:
    """Count all pairs anew for each merge."""
    parts = {word: [bytes([byte]) for byte in word] for word in words}
    ids = dict(BYTES)
    learnt: list[Pair] = []
    while len(learnt) < merges and (counts := _counted(parts, words)):
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


def _wrong_training(words: Words, merges: int) -> dict[str, list[Pair]]:
    def by_tokens(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-single[pair[0]] - single[pair[1]], ids[pair[0]], ids[pair[1]]))

    def newest(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-counts[pair], -ids[pair[0]], -ids[pair[1]]))

    def alphabet(counts: Counter[Pair], ids: Mapping[bytes, int], single: Counter[bytes]) -> Pair:
        return min(counts, key=lambda pair: (-counts[pair], pair))

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
    letters = [bytes([97 + (dice.integer(0, 4) + 5 * n)]) for n in range(4)]
    words: Words = {}
    while len(words) < 14:
        word = b"".join(pick(dice, letters) for _ in range(dice.integer(2, 6)))
        words[word] = dice.integer(1, 6)
    return words


def _agree(some: list[Pair], others: list[Any]) -> int:
    """Return how many merges two lists share before they part."""
    return next((i for i, (a, b) in enumerate(zip(some, others, strict=False)) if a != b), min(len(some), len(others)))


def _telling(dice: Dice, merges: int) -> tuple[Words, list[Pair], dict[str, list[Pair]]]:
    """Draw words on which every mistake shows."""
    for _ in range(60):
        words = draw_words(dice)
        exact, wrong = train(words, merges, rule), _wrong_training(words, merges)
        if all(pairs != exact for pairs in wrong.values()):
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
    forbid=("tokenizers.Tokenizer", "tokenizers.trainers.BpeTrainer"),
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
    reply = sequence(answer(dict(words), merges), list | tuple, "The answer", "a list of pairs of bytes")
    got = [tuple(pair) for pair in reply]
    for i, pair in enumerate(exact):
        if i < len(got) and got[i] == pair:
            continue
        closest = max(wrong, key=lambda says: _agree(wrong[says], got))
        explained = i < len(got) and _agree(wrong[closest], got) > i
        hint = closest if explained else "Count the pairs, merge the most frequent one, count again."
        raise Failed(
            f"Merge {i + 1} of {merges} is wrong, on the words {words}.",
            expected=f"{pair}",
            got=f"{got[i]}" if i < len(got) else f"no merge: the list ends after {len(got)}",
            hint=hint,
        )
    expect(len(got) == merges, "There are too many merges.", expected=merges, got=len(got))
    few = sequence(answer({b"ab": 2}, 5), list | tuple, "The answer", "a list of pairs of bytes")
    expect(len(few) == 1, "The word b'ab' allows one merge, however many are asked for.", expected=1, got=len(few))
