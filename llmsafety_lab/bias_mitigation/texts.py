"""Counterfactual texts: the same sentence with another identity in it."""

from __future__ import annotations

import re
from collections.abc import Sequence


def mentions(text: str, identities: Sequence[str]) -> list[str]:
    """Return the identities that a text names, as whole words, whatever their case, in the order of the list."""
    return [one for one in identities if _word(one).search(text)]


def swapped(text: str, old: str, new: str) -> str:
    """Return the text with each whole word `old` replaced; a capital at its beginning stays one."""
    return _word(old).sub(lambda found: new.capitalize() if found[0][0].isupper() else new, text)


def augment(texts: Sequence[str], labels: Sequence[int], identities: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the texts and, for each that names one of the identities, its copies with each of the others.

    A copy has the label of the text that it was made from: who is spoken of does not make a text offensive. A text that
    names several is left as it is, since swapping one of them might change what it says of the other.

    Raises
    ------
    ValueError
        If there are fewer than two identities, one is there twice, or there are not as many labels as texts.

    References
    ----------
    Dixon et al. 2018, Measuring and Mitigating Unintended Bias in Text Classification; Garg et al. 2019,
    Counterfactual Fairness in Text Classification through Robustness.
    """
    if len(identities) < 2 or len({one.lower() for one in identities}) < len(identities):
        raise ValueError("at least two identities are needed, each once")
    if len(texts) != len(labels):
        raise ValueError(f"as many labels as texts are needed; got {len(labels)} and {len(texts)}")
    return _with_copies(texts, labels, identities)


def _with_copies(texts: Sequence[str], labels: Sequence[int], identities: Sequence[str]) -> tuple[list[str], list[int]]:
    made, marks = list(texts), list(labels)
    for text, label in zip(texts, labels, strict=True):
        named = [one for one in identities if swapped(text, one, "") != text]
        if len(named) == 1:
            for other in identities:
                if other != named[0]:
                    made.append(swapped(text, named[0], other))
                    marks.append(label)
    return made, marks


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
