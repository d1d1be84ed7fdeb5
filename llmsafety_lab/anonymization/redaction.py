"""Redaction: take spans out of a text, and count what was found, what was missed and what is hidden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[str, int, int]
"""Type, start, end: `text[start:end]` is of that type."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans of which none overlaps another: those that do are one, of the type of the longest among them.

    Of two equally long ones the earlier gives the type. Spans that only touch stay two.

    Raises
    ------
    ValueError
        If a span is empty or begins before the text does.
    """
    found: list[Span] = []
    longest = 0
    for kind, start, end in sorted(spans, key=lambda span: (span[1], -span[2])):
        if not 0 <= start < end:
            raise ValueError(f"the span {(kind, start, end)} is empty, or begins before the text does")
        if found and start < found[-1][2]:
            before, first, last = found[-1]
            found[-1] = (kind if end - start > longest else before, first, max(last, end))
            longest = max(longest, end - start)
        else:
            found.append((kind, start, end))
            longest = end - start
    return found


def redact(text: str, spans: Iterable[Span]) -> str:
    """Return the text with a mark, such as [PERSON], in place of each span.

    Spans may come in any order. Where some overlap, all that they cover together is replaced by one mark, that of the
    longest; of two equally long ones, the earlier.

    Parameters
    ----------
    text : str
    spans : iterable of (type, start, end)

    Raises
    ------
    ValueError
        If a span is empty or not inside of the text.
    """
    pieces, done = [], 0
    for kind, start, end in merged(spans):
        if end > len(text):
            raise ValueError(f"the span {(kind, start, end)} ends after the text of {len(text)} characters")
        pieces += [text[done:start], f"[{kind}]"]
        done = end
    return "".join([*pieces, text[done:]])


def hidden(truth: Iterable[Span], found: Iterable[Span]) -> tuple[int, int, int, int]:
    """Return how well spans hide others: spans hidden whole, true spans, characters hidden rightly, characters hidden.

    A true span is hidden when each of its characters is in some found span, of whatever type: half a phone number is
    too much. A character that two found spans cover is hidden once.

    Returns
    -------
    tuple of four int
        The first divided by the second is the recall that protects; the third by the fourth, the precision that keeps
        the text readable.

    Raises
    ------
    ValueError
        If a span is empty or begins before the text does.
    """
    covered = {place for _, start, end in merged(found) for place in range(start, end)}
    wanted = list(truth)
    whole = sum(covered.issuperset(range(start, end)) for _, start, end in wanted)
    private = {place for _, start, end in merged(wanted) for place in range(start, end)}
    return whole, len(wanted), len(covered & private), len(covered)


def span_counts(truth: Sequence[Span], found: Sequence[Span]) -> dict[str, tuple[int, int, int]]:
    """Return by type how many spans were found with type and both ends right, how many were found, how many are true.

    A span that was found twice counts once.
    """
    true, said = set(truth), set(found)
    kinds = sorted({kind for kind, _, _ in true | said})
    return {
        kind: (
            sum(span[0] == kind for span in true & said),
            sum(span[0] == kind for span in said),
            sum(span[0] == kind for span in true),
        )
        for kind in kinds
    }
