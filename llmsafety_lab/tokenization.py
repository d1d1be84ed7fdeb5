"""Tokenization, written out: byte-pair encoding, two relatives, and what look-alike characters do to a filter.

A vocabulary is a dict `ranks` from a token's bytes to its id. The single bytes come first; a token that was learnt has
a larger id than the two that it was made of, so that ids are also the order in which merges apply.
"""

import codecs
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import regex

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How GPT-2, GPT-4 and GPT-4o cut a text before they look for tokens; no token reaches over such a cut."""

LOOKALIKES = dict(zip("аеорсухіјѕһԁԛԝɡɩαονρτυικ", "aeopcyxijshdqwgiaovptuik", strict=True))
"""Some lower-case characters, Cyrillic, Greek and others, that a reader takes for a Latin letter.

Unicode's own list of such pairs, `confusables.txt`, has thousands.
"""


def split(text: str, pattern: str = PATTERNS["gpt2"]) -> list[bytes]:
    """Cut a text into words, each in UTF-8; a blank before a word belongs to it.

    Parameters
    ----------
    text : str
    pattern : str
        A regular expression (of the module `regex`) that matches one word.

    Raises
    ------
    UnicodeEncodeError
        If the text holds half of a surrogate pair, which is no character.
    ValueError
        If the pattern leaves out a part of the text.
    """
    words = regex.findall(pattern, text)
    if "".join(words) != text:
        raise ValueError("the pattern leaves out a part of the text, and so would the tokens")
    return [word.encode("utf-8") for word in words]


def merge(parts: Sequence[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Join each occurrence of a pair, from left to right; a token that has been joined is not used again."""
    merged, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == tuple(pair):
            merged.append(parts[i] + parts[i + 1])
            i += 2
        else:
            merged.append(parts[i])
            i += 1
    return merged


