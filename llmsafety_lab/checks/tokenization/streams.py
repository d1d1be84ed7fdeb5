"""Exercise 4: from tokens back to text, while they arrive."""

from __future__ import annotations

import codecs

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.tokenization.pairs import pick, sequence


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
