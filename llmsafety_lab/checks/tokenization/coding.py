"""Exercises 3 and 4: from bytes to tokens, and from tokens back to text while they arrive."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from itertools import pairwise

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.tokenization.pairs import BYTES, LIBRARIES, Pair, join, join_from_right, pick, sequence
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
        Mutant("one merge", "while len(parts) > 1:", "for _ in range(len(parts) > 1):", "stopped after one merge"),
    ),
)
def check_encode(answer: Answer, dice: Dice) -> None:
    for _ in range(60):
        words = draw_words(dice)
        ranks = dict(BYTES)
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
            hint=slip or "Joined, the tokens' bytes have to be the word; return their ids.",
        )


def _wrong_streams(tokens: list[bytes]) -> dict[str, list[str]]:
    def waiting() -> list[str]:
        pieces, held = [], b""
        for token in tokens:
            held += token
            try:
                pieces.append(held.decode())
                held = b""
            except UnicodeDecodeError:
                pieces.append("")
        return pieces

    def piece_by_piece(errors: str, final: bool) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors)
        return [decoder.decode(token, final and i == len(tokens) - 1) for i, token in enumerate(tokens)]

    def announced() -> list[str]:
        pieces, held = [], b""
        for i, token in enumerate(tokens):
            held, text = held + token, ""
            while held:
                length = 1 + sum(held[0] >= least for least in (0xC0, 0xE0, 0xF0))
                if len(held) < length and i < len(tokens) - 1:
                    break
                text, held = text + held[:length].decode("utf-8", "replace"), held[length:]
            pieces.append(text)
        return pieces

    def ended_by(last: list[bool]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return [decoder.decode(token, end) for token, end in zip(tokens, last, strict=True)]

    return {
        "You read each token by itself, and a character can be spread over several: keep the bytes that wait.": [
            token.decode("utf-8", "replace") for token in tokens
        ],
        "You read each token by itself and drop what is no whole character, so bytes are lost: keep those that wait.": [
            token.decode("utf-8", "ignore") for token in tokens
        ],
        "At the end bytes still wait: with the last token show what is left, as U+FFFD.": piece_by_piece(
            "replace", False
        ),
        "Bytes are lost: what can never become a character has to show as U+FFFD.": piece_by_piece("ignore", True),
        "You wait until everything decodes: show the characters that are finished, and let only the unfinished bytes "
        "wait. A byte that can never become a character blocks yours for good.": waiting(),
        "You wait for as many bytes as the first one announces: show U+FFFD as soon as a byte comes that does not "
        "fit.": announced(),
        "The last token is the last by its place, not by its id: the same token may stand earlier.": (
            ended_by([token == tokens[-1] for token in tokens])
        ),
    }


@exercise(
    "tokenization.stream",
    "Show text while it arrives",
    points=3,
    difficulty=3,
    importance=4,
    minutes=9,
    answer="stream",
    mutants=(
        Mutant(
            "token by token",
            "decoder.decode(vocabulary[token], final=i == len(ids) - 1)",
            'vocabulary[token].decode("utf-8", errors="replace")',
            "each token by itself",
        ),
        Mutant(
            "lossy",
            "decoder.decode(vocabulary[token], final=i == len(ids) - 1)",
            'vocabulary[token].decode("utf-8", errors="ignore")',
            "bytes are lost",
        ),
        Mutant("broken bytes dropped", 'errors="replace"', 'errors="ignore"', "bytes are lost"),
        Mutant("never flushed", "final=i == len(ids) - 1", "final=False", "bytes still wait"),
        Mutant(
            "waits for good",
            "    decoder = codecs",
            "    pieces, held = [], b''\n"
            "    for token in ids:\n"
            "        held += vocabulary[token]\n"
            "        try:\n"
            "            pieces.append(held.decode())\n"
            "            held = b''\n"
            "        except UnicodeDecodeError:\n"
            "            pieces.append('')\n"
            "    return pieces\n"
            "    decoder = codecs",
            "only the unfinished bytes",
        ),
        Mutant("last by its id", "final=i == len(ids) - 1", "final=token == ids[-1]", "by its place"),
        Mutant(
            "waits for what is announced",
            "    decoder = codecs",
            "    pieces, held = [], b''\n"
            "    for i, token in enumerate(ids):\n"
            "        held, text = held + vocabulary[token], ''\n"
            "        while held:\n"
            "            length = 1 + sum(held[0] >= least for least in (0xC0, 0xE0, 0xF0))\n"
            "            if len(held) < length and i < len(ids) - 1:\n"
            "                break\n"
            "            text, held = text + held[:length].decode('utf-8', 'replace'), held[length:]\n"
            "        pieces.append(text)\n"
            "    return pieces\n"
            "    decoder = codecs",
            "announces",
        ),
    ),
)
def check_stream(answer: Answer, dice: Dice) -> None:
    pool = "aeiou naïve ßñø жяю दन 汉字かな한 🍍🧀"
    for when, longest, spoil in (
        ("of whole characters", 3, lambda data: data),
        ("with a byte that is in no UTF-8", 3, lambda data: data[:4] + b"\xff" + data[4:]),
        ("that ends in the middle of a character", 3, lambda data: data + "🍍".encode()[: dice.integer(1, 3)]),
        ("in single bytes, with characters that break off", 1, lambda data: b"\xf0\x9fab" + data + b"\xf0"),
    ):
        text = "".join(pick(dice, pool) for _ in range(dice.integer(10, 14)))
        data, tokens = spoil(f"a🍍{text}汉z".encode() if "byte" not in when else f"pine{text}".encode()), []
        while data:
            length = dice.integer(1, longest)
            tokens.append(data[:length])
            data = data[length:]
        first = dice.integer(300, 900)
        vocabulary = {first + i: token for i, token in enumerate(dict.fromkeys(tokens))}
        id_of = {token: i for i, token in vocabulary.items()}
        got = sequence(
            answer([id_of[token] for token in tokens], vocabulary),
            str,
            f"The answer for a text {when}",
            "a list of strings",
        )
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        exact = [decoder.decode(token, i == len(tokens) - 1) for i, token in enumerate(tokens)]
        slips = [says for says, pieces in _wrong_streams(tokens).items() if pieces == got]
        hint = "One piece for each token: the text that its bytes complete, which may be none."
        expect(
            got == exact,
            f"The pieces of a text {when} are wrong. Its tokens: {tokens}",
            expected=exact,
            got=got,
            hint=slips[0] if slips else hint,
        )
    nothing = sequence(answer([], {}), str, "The answer for no tokens", "an empty list")
    expect(nothing == [], "Of no tokens there are no pieces.", expected=[], got=nothing)
