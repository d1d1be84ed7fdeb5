"""Writes the skeleton of a topic: a chapter, a lab with one exercise, its check, the package's folder, and tests."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from llmsafety_lab.course import topics
from llmsafety_lab.course.book import masters
from llmsafety_lab.errors import InputError


def new(root: Path, name: str) -> list[Path]:
    """Write every file of a topic that the list knows and that is not here yet; return what was written or changed.

    What is written passes the style, the build and its own tests as it is.

    Raises
    ------
    LookupError
        If `topics.yml` has no such topic.
    ValueError
        If the topic is here already.
    InputError
        If one of the files is there already; nothing is written then.
    """
    title = next((topic.title for topic in topics.read(root) if topic.name == name), name)
    with as_file(files("llmsafety_lab.course") / "skeleton") as skeleton:
        texts = {}
        for path in sorted(path for path in skeleton.rglob("*") if path.is_file()):
            target = root / path.relative_to(skeleton).as_posix().replace("TOPIC", name).removesuffix(".txt")
            text = path.read_text(encoding="utf-8").replace("TOPIC", name)
            texts[target] = text.replace("TITLE", title[0].upper() + title[1:])
    if there := [path for path in texts if path.exists()]:
        raise InputError(f"{there[0]} is there already; nothing was written")
    topics.register(root, name)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [root / "topics.yml", root / "_toc.yml", *texts, *topics.build(root), *masters.build(root)]
