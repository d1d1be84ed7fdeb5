"""Who is mentioned in a text, and in which company."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_WOMEN = """
she her hers herself woman women girl girls lady ladies mother mothers daughter daughters sister sisters wife wives
queen queens actress actresses heroine heroines
"""
_MEN = """
he him his himself man men boy boys gentleman gentlemen father fathers son sons brother brothers husband husbands
king kings actor actors hero heroes
"""
GENDERED: dict[str, frozenset[str]] = {"women": frozenset(_WOMEN.split()), "men": frozenset(_MEN.split())}
"""Words that name women and men. `her` is both him and his; `man` and `actor` can mean anybody."""


def words_of(text: str) -> list[str]:
    """Return the words of an English text in lower case; a form with an apostrophe (he's) loses what follows it."""
    return [word.partition("'")[0] for word in WORD.findall(text.lower().replace("\u2019", "'"))]


def mentions(texts: Iterable[str], words: Mapping[str, Collection[str]] = GENDERED) -> dict[str, int]:
    """Return how often the texts have a word of each group."""
    counts = Counter(word for text in texts for word in words_of(text))
    return {name: sum(counts[word] for word in chosen) for name, chosen in words.items()}


def company(
    texts: Iterable[str], words: Mapping[str, Collection[str]] = GENDERED, window: int = 5
) -> dict[str, Counter[str]]:
    """Return for each group the words that stand at most `window` words before or after one of its own.

    A word near two members of a group counts twice. Words of the groups themselves are not counted.

    Raises
    ------
    ValueError
        If the window is not at least 1.
    """
    if window < 1:
        raise ValueError(f"a window has at least one word, got {window}")
    names = {word: name for name, chosen in words.items() for word in chosen}
    found: dict[str, Counter[str]] = {name: Counter() for name in words}
    for text in texts:
        line = words_of(text)
        for place, word in enumerate(line):
            if word in names:
                near = line[max(place - window, 0) : place] + line[place + 1 : place + 1 + window]
                found[names[word]].update(other for other in near if other not in names)
    return found


def distinctive(
    ours: Mapping[str, int], theirs: Mapping[str, int], background: Mapping[str, int], prior: float = 1_000.0
) -> list[tuple[str, float, float]]:
    """Return how much more each word is of our company than of theirs: log-odds with a prior, and its z-score.

    Each word starts with a number of imagined occurrences in both, in proportion to the background, `prior` in all.
    A word that is rare has little but these, so its log-odds stay near 0.

    Parameters
    ----------
    ours, theirs, background : dict of int
        Counts by word. The background has every word of the two.
    prior : float

    Returns
    -------
    list of (word, log-odds ratio, z)
        From the largest z, our most distinctive word, to the smallest, theirs.

    Raises
    ------
    ValueError
        If a side or the background has no word, the prior is not positive, or a word is not in the background.

    References
    ----------
    Monroe, Colaresi and Quinn 2008, Fightin' Words, equations 16, 20 and 22.
    """
    total, mine, other = (sum(counts.values()) for counts in (background, ours, theirs))
    if not (total and mine and other) or prior <= 0:
        raise ValueError(f"needs words on both sides, a background and a prior: got {mine}, {other}, {total}, {prior}")
    unknown = sorted(word for word in {*ours, *theirs} if not background.get(word))
    if unknown or len({*ours, *theirs}) < 2:
        raise ValueError(f"needs two words or more, all of them in the background; it lacks {unknown[:5]}")
    found = []
    for word in sorted({*ours, *theirs}):
        imagined = prior * background[word] / total
        a, b = ours.get(word, 0) + imagined, theirs.get(word, 0) + imagined
        ratio = math.log(a / (mine + prior - a)) - math.log(b / (other + prior - b))
        found.append((word, ratio, ratio / math.sqrt(1 / a + 1 / b)))
    return sorted(found, key=lambda item: -item[2])


def character_words(texts: Iterable[Sequence[str]], sign: str, not_in: Collection[str] = ()) -> tuple[int, int]:
    """Return how often a Chinese character occurs in texts of characters, and how often outside of longer words.

    Parameters
    ----------
    texts : iterable of sequences of characters
    sign : str
        One character, such as 他.
    not_in : collection of str
        Words in which the character means something else, such as 其他, "other".

    Raises
    ------
    ValueError
        If the sign is not one character, or a word does not hold it.
    """
    if len(sign) != 1 or any(sign not in word for word in not_in):
        raise ValueError(f"needs one character, and words that hold it; got {sign!r}, {list(not_in)}")
    every = alone = 0
    for text in texts:
        line = "".join(text)
        every += line.count(sign)
        for word in not_in:
            line = line.replace(word, " ")
        alone += line.count(sign)
    return every, alone
