"""What Gradescope's export says of its folders: a file beside them names who handed each of them in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml

from llmsafety_lab.course.grading.archives import File
from llmsafety_lab.course.grading.owners import Owner
from llmsafety_lab.course.grading.roster import Student
from llmsafety_lab.errors import InputError

METADATA = "submission_metadata.yml"


def read(files: Iterable[File], roster: Sequence[Student]) -> dict[str, Owner]:
    """Return whose the folders of Gradescope's exports are, by the folder's place.

    Students are found by Gradescope's student id, else by email, else by name. Only a list at the top of an export
    counts: one that lies deeper is a student's.
    """
    known: dict[str, list[Student]] = {}
    for student in roster:
        for text in {student.id, student.email, student.name} - {""}:
            known.setdefault(text.casefold(), []).append(student)
    found: dict[str, Owner] = {}
    for file in files:
        if file.name == METADATA and _is_on_top(file):
            for folder, facts in _facts(file).items():
                found[f"{file.place.removesuffix(METADATA)}{folder}"] = _owner(facts, known)
    return found


def listed(place: str, owners: Mapping[str, Owner]) -> Owner | None:
    """Return the owner of the folder in which a file lies, where an export names one."""
    parts = place.split("/")
    return next((owners[head] for k in range(len(parts)) if (head := "/".join(parts[:k])) in owners), None)


def _is_on_top(file: File) -> bool:
    folders = file.inner[:-1] if file.inside else file.outer[:-1]
    in_archive = len(file.inside) == 1 and len(file.outer) == 1
    return (in_archive or not file.inside) and bool(re.fullmatch(r"(assignment_\d+_export)?", "/".join(folders)))


def _facts(file: File) -> dict[Any, Any]:
    try:
        facts = yaml.safe_load(file.read())
    except (InputError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _owner(facts: Any, known: Mapping[str, list[Student]]) -> Owner:
    submitters = facts.get(":submitters") if isinstance(facts, dict) else None
    ids: list[str] = []
    for submitter in submitters if isinstance(submitters, list) else []:
        values = [submitter.get(key) for key in (":sid", ":email", ":name")] if isinstance(submitter, dict) else []
        texts = [str(value).casefold() for value in values if isinstance(value, str | int)]
        fitting = next((known[text] for text in texts if text in known), [])
        if len(fitting) == 1:
            ids.append(fitting[0].id)
    if not ids:
        return Owner(None, "Gradescope's list names no student of the roster for it")
    when = facts.get(":created_at")
    moment = when.astimezone() if isinstance(when, datetime) else None
    return Owner(ids[0], "Gradescope's list", when=moment, mates=tuple(ids[1:]))
