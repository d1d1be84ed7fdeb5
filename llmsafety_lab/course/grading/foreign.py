"""Text that a student or a platform wrote, made safe for where it is shown."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def plain(text: object, longest: int = 200) -> str:
    """Return a text as one line that can be printed.

    Line ends, escape codes, marks that turn the direction of writing, and bytes that are no UTF-8 are replaced.
    """
    line = " ".join(str(text)[: longest + 1].split())
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    return shown[:longest] + " ..." * (len(shown) > longest)


def quoted(text: object, longest: int = 200) -> str:
    """Return a text as one line of code for Markdown and the terminal, where it can forge nothing."""
    return f"`{plain(text, longest).replace('`', chr(39)).replace('|', '/')}`"


def cell(value: object) -> object:
    """Return a value for a CSV file; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text
