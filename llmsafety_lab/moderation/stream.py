"""Moderate a text while it is written: look at every prefix, and stop the text half-way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Scores = Sequence[float]
"""The scores of a text's prefixes: of its first word, its first two words, and so on."""


def prefixes(text: str, last: int | None = None) -> list[str]:
    """Return what a filter sees of a text after each of its words.

    Parameters
    ----------
    last : int, optional
        A filter with a window sees no more than this many words, the last ones; without it, all from the beginning.
    """
    words = text.split()
    return [" ".join(words[0 if last is None else max(0, end - last) : end]) for end in range(1, len(words) + 1)]


def scored_prefixes(
    texts: Sequence[str], score: Callable[[Sequence[str]], Sequence[float]], last: int | None = None
) -> list[list[float]]:
    """Return the scores of every text's prefixes, all scored in one call."""
    cut = [prefixes(text, last) for text in texts]
    values = iter(score([prefix for one in cut for prefix in one]))
    return [[float(next(values)) for _ in one] for one in cut]


def first_alarm(stream: Scores, threshold: float) -> int | None:
    """Return the place of the first score above a threshold, counted from 0; None where there is none."""
    return next((place for place, score in enumerate(stream) if score > threshold), None)


def stream_threshold(harmless: Sequence[Scores], share: float) -> float:
    """Return a threshold that at most this share of harmless texts ever exceeds, at whichever prefix.

    A text is stopped by its highest prefix. So the threshold is that of the maxima: with n of them, the k-th smallest,
    k = ceil((n + 1)(1 - share)); infinity where that is more than n. For a new text of the same source the probability
    of a false alarm is then at most `share`, whatever the scores are.

    Parameters
    ----------
    harmless : sequence of Scores
        The prefixes' scores of harmless texts that the filter was not trained on.
    share : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there is no text, one has no prefix, or the share is not between 0 and 1.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, chapter 2.
    """
    if not len(harmless) or not all(len(stream) for stream in harmless):
        raise ValueError("harmless texts are needed, each with the score of at least one prefix")
    if not 0 < share < 1:
        raise ValueError(f"a share of false alarms is between 0 and 1; got {share}")
    highest = sorted(max(stream) for stream in harmless)
    place = math.ceil(round((len(highest) + 1) * (1 - share), 9))
    return float(highest[place - 1]) if place <= len(highest) else math.inf


def leaked(stream: Scores, threshold: float, start: int) -> float:
    """Return how many words of a harmful part that begins at a place are out before the text is stopped.

    A text that is stopped before the part leaks none of it; one that is never stopped leaks all of it.
    """
    alarm = first_alarm(stream, threshold)
    return float(np.clip((len(stream) if alarm is None else alarm + 1) - start, 0, len(stream) - start))
