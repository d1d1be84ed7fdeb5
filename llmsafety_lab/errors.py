"""What a person can put right: these errors are shown as one line, all others with their traceback."""

from __future__ import annotations


class CourseError(Exception):
    """Something that is expected to go wrong: what it is, where, and what to do."""


class InputError(CourseError, ValueError):
    """What was given cannot be used."""


class NotFoundError(CourseError, LookupError):
    """Nothing has this name."""
