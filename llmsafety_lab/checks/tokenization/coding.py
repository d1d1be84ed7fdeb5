"""Exercise 3: from bytes to tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.tokenization.pairs import LIBRARIES, Pair, join, join_from_right, pick, sequence
from llmsafety_lab.checks.tokenization.training import Join, draw_words, rule, train


def _first_learnt(pairs: list[tuple[int, Pair]]) -> Pair:
    return min(pairs)[1]


def _encode(
    word: bytes,
    ranks: Mapping[bytes, int],
    choose: Callable[[list[tuple[int, Pair]]], Pair] = _first_learnt,
    join: Join = join,
) -> list[int]:
    parts = [bytes([byte]) for byte in word]
    while True:
        pairs = [(ranks[a + b], (a, b)) for a, b in pairwise(parts) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        parts = join(parts, choose(pairs))


def _longest(word: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    ids, start = [], 0
    while start < len(word):
        end = max(end for end in range(start + 1, len(word) + 1) if word[start:end] in ranks)
        ids.append(ranks[word[start:end]])
        start = end
    return ids


def _wrong_encodings(word: bytes, ranks: Mapping[bytes, int]) -> dict[str, list[int]]:
    return {
        "You took the longest token that fits, from left to right. That is WordPiece; BPE replays its merges.": (
            _longest(word, ranks)
        ),
        "You merged the first pair from the left that makes a token. Of all such pairs take the one learnt first.": (
            _encode(word, ranks, lambda pairs: pairs[0][1])
        ),
        "You merged the pair that was learnt last: the order is that of training, oldest first.": _encode(
            word, ranks, lambda pairs: max(pairs)[1]
        ),
        "You merged the rightmost of equal pairs first: go from left to right, so of three equal tokens in a row the "
        "first two become one.": _encode(word, ranks, join=join_from_right),
        "You merged nothing: these are the single bytes, from which the merges start.": [
            ranks[bytes([b])] for b in word
        ],
        "You took the whole word because it is a token. Here no merge leads to it, so the word is cut.": [ranks[word]]
        if word in ranks
        else _encode(word, ranks),
        "You stopped after one merge: go on until no two neighbours make a token.": _once(word, ranks),
    }


def _once(word: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    parts = [bytes([byte]) for byte in word]
    pairs = [(ranks[a + b], (a, b)) for a, b in pairwise(parts) if a + b in ranks]
    return [ranks[part] for part in (join(parts, min(pairs)[1]) if pairs else parts)]


@exercise(
    "tokenization.encode",
    "Replay the merges",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    answer="encode_word",
    forbid=LIBRARIES,
    mutants=(
        Mutant(
            "longest token first",
            "    parts = [bytes([byte]) for byte in word]\n",
            "    parts, start = [], 0\n"
            "    while start < len(word):\n"
            "        end = max(end for end in range(start + 1, len(word) + 1) if word[start:end] in ranks)\n"
            "        parts.append(word[start:end])\n"
            "        start = end\n"
            "    return [ranks[part] for part in parts]\n",
            "longest token",
        ),
        Mutant(
            "leftmost pair",
            "ranks.get(pair[0] + pair[1], math.inf)",
            "pair[0] + pair[1] not in ranks",
            "first pair from the left",
        ),
        Mutant("newest first", "ranks.get(pair[0] + pair[1], math.inf)", "-ranks.get(pair[0] + pair[1], -1)", "last"),
        Mutant(
            "rightmost first",
            "merge(parts, pair)",
            "[t[::-1] for t in merge([t[::-1] for t in parts[::-1]], (pair[1][::-1], pair[0][::-1]))][::-1]",
            "rightmost",
        ),
        Mutant(
            "whole words first",
            "    parts = [bytes([byte]) for byte in word]\n",
            "    if word in ranks:\n        return [ranks[word]]\n    parts = [bytes([byte]) for byte in word]\n",
            "no merge leads to it",
        ),
        Mutant(
            "bytes are their ids",
            "return [ranks[part] for part in parts]",
            "return [part[0] if len(part) == 1 else ranks[part] for part in parts]",
            "need not be the byte's value",
        ),
        Mutant(
            "first vocabulary kept",
            "    parts = [bytes([byte]) for byte in word]\n",
            "    ranks = vars(encode_word).setdefault('ranks', ranks)\n    parts = [bytes([byte]) for byte in word]\n",
            "keep nothing from one call",
        ),
        Mutant("one merge", "while len(parts) > 1:", "for _ in range(len(parts) > 1):", "stopped after one merge"),
    ),
)
def check_encode(answer: Answer, dice: Dice) -> None:
    for _ in range(60):
        words = draw_words(dice)
        order = torch.randperm(256, generator=dice.generator).tolist()
        ranks = {bytes([byte]): order[byte] for byte in range(256)}
        for a, b in train(words, dice.integer(14, 18), rule):
            ranks.setdefault(a + b, len(ranks))
        letters = sorted({bytes([byte]) for word in words for byte in word})
        asked = [b"".join(pick(dice, letters) for _ in range(dice.integer(8, 14))) for _ in range(8)]
        double = next((letter for letter in letters if letter * 2 in ranks), letters[0])
        asked.append(double * (2 * dice.integer(2, 4) + 1))
        unreached = pick(dice, letters) + b"." + pick(dice, letters)
        ranks[unreached] = len(ranks)
        asked.append(unreached)
        exact = [_encode(word, ranks) for word in asked]
        slips = [list(_wrong_encodings(word, ranks).values()) for word in asked]
        answers = {str(column) for column in (exact, *map(list, zip(*slips, strict=True)))}
        if len(answers) == 1 + len(slips[0]):
            break
    asked += ["汉".encode(), letters[0], b""]
    got = [
        sequence(answer(word, ranks), int, f"The answer for {word!r}", "a list of ids, which are integers")
        for word in asked
    ]
    wrong = [_wrong_encodings(word, ranks) for word in asked]
    slip = next((says for says in wrong[0] if [slips[says] for slips in wrong] == got), "")
    tokens = {rank: token for token, rank in ranks.items()}
    for word, came in zip(asked, got, strict=True):
        right = _encode(word, ranks)
        expect(
            came == right,
            f"The tokens of {word!r} are wrong.",
            expected=[tokens[i] for i in right],
            got=[tokens.get(i, f"no token {i}") for i in came],
            hint=slip or _else(word, came, ranks, tokens),
        )
    single = {token: rank for token, rank in ranks.items() if len(token) == 1}
    word = next(word for word in asked if len(_encode(word, ranks)) < len(word))
    got = sequence(answer(word, single), int, f"The answer for {word!r}", "a list of ids, which are integers")
    expect(
        got == _encode(word, single),
        f"The tokens of {word!r} are wrong under another vocabulary, of single bytes.",
        expected=_encode(word, single),
        got=got,
        hint="The vocabulary is an argument: keep nothing from one call to the next.",
    )


def _else(word: bytes, came: list[int], ranks: Mapping[bytes, int], tokens: Mapping[int, bytes]) -> str:
    """Return what to say of ids that no known mistake explains."""
    if b"".join(tokens.get(i, b"") for i in came) == word:
        return (
            "At each step look at all neighbours anew: of those whose joined bytes are a token, merge the one with the "
            "smallest id, until there is none."
        )
    parts = [tokens[i] for i in _encode(word, ranks)]
    if came == [part[0] if len(part) == 1 else ranks[part] for part in parts]:
        return "A single byte has an id, too, ranks[byte], and it need not be the byte's value."
    return "Joined, the tokens' bytes have to be the word; return their ids."