def train_bpe(words: Mapping[bytes, int], merges: int) -> list[tuple[bytes, bytes]]:
    """Learn which pairs of tokens to merge: again and again the most frequent one (Sennrich et al. 2016).

    Parameters
    ----------
    words : mapping of bytes to int
        Each word of the text and how often it stands there, as `Counter(split(text))`.
    merges : int
        How many to learn; fewer come back where no pair is left.

    Returns
    -------
    list of pairs of bytes
        In the order learnt. Of equally frequent pairs the one with the smaller ids is taken, the left token's first;
        a byte's id is its value, and tokens that were learnt are numbered from 256 on.

    Raises
    ------
    ValueError
        If the number of merges is negative, or a word stands in the text less than once.
    """
    if merges < 0 or min(words.values(), default=1) < 1:
        raise ValueError(f"needs 0 merges or more, and words that occur; got {merges} merges, and {len(words)} words")
    ids = {bytes([byte]): byte for byte in range(256)}
    parts = {word: [bytes([byte]) for byte in word] for word in words}
    counts: Counter[tuple[bytes, bytes]] = Counter()
    where = defaultdict(set)

    def count(word: bytes, times: int) -> None:
        for pair in pairwise(parts[word]):
            counts[pair] += times
            where[pair].add(word)
            if counts[pair] == 0:
                del counts[pair]

    for word, times in words.items():
        count(word, times)
    learnt: list[tuple[bytes, bytes]] = []
    while len(learnt) < merges and counts:
        most = max(counts.values())
        pair = min((pair for pair in counts if counts[pair] == most), key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        for word in where.pop(pair):
            count(word, -words[word])
            parts[word] = merge(parts[word], pair)
            count(word, words[word])
        ids.setdefault(pair[0] + pair[1], len(ids))
        learnt.append(pair)
    return learnt


def ranks_of(merges: Iterable[tuple[bytes, bytes]]) -> dict[bytes, int]:
    """Return the vocabulary that merges make: the 256 bytes, then a token for each merge."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for left, right in merges:
        ranks.setdefault(left + right, len(ranks))
    return ranks


def encode_word(word: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """Return the ids of one word: of all pairs that make a token, merge the one that was learnt first, and repeat.

    Raises
    ------
    KeyError
        If a byte of the word is no token.
    """
    parts = [bytes([byte]) for byte in word]
    while len(parts) > 1:
        pair = min(pairwise(parts), key=lambda pair: ranks.get(pair[0] + pair[1], math.inf))
        if pair[0] + pair[1] not in ranks:
            break
        parts = merge(parts, pair)
    return [ranks[part] for part in parts]


def encode(text: str, ranks: Mapping[bytes, int], pattern: str = PATTERNS["gpt2"]) -> list[int]:
    """Return the ids of a text's tokens.

    Parameters
    ----------
    text : str
    ranks : mapping of bytes to int
    pattern : str
        The one with which the vocabulary was trained.

    Raises
    ------
    UnicodeEncodeError, ValueError
        As `split` does.
    KeyError
        If a byte is missing in the vocabulary.
    """
    words = split(text, pattern)
    known = {word: encode_word(word, ranks) for word in set(words)}
    return [token for word in words for token in known[word]]


def decode(ids: Iterable[int], vocabulary: Mapping[int, bytes]) -> str:
    """Return the text of some tokens: their bytes, joined first and read as UTF-8 then.

    Parameters
    ----------
    ids : iterable of int
    vocabulary : mapping of int to bytes
        Each id's token.

    Returns
    -------
    str
        Bytes that are no UTF-8, as half a character is, become U+FFFD, the replacement character.
    """
    return b"".join(vocabulary[token] for token in ids).decode("utf-8", errors="replace")


def stream(ids: Sequence[int], vocabulary: Mapping[int, bytes]) -> list[str]:
    """Return for each token the text that can be shown once it has arrived; a character waits for its last byte.

    Returns
    -------
    list of str
        As long as `ids`; joined it is what `decode` gives.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pieces = []
    for i, token in enumerate(ids):
        pieces.append(decoder.decode(vocabulary[token], final=i == len(ids) - 1))
    return pieces


def wordpiece(word: str, vocabulary: Mapping[str, int], unknown: str = "[UNK]") -> list[str]:
    """Cut a word as BERT does: the longest token that fits, then the longest that goes on, marked ## (Wu et al. 2016).

    Returns
    -------
    list of str
        The unknown token alone where some part of the word fits no token.
    """
    pieces: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if mark + word[start:end] in vocabulary), None)
        if end is None:
            return [unknown]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


def unigram(word: str, log_probability: Mapping[str, float]) -> list[str]:
    """Cut a word into the tokens whose product of probabilities is largest (Kudo 2018), by dynamic programming.

    Raises
    ------
    ValueError
        If no sequence of tokens spells the word.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(word) + 1):
        cuts = ((best[start][0] + log_probability.get(word[start:end], -math.inf), start) for start in range(end))
        best.append(max(cuts))
    if best[-1][0] == -math.inf:
        raise ValueError(f"no sequence of tokens spells {word!r}")
    pieces, end = [], len(word)
    while end:
        start = best[end][1]
        pieces.append(word[start:end])
        end = start
    return pieces[::-1]


def skeleton(text: str, lookalikes: Mapping[str, str]) -> str:
    """Return what a reader sees, in plain letters, for comparing only: it destroys text in other scripts.

    Compatibility forms are unified (NFKC), invisible format characters dropped, upper case folded, and look-alikes
    replaced (after Unicode Technical Standard 39, section 4).
    """
    text = unicodedata.normalize("NFKC", text)
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return "".join(lookalikes.get(character, character) for character in visible.casefold())


def finds(text: str, word: str, lookalikes: Mapping[str, str]) -> bool:
    """Say whether a reader of the text sees the word, standing by itself."""
    seen = regex.escape(skeleton(word, lookalikes))
    return regex.search(rf"(?<!\w){seen}(?!\w)", skeleton(text, lookalikes)) is not None
