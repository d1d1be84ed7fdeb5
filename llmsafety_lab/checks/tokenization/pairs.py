"""Exercise 1: joining a pair; and what the other checks of the lab share."""

from __future__ import annotations

from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, expect, expect_unchanged

Pair = tuple[bytes, bytes]
LIBRARIES = (
    "tokenizers.Tokenizer",
    "tokenizers.models.BPE",
    "tokenizers.trainers.BpeTrainer",
    "tokenizers.ByteLevelBPETokenizer",
    "tokenizers.CharBPETokenizer",
    "tokenizers.SentencePieceBPETokenizer",
    "tokenizers.implementations.ByteLevelBPETokenizer",
    "tokenizers.implementations.CharBPETokenizer",
    "tokenizers.implementations.SentencePieceBPETokenizer",
    "tokenizers.implementations.byte_level_bpe.ByteLevelBPETokenizer",
    "tokenizers.implementations.char_level_bpe.CharBPETokenizer",
    "tokenizers.implementations.sentencepiece_bpe.SentencePieceBPETokenizer",
    "tiktoken.Encoding",
    "tiktoken.core.Encoding",
    "tiktoken._tiktoken.CoreBPE",
    "tiktoken._educational.bpe_encode",
    "tiktoken._educational.bpe_train",
    "tiktoken._educational.SimpleBytePairEncoding",
)
"""What other packages offer of BPE."""
BYTES = {bytes([byte]): byte for byte in range(256)}


def pick(dice: Dice, choices: Any) -> Any:
    return choices[dice.integer(0, len(choices) - 1)]


def sequence(reply: Any, kind: Any, what: str, expected: str) -> list[Any]:
    """Return a list (or tuple) of one kind of thing, or fail."""
    whole = isinstance(reply, list | tuple)
    if whole and all(isinstance(item, kind) and not (kind is int and isinstance(item, bool)) for item in reply):
        return list(reply)
    raise Failed(f"{what} has the wrong form.", expected=expected, got=came(reply))


def join(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Join the occurrences of a pair, the leftmost first, one after the other."""
    for i in range(len(parts) - 1):
        if (parts[i], parts[i + 1]) == pair:
            return [*parts[:i], parts[i] + parts[i + 1], *join(parts[i + 2 :], pair)]
    return parts


def join_from_right(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Join the occurrences of a pair, the rightmost first: a mistake."""
    for i in range(len(parts) - 1, 0, -1):
        if (parts[i - 1], parts[i]) == pair:
            return [*join_from_right(parts[: i - 1], pair), parts[i - 1] + parts[i], *parts[i + 1 :]]
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
        "Go from left to right: of three equal tokens in a row the first two become one.": join_from_right(parts, pair),
        "Compare whole tokens: one that only ends or begins as the pair's do is another token.": _glued(parts, pair),
        "You joined nothing: put the two tokens together where they stand side by side.": list(parts),
    }


def _glued(parts: list[bytes], pair: Pair) -> list[bytes]:
    """Join by replacing in the tokens' bytes, with a separator between them: a mistake."""
    return b"|".join(parts).replace(b"|".join(pair), b"".join(pair)).split(b"|")


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
        Mutant(
            "from right to left",
            "    merged, i = [], 0\n",
            "    merged, i = [], len(parts)\n"
            "    while i > 0:\n"
            "        step = 1 + (tuple(parts[max(i - 2, 0) : i]) == tuple(pair))\n"
            "        merged.insert(0, b''.join(parts[i - step : i]))\n"
            "        i -= step\n"
            "    return merged\n",
            "from left to right",
        ),
        Mutant(
            "in place",
            "    merged, i = [], 0\n",
            "    merged, i = [], 0\n"
            "    while i < len(parts) - 1:\n"
            "        if tuple(parts[i : i + 2]) == tuple(pair):\n"
            "            parts[i : i + 2] = [parts[i] + parts[i + 1]]\n"
            "        i += 1\n"
            "    return parts\n",
            "changes its argument",
        ),
        Mutant(
            "glued and replaced",
            "    merged, i = [], 0\n",
            "    glued = b'|'.join(parts).replace(b'|'.join(pair), b''.join(pair))\n"
            "    return glued.split(b'|') if parts else []\n"
            "    merged, i = [], 0\n",
            "compare whole tokens",
        ),
        Mutant(
            "single bytes only",
            "if tuple(parts[i : i + 2]) == tuple(pair):",
            "if tuple(parts[i : i + 2]) == tuple(pair) and len(parts[i]) == 1:",
            "joined nothing",
        ),
        Mutant(
            "either order",
            "if tuple(parts[i : i + 2]) == tuple(pair):",
            "if sorted(parts[i : i + 2]) == sorted(pair):",
            "nowhere else",
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
        ("where a token stands beside itself", [b, *[a] * (2 * dice.integer(2, 3) + 1), b], (a, a)),
        ("where other tokens have the same bytes when joined", [b, c, a, b, a, c, b], (b, c)),
        ("where they have the same bytes, the other way", [c, a, a, b + a], (a, b + a)),
        ("where other tokens end and begin as the pair's do", [b + a, b, a, b + a, a, b], (a, b)),
        ("where tokens are separators elsewhere", [b" ", b",", b"\0", b"|", b"\n", a, b, b"/"], (a, b)),
        ("of random tokens", some, (a, b)),
        ("where the pair's first token has two bytes", [a, c, a, b, c, a, a], (c, a)),
        ("without the pair", [a, a, a], (a, b)),
        ("of nothing", [], (a, b)),
    ):
        called = answer.trace(list(parts), pair)
        got = sequence(called.value, bytes, f"The list {when}", "a list of bytes")
        exact = join(list(parts), pair)
        slips = [words for words, wrong in _wrong_merges(parts, pair).items() if got == wrong]
        hint = slips[0] if slips else "Joined together, the bytes stay the same and in the same order."
        if not slips and b"".join(got) == b"".join(parts):
            hint = "Join where the first token is pair[0] and the one behind it is pair[1], and nowhere else."
        expect(
            got == exact, f"The list {when} is wrong: {parts} with the pair {pair}.", expected=exact, got=got, hint=hint
        )
        expect_unchanged(
            called,
            message=f"The list {when} is right, but your answer changes its argument.",
            hint="Put the joined tokens into a new list: whoever gave `parts` may need it again.",
        )
