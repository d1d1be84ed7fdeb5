"""Where training data comes from: what an entry says of its licence, and what a site allows a crawler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.robotparser import RobotFileParser

CLASSES = ("stated for the data", "stated in part", "stated for the package alone", "not stated")


def licence_class(licence: str) -> str:
    """Return what the licence of a registry's entry covers, one of `CLASSES`.

    The registry's form: parts are separated by semicolons or commas; "not stated" says that a part has none, and the
    word "package" that a licence is the carrier's.

    Raises
    ------
    ValueError
        If the text is empty.
    """
    parts = [part.strip().lower() for part in licence.replace(",", ";").split(";") if part.strip()]
    if not parts:
        raise ValueError("an entry without any word on its licence: write at least 'not stated'")
    silent = [part for part in parts if "not stated" in part or "state none" in part]
    package = [part for part in parts if "package" in part and part not in silent]
    if silent:
        own = len(parts) - len(silent) - len(package)
        return "stated in part" if own else "not stated"
    return "stated for the package alone" if len(package) == len(parts) else "stated for the data"


def allowed(robots: str, agents: Sequence[str], urls: Sequence[str]) -> Mapping[str, list[bool]]:
    """Return for each agent which of the addresses a site's robots.txt lets it fetch.

    Parameters
    ----------
    robots : str
        The text of robots.txt.
    agents : sequence of str
        What crawlers call themselves.
    urls : sequence of str

    References
    ----------
    RFC 9309, Robots Exclusion Protocol (2022).
    """
    parser = RobotFileParser()
    parser.parse(robots.splitlines())
    return {agent: [parser.can_fetch(agent, url) for url in urls] for agent in agents}
