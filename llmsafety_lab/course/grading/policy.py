"""When a lab is due, for whom later, and what it costs to be late: one small YAML file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from llmsafety_lab.errors import InputError

_KEYS = {"due", "zone", "extensions", "grace_minutes", "percent_a_day", "most_percent"}


@dataclass(frozen=True)
class Policy:
    """What being late costs.

    Parameters
    ----------
    due
        The end of the time, or None where there is none.
    extensions
        The end of the time of some students, by their id.
    grace
        How much later nobody notices.
    a_day, most
        The part of the points that each day begun costs, and the most that all days cost; 0 to 1.
    """

    due: datetime | None = None
    extensions: dict[str, datetime] = field(default_factory=dict)
    grace: timedelta = timedelta(0)
    a_day: float = 0.0
    most: float = 1.0

    def days_late(self, student: str, when: datetime, marked: bool) -> int:
        """Return how many days late a submission is, each day begun counted.

        Parameters
        ----------
        marked
            Whether the platform itself says that it is late. That counts for a day where no date says more, unless the
            student has an extension.
        """
        due = self.extensions.get(student, self.due)
        days = 0
        if due is not None and when > due + self.grace:
            days = math.ceil((when - due) / timedelta(days=1))
        return max(days, int(marked and student not in self.extensions))

    def kept(self, days: int) -> float:
        """Return the part of the points that is left after some days."""
        return 1 - min(self.most, self.a_day * days)


def moment(value: Any, zone: str = "") -> datetime:
    """Return a point in time; a day alone means its end.

    Parameters
    ----------
    value
        A date, or a date and a time; a time zone may follow: ``+01:00``, or ``Europe/Berlin`` after a space.
    zone
        The time zone where the value names none; without one, this machine's.

    Raises
    ------
    ValueError
        If it is no date, or there is no such time zone.
    """
    offset = ""
    if isinstance(value, str):
        named = re.search(r"\s([A-Za-z][\w/+-]*)\s*$", value)
        text = (value[: named.start()] if named else value).strip()
        zone = named[1] if named else zone
        day = re.fullmatch(r"(\d{4}-?\d\d-?\d\d)(Z|[+-]\d\d:?\d\d)?", text)
        offset = (day[2] or "") if day else ""
        value = date.fromisoformat(day[1]) if day else datetime.fromisoformat(text)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.max)
        value = datetime.fromisoformat(value.isoformat() + offset)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not a date such as 2027-03-01 or 2027-03-01T18:00+01:00")
    if value.tzinfo is None and zone:
        return value.replace(tzinfo=_zone(zone))
    return value if value.tzinfo else value.astimezone()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, LookupError):
        raise ValueError(f"there is no time zone {name!r}; write one such as Europe/Berlin") from None


def read_policy(path: Path | None, due: datetime | None, students: set[str]) -> Policy:
    """Read the file; a ``due`` that is given counts before the file's. ``zone`` is for the dates that name none.

    Raises
    ------
    InputError
        If it cannot be read, or holds something else than it may.
    """
    if path is None:
        return Policy(due)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InputError(f"the policy {path} cannot be read: {error}") from None
    if not isinstance(found, dict) or not found.keys() <= _KEYS:
        raise InputError(f"the policy {path} may hold {', '.join(sorted(_KEYS))}, and nothing else")
    extensions = found.get("extensions") or {}
    if not isinstance(extensions, dict):
        raise InputError(f"the policy {path}: extensions has a line for each student, such as s1001: 2027-03-08")
    if strangers := {str(id) for id in extensions} - students:
        raise InputError(f"the policy {path}: no student of the roster has the id {', '.join(sorted(strangers))}")
    try:
        zone = str(found.get("zone") or "")
        first = due or ("due" in found and moment(found["due"], zone)) or None
        later = {str(id): moment(when, zone) for id, when in extensions.items()}
        numbers = [float(found.get(key, default)) for key, default in (("percent_a_day", 0), ("most_percent", 100))]
        grace = timedelta(minutes=float(found.get("grace_minutes", 0)))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"the policy {path}: {error}") from None
    if not all(0 <= number <= 100 for number in numbers) or grace < timedelta(0):
        raise InputError(f"the policy {path}: percent are from 0 to 100, and minutes not below 0")
    return Policy(first, later, grace, numbers[0] / 100, numbers[1] / 100)
