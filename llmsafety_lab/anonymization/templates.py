"""Texts with made-up personal data in them, whose places are known because we put it there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from llmsafety_lab.anonymization.redaction import Span

_FIELD = re.compile(r"\{\{(\w+)\}\}")


def filled(template: str, makers: Mapping[str, Callable[[], str]], kinds: Mapping[str, str]) -> tuple[str, list[Span]]:
    """Return a text and the spans of what was put into it.

    Parameters
    ----------
    template : str
        With fields such as `{{person}}`.
    makers : mapping
        From a field to what makes a value for it.
    kinds : mapping
        From a field to the type that its span has. A field that is not in it is filled and has no span.

    Raises
    ------
    ValueError
        If nobody makes values for a field.
    """
    pieces: list[str] = []
    spans: list[Span] = []
    length = done = 0
    for field in _FIELD.finditer(template):
        if field[1] not in makers:
            raise ValueError(f"nobody makes a value for {{{{{field[1]}}}}}; there are {', '.join(sorted(makers))}")
        before, value = template[done : field.start()], makers[field[1]]()
        length += len(before)
        if field[1] in kinds and value:
            spans.append((kinds[field[1]], length, length + len(value)))
        length += len(value)
        pieces += [before, value]
        done = field.end()
    return "".join([*pieces, template[done:]]), spans
